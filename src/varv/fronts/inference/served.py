"""What answers for each model, and how often and how long it did."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from varv.fronts.access import Door
from varv.fronts.inference.counts import Counts
from varv.fronts.inference.observed import Exchange
from varv.fronts.inference.oip import Asked
from varv.fronts.inference.online import OnlineFeatures
from varv.fronts.inference.parquet import ParquetReader
from varv.fronts.inference.watching import Watcher
from varv.kernel.clock import Instant, SystemClock, iso
from varv.kernel.errors import InvalidInput, NotFound, Unavailable
from varv.kernel.ids import ModelName
from varv.serving import Answering, Answers
from varv.serving.observing import Observing

_CLOCK = SystemClock()


class Statistics:
    """How often requests of one model were answered by this process, and how long each stage took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counts()
        self._failed_s = self._last = 0.0

    def answered(self, requests: Sequence[Took], answers: Sequence[Answers], call: Took, at: float) -> None:
        """Count requests that were answered in one call.

        Parameters
        ----------
        requests
            Of each, what it took alone.
        answers
            To each.
        call
            What they took together.
        at
            When, in seconds since 1970.
        """
        with self._lock:
            counts, stages = self._counts, self._counts.stages
            counts.n_answered += len(requests)
            counts.n_calls += 1
            for one in requests:
                stages["read"].add(one.read_s)
                stages["queue"].add(one.queue_s)
                stages["total"].add(one.read_s + one.queue_s + call.answer_s + call.write_s)
            stages["answer"].add(call.answer_s, len(requests))
            stages["write"].add(call.write_s, len(requests))
            for answered in answers:
                counts.add_rows(answered.versions, answered.arms)
                if answered.flagged:
                    counts.add_flagged(answered.flagged)
            self._last = at

    def failed(self, took_s: float) -> None:
        """Count one request that was refused or failed."""
        with self._lock:
            self._counts.n_refused += 1
            self._failed_s += took_s

    @property
    def counts(self) -> Counts:
        """What was counted so far."""
        with self._lock:
            return self._counts.plus(Counts())

    def described(self) -> dict[str, Any]:
        """Return the numbers as the statistics extension has them: counts, and nanoseconds."""
        with self._lock:
            counts = self._counts
            n, took = counts.n_answered, {name: of.sum_s for name, of in counts.stages.items()}
            stages = {
                "success": (n, took["total"]),
                "fail": (counts.n_refused, self._failed_s),
                # For the others of the same moment; nobody waits for a batch.
                "queue": (n, took["queue"]),
                "compute_input": (n, took["read"]),
                "compute_infer": (n, took["answer"]),
                "compute_output": (n, took["write"]),
                "cache_hit": (0, 0.0),
                "cache_miss": (0, 0.0),
            }
            return {
                "last_inference": round(1e3 * self._last),
                "inference_count": sum(counts.n_rows.values()),
                "execution_count": counts.n_calls,
                "inference_stats": {
                    name: {"count": count, "ns": round(1e9 * seconds)}
                    for name, (count, seconds) in stages.items()
                },
                "batch_stats": [],
            }


class Took(NamedTuple):
    """Seconds of the stages of a request, or of a call."""

    read_s: float = 0.0
    queue_s: float = 0.0
    answer_s: float = 0.0
    write_s: float = 0.0


class Inference:
    """What answers for each model, once there is something that can.

    Parameters
    ----------
    door
        Says who may ask; everybody by default.
    watcher
        Keeps what is traced and logged of requests; None for nothing.
    """

    def __init__(self, door: Door | None = None, watcher: Watcher | None = None) -> None:
        self.door = door or Door()
        self.watcher = watcher
        self.models: dict[ModelName, Answering] = {}
        self.large = asyncio.Semaphore(1)
        """Large requests wait for each other, however they came."""
        self.parquet = ParquetReader()
        self._aside: dict[ModelName, asyncio.Semaphore] = {}
        self.retired: dict[ModelName, Instant] = {}
        """Models that are not served any more, and since when."""
        self.default: ModelName | None = None
        """The model that a request means which names none."""
        self.observing: dict[ModelName, Observing] = {}
        """What waits for the observers of models that have one."""
        self.features: OnlineFeatures | None = None
        """What answers requests for features, if any view can be online."""
        self.statistics: defaultdict[ModelName, Statistics] = defaultdict(Statistics)

    @property
    def ready(self) -> bool:
        """Whether requests are answered, of every model."""
        return bool(self.models) and all(one.versions for one in self.models.values())

    def turn_of(self, answering: Answering) -> asyncio.Semaphore:
        """Return what a request waits for that is answered in a thread: the end of the large one before it;
        or, where another process answers for its model and may take long, of the one before for that model.
        """
        if not answering.waits:
            return self.large
        return self._aside.setdefault(answering.model, asyncio.Semaphore(answering.instances))

    def observe(self, answering: Answering, asked: Asked, answered: Answers) -> None:
        """Have a request wait to be sent to its model's observer, if it has one and the request is of the
        sample.
        """
        observing = self.observing.get(answering.model)
        if observing is not None and observing.is_due:
            observing.put(Exchange(answering, asked, answered, _CLOCK.now()))

    def shown_to(self, models: frozenset[str] | None) -> Inference:
        """Return what somebody sees of it who may know of these models only; None for all."""
        if models is None:
            return self
        shown = copy.copy(self)
        shown.models = {name: one for name, one in self.models.items() if name in models}
        shown.retired = {name: at for name, at in self.retired.items() if name in models}
        return shown

    def model(self, name: str) -> Answering:
        """Return what answers for a model.

        Raises
        ------
        Unavailable
            If nothing can answer yet.
        NotFound
            If no model of that name is served.
        """
        if not self.models:
            raise Unavailable(
                "model", name, "is not loaded yet", hint="try again in a moment; see varv status"
            )
        answering = self.models.get(ModelName(name))
        if answering is None and (at := self.retired.get(ModelName(name))) is not None:
            problem = f"was retired on {iso(at)}"
            raise NotFound("model", name, problem, hint=f"the models are {self._names}")
        if answering is None:
            raise NotFound("model", name[:80], "is not served here", hint=f"the models are {self._names}")
        return answering

    def version(self, name: str, version: str | None) -> Answering:
        """Return what answers for a model, of which a version is in force if one is named.

        Raises
        ------
        Unavailable, NotFound
            As `model` does, or if the version is not in force.
        """
        answering = self.model(name)
        if version and version not in map(str, answering.versions):
            served = ", ".join(map(str, answering.versions)) or "none"
            raise NotFound("version", version[:80], "is not served", hint=f"served are {served}")
        return answering

    def only(self) -> Answering:
        """Return what answers for the only model, or for the one that was the only one at first: whoever
        asked for it without its name still does.

        Raises
        ------
        Unavailable
            If nothing can answer yet.
        InvalidInput
            If there are several, so that a request has to name one.
        """
        if self.default in self.models:
            return self.models[self.default]
        if len(self.models) > 1:
            hint = f"ask /invocations/NAME, or send the header x-varv-model; the models are {self._names}"
            raise InvalidInput("request", "/invocations", "names no model", hint=hint)
        return self.model(next(iter(self.models), ""))

    @property
    def _names(self) -> str:
        return ", ".join(self.models)

"""What varv itself puts on record as runs: those of pipelines and of studies.

`RunBook` is what they write with. `HomeBook` writes to a home that this process owns; a home that a server
owns is written to over that server's protocol, by an adapter above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from varv.kernel.clock import Clock
from varv.kernel.codec import Digest
from varv.kernel.errors import NotFound
from varv.runs import artifacts, reading
from varv.runs.model import ExperimentId, RunId, Status
from varv.runs.service import Point, Tracking

PARENT = "mlflow.parentRunId"
"""The tag that says which run a run is part of."""
MOST_AT_ONCE = 100
"""Parameters, or tags, of one request."""


class TakenDown(NamedTuple):
    """A run as a book has it."""

    run: RunId
    status: Status
    tags: Mapping[str, str]


class RunBook(Protocol):
    """Takes down runs; may be called from several threads."""

    @property
    def is_alone(self) -> bool:
        """Whether nobody else writes here, so that what counts as running was left behind."""
        ...

    def experiment(self, name: str) -> ExperimentId:
        """Return the experiment of a name, made if it is not there."""
        ...

    def begin(self, experiment: ExperimentId, name: str, tags: Mapping[str, str]) -> RunId:
        """Begin a run."""
        ...

    def log(
        self,
        run: RunId,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
    ) -> None:
        """Put parameters, tags and points of metrics on record."""
        ...

    def keep(self, run: RunId, path: str, data: bytes) -> None:
        """Put a file among the artifacts of a run."""
        ...

    def end(self, run: RunId, status: Status) -> None:
        """End a run."""
        ...

    def tagged(self, experiment: ExperimentId, tag: str) -> list[TakenDown]:
        """Return the runs with a tag, in the order in which they began."""
        ...


class HomeBook:
    """Takes down runs in a home that this process owns.

    Parameters
    ----------
    tracking
        That of the home.
    """

    def __init__(self, tracking: Tracking, clock: Clock) -> None:
        self._tracking, self._clock = tracking, clock
        self._do = tracking.recorder.do

    @property
    def is_alone(self) -> bool:
        """True: this process owns the home."""
        return True

    def experiment(self, name: str) -> ExperimentId:
        """Return the experiment of a name, made if it is not there."""
        try:
            with self._tracking.recorder.reading() as db:
                return ExperimentId(reading.experiment(db, name=name).id)
        except NotFound:
            return self._do(self._tracking.experiments.create(name))

    def begin(self, experiment: ExperimentId, name: str, tags: Mapping[str, str]) -> RunId:
        """Begin a run."""
        return self._do(self._tracking.create_run(experiment, name=name, tags=tags))

    def log(
        self,
        run: RunId,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
    ) -> None:
        """Put parameters, tags and points of metrics on record."""
        at_ms = self._now_ms()
        points = [Point(name, value, at_ms, step) for name, value in (metrics or {}).items()]
        for some, told in in_parts(params or {}, tags or {}):
            self._do(self._tracking.log(run, points=points, params=some, tags=told))
            points = points[:0]

    def keep(self, run: RunId, path: str, data: bytes) -> None:
        """Put a file among the artifacts of a run."""
        digest: Digest = self._tracking.blobs.put(data)
        self._do(artifacts.keep(f"runs/{run}", path, digest, len(data)))

    def end(self, run: RunId, status: Status) -> None:
        """End a run."""
        self._do(self._tracking.update_run(run, status=status, ended_ms=self._now_ms()))

    def tagged(self, experiment: ExperimentId, tag: str) -> list[TakenDown]:
        """Return the runs with a tag, in the order in which they began."""
        with self._tracking.recorder.reading() as db:
            found = reading.runs(db, reading.tagged(db, experiment, tag))
        return [TakenDown(RunId(run.id), run.status, run.tags) for run in found]

    def _now_ms(self) -> int:
        return self._clock.now() // 1000


def in_parts(
    params: Mapping[str, str], tags: Mapping[str, str]
) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Yield parameters and tags in parts that one request may hold; one part if there are none."""
    given, said = list(params.items()), list(tags.items())
    for start in range(0, max(len(given), len(said), 1), MOST_AT_ONCE):
        until = start + MOST_AT_ONCE
        yield dict(given[start:until]), dict(said[start:until])

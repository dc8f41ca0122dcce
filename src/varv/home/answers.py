"""Requests of the past: what became known in a stretch of time, and what every model answers in it.

Used by a replay, and by a new home that lives through its history. Requests are given their features as of
their own instants, once for all models that read the same views, answered, and kept with what was answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import msgspec
import polars as pl

from varv.data.intake import Batch, Intake
from varv.features.engine import Shared
from varv.home.home import Home, ModelParts
from varv.kernel.codec import Digest
from varv.kernel.ids import DatasetName, ModelName
from varv.kernel.sagas import Fact
from varv.serving import predicted
from varv.serving.model import RequestsServed

Planted = Callable[[ModelName, pl.DataFrame], pl.DataFrame | None]
"""Of a model's requests: the planted columns that they bring, if any."""
N_THREADS = 2
"""Models that answer at once: dataframes and runtimes have threads of their own besides."""


class Lived(msgspec.Struct, frozen=True):
    """What a stretch of time led to: the facts to commit, and how many requests were in it."""

    facts: tuple[Fact, ...]
    n_requests: int


class PastIntake:
    """Lives through stretches of the past in a home.

    Memory changes before the commit, since requests of a stretch see what became known in it; if the commit
    fails, the home is opened anew.

    Parameters
    ----------
    home
        Whose datasets, features, predictions and data planes are fed.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        predictions = [parts.predictions for parts in home.models.values()]
        self._intake = Intake(home.datasets, [home.features, *predictions])
        self._threads = ThreadPoolExecutor(N_THREADS, thread_name_prefix="answers")

    def restore(self) -> None:
        """Bring features and predictions in memory to what is stored."""
        self._intake.restore(self._home.declared)
        for name, parts in self._home.models.items():
            parts.predictions.restore(self._home.segments(name))

    def live_through(
        self,
        arrivals: Sequence[Batch],
        segment: str,
        planted: Planted = lambda model, requests: None,
    ) -> Lived:
        """Ingest what became known in one stretch of time, and answer the requests in it.

        Parameters
        ----------
        segment
            Names the stretch; the same one again, after a crash, changes nothing.
        planted
            Returns further columns that requests bring, one row each; only a replay with plants has them.
        """
        stored = self._intake.store(arrivals, segment)
        self._intake.tell(stored.batches)
        facts = list(stored.facts)
        # A row that is put aside was never a request: nobody could have asked with it.
        bases = {batch.dataset.name: batch.rows for batch in stored.batches if batch.is_base}
        asked = self._asked(bases, planted)
        if len(asked) > 1:
            # Models know nothing of each other; their features were looked up one after the other, since they
            # share views.
            facts += self._threads.map(partial(_answer, segment=segment), asked)
        else:
            facts += [_answer(one, segment) for one in asked]
        return Lived(tuple(facts), sum(one.requests.height for one in asked))

    def _asked(self, bases: Mapping[DatasetName, pl.DataFrame], planted: Planted) -> list[_Asked]:
        """Return what every model is asked, with its features; a view that several read is read once."""
        shared: dict[DatasetName, Shared] = {}
        found = []
        for name, parts in self._home.models.items():
            dataset = parts.schema.requests
            requests = bases.get(dataset.name)
            if requests is None or requests.is_empty():
                continue
            of_dataset = shared.setdefault(dataset.name, {})
            features = parts.features.lookup(requests, at=dataset.event_time, shared=of_dataset)
            found.append(_Asked(parts, requests, features, planted(name, requests)))
        return found


class _Asked(NamedTuple):
    """The requests of one model in a stretch of time."""

    parts: ModelParts
    requests: pl.DataFrame
    features: pl.DataFrame
    planted: pl.DataFrame | None


def _answer(asked: _Asked, segment: str) -> Fact:
    parts = asked.parts
    rows = predicted(parts.schema, parts.plane, asked.requests, asked.features, planted=asked.planted)
    return served(parts.name, segment, rows, parts.predictions.predicted(segment, rows))


def served(model: ModelName, segment: str, rows: pl.DataFrame, content: Digest) -> Fact:
    """Return the fact that a batch of predictions was answered and kept."""
    counts = Counter(rows["version"].to_list())
    by_version = {str(version): counts[version or None] for version in sorted(v or 0 for v in counts)}
    event = RequestsServed(
        model=model, segment=segment, n_requests=rows.height, n_by_version=by_version, digest=content
    )
    return Fact(f"requests/{model}", event)

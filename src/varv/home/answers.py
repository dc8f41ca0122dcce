"""Requests of the past: what became known in a stretch of time, and what every model answers in it.

Used by a replay, and by a new home that lives through its history. Requests are given their features as of
their own instants, once for all models that read the same views, answered, and kept with what was answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import polars as pl

from varv.data.intake import Batch, Intake
from varv.features.engine import Shared
from varv.home.home import Home, ModelParts
from varv.kernel.codec import Digest
from varv.kernel.ids import ModelName
from varv.kernel.sagas import Fact
from varv.serving import predicted
from varv.serving.model import RequestsServed
from varv.serving.views import stream_of

Planted = Callable[[ModelName, pl.DataFrame], pl.DataFrame | None]
"""Of a model's requests: the planted columns that they bring, if any."""


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

    def restore(self) -> None:
        """Bring features and predictions in memory to what is stored."""
        # Predictions first: of outcomes that come before them only so many are held.
        for parts in self._home.models.values():
            parts.predictions.restore()
        self._intake.restore(self._home.declared)

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
        shared: dict[str, Shared] = {}
        n_requests = 0
        for name, parts in self._home.models.items():
            dataset = parts.schema.requests.name
            requests = bases.get(dataset)
            if requests is None or requests.is_empty():
                continue
            given = planted(name, requests)
            facts.append(self._answer(parts, requests, segment, given, shared.setdefault(dataset, {})))
            n_requests += requests.height
        return Lived(tuple(facts), n_requests)

    def _answer(
        self,
        parts: ModelParts,
        requests: pl.DataFrame,
        segment: str,
        planted: pl.DataFrame | None,
        shared: Shared,
    ) -> Fact:
        rows = predicted(parts.schema, parts.features, parts.plane, requests, planted=planted, shared=shared)
        return served(parts.name, segment, rows, parts.predictions.predicted(segment, rows))


def served(model: ModelName, segment: str, rows: pl.DataFrame, content: Digest) -> Fact:
    """Return the fact that a batch of predictions was answered and kept."""
    return Fact(stream_of(model), requests_served(model, segment, rows, content))


def requests_served(model: ModelName, segment: str, rows: pl.DataFrame, content: Digest) -> RequestsServed:
    """Return the event that a batch of predictions was answered and kept."""
    counts = Counter(rows["version"].to_list())
    by_version = {str(version): counts[version or None] for version in sorted(v or 0 for v in counts)}
    at = rows["requested_at"].to_physical()
    return RequestsServed(
        model=model,
        segment=segment,
        n_requests=rows.height,
        n_by_version=by_version,
        digest=content,
        first=at.min(),  # type: ignore[bad-argument-type]
        last=at.max(),  # type: ignore[bad-argument-type]
        n_otherwise=_otherwise(rows["answered_by"]),
    )


def _otherwise(answered_by: pl.Series) -> dict[str, int]:
    """Return how many requests were answered otherwise than by the version whose turn it was, by how."""
    if answered_by.null_count() == len(answered_by):
        return {}
    marks = Counter(mark.partition(":")[0] for mark in answered_by.drop_nulls())
    return dict(sorted(marks.items()))

"""Intake: what happens to rows when they become known, in a replay and live.

Each row is checked against its dataset's contract first. What passes becomes a version of the dataset, feeds
the features, and, if it holds outcomes, labels the predictions. Requests are given their features as of their
own instants, answered, and kept with what was answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import polars as pl

from varv.data import Dataset, Prepared
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Digest
from varv.kernel.sagas import Fact
from varv.loop.declaration import Model
from varv.loop.feed import Arrival
from varv.loop.world import World
from varv.serving.dataplane import ANSWER_SCHEMA
from varv.serving.model import RequestsServed

Planted = Callable[[pl.DataFrame], pl.DataFrame | None]
"""Of requests: the planted columns that they bring, if any."""


class Taken(msgspec.Struct, frozen=True):
    """What a batch led to: the facts to commit, and how many requests were in it."""

    facts: tuple[Fact, ...]
    n_requests: int


class Intake:
    """Takes arriving rows into a world.

    Parameters
    ----------
    world
        Whose datasets, features, telemetry and data plane are fed.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._requests = world.model.requests

    def restore(self, through: Instant) -> None:
        """Bring features and telemetry in memory to where they were at `through`, from what is stored."""
        world = self._world
        for dataset in world.model.datasets:
            for part in dataset.parts:
                rows = world.datasets.read_part(dataset, part)
                world.features.observe(dataset, part, rows)
                self._label(dataset, part, rows)
        world.telemetry.restore(world.prediction_segments())

    def take_in(
        self, arrivals: Sequence[Arrival], segment: str, planted: Planted = lambda requests: None
    ) -> Taken:
        """Take in what became known in one stretch of time, and answer the requests in it.

        Parameters
        ----------
        segment
            Names the stretch; the same one again, after a crash, changes nothing.
        planted
            Returns further columns that requests bring, one row each; only a replay with plants has them.
        """
        facts: list[Fact] = []
        requests = None
        for arrival in arrivals:
            prepared = self._accept(arrival, segment)
            facts += prepared.facts
            if arrival.dataset is self._requests and arrival.is_base and prepared.rows.height:
                # A row that is put aside was never a request: nobody could have asked with it.
                requests = prepared.rows
        if requests is None:
            return Taken(tuple(facts), 0)
        # Only now: what became known in this stretch before a request is part of its features.
        facts.append(self._answer(requests, segment, planted(requests)))
        return Taken(tuple(facts), requests.height)

    def _accept(self, arrival: Arrival, segment: str) -> Prepared:
        dataset, part = arrival.dataset, arrival.part
        prepared = self._world.datasets.prepare_append(dataset, part, arrival.rows, segment=segment)
        if prepared.accepted:
            # Before the commit, since requests of the same stretch see it; if that fails, the world is
            # opened anew.
            self._world.features.observe(dataset, part, prepared.rows)
            self._label(dataset, part, prepared.rows)
        return prepared

    def _label(self, dataset: Dataset, part: str, rows: pl.DataFrame) -> None:
        if dataset is self._requests and part == self._world.model.outcome.known_at:
            self._world.telemetry.known(outcomes_in(self._world.model, rows))

    def _answer(self, requests: pl.DataFrame, segment: str, planted: pl.DataFrame | None) -> Fact:
        world = self._world
        features = world.features.lookup(requests, at=self._requests.event_time)
        given = features if planted is None else features.hstack(planted)
        keys = keys_of(self._requests.key, requests)
        unit = keys if world.model.unit is None else requests[world.model.unit].cast(pl.String)
        if world.dataplane.table is None:
            # Nothing serves yet: the requests are kept with their features, to train the first model on.
            none = [pl.Series(name, [None], dtype=dtype) for name, dtype in ANSWER_SCHEMA.items()]
            answers = pl.DataFrame([column.new_from_index(0, requests.height) for column in none])
        else:
            answers = world.dataplane.infer(unit.to_list(), given)
        rows = pl.DataFrame([keys, requests[self._requests.event_time].alias("requested_at")])
        rows = rows.hstack(answers).hstack(features)
        return self._served(rows, segment, world.telemetry.predicted(segment, rows))

    def _served(self, rows: pl.DataFrame, segment: str, content: Digest) -> Fact:
        counts = Counter(rows["version"].to_list())
        by_version = {str(version): counts[version or None] for version in sorted(v or 0 for v in counts)}
        served = RequestsServed(
            model=self._world.model.name,
            segment=segment,
            n_requests=rows.height,
            n_by_version=by_version,
            digest=content,
        )
        return Fact(f"requests/{self._world.model.name}", served)


def outcomes_in(model: Model, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``key``, ``outcome`` and ``known_at`` of rows of the requests' part that holds the outcome."""
    outcome = model.outcome
    keys, known_at = keys_of(model.requests.key, rows), rows[outcome.known_at].alias("known_at")
    truth = rows[outcome.column].cast(pl.Float64).to_numpy()
    # What is neither 0 nor 1 is no outcome; a contract puts it aside before it comes here.
    chosen = (truth == 0.0) | (truth == 1.0)
    for column in (keys, known_at):
        if column.null_count():
            chosen = chosen & column.is_not_null().to_numpy()
    known = pl.Series(chosen)
    return pl.DataFrame(
        [keys.filter(known), pl.Series("outcome", truth[chosen].astype(np.int8)), known_at.filter(known)]
    )


def keys_of(key: Sequence[str], rows: pl.DataFrame) -> pl.Series:
    """Return the columns of `key` as one text a row, under the name ``key``."""
    if len(key) == 1:
        return rows[key[0]].cast(pl.String).alias("key")
    texts = [pl.col(name).cast(pl.String) for name in key]
    return rows.select(pl.concat_str(texts, separator="|").alias("key")).to_series()


def segment_name(since: Instant) -> str:
    """Return the name of the segment of what arrived from `since` on, which sorts as time does."""
    return as_datetime(since).strftime("%Y%m%dT%H%M%S%f")

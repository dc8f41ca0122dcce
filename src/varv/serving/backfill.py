"""Backfilled features: columns that were computed later for predictions that had been stored without them.

Segments never change, so what is new of a segment's rows is a segment of the same name in a table of its
own, its rows in the same order. `complete` joins the two wherever predictions are read; `Backfill` computes
what is missing, by the very engine that answers live requests, from what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from varv.data import Datasets
from varv.data.intake import Intake
from varv.features import FeatureEngine, FeatureSet, FeatureStore
from varv.kernel.codec import Digest
from varv.kernel.columns import SEGMENT, Columns, Segments, stretches
from varv.kernel.ids import ModelName
from varv.serving.model import RequestsBackfilled
from varv.serving.schema import RequestSchema

MOST_SEGMENTS, MOST_ROWS = 512, 50_000
"""From so many on, what was computed is stored, in one file and with one entry."""


class Backfilled(NamedTuple):
    """Where later columns of one segment are."""

    table: str
    digest: Digest
    columns: tuple[str, ...]


Recorded = Callable[[], Mapping[str, Sequence[Backfilled]]]
"""Returns the later columns of each segment of a model that has some."""


def table_of(model: ModelName, number: int) -> str:
    """Return the table of the features that a change computed for a model's stored requests."""
    return f"backfill/{model}/{number}"


def complete(
    rows: pl.DataFrame, features: Mapping[str, pl.DataType], columns: Columns, recorded: Recorded
) -> pl.DataFrame:
    """Return rows of predictions with every feature, null where it was never computed.

    Parameters
    ----------
    rows
        With the column `SEGMENT`, which stays.
    features
        The features and their types; others are left out.
    recorded
        Where later columns are.
    """
    missing = {name: dtype for name, dtype in features.items() if name not in rows.columns}
    if not missing:
        return rows
    parts = stretches(rows)
    later = _later([segment for segment, _ in parts], missing, columns, recorded())
    nothing = pl.Series([None])
    frames = [
        pl.DataFrame(
            [
                later.get((segment, name), nothing.new_from_index(0, part.height)).cast(dtype).alias(name)
                for name, dtype in missing.items()
            ]
        )
        for segment, part in parts
    ]
    return rows.hstack(pl.concat(frames) if frames else pl.DataFrame(schema=missing))


def with_later(rows: pl.DataFrame, columns: Columns, recorded: Recorded) -> pl.DataFrame:
    """Return rows of predictions with all that was computed for them later.

    Parameters
    ----------
    rows
        With the column `SEGMENT`, which goes.
    recorded
        Where later columns are.
    """
    backfilled, parts = recorded(), stretches(rows)
    found = (one for segment, _ in parts for one in backfilled.get(segment, ()))
    names = dict.fromkeys(name for one in found for name in one.columns if name not in rows.columns)
    later = _later([segment for segment, _ in parts], names, columns, backfilled)
    frames = [
        part.hstack([later[segment, name] for name in names if (segment, name) in later])
        for segment, part in parts
    ]
    return pl.concat(frames, how="diagonal") if frames else rows.drop(SEGMENT)


def _later(
    segments: Sequence[str],
    missing: Collection[str],
    columns: Columns,
    backfilled: Mapping[str, Sequence[Backfilled]],
) -> dict[tuple[str, str], pl.Series]:
    """Return later columns by segment and name."""
    asked: dict[str, dict[str, Digest]] = {}
    for segment in segments:
        for one in backfilled.get(segment, ()):
            if not set(missing).isdisjoint(one.columns):
                asked.setdefault(one.table, {})[segment] = one.digest
    # A file at a time: hundreds of segments are in one.
    return {
        (segment, column.name): column
        for table, named in asked.items()
        for rows in columns.batches(table, named, segment_as=SEGMENT)
        for segment, part in stretches(rows)
        for column in part.get_columns()
        if column.name in missing
    }


class Backfill:
    """Computes what stored requests lack.

    Parameters
    ----------
    datasets, columns
        Of the home.
    schema
        What a request of the model is, with the features that it is to have.
    predictions
        The table of the model's predictions.
    """

    def __init__(self, datasets: Datasets, columns: Columns, schema: RequestSchema, predictions: str) -> None:
        self._datasets = datasets
        self._columns = columns
        self._schema = schema
        self._predictions = predictions

    def run(
        self,
        names: Sequence[str],
        segments: Segments,
        into: str,
        backfilled: Mapping[str, Sequence[Backfilled]],
    ) -> Iterator[RequestsBackfilled]:
        """Compute and store features of all requests that lack them, many segments at a time, and yield the
        fact of each time; the same once more stores nothing new.

        Parameters
        ----------
        names
            The features.
        segments
            Those of predictions that count.
        into
            The table to store them in.
        backfilled
            What was computed before.
        """
        waiting: dict[tuple[str, ...], list[tuple[str, pl.DataFrame]]] = {}
        engine: FeatureEngine | None = None
        for rows in self._columns.batches(self._predictions, segments, segment_as=SEGMENT):
            for segment, part in stretches(rows):
                # What this table holds was left by a try before this one, and is named by nothing yet.
                before = [one for one in backfilled.get(segment, ()) if one.table != into]
                there = {*part.columns, *(name for one in before for name in one.columns)}
                lacks = tuple(name for name in names if name not in there)
                if lacks:
                    waiting.setdefault(lacks, []).append((segment, part.select("key", "requested_at")))
            for lacks in [one for one, parts in waiting.items() if _are_many([rows for _, rows in parts])]:
                engine = engine or self._engine(names)
                yield self._stored(engine, lacks, waiting.pop(lacks), into)
        for lacks, parts in waiting.items():
            engine = engine or self._engine(names)
            yield self._stored(engine, lacks, parts, into)

    def _stored(
        self,
        engine: FeatureEngine,
        lacks: tuple[str, ...],
        parts: Sequence[tuple[str, pl.DataFrame]],
        into: str,
    ) -> RequestsBackfilled:
        # In one lookup: what a call costs is the same for one row and for thousands.
        found = self._features(engine, pl.concat([part for _, part in parts]))
        frames, first = dict[str, pl.DataFrame](), 0
        for segment, part in parts:
            frames[segment] = found.select(lacks).slice(first, part.height)
            first += part.height
        digests = self._columns.append_together(into, frames)
        return RequestsBackfilled(
            model=self._schema.model, table=into, columns=lacks, segments=digests, n_requests=first
        )

    def _engine(self, names: Sequence[str]) -> FeatureEngine:
        """Return an engine for features alone, over all that is stored: nothing is forgotten, since the
        oldest request is looked up too.
        """
        schema = self._schema
        chosen = schema.features.computing(names)
        store = FeatureStore()
        engine = FeatureEngine(FeatureSet(chosen, schema.requests), schema.requests, store)
        sources = dict.fromkeys(view.source for view in engine.features.views)
        Intake(self._datasets, [store]).restore(sources)
        self._requests = self._asked(engine)
        return engine

    def _asked(self, engine: FeatureEngine) -> pl.DataFrame:
        """Return what features need of every stored request, by its key."""
        data = self._schema.requests
        rows = self._datasets.read_part(data, data.event_time)
        needed = rows.select(engine.features.request_columns())
        return needed.insert_column(0, self._schema.keys(rows)).unique("key", keep="first")

    def _features(self, engine: FeatureEngine, asked: pl.DataFrame) -> pl.DataFrame:
        at = self._schema.requests.event_time
        columns = [name for name in self._requests.columns if name != at]
        requests = asked.join(self._requests.select(columns), on="key", how="left", maintain_order="left")
        return engine.lookup(requests.with_columns(pl.col("requested_at").alias(at)), at=at)


def in_files(frames: Iterable[tuple[str, pl.DataFrame]]) -> Iterator[dict[str, pl.DataFrame]]:
    """Yield segments by name, as many at a time as are worth a file."""
    waiting: list[tuple[str, pl.DataFrame]] = []
    for frame in frames:
        waiting.append(frame)
        if _are_many([rows for _, rows in waiting]):
            yield dict(waiting)
            waiting = []
    if waiting:
        yield dict(waiting)


def _are_many(frames: Sequence[pl.DataFrame]) -> bool:
    return len(frames) >= MOST_SEGMENTS or sum(frame.height for frame in frames) >= MOST_ROWS

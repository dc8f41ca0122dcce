"""The predictions of one model as they are stored: in columns, one segment a batch, small ones together in
files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import polars as pl

from varv.kernel.catalogue import Extent, digests
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Digest
from varv.kernel.columns import SEGMENT, TIME, Columns
from varv.kernel.ids import ModelName
from varv.serving.backfill import Recorded, complete
from varv.serving.batches import BLOCK
from varv.serving.model import RequestsCompacted, RequestsForgotten
from varv.serving.scores import answer_schema
from varv.serving.views import Gone
from varv.tasks import Task

_OF_ONE_MODEL = "predictions"


def predictions_of(model: ModelName | str, columns: Columns) -> str:
    """Return the table of a model's predictions.

    Homes of before held one model and kept its predictions in a table that does not name it; they go on so.
    """
    return _OF_ONE_MODEL if columns.segments(_OF_ONE_MODEL) else f"{_OF_ONE_MODEL}/{model}"


@dataclass(frozen=True)
class Stored:
    """Where telemetry finds what it does not hold in memory.

    `extents` gives where predictions are, in the order in which they were taken in; `n_ever` how many there
    ever were, also of those that are not kept any more; `outcomes` what became known in [since, known_by], or
    since, of every ``key``: ``outcome`` and ``known_at``.
    `most_held` is how many predictions are held.
    """

    extents: Callable[[], Sequence[Extent]]
    n_ever: Callable[[], int]
    outcomes: Callable[[Instant, Instant | None], pl.DataFrame]
    most_held: int = field(default=100_000)


class Run(NamedTuple):
    """Segments whose numbers follow one another from `number` on, and their rows."""

    number: int
    segments: list[str]
    rows: pl.DataFrame


class StoredPredictions:
    """What is stored of one model's predictions, and what of it counts.

    Parameters
    ----------
    where
        Says which segments and files count.
    task
        What a prediction is.
    features
        The features of a row and their types; by default whatever was stored.
    backfilled
        Returns where features are that were computed later.
    """

    def __init__(
        self,
        model: ModelName,
        columns: Columns,
        task: Task,
        where: Stored,
        features: Mapping[str, pl.DataType] | None,
        backfilled: Recorded,
    ) -> None:
        self._model = model
        self._columns = columns
        self._table = predictions_of(model, columns)
        self._answer = answer_schema(task)
        self._where = where
        self._features = features
        self._backfilled = backfilled

    def append(self, segment: str, rows: pl.DataFrame) -> Digest:
        """Store a batch durably, and return the digest of its rows; storing the same batch again changes
        nothing.
        """
        return self._columns.append(self._table, segment, rows)

    def latest(self, extents: Sequence[Extent], most: int) -> list[Run]:
        """Return the last `most` rows of extents and those in files with them, in the order of segments."""
        return sorted(self._runs(_latest(extents, most)), key=lambda run: run.number)

    def _runs(self, extents: Sequence[Extent]) -> Iterator[Run]:
        """Yield the rows of extents by runs of segments whose numbers follow one another."""
        left = iter([number for one in extents for number in one.numbers()])
        for frame in self._columns.batches(self._table, digests(extents), segment_as=SEGMENT):
            marks, rows = frame[SEGMENT].rle().struct.unnest(), self.completed(frame)
            names, ends = marks["value"].to_list(), [0, *marks["len"].cum_sum().to_list()]
            numbers = list(islice(left, len(names)))
            start = 0
            for place in range(1, len(names) + 1):
                is_last = place == len(names) or numbers[place] != numbers[place - 1] + 1
                if is_last or ends[place + 1] - ends[start] > BLOCK:
                    own = rows.slice(ends[start], ends[place] - ends[start])
                    yield Run(numbers[start], names[start:place], own)
                    start = place

    def rows(
        self, since: Instant, until: Instant, columns: Sequence[str] | None, upto: int
    ) -> pl.DataFrame | None:
        """Return the rows of a window, of the segments up to a number; None if there are none."""
        extents = self._where.extents() if upto else ()
        extents = [one for one in extents if one.number <= upto and one.reaches(since, until)]
        if not extents:
            return None
        window = pl.col("requested_at").is_between(as_datetime(since), as_datetime(until), closed="left")
        return pl.concat(
            part.filter(window).select([name for name in columns or part.columns if name in part.columns])
            for part in self._read(extents, columns, upto)
        )

    def _read(
        self, extents: Sequence[Extent], columns: Sequence[str] | None, upto: int
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of extents, with later columns, of their segments up to a number."""
        mark = SEGMENT if self._backfilled() else None
        whole = [one for one in extents if one.last_number <= upto]
        for frame in self._columns.batches(self._table, digests(whole), segment_as=mark, columns=columns):
            yield self.completed(frame, columns)
        for one in extents:
            if one.last_number > upto:
                [frame] = self._columns.batches(self._table, digests([one]), segment_as=mark, columns=columns)
                listed = self._columns.listed(self._table, one.name)[: one.n_upto(upto)]
                yield self.completed(frame.head(sum(segment.n_rows for segment in listed)), columns)

    def compact(
        self, alone: Mapping[str, Digest], files: Collection[str], *, apart: Sequence[Sequence[str]] = ()
    ) -> list[RequestsCompacted]:
        """Store small segments together, and return the facts of it; see `Columns.compact`."""
        facts = []
        for made in self._columns.compact(self._table, alone, files, apart=apart):
            [times] = self._columns.batches(self._table, [made.file], columns=["requested_at"])
            at = times["requested_at"].to_physical()
            span = {"first": Instant(int(at.min())), "last": Instant(int(at.max()))}  # type: ignore[bad-argument-type]
            facts.append(RequestsCompacted(model=self._model, file=made.file, segments=made.segments, **span))
        return facts

    def expired(self, before: Instant, *, besides: Collection[str]) -> RequestsForgotten | None:
        """Return the fact that what is stored of requests made before an instant counts no more, as far as
        whole files hold nothing younger, and but for some segments; None if there is none.
        """
        stored = [one for one in self._where.extents() if one.name not in besides]
        gone = [one for one in stored if one.last is not None and one.last < before]
        if not gone:
            return None
        segments = [
            [listed.segment for listed in self._columns.listed(self._table, one.name)]
            if one.is_file
            else [one.name]
            for one in gone
        ]
        return RequestsForgotten(
            model=self._model,
            before=before,
            extents=tuple(one.name for one in gone),
            segments=tuple(name for names in segments for name in names),
            n_requests=sum(one.n_rows for one in gone),
        )

    def remove(self, gone: Gone, kept: Collection[str]) -> None:
        """Remove the files of what was given up; `kept` are the segments for which something was computed
        later and that still count.
        """
        self._columns.remove(self._table, {*gone.extents, *gone.segments})
        for table in sorted(gone.later):
            self._columns.remove_listed(table, gone.segments, kept)

    def completed(self, rows: pl.DataFrame, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return `rows` with every column of an answer and every feature, or those features that are in
        `columns`, in one order: segments of older homes lack some of an answer's, and those of before a
        change the features that it brought.
        """
        head = ["key", "requested_at", *self._answer]
        features = dict(self._features or {})
        if columns is not None:
            features = {name: dtype for name, dtype in features.items() if name in columns}
        if features and SEGMENT in rows.columns:
            rows = complete(rows, features, self._columns, self._backfilled)
        rest = [name for name in rows.columns if name not in (*head, SEGMENT)]
        rest = rest if self._features is None else list(features)
        if rows.columns == [*head, *rest]:
            return rows
        kinds = self._answer | features
        wanted = [
            pl.col(name) if name in rows.columns else pl.lit(None, kinds[name]).alias(name)
            for name in (*head, *rest)
        ]
        return rows.select(wanted)

    def none(self) -> pl.DataFrame:
        """Return no rows, with the columns that all have."""
        return pl.DataFrame(schema={"key": pl.String, "requested_at": TIME, **self._answer})


def _latest(extents: Sequence[Extent], most: int) -> list[Extent]:
    """Return the last extents that hold `most` rows, in their order."""
    kept, n_rows = list[Extent](), 0
    for one in reversed(extents):
        if n_rows >= most:
            break
        kept.insert(0, one)
        n_rows += one.n_rows
    # A file may hold segments from before and after one that stays alone: all since its first, then.
    first = min((one.number for one in kept), default=0)
    return [one for one in extents if one.last_number >= first]

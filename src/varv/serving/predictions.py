"""The predictions of one model: what was answered, with which inputs, and what turned out.

Predictions live in columns, one segment a batch; outcomes in the requests' dataset, by the time at which they
became known. The latest rows are held in memory as well, for the windows that monitors and evidence ask for;
a replay holds all. What lies further back is read from the columns when somebody asks, as a training does. A
row counts as labelled at an instant only if its outcome was known by then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice, pairwise
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.intake import Batch
from varv.data.outcomes import OutcomeSpec
from varv.kernel.catalogue import Extent, digests
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Digest
from varv.kernel.columns import SEGMENT, TIME, Columns
from varv.kernel.errors import InvalidInput
from varv.kernel.ids import ModelName
from varv.serving.backfill import Recorded, complete
from varv.serving.model import RequestsCompacted, RequestsForgotten
from varv.serving.scores import answer_schema
from varv.serving.truths import Truths
from varv.serving.views import Gone
from varv.tasks import Task

_OF_ONE_MODEL = "predictions"
_BLOCK = 1 << 15
"""Neighbours are held together up to so many rows."""
_FIRST = Instant(0)
T = TypeVar("T")


def predictions_of(model: ModelName | str, columns: Columns) -> str:
    """Return the table of a model's predictions.

    Homes of before held one model and kept its predictions in a table that does not name it; they go on so.
    """
    return _OF_ONE_MODEL if columns.segments(_OF_ONE_MODEL) else f"{_OF_ONE_MODEL}/{model}"


class Predictions:
    """Predictions and outcomes of one model. It listens to ingestion, for the outcomes.

    One thread takes in; others may ask meanwhile.

    Parameters
    ----------
    model
        Whose they are.
    columns
        Where predictions are kept.
    outcome
        What the model predicts.
    stored
        Where what is not held in memory is found, and how much is held.
    features
        The features of a row and their types; by default whatever was stored.
    backfilled
        Returns where features are that were computed later.
    """

    def __init__(
        self,
        model: ModelName,
        columns: Columns,
        outcome: OutcomeSpec,
        stored: Stored,
        *,
        features: Mapping[str, pl.DataType] | None = None,
        backfilled: Recorded = dict,
    ) -> None:
        self._model = model
        self._features = features
        self._backfilled = backfilled
        self._table = predictions_of(model, columns)
        self._answer = answer_schema(outcome.task)
        self._columns = columns
        self._outcome = outcome
        self._segments: dict[str, int] = {}  # that are held, with their numbers
        self._stored = stored
        self._lock = threading.Lock()
        self._batches: list[_Batch] = []
        self._n_rows = 0
        self._truths = Truths(outcome.task.outcome_dtype)
        self._known_at: list[npt.NDArray[np.int64]] = []
        self._counted = Counted(0, _FIRST)
        # By number of the segment, counted in the order in which they were taken in.
        self._last = self._forgotten_upto = 0
        self._n_rows_forgotten = 0

    @property
    def task(self) -> Task:
        """What a prediction and an outcome are."""
        return self._outcome.task

    def restore(self, counted: Counted | None = None) -> None:
        """Read the latest predictions and their outcomes back, as many as are held.

        Parameters
        ----------
        counted
            How many outcomes there were, as `counted` gave it once; they are read and counted by default.
        """
        extents = self._stored.extents()
        runs = sorted(self._runs(_latest(extents, self._stored.most_held)), key=lambda run: run.number)
        self._n_rows_forgotten = self._stored.n_ever() - sum(run.rows.height for run in runs)
        self._last = self._forgotten_upto = runs[0].number - 1 if runs else 0
        for run in runs:
            self._remember(run.segments, run.rows)
        self._last = max((one.last_number for one in extents), default=0)
        if self._outcome.column:
            self._restore_outcomes(counted or Counted(0, _FIRST))

    def _restore_outcomes(self, counted: Counted) -> None:
        since = min([counted.before, *(int(batch.times[0]) for batch in self._batches)])
        rows = self._stored.outcomes(Instant(since), None)
        self.known(rows.filter(pl.col("known_at").to_physical() < counted.before))
        self._known_at, self._counted = list[npt.NDArray[np.int64]](), counted
        self.known(rows.filter(pl.col("known_at").to_physical() >= counted.before))

    def _runs(self, extents: Sequence[Extent]) -> Iterator[_Run]:
        """Yield the rows of extents by runs of segments whose numbers follow one another."""
        left = iter([number for one in extents for number in one.numbers()])
        for frame in self._columns.batches(self._table, digests(extents), segment_as=SEGMENT):
            marks, rows = frame[SEGMENT].rle().struct.unnest(), self._completed(frame)
            names, ends = marks["value"].to_list(), [0, *marks["len"].cum_sum().to_list()]
            numbers = list(islice(left, len(names)))
            start = 0
            for place in range(1, len(names) + 1):
                is_last = place == len(names) or numbers[place] != numbers[place - 1] + 1
                if is_last or ends[place + 1] - ends[start] > _BLOCK:
                    own = rows.slice(ends[start], ends[place] - ends[start])
                    yield _Run(numbers[start], names[start:place], own)
                    start = place

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
        stored = [one for one in self._stored.extents() if one.name not in besides]
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

    def predicted(self, segment: str, rows: pl.DataFrame) -> Digest:
        """Keep a batch of predictions: ``key``, ``requested_at``, the answer's columns, and the features.
        Return the digest of its rows.

        Parameters
        ----------
        segment
            Names the batch. A batch is kept once: what may have to be tried again is stored first, and
            remembered once it counts.
        """
        content = self.store(segment, rows)
        self.remember(segment, rows)
        return content

    def store(self, segment: str, rows: pl.DataFrame) -> Digest:
        """Store a batch durably, not in memory, and return the digest of its rows; storing the same batch
        again changes nothing.
        """
        return self._columns.append(self._table, segment, rows)

    def rows_known(self, batch: Batch) -> None:
        """Take in the outcomes that a batch holds, if it does; the same ones again change nothing."""
        if self._outcome.is_in(batch.dataset, batch.part):
            self.known(self._outcome.read(batch.rows))

    def known(self, outcomes: pl.DataFrame) -> None:
        """Take in outcomes that became known: ``key``, ``outcome`` as the task has it, and ``known_at``."""
        if outcomes.is_empty():
            return
        times = outcomes["known_at"].cast(TIME).cast(pl.Int64).to_numpy()
        if (np.diff(times) < 0).any():
            order = np.argsort(times, kind="stable")
            outcomes, times = outcomes[order], times[order]
        with self._lock:
            fresh = self._truths.learn(outcomes["key"], outcomes["outcome"].to_numpy(), times)
            self._known_at = _tidied(self._known_at, times[fresh], len, _sorted_together)
            self._truths.forget_ahead(self._stored.most_held // 10)
            self._count_only_earlier(self._stored.most_held)

    @property
    def counted(self) -> Counted:
        """How many outcomes there were before the earliest one that is remembered by its time."""
        return self._counted

    def requested(self, since: Instant, until: Instant) -> pl.DataFrame:
        """Return predictions of requests made in [since, until), in their order, whether or not their outcome
        is known.
        """
        return self._rows(since, until, None, until).drop("outcome", "known_at")

    def matured(
        self, since: Instant, until: Instant, *, known_by: Instant, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return requests made in [since, until) with the outcome as known at `known_by`, null where it was
        not.

        Rows come in the order of the requests, with ``outcome`` and ``known_at`` beside the prediction's
        columns, or those of them that are in `columns`.
        """
        return self._rows(since, until, columns, known_by)

    def asked(self, since: Instant, until: Instant, columns: Sequence[str]) -> pl.DataFrame:
        """Return ``key``, ``requested_at`` and `columns` of the requests of [since, until), in order."""
        named = tuple(dict.fromkeys(("key", "requested_at", *columns)))
        with self._lock:
            upto = self._forgotten_upto
            rows, _ = self._held(since, until, named)
        stored = self._stored_rows(since, until, named, upto)
        if stored is None:
            return rows
        return pl.concat([stored, rows.select(stored.columns)]).sort(
            "requested_at", "key", maintain_order=True
        )

    def settled(self, rows: pl.DataFrame, known_by: Instant) -> pl.DataFrame:
        """Return requests with what is declared of those without an outcome; see `OutcomeSpec.settled`."""
        return self._outcome.settled(rows, known_by)

    def outcomes(self, since: Instant, known_by: Instant) -> pl.DataFrame:
        """Return ``key``, ``outcome`` and ``known_at`` of what became known in [since, known_by]."""
        return self._stored.outcomes(since, known_by)

    def labelled(
        self, since: Instant, until: Instant, *, known_by: Instant, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return the rows of `matured` that have an outcome; all of them if the task has none, since a model
        without outcomes trains on its requests.
        """
        rows = self.matured(since, until, known_by=known_by, columns=columns)
        return rows.drop_nulls("outcome") if self._outcome.column else rows

    def n_labelled(self, until: Instant, *, known_by: Instant) -> int:
        """Return how many outcomes were known at `known_by`, without those of requests made from `until`
        on; how many requests were made before `until` if the task has no outcome.
        """
        if not self._outcome.column:
            return self._n_requested(until)
        if self._outcome.no_outcome is not None:
            settled = Instant(min(until, known_by - self._outcome.mature))
            return self._n_requested(settled) + self.labelled(settled, until, known_by=known_by).height
        young = self.labelled(until, Instant(known_by + 1), known_by=known_by, columns=()).height
        return self._n_known(known_by) - young

    def _n_requested(self, until: Instant) -> int:
        with self._lock:
            n_held = sum(int(np.searchsorted(batch.times, until)) for batch in self._batches)
            n_gone, upto = self._n_rows_forgotten, self._forgotten_upto
        stored = self._stored.extents() if upto else ()
        if all(one.last is not None and one.last < until for one in stored if one.number <= upto):
            return n_gone + n_held
        return self.matured(Instant(0), until, known_by=until, columns=()).height

    def _n_known(self, known_by: Instant) -> int:
        counted, batches = self._counted, self._known_at
        if known_by < counted.before - 1:
            return self._stored.outcomes(_FIRST, known_by).height
        return counted.n + sum(int(np.searchsorted(times, known_by, side="right")) for times in batches)

    def _rows(
        self, since: Instant, until: Instant, columns: Sequence[str] | None, known_by: Instant
    ) -> pl.DataFrame:
        """Return the requests made in [since, until) in order, each with what was known of it by then."""
        wanted = None if columns is None else tuple(dict.fromkeys(("key", "requested_at", *columns)))
        with self._lock:
            upto = self._forgotten_upto
            rows, positions = self._held(since, until, wanted)
            # What is known before the request is not what was predicted.
            requested_at = rows["requested_at"].cast(pl.Int64).to_numpy()
            rows = rows.hstack(self._truths.at(positions, requested_at, known_by))
        earlier = self._forgotten(since, until, wanted, known_by, upto)
        if earlier.height:
            parts = [earlier, rows.select(earlier.columns)] if rows.height else [earlier]
            rows = pl.concat(parts).sort("requested_at", "key", maintain_order=True)
        rows = self._outcome.settled(rows, known_by)
        named = rows.columns if columns is None else (*columns, "outcome", "known_at")
        return rows[[name for name in dict.fromkeys(named) if name in rows.columns]]

    def _forgotten(
        self, since: Instant, until: Instant, columns: Sequence[str] | None, known_by: Instant, upto: int
    ) -> pl.DataFrame:
        """Return the rows of a window that are in the columns only, of the segments up to a number, with what
        became known of them.
        """
        rows = self._stored_rows(since, until, columns, upto)
        if rows is None:
            return self._none()
        known = self._stored.outcomes(since, known_by).join(rows.select("key"), on="key", how="semi")
        rows = rows.join(known, on="key", how="left", maintain_order="left")
        in_time = pl.when(pl.col("known_at").is_between("requested_at", as_datetime(known_by)))
        return rows.with_columns(in_time.then("outcome"), in_time.then("known_at"))

    def _stored_rows(
        self, since: Instant, until: Instant, columns: Sequence[str] | None, upto: int
    ) -> pl.DataFrame | None:
        """Return the rows of a window that are in the columns only; None if there are none."""
        extents = self._stored.extents() if upto else ()
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
            yield self._completed(frame, columns)
        for one in extents:
            if one.last_number > upto:
                [frame] = self._columns.batches(self._table, digests([one]), segment_as=mark, columns=columns)
                listed = self._columns.listed(self._table, one.name)[: one.n_upto(upto)]
                yield self._completed(frame.head(sum(segment.n_rows for segment in listed)), columns)

    def _held(
        self, since: Instant, until: Instant, columns: Sequence[str] | None
    ) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
        """Return the requests of [since, until) that are in memory, and the positions of their truths."""
        spans = [
            (batch, *np.searchsorted(batch.times, (since, until)).tolist())
            for batch in self._batches
            if batch.times[0] < until and batch.times[-1] >= since
        ]
        found = [batch.between(first, last) for batch, first, last in spans if first < last]
        if not found:
            found = [_batch(self._none(), np.empty(0, np.int64))]
        parts = [batch.rows for batch in found]
        if columns is not None:
            kept = [name for name in columns if name in parts[0].columns]
            parts = [rows[kept] for rows in parts]
        if len(found) == 1:
            return parts[0], found[0].positions
        rows, positions = pl.concat(parts), np.concatenate([batch.positions for batch in found])
        if all(one.times[-1] < other.times[0] for one, other in pairwise(found)):
            return rows, positions
        # Live, several workers answer at a time.
        order = _order(batch.rows for batch in found)
        return rows[order], positions[order.to_numpy()]

    def remember(self, segment: str, rows: pl.DataFrame) -> None:
        """Hold a stored batch in memory, once; batches are remembered in the order of their segments."""
        if segment in self._segments:
            return
        if rows.is_empty():
            raise InvalidInput("batch", "", "holds no predictions", hint="keep batches that have rows")
        self._remember([segment], self._completed(rows))

    def _remember(self, segments: Sequence[str], rows: pl.DataFrame) -> None:
        """Hold the rows of segments that follow the last one."""
        ordered = rows.sort("requested_at", "key")
        with self._lock:
            self._segments.update(zip(segments, count(self._last + 1), strict=False))
            self._last += len(segments)
            start = self._truths.expect(ordered["key"])
            batch = _batch(ordered, np.arange(start, start + ordered.height), last_number=self._last)
            self._batches = _tidied(self._batches, batch, lambda one: one.rows.height, _merged)
            self._n_rows += ordered.height
            self._forget()

    def _completed(self, rows: pl.DataFrame, columns: Sequence[str] | None = None) -> pl.DataFrame:
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

    def _none(self) -> pl.DataFrame:
        return pl.DataFrame(schema={"key": pl.String, "requested_at": TIME, **self._answer})

    def _forget(self) -> None:
        """Let go of the oldest batches beyond what is to be held, a tenth of it at a time."""
        most = self._stored.most_held
        if self._n_rows <= most + most // 10:
            return
        n = 0
        while self._n_rows > most and n < len(self._batches) - 1:
            gone = self._batches[n]
            self._n_rows -= gone.rows.height
            self._forgotten_upto = gone.last_number
            self._n_rows_forgotten += gone.rows.height
            n += 1
        self._batches = self._batches[n:]
        self._segments = {
            name: number for name, number in self._segments.items() if number > self._forgotten_upto
        }
        before = min(int(batch.positions.min()) for batch in self._batches if batch.positions.size)
        self._truths.forget(before)

    def _count_only_earlier(self, most: int) -> None:
        """Keep of the oldest outcomes only how many there are."""
        n = sum(map(len, self._known_at))
        if n <= 2 * most:
            return
        times = np.sort(np.concatenate(self._known_at))
        before = int(times[n // 2])
        gone = int(np.searchsorted(times, before))
        self._known_at = [times[gone:]]
        self._counted = Counted(self._counted.n + gone, Instant(before))


@dataclass(frozen=True)
class Stored:
    """Where telemetry finds what it does not hold in memory.

    `extents` gives where predictions are, in the order in which they were taken in; `n_ever` how many there
    ever were, also of those that are not kept any more; `outcomes` what became
    known in [since, known_by], or since, of every ``key``: ``outcome`` and ``known_at``.
    `most_held` is how many predictions are held.
    """

    extents: Callable[[], Sequence[Extent]]
    n_ever: Callable[[], int]
    outcomes: Callable[[Instant, Instant | None], pl.DataFrame]
    most_held: int = field(default=100_000)


class Counted(msgspec.Struct, frozen=True):
    """How many outcomes had become known before an instant."""

    n: int
    before: Instant


class _Run(NamedTuple):
    """Segments whose numbers follow one another from `number` on, and their rows."""

    number: int
    segments: list[str]
    rows: pl.DataFrame


class _Batch(NamedTuple):
    """Predictions in the order of their requests, the instants of these, and where their truths are."""

    rows: pl.DataFrame
    times: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    last_number: int
    """Of the segments that they came in."""

    def between(self, first: int, last: int) -> _Batch:
        return _Batch(self.rows[first:last], self.times[first:last], self.positions[first:last], 0)


def _batch(rows: pl.DataFrame, positions: npt.NDArray[np.int64], *, last_number: int = 0) -> _Batch:
    return _Batch(rows, rows["requested_at"].to_physical().to_numpy(), positions, last_number)


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


def _order(parts: Iterable[pl.DataFrame]) -> pl.Series:
    """Return the order of the requests in `parts`, one below the other."""
    both = pl.concat([rows.select("requested_at", "key") for rows in parts])
    return both.select(pl.arg_sort_by("requested_at", "key")).to_series()


def _merged(one: _Batch, other: _Batch) -> _Batch | None:
    if one.rows.schema != other.rows.schema:
        return None
    last_number = max(one.last_number, other.last_number)
    if one.times[-1] < other.times[0]:
        positions = np.concatenate([one.positions, other.positions])
        return _batch(pl.concat([one.rows, other.rows]).rechunk(), positions, last_number=last_number)
    order = _order([one.rows, other.rows])
    # In one piece: a frame of many chunks would cost as much as many frames.
    rows = pl.concat([one.rows, other.rows])[order].rechunk()
    positions = np.concatenate([one.positions, other.positions])[order.to_numpy()]
    return _batch(rows, positions, last_number=last_number)


def _sorted_together(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.sort(np.concatenate([one, other]))


def _tidied(held: list[T], new: T, height: Callable[[T], int], merge: Callable[[T, T], T | None]) -> list[T]:
    """Return `held` with `new` at its end, neighbours there made one, up to a block.

    Live, a batch is what came in five seconds. Three rows in a frame of their own take 20 KB, and a day has
    thousands of such frames; who asks for a window looks into every one. Nothing is merged into what is twice
    as large, so that a row is copied only as often as its batch grows by half. The list is a new one, since
    others may be reading the old.
    """
    held = list(held)
    while held and height(new) + height(held[-1]) <= _BLOCK and height(held[-1]) < 2 * height(new):
        both = merge(held[-1], new)
        if both is None:
            break
        held.pop()
        new = both
    return [*held, new]

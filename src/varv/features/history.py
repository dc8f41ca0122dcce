"""What was known of each entity at each time: sorted rows, with searches for many requests at once.

Rows stand in the order of entity and time, in one array of composite integers, so that "the rows of this
entity up to this instant" is one binary search. Sums are integers, steps of 2^-20, so a window's sum is exact
and does not depend on the order in which rows arrived: the same features come out offline and online, bit for
bit. Arrays are never changed in place. Many rows lie in a file that is mapped into memory.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from varv.kernel.clock import Duration, Instant
from varv.kernel.errors import InvalidInput
from varv.kernel.mapped import Mapped, MappedArrays, MappedFile

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Values = npt.NDArray[Any]

STEPS = 2.0**20
LARGEST = 2.0**23
"""Windowed values are below this in size, which lets a window hold a million rows without overflow."""
ROWS_IN_MEMORY = 1 << 17
"""A longer run lies in a file."""
_RECENT = 512
_MOST_KEYS = 2**63 - 1
_STEP = 1 << 18
_NEAR = 256
_MOST_BOUNDS = 1 << 17


class Rows(NamedTuple):
    """Rows of a table, each array of shape (n,)."""

    codes: Ints
    times: Ints
    ties: npt.NDArray[np.uint64]
    columns: Mapping[str, Values]

    def only(self, chosen: npt.NDArray[Any] | slice) -> Rows:
        """Return the chosen rows."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Rows(self.codes[chosen], self.times[chosen], self.ties[chosen], columns)

    def copied(self) -> Rows:
        """Return the same rows in arrays of their own."""
        return self.only(np.arange(len(self.codes)))

    def in_order(self) -> Rows:
        """Return the rows by entity, time and tie."""
        return self.only(np.lexsort((self.ties, self.times, self.codes)))


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run, for another process: rows in order, and what is derived of them where it takes long."""

    codes: np.ndarray
    times: np.ndarray
    ties: np.ndarray
    columns: dict[str, np.ndarray]
    span: tuple[int, int]
    keys: np.ndarray
    totals: np.ndarray | None


class HistoryState(msgspec.Struct, frozen=True):
    """The runs of a history."""

    runs: tuple[RunState, RunState, RunState]


class RunView:
    """A run as single lookups read it: plain numbers, since an array of one takes ten times as long.

    Parameters
    ----------
    run
        The run; its rows never change.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._bounds: dict[int, tuple[int, int]] = {}
        self.codes, self.times = run.rows.codes.data, run.rows.times.data
        columns = run.rows.columns.values()
        self.totals = run.totals.data if all(one.dtype == np.int64 for one in columns) else None
        """Running totals of shape (n + 1, columns), of runs whose columns are whole numbers."""

    def upto(self, code: int, instant: int) -> tuple[int, int]:
        """Return where the rows of an entity begin, and where those up to and including an instant end."""
        start, end = self._bounds.get(code) or self._found(code)
        # Requests are made now, and nothing is known of later.
        if start < end and self.times[end - 1] > instant:
            end = bisect_right(self.times, instant, start, end)
        return start, end

    def after(self, instant: int, start: int, end: int) -> int:
        """Return the first of an entity's rows, from `start` to `end`, that is later than an instant."""
        # Windows are short: most begin among the last rows.
        near = end - _NEAR
        if near <= start:
            return bisect_right(self.times, instant, start, end)
        if self.times[near] > instant:
            return bisect_right(self.times, instant, start, near)
        return bisect_right(self.times, instant, near, end)

    def _found(self, code: int) -> tuple[int, int]:
        if len(self._bounds) > _MOST_BOUNDS:
            self._bounds.clear()
        start, end = bisect_left(self.codes, code), bisect_right(self.codes, code)
        return self._bounds.setdefault(code, (start, end))


class Run:
    """Rows sorted by entity, time and tie.

    Parameters
    ----------
    codes, times, ties
        Of each row, shape (n,): the entity as a number from 0, the instant, and what decides between rows of
        one entity and instant.
    columns
        The values of each row by column, each of shape (n,).
    """

    def __init__(
        self, codes: Ints, times: Ints, ties: npt.NDArray[np.uint64], columns: Mapping[str, Values]
    ) -> None:
        self._hold(Rows(codes, times, ties, columns).in_order(), _span(times))
        self._keys = self._keys_of(self.rows)

    def _hold(self, rows: Rows, span: tuple[int, int], lies_in: Mapped | None = None) -> None:
        self.rows, self.span, self._lies_in = rows, span, lies_in
        first, last = span
        self._base, self._stride = first - 1, last - first + 2
        self._beyond = int(rows.codes[-1]) + 1 if len(rows.codes) else 0
        if (self._beyond + 1) * self._stride > _MOST_KEYS:
            hint = "shorten the history with trim(), or the windows"
            raise InvalidInput(
                "history", "", "has too many entities for its length", entities=self._beyond, hint=hint
            )

    def _keys_of(self, rows: Rows) -> Ints:
        return rows.codes * self._stride + (rows.times - self._base)

    @classmethod
    def filed(cls, parts: Iterator[Rows], n_rows: int, span: tuple[int, int], like: Rows) -> Run:
        """Return a run of rows that come in order, a stretch at a time, in a file.

        Parameters
        ----------
        n_rows
            How many there are in all.
        span
            Their instants lie in it, ends included.
        like
            Has their columns.
        """
        kinds = [np.int64, np.int64, np.uint64, *(values.dtype for values in like.columns.values())]
        n_columns = len(like.columns)
        has_totals = all(values.dtype == np.int64 for values in like.columns.values())
        totals_shape = (n_rows + 1 if has_totals else 0, n_columns)
        lies_in = MappedArrays(
            [*((kind, (n_rows,)) for kind in kinds), (np.int64, (n_rows,)), (np.int64, totals_shape)]
        )
        codes, times, ties, *values, keys, totals = lies_in.arrays
        rows = Rows(codes, times, ties, dict(zip(like.columns, values, strict=True)))
        end = 0
        for part in parts:
            start, end = end, end + len(part.codes)
            codes[start:end], times[start:end], ties[start:end] = part.codes, part.times, part.ties
            for name, column in part.columns.items():
                rows.columns[name][start:end] = column
            if has_totals:
                stacked = np.stack(list(part.columns.values()), axis=1)
                totals[start + 1 : end + 1] = totals[start] + np.cumsum(stacked, 0)
        run = cls.__new__(cls)
        run._hold(rows, span, lies_in)
        for start in range(0, n_rows, _STEP):
            keys[start : start + _STEP] = run._keys_of(rows.only(slice(start, start + _STEP)))
        run._keys = keys
        if has_totals:
            run.totals = totals
        run.let_go()
        return run

    @classmethod
    def restored(cls, state: RunState, lies_in: MappedFile) -> Run:
        """Return the run of a state; a long one goes on lying where it does."""
        is_long = len(state.codes) > ROWS_IN_MEMORY
        rows = Rows(state.codes, state.times, state.ties, state.columns)
        run = cls.__new__(cls)
        run._hold(rows if is_long else rows.copied(), state.span, lies_in if is_long else None)
        run._keys = state.keys if is_long else state.keys.copy()
        if is_long and state.totals is not None:
            run.totals = state.totals
        return run

    def as_state(self) -> RunState:
        """Return what it holds."""
        rows = self.rows
        return RunState(
            codes=rows.codes,
            times=rows.times,
            ties=rows.ties,
            columns=dict(rows.columns),
            span=self.span,
            keys=self._keys,
            totals=self.__dict__.get("totals") if self._lies_in else None,
        )

    def __len__(self) -> int:
        return len(self.rows.codes)

    def let_go(self) -> None:
        """Let the system have the memory of pages that were looked into."""
        if self._lies_in is not None:
            self._lies_in.let_go()

    def upto(self, codes: Ints, instants: Ints) -> Ints:
        """Return, for each entity and instant, after how many rows its rows up to and including then end."""
        offsets = np.minimum(np.maximum(instants - self._base, 0), self._stride - 1)
        keys = np.minimum(codes, self._beyond) * self._stride + offsets
        return np.searchsorted(self._keys, keys, side="right").astype(np.int64, copy=False)

    @cached_property
    def view(self) -> RunView:
        """What single lookups read."""
        return RunView(self)

    @cached_property
    def totals(self) -> Ints:
        """Running totals of the integer columns, shape (n + 1, columns), starting with 0."""
        values = np.stack(list(self.rows.columns.values()), axis=1)
        return np.concatenate((np.zeros((1, values.shape[1]), np.int64), np.cumsum(values, 0)))

    def with_rows(self, others: Rows) -> Run:
        """Return these rows and others."""
        return Run(*_joined([self.rows, others])) if len(others.codes) else self

    def kept(self, mask: npt.NDArray[np.bool_]) -> Run:
        """Return the rows where `mask` is true."""
        n_rows = int(mask.sum())
        if not _is_filed(n_rows, self.rows):
            return Run(*self.rows.only(mask))
        cuts = range(0, len(self), _STEP)
        parts = (self.rows.only(slice(cut, cut + _STEP)).only(mask[cut : cut + _STEP]) for cut in cuts)
        return Run.filed(parts, n_rows, self.span, self.rows)


def merged(one: Run, other: Run) -> Run:
    """Return the rows of two runs as one; a long one lies in a file, and is made a stretch at a time."""
    if not len(one) or not len(other):
        return one if len(one) else other
    n_rows = len(one) + len(other)
    if not _is_filed(n_rows, one.rows):
        return one.with_rows(other.rows)
    span = min(one.span[0], other.span[0]), max(one.span[1], other.span[1])
    return Run.filed(_in_turn(one, other), n_rows, span, one.rows)


def _in_turn(one: Run, other: Run) -> Iterator[Rows]:
    """Yield the rows of both runs in order; rows of one entity and instant come together."""
    longer = max(one, other, key=len).rows
    codes, before = longer.codes[_STEP::_STEP].copy(), longer.times[_STEP::_STEP] - 1
    cuts = [np.concatenate(([0], run.upto(codes, before), [len(run)])) for run in (one, other)]
    bounds = [list(pairwise(cut.tolist())) for cut in cuts]
    for ours, theirs in zip(*bounds, strict=True):
        yield _joined([one.rows.only(slice(*ours)), other.rows.only(slice(*theirs))]).in_order()


def _is_filed(n_rows: int, like: Rows) -> bool:
    return n_rows > ROWS_IN_MEMORY and not any(values.dtype == object for values in like.columns.values())


def _joined(several: Sequence[Rows]) -> Rows:
    return Rows(
        np.concatenate([rows.codes for rows in several]),
        np.concatenate([rows.times for rows in several]),
        np.concatenate([rows.ties for rows in several]),
        {name: np.concatenate([rows.columns[name] for rows in several]) for name in several[0].columns},
    )


def _span(times: Ints) -> tuple[int, int]:
    return (int(times.min()), int(times.max())) if len(times) else (0, 0)


class History:
    """The rows of one table: a long run and a short recent one, merged now and then so that adding rows stays
    cheap; and one between them once the long one lies in a file.
    """

    def __init__(self, columns: Mapping[str, npt.DTypeLike]) -> None:
        nothing = np.zeros(0, np.int64)
        self._empty = Run(
            nothing,
            nothing,
            nothing.astype(np.uint64),
            {name: np.zeros(0, dtype) for name, dtype in columns.items()},
        )
        # One tuple, replaced as a whole: a reader in another thread sees the runs before or after.
        self.runs: tuple[Run, Run, Run] = (self._empty, self._empty, self._empty)

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def add(
        self, codes: Ints, times: Ints, ties: npt.NDArray[np.uint64], columns: Mapping[str, Values]
    ) -> None:
        """Add rows in any order."""
        main, middle, recent = self.runs
        recent = recent.with_rows(Rows(codes, times, ties, columns))
        is_long = len(main) > ROWS_IN_MEMORY
        if len(recent) > max(_RECENT, len(middle if is_long else main) // 16):
            middle, recent = merged(middle, recent), self._empty
            if not is_long or len(middle) > len(main) // 16:
                main, middle = merged(main, middle), self._empty
        self.runs = (main, middle, recent)

    def trim(self, before: Instant, span: Duration | None) -> None:
        """Forget the rows that no request at or after `before` can see, which looks back by `span` or without
        end.
        """
        main, middle, recent = self.runs
        whole = merged(main, merged(middle, recent))
        codes, times = whole.rows.codes, whole.rows.times
        if span is not None:
            mask = times > before - span
        else:
            last_of_past = np.ones(len(whole), np.bool_)
            last_of_past[:-1] = (codes[1:] != codes[:-1]) | (times[1:] > before)
            mask = (times > before) | last_of_past
        self.runs = (whole.kept(mask), self._empty, self._empty)

    def let_go(self) -> None:
        """Let the system have the memory of what was looked into in files."""
        for run in self.runs:
            run.let_go()

    def as_state(self) -> HistoryState:
        """Return what it holds; nothing changes it any more."""
        main, middle, recent = self.runs
        return HistoryState((main.as_state(), middle.as_state(), recent.as_state()))

    def restore(self, state: HistoryState, lies_in: MappedFile) -> None:
        """Hold what another one held.

        Parameters
        ----------
        lies_in
            What the longer arrays lie in.
        """
        main, middle, recent = (Run.restored(run, lies_in) for run in state.runs)
        self.runs = (main, middle, recent)

    def sums(self, codes: Ints, instants: Ints, spans: Ints) -> Ints:
        """Return the sums of the integer columns over each entity's rows in ``(instant - span, instant]``.

        Parameters
        ----------
        codes, instants
            Shape (n,).
        spans
            Microseconds, shape (k,).

        Returns
        -------
        Ints
            Shape (k, n, columns); zeros where there are no rows.
        """
        ends = instants - np.concatenate(([0], spans))[:, None]
        found = np.zeros((len(spans), len(codes), len(self._empty.rows.columns)), np.int64)
        for run in self.runs:
            if len(run):
                totals = run.totals[run.upto(codes, ends)]
                found += totals[0] - totals[1:]
        return found

    def sums_at(self, code: int, instant: int, spans: Sequence[int]) -> list[tuple[int, int]]:
        """Return what `sums` does of one entity and instant, for two columns: a pair for each span."""
        found = [(0, 0)] * len(spans)
        for run in self.runs:
            view = run.view
            start, end = view.upto(code, instant)
            if start == end or (totals := view.totals) is None:
                continue
            last = view.times[end - 1]
            for place, span in enumerate(spans):
                if last > instant - span:
                    row = view.after(instant - span, start, end)
                    one, other = found[place]
                    found[place] = (
                        one + totals[end, 0] - totals[row, 0],
                        other + totals[end, 1] - totals[row, 1],
                    )
        return found

    def latest_at(self, code: int, instant: int, ttl: int | None) -> list[Any] | None:
        """Return what `latest` does of one entity and instant: the values of its last row, None if there is
        none.
        """
        best: tuple[int, int] | None = None
        found = None
        for run in self.runs:
            start, end = run.view.upto(code, instant)
            if start == end or (ttl is not None and run.view.times[end - 1] <= instant - ttl):
                continue
            order = run.view.times[end - 1], int(run.rows.ties[end - 1])
            if best is None or order > best:
                best, found = order, [values[end - 1] for values in run.rows.columns.values()]
        return found

    def latest(
        self, codes: Ints, instants: Ints, ttl: Duration | None
    ) -> tuple[npt.NDArray[np.bool_], dict[str, Values]]:
        """Return whether each entity has a row in ``(instant - ttl, instant]``, and the last such row's
        values.

        Values where there is no row are arbitrary.
        """
        n = len(codes)
        found, when, tie = np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.uint64)
        values = {name: np.zeros(n, column.dtype) for name, column in self._empty.rows.columns.items()}
        for run in self.runs:
            if not len(run):
                continue
            row = run.upto(codes, instants) - 1
            theirs = run.rows.only(row)
            has = (row >= 0) & (theirs.codes == codes)
            if ttl is not None:
                has &= theirs.times > instants - ttl
            better = has & (~found | (theirs.times > when) | ((theirs.times == when) & (theirs.ties > tie)))
            found |= has
            when, tie = np.where(better, theirs.times, when), np.where(better, theirs.ties, tie)
            values = {name: np.where(better, theirs.columns[name], old) for name, old in values.items()}
        return found, values


def fixed_point(values: Floats, column: str) -> tuple[Ints, Ints]:
    """Return values in steps of 2^-20, 0 where not finite, and 1 where a value is finite, else 0.

    Raises
    ------
    InvalidInput
        If a finite value is 2^23 or more in size.
    """
    present = np.isfinite(values)
    clean = np.where(present, values, 0.0)
    if len(clean) and float(np.abs(clean).max()) >= LARGEST:
        hint = "scale the column; a contract keeps wild values out"
        raise InvalidInput("column", column, "has values too large for a window", largest=LARGEST, hint=hint)
    return np.rint(clean * STEPS).astype(np.int64), present.astype(np.int64)

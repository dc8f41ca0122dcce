"""Rows in the order of entity and time, which never change, and where to look in them.

One array of composite integers is sorted, so that "the rows of this entity up to this instant" is one binary
search. Columns of whole numbers have running totals; what else statistics derive of a run is kept beside it.
Many rows lie in a file that is mapped into memory. Whoever adds rows is `features.history`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from varv.kernel.mapped import Mapped, MappedArrays, MappedFile

Ints = npt.NDArray[np.int64]
Values = npt.NDArray[Any]
T = TypeVar("T")

ROWS_IN_MEMORY = 1 << 17
"""A longer run lies in a file."""
_MOST_KEYS = 2**63 - 1
_STEP = 1 << 18
_NEAR = 256
_FEW = 1024
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
        if len(self.codes) < _FEW:
            return self.only(np.lexsort((self.ties, self.times, self.codes)))
        # One array of whole numbers is sorted in a fifth of the time of three.
        keys = Keys.of(self.codes, _span(self.times)).of_rows(self.codes, self.times)
        order = np.argsort(keys)
        equal = np.flatnonzero(np.diff(keys[order]) == 0)
        if len(equal):
            tied = np.union1d(equal, equal + 1)
            rows = order[tied]
            order[tied] = rows[np.lexsort((self.ties[rows], self.times[rows], keys[rows]))]
        return self.only(order)


class Keys(NamedTuple):
    """An entity and an instant as one whole number: a step of the entity, and the instants of a step.

    Many entities over a long time have no place in 64 bits, so a step is as many microseconds as it takes: of
    rows of one entity within one step their times decide.
    """

    base: int
    stride: int
    """Steps that an entity has."""
    bits: int
    """A step is two to this power microseconds."""
    beyond: int
    """The code after the last one."""
    last: int
    """Of all instants, counted from `base`."""

    @classmethod
    def of(cls, codes: Ints, span: tuple[int, int]) -> Keys:
        """Return those for codes from 0 and instants in a span, ends included."""
        beyond = int(codes.max()) + 1 if len(codes) else 0
        base, last = span[0] - 1, span[1] - span[0] + 1
        bits = 0
        while (beyond + 1) * ((last >> bits) + 1) > _MOST_KEYS:
            bits += 1
        return cls(base, (last >> bits) + 1, bits, beyond, last)

    def of_rows(self, codes: Ints, times: Ints) -> Ints:
        """Return the key of each row."""
        return codes * self.stride + ((times - self.base) >> self.bits)

    def of_requests(self, codes: Ints, instants: Ints) -> Ints:
        """Return the keys up to which rows can lie; of entities and instants that no row has, too."""
        offsets = np.minimum(np.maximum(instants - self.base, 0), self.last) >> self.bits
        return np.minimum(codes, self.beyond) * self.stride + offsets


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run, for another process: rows in order, and what is derived of them where it takes long."""

    codes: np.ndarray
    times: np.ndarray
    ties: np.ndarray
    columns: dict[str, np.ndarray]
    span: tuple[int, int]
    keys: np.ndarray
    totals: dict[str, np.ndarray] | None


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
        self.columns = {
            name: values.data for name, values in run.rows.columns.items() if values.dtype != object
        }
        self.totals = {name: values.data for name, values in run.totals.items()}
        """Running totals of the columns of whole numbers, each of shape (n + 1,)."""

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
        self.n_rows = len(rows.codes)
        self._tables: dict[str, Any] = {}
        # Rows are in order, so the last one has the largest code.
        self._places = Keys.of(rows.codes[-1:], span)

    def _keys_of(self, rows: Rows) -> Ints:
        return self._places.of_rows(rows.codes, rows.times)

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
        whole = _whole_numbers(like.columns)
        shapes = [
            *((kind, (n_rows,)) for kind in (*kinds, np.int64)),
            *((np.int64, (n_rows + 1,)) for _ in whole),
        ]
        lies_in = MappedArrays(shapes)
        n_columns = len(like.columns)
        codes, times, ties, *others = lies_in.arrays
        rows = Rows(codes, times, ties, dict(zip(like.columns, others[:n_columns], strict=True)))
        totals = dict(zip(whole, others[n_columns + 1 :], strict=True))
        end = 0
        for part in parts:
            start, end = end, end + len(part.codes)
            codes[start:end], times[start:end], ties[start:end] = part.codes, part.times, part.ties
            for name, column in part.columns.items():
                rows.columns[name][start:end] = column
            for name, running in totals.items():
                running[start + 1 : end + 1] = running[start] + np.cumsum(part.columns[name])
        run = cls.__new__(cls)
        run._hold(rows, span, lies_in)
        run._keys = others[n_columns]
        for start in range(0, n_rows, _STEP):
            run._keys[start : start + _STEP] = run._keys_of(rows.only(slice(start, start + _STEP)))
        run.totals = totals
        run.let_go()
        return run

    @classmethod
    def restored(cls, state: RunState, lies_in: MappedFile) -> Run:
        """Return the run of a state; a long one goes on lying where it does."""
        lies = is_long(len(state.codes))
        rows = Rows(state.codes, state.times, state.ties, state.columns)
        run = cls.__new__(cls)
        run._hold(rows if lies else rows.copied(), state.span, lies_in if lies else None)
        run._keys = state.keys if lies else state.keys.copy()
        if lies and state.totals is not None:
            run.totals = dict(state.totals)
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
        return self.n_rows

    def let_go(self) -> None:
        """Let the system have the memory of pages that were looked into."""
        if self._lies_in is not None:
            self._lies_in.let_go()

    def upto(self, codes: Ints, instants: Ints) -> Ints:
        """Return, for each entity and instant, after how many rows its rows up to and including then end."""
        keys = self._places.of_requests(codes, instants)
        ends = np.searchsorted(self._keys, keys, side="right").astype(np.int64, copy=False)
        return self._within_steps(keys, instants, ends) if self._places.bits else ends

    def _within_steps(self, keys: Ints, instants: Ints, ends: Ints) -> Ints:
        """Return after how many rows those up to instants end, where keys say so to a step only."""
        starts = np.searchsorted(self._keys, keys, side="left").astype(np.int64, copy=False)
        instants = np.broadcast_to(instants, ends.shape)
        ends = ends.copy()
        # By halves, of all requests at once.
        while (left := starts < ends).any():
            middles = (starts[left] + ends[left]) // 2
            counts = self.rows.times[middles] <= instants[left]
            starts[left] = np.where(counts, middles + 1, starts[left])
            ends[left] = np.where(counts, ends[left], middles)
        return starts

    @cached_property
    def view(self) -> RunView:
        """What single lookups read."""
        return RunView(self)

    @cached_property
    def totals(self) -> dict[str, Ints]:
        """Running totals of the columns of whole numbers, each of shape (n + 1,), starting with 0."""
        columns = self.rows.columns
        return {name: np.concatenate(([0], np.cumsum(columns[name]))) for name in _whole_numbers(columns)}

    def table(self, name: str, made_of: Callable[[Run], T]) -> T:
        """Return what is derived of this run under a name, which is made when it is first asked for."""
        # Two threads that make it at once make the same.
        if (found := self._tables.get(name)) is None:
            found = self._tables[name] = made_of(self)
        return found

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


def is_long(n_rows: int) -> bool:
    """Return whether a run of so many rows lies in a file."""
    return n_rows > ROWS_IN_MEMORY


def _is_filed(n_rows: int, like: Rows) -> bool:
    return is_long(n_rows) and not any(values.dtype == object for values in like.columns.values())


def _joined(several: Sequence[Rows]) -> Rows:
    return Rows(
        np.concatenate([rows.codes for rows in several]),
        np.concatenate([rows.times for rows in several]),
        np.concatenate([rows.ties for rows in several]),
        {name: np.concatenate([rows.columns[name] for rows in several]) for name in several[0].columns},
    )


def _whole_numbers(columns: Mapping[str, Values]) -> list[str]:
    return [name for name, values in columns.items() if values.dtype == np.int64]


def _span(times: Ints) -> tuple[int, int]:
    return (int(times.min()), int(times.max())) if len(times) else (0, 0)

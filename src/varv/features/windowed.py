"""Statistics over windows, as a view's features: where the windows of requests begin and end."""

from __future__ import annotations

from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.boundaries import boundaries
from varv.features.history import History
from varv.features.last_row import Taken, Texts
from varv.features.run import Ints, Run
from varv.features.statistics import found_by
from varv.features.window_kinds import Sessions, Sliding, Tumbling, Windows
from varv.kernel.clock import Instant


class Bounds(Protocol):
    """Says between which instants rows count, of each window of a request: after one, up to another."""

    def many(self, history: History, codes: Ints, instants: Ints) -> tuple[Ints, Ints]:
        """Return after which instant rows count, shape (k, n), and up to which, shape (n,)."""
        ...

    def one(self, history: History, code: int, instant: int) -> tuple[list[int], int]:
        """Return the same of one request."""
        ...


class SlidingBounds:
    """Those of windows that end at the request."""

    def __init__(self, kind: Sliding) -> None:
        self._plain = tuple(kind.spans.values())
        self._spans = np.array(self._plain, np.int64)[:, None]

    def many(self, history: History, codes: Ints, instants: Ints) -> tuple[Ints, Ints]:
        """See `Bounds`."""
        return instants - self._spans, instants

    def one(self, history: History, code: int, instant: int) -> tuple[list[int], int]:
        """See `Bounds`."""
        return [instant - span for span in self._plain], instant


class TumblingBounds:
    """Those of the last whole interval."""

    def __init__(self, kind: Tumbling) -> None:
        self._boundaries = boundaries(kind.every, kind.offset, kind.zone)

    def many(self, history: History, codes: Ints, instants: Ints) -> tuple[Ints, Ints]:
        """See `Bounds`."""
        starts, ends = self._boundaries.last_whole(instants)
        return (starts - 1)[None], ends - 1

    def one(self, history: History, code: int, instant: int) -> tuple[list[int], int]:
        """See `Bounds`."""
        start, end = self._boundaries.last_whole_at(instant)
        return [start - 1], end - 1


class SessionBounds:
    """Those of the session that is open at the request.

    A run knows where each of its rows' sessions begins as far as it goes by itself; rows of other runs may
    lie in the gap before it, so runs are asked in turn until none leads further back.
    """

    def __init__(self, kind: Sessions) -> None:
        self._gap, self._longest = kind.gap, kind.longest
        self._name = f"sessions {kind.gap}"

    def many(self, history: History, codes: Ints, instants: Ints) -> tuple[Ints, Ints]:
        """See `Bounds`."""
        begins = instants
        runs = [run for run in history.runs if len(run)]
        while True:
            before = begins
            for run in runs:
                row = run.upto(codes, begins) - 1
                at = run.rows.times[row]
                is_near = (row >= 0) & (run.rows.codes[row] == codes) & (at >= begins - self._gap)
                begins = np.where(is_near, run.table(self._name, self._begins)[row], begins)
            if np.array_equal(before, begins):
                return np.maximum(begins - 1, instants - self._longest)[None], instants

    def one(self, history: History, code: int, instant: int) -> tuple[list[int], int]:
        """See `Bounds`."""
        begin, before = instant, None
        while before != begin:
            before = begin
            for run in history.runs:
                start, end = run.view.upto(code, begin)
                if start < end and run.view.times[end - 1] >= begin - self._gap:
                    begin = int(run.table(self._name, self._begins)[end - 1])
        return [max(begin - 1, instant - self._longest)], instant

    def _begins(self, run: Run) -> Ints:
        """Return when the session of each row begins."""
        codes, times, _, _ = run.rows
        is_first = np.ones(len(run), np.bool_)
        is_first[1:] = (codes[1:] != codes[:-1]) | (times[1:] - times[:-1] > self._gap)
        return times[np.maximum.accumulate(np.where(is_first, np.arange(len(run)), 0))]


class WindowRows:
    """The statistics of a column over windows.

    Parameters
    ----------
    is_text
        Whether the column holds texts.
    """

    def __init__(self, windows: Windows, *, is_text: bool) -> None:
        self._column, self._is_text = windows.column, is_text
        self._n_windows = len(windows.kind.labels)
        self._found = [found_by(one, is_text=is_text) for one in windows.statistics]
        self._texts = [is_text and one in ("first", "last") for one in windows.statistics]
        self._n_numeric = self._texts.count(False)
        self._only = self._found[0] if self._texts == [False] else None
        self.columns: dict[str, npt.DTypeLike] = {}
        for one in self._found:
            self.columns |= one.columns
        self.needs_ties = any(one in ("first", "last") for one in windows.statistics)
        self.span = self.reach = windows.kind.reach
        self._bounds = _bounds_of(windows)

    def taken(self, rows: pl.DataFrame) -> Taken:
        """Return which rows have a value, and what is kept of it."""
        values = rows[self._column]
        has = values.is_not_null() if self._is_text else values.cast(pl.Float64).is_finite().fill_null(False)
        mask = None
        if not has.all():
            mask, values = has.to_numpy(), values.filter(has)
        columns: dict[str, npt.NDArray[Any]] = {}
        for one in self._found:
            if not one.columns.keys() <= columns.keys():
                columns |= one.taken(values)
        return mask, columns

    def lookup(
        self,
        history: History,
        codes: Ints,
        instants: Ints,
        numbers: npt.NDArray[np.float32],
        *,
        strictly: bool = False,
    ) -> Texts:
        """Write the numeric features into `numbers`, a row a feature, and return the others; `strictly`, of
        rows of before the instants.
        """
        lows, highs = self._bounds.many(history, codes, instants)
        if strictly:
            # Where windows begin, and whole intervals end, does not move.
            highs = np.minimum(highs, instants - 1)
        pieces = history.pieces(codes, lows, highs)
        shape, numeric = (self._n_windows, len(codes)), 0
        texts: list[npt.NDArray[Any]] = []
        for one, is_text in zip(self._found, self._texts, strict=True):
            if is_text:
                texts.append(one.many(pieces, shape))
            else:
                numbers[numeric :: self._n_numeric] = one.many(pieces, shape)
                numeric += 1
        return [each[window].tolist() for window in range(self._n_windows) for each in texts]

    def lookup_one(
        self, history: History, code: int, instant: Instant, numbers: list[float], *, strictly: bool = False
    ) -> list[str | None]:
        """Append the numeric features of one entity to `numbers`, and return the others."""
        lows, high = self._bounds.one(history, code, instant)
        if strictly:
            high = min(high, instant - 1)
        pieces = history.pieces_at(code, lows, high)
        if self._only is not None:
            numbers += self._only.one(pieces, self._n_windows)
            return []
        found = [one.one(pieces, self._n_windows) for one in self._found]
        pairs = list(zip(found, self._texts, strict=True))
        numbers += chain.from_iterable(zip(*(each for each, is_text in pairs if not is_text), strict=True))
        return list(chain.from_iterable(zip(*(each for each, is_text in pairs if is_text), strict=True)))


def _bounds_of(windows: Windows) -> Bounds:
    if isinstance(windows.kind, Sliding):
        return SlidingBounds(windows.kind)
    return TumblingBounds(windows.kind) if isinstance(windows.kind, Tumbling) else SessionBounds(windows.kind)

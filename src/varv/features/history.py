"""What was known of each entity at each time: runs of sorted rows, to which rows are added in any order.

Where the windows of requests lie in the runs is found here; what is computed of the values in them is in
`features.statistics`. What is found does not depend on how rows are spread over runs: the same features come
out offline and online, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from varv.features.run import Ints, Rows, Run, RunState, Values, is_long, merged
from varv.kernel.clock import Duration, Instant
from varv.kernel.mapped import MappedFile

_RECENT = 512


class Piece(NamedTuple):
    """Where the windows of many requests lie in one run."""

    run: Run
    lows: Ints
    """The first row of each window, shape (k, n) for k windows a request."""
    highs: Ints
    """After which row they end, shape (n,)."""


PieceOfOne = tuple[Run, Sequence[int], int]
"""The same of one request: a plain tuple, since a named one takes as long as all else of a lookup."""


class HistoryState(msgspec.Struct, frozen=True):
    """The runs of a history."""

    runs: tuple[RunState, RunState, RunState]


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

    @classmethod
    def of(cls, run: Run) -> History:
        """Return the history whose rows are those of a run, which may lie in a file."""
        made = cls({name: values.dtype for name, values in run.rows.columns.items()})
        made.runs = (run, made._empty, made._empty)
        return made

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def add(
        self, codes: Ints, times: Ints, ties: npt.NDArray[np.uint64], columns: Mapping[str, Values]
    ) -> None:
        """Add rows in any order."""
        main, middle, recent = self.runs
        recent = recent.with_rows(Rows(codes, times, ties, columns))
        lies = is_long(len(main))
        if len(recent) > max(_RECENT, len(middle if lies else main) // 16):
            middle, recent = merged(middle, recent), self._empty
            if not lies or len(middle) > len(main) // 16:
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
            # A request at `before` may see what lies strictly before it.
            last_of_past[:-1] = (codes[1:] != codes[:-1]) | (times[1:] >= before)
            mask = (times >= before) | last_of_past
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

    def pieces(self, codes: Ints, lows: Ints, highs: Ints) -> list[Piece]:
        """Return where the rows of entities between two instants lie, in the runs that have any row.

        Parameters
        ----------
        codes, highs
            Of each request the entity, and the instant up to which rows count, inclusively; shape (n,).
        lows
            The instant up to which they do not count, of each of k windows a request; shape (k, n).
        """
        ends = np.concatenate((highs[None], lows))
        found = []
        for run in self.runs:
            if len(run):
                places = run.upto(codes, ends)
                found.append(Piece(run, places[1:], places[0]))
        return found

    def pieces_at(self, code: int, lows: Sequence[int], high: int) -> list[PieceOfOne]:
        """Return what `pieces` does of one request, in the runs that have a row for it."""
        found: list[PieceOfOne] = []
        for run in self.runs:
            if not run.n_rows:
                continue
            view = run.view
            start, end = view.upto(code, high)
            if start == end:
                continue
            last = view.times[end - 1]
            places = [view.after(low, start, end) if last > low else end for low in lows]
            found.append((run, places, end))
        return found

    def latest_at(
        self, code: int, instant: int, ttl: int | None, *, strictly: bool = False
    ) -> list[Any] | None:
        """Return what `latest` does of one entity and instant: the values of its last row, None if there is
        none.
        """
        best: tuple[int, int] | None = None
        found, upto = None, instant - 1 if strictly else instant
        for run in self.runs:
            start, end = run.view.upto(code, upto)
            if start == end or (ttl is not None and run.view.times[end - 1] < instant - ttl):
                continue
            order = run.view.times[end - 1], int(run.rows.ties[end - 1])
            if best is None or order > best:
                best, found = order, [values[end - 1] for values in run.rows.columns.values()]
        return found

    def latest(
        self, codes: Ints, instants: Ints, ttl: Duration | None, *, strictly: bool = False
    ) -> tuple[npt.NDArray[np.bool_], dict[str, Values]]:
        """Return whether each entity has a row in ``[instant - ttl, instant]``, and the last such row's
        values; `strictly`, in ``[instant - ttl, instant)``.

        Values where there is no row are arbitrary.
        """
        n, upto = len(codes), instants - 1 if strictly else instants
        found, when, tie = np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.uint64)
        values = {name: np.zeros(n, column.dtype) for name, column in self._empty.rows.columns.items()}
        for run in self.runs:
            if not len(run):
                continue
            row = run.upto(codes, upto) - 1
            theirs = run.rows.only(row)
            has = (row >= 0) & (theirs.codes == codes)
            if ttl is not None:
                has &= theirs.times >= instants - ttl
            better = has & (~found | (theirs.times > when) | ((theirs.times == when) & (theirs.ties > tie)))
            found |= has
            when, tie = np.where(better, theirs.times, when), np.where(better, theirs.ties, tie)
            values = {name: np.where(better, theirs.columns[name], old) for name, old in values.items()}
        return found, values

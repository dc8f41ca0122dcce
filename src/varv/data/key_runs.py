"""Sorted runs of keys: short ones in memory, long ones in files that are mapped into it.

A mapped page is read when a key is looked for in it and can be dropped at any time, so what a process holds
does not grow with the number of keys that it has ever seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from varv.kernel.mapped import Mapped, MappedArrays, MappedFile

Hashes = npt.NDArray[np.uint64]
Times = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

ROWS_IN_MEMORY = 1 << 17
"""A longer run is a file: 3 MB."""
_STEP = 1 << 18


class Stated(NamedTuple):
    """Rows as they are remembered: hashes of key and of all values, and the part's time; in their order."""

    keys: Hashes
    rows: Hashes
    times: Times

    def only(self, chosen: Flags) -> Stated:
        """Return the chosen rows."""
        return Stated(self.keys[chosen], self.rows[chosen], self.times[chosen])

    def between(self, first: int, last: int) -> Stated:
        """Return the rows from `first` on, without `last`."""
        return Stated(self.keys[first:last], self.rows[first:last], self.times[first:last])


class StatedState(msgspec.Struct, frozen=True):
    """Rows as they are remembered, for another process."""

    keys: np.ndarray
    rows: np.ndarray
    times: np.ndarray

    def stated(self) -> Stated:
        """Return the rows in arrays of their own."""
        return Stated(self.keys.copy(), self.rows.copy(), self.times.copy())


class Run:
    """Rows in the order of their keys.

    Parameters
    ----------
    rows
        As they are remembered.
    lies_in
        What they lie in; None for memory.
    """

    def __init__(self, rows: Stated, lies_in: Mapped | None = None) -> None:
        self.rows = rows
        self._lies_in = lies_in

    @classmethod
    def restored(cls, state: StatedState, lies_in: MappedFile) -> Run:
        """Return the run of a state; a long one goes on lying where it does."""
        if len(state.keys) <= ROWS_IN_MEMORY:
            return cls(state.stated())
        return cls(Stated(state.keys, state.rows, state.times), lies_in)

    def __len__(self) -> int:
        return len(self.rows.keys)

    def places(self, asked: Hashes) -> npt.NDArray[np.int64]:
        """Return where each key, in their order, is or would be."""
        return np.minimum(np.searchsorted(self.rows.keys, asked), len(self) - 1)

    def let_go(self) -> None:
        """Let the system have the memory of pages that were looked into."""
        if self._lies_in is not None:
            self._lies_in.let_go()


def sorted_run(rows: Stated) -> Run:
    """Return rows as a run in memory."""
    order = np.argsort(rows.keys, kind="stable")
    return Run(Stated(rows.keys[order], rows.rows[order], rows.times[order]))


def merged(runs: Sequence[Run]) -> Run:
    """Return what several runs hold as one; a long one lies in a file, and is made a stretch at a time."""
    n_rows = sum(map(len, runs))
    if n_rows <= ROWS_IN_MEMORY:
        return sorted_run(joined([run.rows for run in runs]))
    lies_in = MappedArrays([(np.uint64, (n_rows,)), (np.uint64, (n_rows,)), (np.int64, (n_rows,))])
    new, start = Stated(*lies_in.arrays), 0
    for stretch in _stretches(runs):
        part = sorted_run(joined(stretch)).rows
        end = start + len(part.keys)
        for to, of in zip(new, part, strict=True):
            to[start:end] = of
        start = end
    run = Run(new, lies_in)
    run.let_go()
    return run


def joined(several: Sequence[Stated]) -> Stated:
    """Return rows one below the other."""
    if not several:
        return NO_ROWS
    return Stated(*(np.concatenate(arrays) for arrays in zip(*several, strict=True)))


def _stretches(runs: Sequence[Run]) -> Iterator[list[Stated]]:
    """Yield the rows of all runs by stretches of keys, in order."""
    longest = max(runs, key=len).rows.keys
    cuts = longest[_STEP::_STEP]
    bounds = [np.concatenate(([0], np.searchsorted(run.rows.keys, cuts), [len(run)])) for run in runs]
    for number in range(len(cuts) + 1):
        yield [
            run.rows.between(int(bound[number]), int(bound[number + 1]))
            for run, bound in zip(runs, bounds, strict=True)
        ]


NO_ROWS = Stated(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64))

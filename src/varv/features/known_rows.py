"""The base rows that a dataset has stated, by key: when, of which entities, and which parts followed.

Some thirty bytes a row, in a file that is mapped into memory once there are many. Keys are kept as salted
64-bit hashes, so that a hundred million rows have a chance of one in three thousand that two of them are
taken for one, and nobody who does not know the salt can make them collide. One thread uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.run import Ints
from varv.kernel.clock import Instant
from varv.kernel.mapped import Mapped, MappedArrays, MappedFile

ROWS_IN_MEMORY = 1 << 17
"""Longer runs lie in a file."""
_STEP = 1 << 18
_RECENT = 512
_Bools = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]


class KnownRunState(msgspec.Struct, frozen=True):
    """Rows in the order of their hashes."""

    hashes: np.ndarray
    times: np.ndarray
    codes: np.ndarray
    stated: np.ndarray


class KnownRowsState(msgspec.Struct, frozen=True):
    """What is known of base rows, under the salt of whoever hashed their keys."""

    runs: tuple[KnownRunState, KnownRunState]


class _Run(NamedTuple):
    """Rows in the order of their hashes."""

    hashes: Hashes
    times: Ints
    codes: npt.NDArray[np.int32]
    """One row a row, one column a kind of entity."""
    stated: npt.NDArray[np.uint64]
    """One bit a part that was stated."""
    lies_in: tuple[Mapped, ...] = ()
    """Nothing for memory."""

    def only(self, rows: Ints | _Bools | slice) -> _Run:
        return _Run(self.hashes[rows], self.times[rows], self.codes[rows], self.stated[rows])

    def kept(self, mask: _Bools) -> _Run:
        """Return the rows where `mask` is true."""
        cuts = range(0, len(self.hashes), _STEP)
        parts = (self.only(slice(cut, cut + _STEP)).only(mask[cut : cut + _STEP]) for cut in cuts)
        n_rows = int(mask.sum())
        return self._filed(parts, n_rows) if n_rows > ROWS_IN_MEMORY else self.only(mask)

    def with_rows(self, other: _Run) -> _Run:
        """Return these rows and others; many are put in a file, a stretch at a time."""
        n_rows = len(self.hashes) + len(other.hashes)
        if n_rows <= ROWS_IN_MEMORY:
            return _joined(self, other)
        cuts = max(self, other, key=lambda run: len(run.hashes)).hashes[_STEP::_STEP]
        bounds = [
            pairwise([0, *np.searchsorted(run.hashes, cuts).tolist(), len(run.hashes)])
            for run in (self, other)
        ]
        both = zip(*bounds, strict=True)
        parts = (_joined(self.only(slice(*ours)), other.only(slice(*theirs))) for ours, theirs in both)
        return self._filed(parts, n_rows)

    def _filed(self, parts: Iterator[_Run], n_rows: int) -> _Run:
        """Return rows that come in order, a stretch at a time, in a file."""
        kinds = [(np.uint64, ()), (np.int64, ()), (np.int32, self.codes.shape[1:]), (np.uint64, ())]
        lies_in = MappedArrays([(kind, (n_rows, *more)) for kind, more in kinds])
        hashes, times, codes, stated = lies_in.arrays
        end = 0
        for part in parts:
            start, end = end, end + len(part.hashes)
            hashes[start:end], times[start:end] = part.hashes, part.times
            codes[start:end], stated[start:end] = part.codes, part.stated
        lies_in.let_go()
        return _Run(hashes, times, codes, stated, (lies_in,))

    def as_state(self) -> KnownRunState:
        """Return what it holds; only what was stated of a row can change, so that is copied."""
        stated = _own(self.stated)[0]
        return KnownRunState(self.hashes, self.times, self.codes, stated)

    @classmethod
    def restored(cls, state: KnownRunState, lies_in: MappedFile) -> _Run:
        """Return the run of a state; a long one goes on lying where it does."""
        stated, owner = _own(state.stated)
        if owner is None:
            return cls(state.hashes.copy(), state.times.copy(), state.codes.copy(), stated)
        return cls(state.hashes, state.times, state.codes, stated, (lies_in, owner))

    def find(self, hashes: Hashes) -> tuple[Ints, _Bools]:
        """Return where each hash would be, and whether it is there."""
        if not len(self.hashes):
            return np.zeros(len(hashes), np.int64), np.zeros(len(hashes), np.bool_)
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return places, self.hashes[places] == hashes


class KnownRows:
    """Base rows by the hash of their key.

    Parameters
    ----------
    n_entities
        Kinds of entity of which each row has a code.
    """

    def __init__(self, n_entities: int) -> None:
        nothing = np.zeros(0, np.int64)
        codes = np.zeros((0, n_entities), np.int32)
        self._empty = _Run(nothing.astype(np.uint64), nothing, codes, np.zeros(0, np.uint64))
        # A long run and a short recent one, merged now and then so that adding rows stays cheap.
        self._runs = [self._empty, self._empty]

    def __len__(self) -> int:
        return sum(len(run.hashes) for run in self._runs)

    def has(self, hashes: Hashes) -> _Bools:
        """Return which rows are known."""
        return self._runs[0].find(hashes)[1] | self._runs[1].find(hashes)[1]

    def add(self, hashes: Hashes, times: Ints, codes: Sequence[Ints]) -> None:
        """Add rows that are not known yet, each once."""
        columns = np.stack(codes, axis=1) if codes else np.zeros((len(hashes), 0))
        new = _Run(hashes, times, columns.astype(np.int32), np.zeros(len(hashes), np.uint64))
        new = new.only(np.argsort(hashes, kind="stable"))
        main, recent = self._runs
        recent = recent.with_rows(new)
        if len(recent.hashes) > max(_RECENT, len(main.hashes) // 16):
            main, recent = main.with_rows(recent), self._empty
        self._runs = [main, recent]

    def rows(self, hashes: Hashes) -> tuple[Ints, Ints]:
        """Return times, and codes of one column a kind of entity, of known rows."""
        times = np.zeros(len(hashes), np.int64)
        codes = np.zeros((len(hashes), self._empty.codes.shape[1]), np.int64)
        for run in self._runs:
            places, there = run.find(hashes)
            times[there], codes[there] = run.times[places[there]], run.codes[places[there]]
        return times, codes

    def state(self, part: int, hashes: Hashes) -> _Bools:
        """Note that known rows state the part of this number, and return which had not stated it before."""
        bit = np.uint64(1 << part)
        fresh = first_of_each(hashes)
        for run in self._runs:
            places, there = run.find(hashes)
            fresh[there] &= (run.stated[places[there]] & bit) == 0
            run.stated[places[there]] |= bit
        return fresh

    def trim(self, before: Instant) -> None:
        """Forget the rows with a time before an instant."""
        self._runs = [run.kept(run.times >= before) for run in self._runs]

    def let_go(self) -> None:
        """Let the system have the memory of what was looked into in files."""
        for run in self._runs:
            for lies_in in run.lies_in:
                lies_in.let_go()

    def as_state(self) -> KnownRowsState:
        """Return what it holds; nothing changes it any more."""
        main, recent = self._runs
        return KnownRowsState((main.as_state(), recent.as_state()))

    def restore(self, state: KnownRowsState, lies_in: MappedFile) -> None:
        """Hold what another one held.

        Parameters
        ----------
        lies_in
            What the longer arrays lie in.
        """
        self._runs = [_Run.restored(run, lies_in) for run in state.runs]


def _joined(one: _Run, other: _Run) -> _Run:
    hashes = np.concatenate((one.hashes, other.hashes))
    both = _Run(
        hashes,
        np.concatenate((one.times, other.times)),
        np.concatenate((one.codes, other.codes)),
        np.concatenate((one.stated, other.stated)),
    )
    return both.only(np.argsort(hashes, kind="stable"))


def _own(stated: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], MappedArrays | None]:
    """Return a copy, and what it lies in if it is long."""
    if len(stated) <= ROWS_IN_MEMORY:
        return stated.copy(), None
    lies_in = MappedArrays([(np.uint64, stated.shape)])
    lies_in.arrays[0][:] = stated
    lies_in.let_go()
    return lies_in.arrays[0], lies_in


def hashes_of(keys: Sequence[pl.Series], salt: int) -> Hashes:
    """Return the hash of each key, from its columns."""
    # To make a frame of several takes four times as long as a frame of one.
    frame = keys[0].to_frame() if len(keys) == 1 else pl.DataFrame(keys)
    return frame.hash_rows(seed=salt).to_numpy()


def first_of_each(hashes: Hashes) -> _Bools:
    """Return whether each is the first of its kind."""
    if len(hashes) <= 1:
        return np.ones(len(hashes), np.bool_)
    first = np.zeros(len(hashes), np.bool_)
    first[np.unique(hashes, return_index=True)[1]] = True
    return first

"""What turned out of the predictions in memory, at the positions at which they were expected.

`serving.predictions` is the only caller; it holds its lock around every call. A key is known by a 64-bit hash
of it, which this process salts, so that nobody can make two collide: that two of the hundred thousand that
are held share one has a chance of one in four billion.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.columns import TIME

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
_NUMBERS: dict[object, npt.DTypeLike] = {pl.Int8: np.int8, pl.Int16: np.int16, pl.Float64: np.float64}
_NEVER = np.iinfo(np.int64).max
_FEWEST = 1024
_SALT = hash("what keys are hashed with") % (1 << 63)
"""As Python salts its own hashes of texts."""


class Truths:
    """The outcome of every prediction, at the position at which the prediction was expected.

    Joining outcomes to predictions anew for each question cost a tenth of a replay.

    Parameters
    ----------
    dtype
        Of an outcome.
    """

    def __init__(self, dtype: pl.DataType) -> None:
        self._dtype = dtype
        self._first = self._n = 0  # positions of the first that is held, and of the next that is expected
        self._outcome = np.zeros(_FEWEST, _NUMBERS[dtype.base_type()])
        self._known_at = np.full(_FEWEST, _NEVER, np.int64)
        self._runs: list[_Run] = []
        # Outcomes that came before any prediction, by the hash of their key.
        self._ahead: dict[int, tuple[float, int]] = {}

    def __len__(self) -> int:
        return self._n - self._first

    def expect(self, keys: pl.Series) -> int:
        """Make room for the truths of `keys` and return the position of the first."""
        start, hashes = self._n, hashes_of(keys)
        self._make_room(len(hashes))
        self._n += len(hashes)
        places = np.arange(start, self._n)
        # A key may be asked about more than once: what is known of it holds for all.
        for rows, positions in self._positions(hashes):
            self._put(
                places[rows], self._outcome[positions - self._first], self._known_at[positions - self._first]
            )
        if self._ahead:
            self._catch_up(hashes, places)
        self._remember(_Run.of(hashes, places))
        return start

    def learn(self, keys: pl.Series, outcomes: npt.NDArray[np.generic], known_at: Ints) -> Flags:
        """Take in outcomes, of which the first of a key stands; return which of them are new."""
        hashes = hashes_of(keys)
        fresh = np.zeros(len(hashes), np.bool_)
        fresh[np.unique(hashes, return_index=True)[1]] = True
        expected = np.zeros(len(hashes), np.bool_)
        first = fresh.copy()
        for rows, positions in self._positions(hashes):
            expected[rows] = True
            open_ = self._known_at[positions - self._first] == _NEVER
            fresh[rows[~open_]] = False
            taken = open_ & first[rows]
            self._put(positions[taken], outcomes[rows[taken]], known_at[rows[taken]])
        for row in np.flatnonzero(fresh & ~expected).tolist():
            key = int(hashes[row])
            fresh[row] = key not in self._ahead
            self._ahead.setdefault(key, (float(outcomes[row]), int(known_at[row])))
        return fresh

    def forget(self, before: int) -> None:
        """Let go of the truths at positions below `before`."""
        gone = before - self._first
        # Copies, so that the memory of the rest is given back.
        self._outcome, self._known_at = self._outcome[gone:].copy(), self._known_at[gone:].copy()
        self._first = before
        self._runs = [run for run in (one.from_(before) for one in self._runs) if len(run.hashes)]

    def forget_ahead(self, most: int) -> None:
        """Let go of the oldest outcomes without a prediction beyond so many."""
        for key in list(islice(self._ahead, max(0, len(self._ahead) - most))):
            del self._ahead[key]

    def at(self, positions: Ints, since: Ints, known_by: int) -> list[pl.Series]:
        """Return ``outcome`` and ``known_at`` at `positions`, null where it was not known between two
        instants: `since`, one a position, and `known_by`.
        """
        rows = positions - self._first
        known_at = self._known_at[rows]
        unknown = pl.Series((known_at < since) | (known_at > known_by))
        outcome = pl.Series("outcome", self._outcome[rows], dtype=self._dtype).set(unknown, None)
        return [outcome, pl.Series("known_at", known_at).set(unknown, None).cast(TIME)]

    def _put(self, positions: Ints, outcomes: npt.NDArray[np.generic], known_at: Ints) -> None:
        self._outcome[positions - self._first] = outcomes
        self._known_at[positions - self._first] = known_at

    def _catch_up(self, hashes: Hashes, places: Ints) -> None:
        """Give predictions the outcomes that came before them."""
        found = [self._ahead.get(key) for key in hashes.tolist()]
        for place, truth in zip(places.tolist(), found, strict=True):
            if truth is not None and self._known_at[place - self._first] == _NEVER:
                self._outcome[place - self._first], self._known_at[place - self._first] = truth
        for key in hashes.tolist():
            self._ahead.pop(key, None)

    def _positions(self, hashes: Hashes) -> Iterator[tuple[Ints, Ints]]:
        """Yield numbers of `hashes` and positions at which their keys are expected, until all are told."""
        for run in self._runs:
            place = np.searchsorted(run.hashes, hashes)
            rows = np.arange(len(hashes))
            while rows.size:
                inside = place < len(run.hashes)
                rows, place = rows[inside], place[inside]
                hit = run.hashes[place] == hashes[rows]
                rows, place = rows[hit], place[hit]
                if rows.size:
                    yield rows, run.positions[place]
                place = place + 1

    def _remember(self, run: _Run) -> None:
        # Nothing is merged into what is twice as large, so a row is copied only as its run doubles.
        runs = list(self._runs)
        while runs and len(runs[-1].hashes) < 2 * len(run.hashes):
            run = runs.pop().with_(run)
        self._runs = [*runs, run]

    def _make_room(self, n: int) -> None:
        held = self._n - self._first
        if held + n <= len(self._known_at):
            return
        size = max(_FEWEST, 3 * (held + n) // 2)
        outcome, known_at = np.zeros(size, self._outcome.dtype), np.full(size, _NEVER, np.int64)
        outcome[:held], known_at[:held] = self._outcome[:held], self._known_at[:held]
        self._outcome, self._known_at = outcome, known_at


class _Run(NamedTuple):
    """Positions in the order of the hashes of their keys."""

    hashes: Hashes
    positions: Ints

    @classmethod
    def of(cls, hashes: Hashes, positions: Ints) -> _Run:
        order = np.argsort(hashes, kind="stable")
        return cls(hashes[order], positions[order])

    def with_(self, other: _Run) -> _Run:
        both = np.concatenate([self.hashes, other.hashes]), np.concatenate([self.positions, other.positions])
        return _Run.of(*both)

    def from_(self, position: int) -> _Run:
        """Return what is at `position` and later."""
        kept = self.positions >= position
        return _Run(self.hashes[kept], self.positions[kept])


def hashes_of(keys: pl.Series) -> Hashes:
    """Return the hash of each key, shape (n,)."""
    return pl.DataFrame([keys]).hash_rows(seed=_SALT).to_numpy()

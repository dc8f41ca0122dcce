"""What turned out of the predictions in memory, at the positions at which they were expected.

`serving.predictions` is the only caller; it holds its lock around every call.
"""

from __future__ import annotations

from array import array
from itertools import islice

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.columns import TIME

_CODES: dict[object, str] = {pl.Int8: "b", pl.Int16: "h", pl.Float64: "d"}


class Truths:
    """The outcome of every prediction, at the position at which the prediction was expected.

    Joining outcomes to predictions anew for each question cost a tenth of a replay.
    """

    _NEVER = np.iinfo(np.int64).max

    def __init__(self, dtype: pl.DataType) -> None:
        self._dtype = dtype
        self._first = 0  # the position of the first that is held
        self._outcome, self._known_at = array(_CODES[dtype.base_type()]), array("q")
        # A key may be asked about more than once: its latest position, and from each the one before.
        self._latest: dict[str, int] = {}
        self._before: dict[int, int] = {}
        self._ahead: dict[str, tuple[float, int]] = {}  # outcomes that came before any prediction

    def expect(self, keys: list[str]) -> int:
        """Make room for the truths of `keys` and return the position of the first."""
        start = self._first + len(self._outcome)
        for position, key in enumerate(keys, start):
            truth = self._ahead.pop(key, None)
            earlier = self._latest.get(key)
            if earlier is not None:
                self._before[position] = earlier
                truth = self._outcome[earlier - self._first], self._known_at[earlier - self._first]
            self._latest[key] = position
            outcome, known_at = truth or (0, self._NEVER)
            self._outcome.append(outcome)
            self._known_at.append(known_at)
        return start

    def learn(self, keys: list[str], outcomes: list[float], known_at: list[int]) -> list[int]:
        """Take in outcomes, of which the first of a key stands; return the numbers of those that are new."""
        fresh: list[int] = []
        for number, (key, outcome, instant) in enumerate(zip(keys, outcomes, known_at, strict=True)):
            position = self._latest.get(key)
            if position is None:
                if key not in self._ahead:
                    self._ahead[key] = (outcome, instant)
                    fresh.append(number)
                continue
            if self._known_at[position - self._first] != self._NEVER:
                continue
            fresh.append(number)
            while position is not None and position >= self._first:
                self._outcome[position - self._first] = outcome
                self._known_at[position - self._first] = instant
                position = self._before.get(position)
        return fresh

    def forget(self, keys: list[str], before: int) -> None:
        """Let go of the truths at positions below `before`, which are those of `keys`."""
        for key in keys:
            if self._latest.get(key, before) < before:
                del self._latest[key]
        for position in range(self._first, before):
            self._before.pop(position, None)
        del self._outcome[: before - self._first], self._known_at[: before - self._first]
        self._first = before

    def forget_ahead(self, most: int) -> None:
        """Let go of the oldest outcomes without a prediction beyond so many."""
        for key in list(islice(self._ahead, max(0, len(self._ahead) - most))):
            del self._ahead[key]

    def at(self, positions: npt.NDArray[np.int64]) -> pl.DataFrame:
        """Return ``outcome`` and ``known_at`` at `positions`."""
        first, last = (int(positions.min()), int(positions.max()) + 1) if positions.size else (0, 0)
        held = slice(first - self._first, last - self._first)
        # A copy, since an array that is looked into cannot grow.
        known_at = np.frombuffer(self._known_at[held].tobytes(), np.int64)[positions - first]
        outcome = np.frombuffer(self._outcome[held].tobytes(), self._outcome.typecode)[positions - first]
        return pl.DataFrame(
            {"outcome": outcome, "known_at": known_at.astype("datetime64[us]")},
            schema={"outcome": self._dtype, "known_at": TIME},
        )

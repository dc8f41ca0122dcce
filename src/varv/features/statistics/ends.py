"""The first and the last value of a window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.history import Piece, PieceOfOne
from varv.features.run import Values
from varv.features.statistics.extremes import VALUE, singles


class End:
    """The value that is first, or last, by time; of one instant the tie decides.

    Parameters
    ----------
    last
        Whether it is the last.
    is_text
        Whether values are texts.
    """

    def __init__(self, *, last: bool, is_text: bool) -> None:
        self._last, self._is_text = last, is_text
        # Texts have a column of their own, since files hold none.
        self._column = "text" if is_text else VALUE
        self.columns: dict[str, npt.DTypeLike] = {self._column: object if is_text else np.float32}

    def taken(self, values: pl.Series) -> dict[str, Values]:
        """Return the values."""
        if not self._is_text:
            return singles(values)
        texts = np.empty(len(values), object)
        texts[:] = values.to_list()
        return {self._column: texts}

    def many(self, pieces: Sequence[Piece], shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Return the end of each window."""
        found = np.full(shape, None, object) if self._is_text else np.full(shape, np.nan)
        has = np.zeros(shape, np.bool_)
        when, tie = np.zeros(shape, np.int64), np.zeros(shape, np.uint64)
        for run, lows, highs in pieces:
            theirs = lows < highs
            row = np.where(theirs, np.broadcast_to(highs - 1, shape) if self._last else lows, 0)
            times, ties = run.rows.times[row], run.rows.ties[row]
            is_later = (times > when) | ((times == when) & (ties > tie))
            is_other = (times != when) | (ties != tie)
            better = theirs & (~has | (is_later == self._last) & is_other)
            found = np.where(better, run.rows.columns[self._column][row], found)
            when, tie = np.where(better, times, when), np.where(better, ties, tie)
            has |= theirs
        return found

    def one(self, pieces: Sequence[PieceOfOne], n_windows: int) -> list[Any]:
        """Return the end of each window of one request."""
        found: list[Any] = []
        for window in range(n_windows):
            best: tuple[int, int] | None = None
            value: Any = None if self._is_text else math.nan
            for run, lows, high in pieces:
                if lows[window] == high:
                    continue
                row = high - 1 if self._last else lows[window]
                order = run.view.times[row], int(run.rows.ties[row])
                if best is None or (order > best if self._last else order < best):
                    best, value = order, run.rows.columns[self._column][row]
            found.append(value if self._is_text else float(value))
        return found

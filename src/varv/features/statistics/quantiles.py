"""Quantiles of the values of a window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.history import Piece, PieceOfOne
from varv.features.run import Run, Values
from varv.features.statistics.extremes import VALUE, Singles, singles
from varv.features.statistics.found import n_rows
from varv.features.statistics.totals import Floats, counts
from varv.features.statistics.wavelet import Wavelet, smallest, smallest_of_one

_SHORT = 256
_SIGN = np.uint32(1 << 31)


class Quantile:
    """The least value that at least a given part of the values do not exceed: one that occurred.

    Cells are the numbers of single precision themselves, so a quantile is exact for a feature.

    Parameters
    ----------
    part, whole
        The quantile as a fraction.
    """

    columns: dict[str, npt.DTypeLike] = {VALUE: np.float32}  # noqa: RUF012

    def __init__(self, part: int, whole: int) -> None:
        self._part, self._whole = part, whole

    def taken(self, values: pl.Series) -> dict[str, Values]:
        """Return values in single precision."""
        return singles(values)

    def many(self, pieces: Sequence[Piece], shape: tuple[int, int]) -> Floats:
        """Return the quantile of each window."""
        count = counts(pieces, shape)
        found = np.full(shape, np.nan)
        has = count > 0
        if has.any():
            stretches = [
                (run.table("order", _in_order), lows[has], np.broadcast_to(highs, shape)[has])
                for run, lows, highs in pieces
            ]
            found[has] = _from_cells(smallest(stretches, (count[has] * self._part - 1) // self._whole))
        return found

    def one(self, pieces: Sequence[PieceOfOne], n_windows: int) -> list[float]:
        """Return the quantile of each window of one request."""
        return [self._of_window(pieces, window) for window in range(n_windows)]

    def _of_window(self, pieces: Sequence[PieceOfOne], window: int) -> float:
        n = n_rows(pieces, window)
        if not n:
            return math.nan
        rank = (n * self._part - 1) // self._whole
        if n <= _SHORT:
            slices = (run.view.columns[VALUE][lows[window] : high] for run, lows, high in pieces)
            return sorted(chain.from_iterable(slices))[rank]
        stretches = [
            (run.table("order", _in_order), lows[window], high)
            for run, lows, high in pieces
            if lows[window] < high
        ]
        return float(_from_cells(np.array([smallest_of_one(stretches, rank)]))[0])


def _in_order(run: Run) -> Wavelet:
    return Wavelet(_cells(run.rows.columns[VALUE]), 32)


def _cells(values: Singles) -> npt.NDArray[np.uint32]:
    """Return whole numbers in the order of the values."""
    bits = values.view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _from_cells(cells: npt.NDArray[np.int64]) -> Singles:
    bits = cells.astype(np.uint32)
    return np.where(bits & _SIGN, bits ^ _SIGN, ~bits).view(np.float32)

"""The least and the greatest value of a window."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.history import Piece, PieceOfOne
from varv.features.run import Run, Values
from varv.features.statistics.found import arrays_of, n_rows
from varv.features.statistics.totals import Floats

VALUE = "value"
_BLOCK = 16
_SHORT = 64
_AT_ONCE = 1 << 16
Singles = npt.NDArray[np.float32]


class Extreme:
    """The least value, or the greatest.

    Features are of single precision, and rounding keeps the order, so values are kept so. Every block of
    sixteen rows has its extreme, and every power of two of blocks: a window is two of these and its ends.
    """

    columns: dict[str, npt.DTypeLike] = {VALUE: np.float32}  # noqa: RUF012

    def __init__(self, *, greatest: bool) -> None:
        self._pick = np.maximum if greatest else np.minimum
        self._best = max if greatest else min
        self._none = -math.inf if greatest else math.inf
        self._name = "greatest" if greatest else "least"

    def taken(self, values: pl.Series) -> dict[str, Values]:
        """Return values in single precision."""
        return singles(values)

    def many(self, pieces: Sequence[Piece], shape: tuple[int, int]) -> Floats:
        """Return the extreme of each window."""
        found = np.full(shape, self._none, np.float32)
        has = np.zeros(shape, np.bool_)
        for piece in pieces:
            lows, highs = piece.lows.ravel(), np.broadcast_to(piece.highs, shape).ravel()
            theirs = np.concatenate(
                [
                    self._in_run(piece.run, lows[i : i + _AT_ONCE], highs[i : i + _AT_ONCE])
                    for i in range(0, max(len(lows), 1), _AT_ONCE)
                ]
            )
            found = self._pick(found, theirs.reshape(shape))
            has |= piece.lows < piece.highs
        return np.where(has, found, np.nan).astype(np.float64)

    def one(self, pieces: Sequence[PieceOfOne], n_windows: int) -> list[float]:
        """Return the extreme of each window of one request."""
        found = []
        for window in range(n_windows):
            n = n_rows(pieces, window)
            if not n:
                found.append(math.nan)
            elif n <= _SHORT:
                slices = (
                    run.view.columns[VALUE][lows[window] : high]
                    for run, lows, high in pieces
                    if lows[window] < high
                )
                found.append(self._best(map(self._best, slices)))
            else:
                found.append(float(self.many(arrays_of(pieces, window), (1, 1))[0, 0]))
        return found

    def _in_run(self, run: Run, lows: npt.NDArray[np.int64], highs: npt.NDArray[np.int64]) -> Singles:
        values = run.rows.columns[VALUE]
        blocks = run.table(self._name, self._blocks)
        offsets = np.arange(_BLOCK)[:, None]
        found = np.full(len(lows), self._none, np.float32)
        # The ends, up to a block each; what they have in common does no harm.
        for places in (lows + offsets, highs - 1 - offsets):
            inside = (places >= lows) & (places < highs)
            ends = np.where(inside, values[np.where(inside, places, 0)], np.float32(self._none))
            found = self._pick(found, self._pick.reduce(ends, axis=0))
        first, last = -(-lows // _BLOCK), highs // _BLOCK
        is_long = first < last
        if is_long.any():
            first, last = first[is_long], last[is_long]
            level = np.frexp((last - first).astype(np.float64))[1] - 1
            middle = self._pick(blocks[level, first], blocks[level, last - (1 << level.astype(np.int64))])
            found[is_long] = self._pick(found[is_long], middle)
        return found

    def _blocks(self, run: Run) -> Singles:
        """Return the extreme of 2^i blocks from each block on, a row for each i."""
        values = run.rows.columns[VALUE]
        whole = len(values) // _BLOCK
        level = self._pick.reduce(values[: whole * _BLOCK].reshape(whole, _BLOCK), axis=1)
        levels, step = [level], 1
        while 2 * step <= whole:
            further = level.copy()
            further[: whole - step] = self._pick(level[: whole - step], level[step:])
            levels.append(level := further)
            step *= 2
        return np.stack(levels)


def singles(values: pl.Series) -> dict[str, Values]:
    """Return values in single precision; of zeros there is one."""
    return {VALUE: values.cast(pl.Float64).to_numpy().astype(np.float32) + np.float32(0)}

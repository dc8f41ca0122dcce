"""Statistics that are differences of running totals: count, sum, mean, standard deviation, shares.

Totals are whole numbers, so what is found is exact up to the steps of 2^-20 in which values are taken, and
depends on no order. A sum of squares needs more than 64 bits, so squares are kept as two numbers below 2^43:
as many of them can be added up as of the values themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.history import Piece, PieceOfOne
from varv.features.run import Ints, Values
from varv.features.statistics.asked import Share
from varv.features.statistics.found import n_rows
from varv.kernel.errors import InvalidInput

STEPS = 2.0**20
LARGEST = 2.0**23
"""Windowed values are below this in size, which lets a window hold a million rows without overflow."""
Floats = npt.NDArray[np.float64]
_SUM, _HIGH, _LOW = "sum", "squares_high", "squares_low"
_LIMB = 43
_HALF = 22
_WRAP = 1 << 64
_LARGEST = 1 << 63


class Count:
    """The number of values."""

    columns: dict[str, npt.DTypeLike] = {}  # noqa: RUF012 - nobody writes to it

    def taken(self, values: pl.Series) -> dict[str, Values]:
        """Return nothing: rows are counted by their places."""
        return {}

    def many(self, pieces: Sequence[Piece], shape: tuple[int, int]) -> Floats:
        """Return the number of values in each window."""
        return counts(pieces, shape).astype(np.float64)

    def one(self, pieces: Sequence[PieceOfOne], n_windows: int) -> list[float]:
        """Return the number of values in each window of one request."""
        return [n_rows(pieces, window) for window in range(n_windows)]


class Sum:
    """The sum; a window without a value has none."""

    columns: dict[str, npt.DTypeLike] = {_SUM: np.int64}  # noqa: RUF012

    def taken(self, values: pl.Series) -> dict[str, Values]:
        """Return values in steps of 2^-20; see `fixed_point`."""
        return {_SUM: fixed_point(values.cast(pl.Float64).to_numpy(), values.name)}

    def many(self, pieces: Sequence[Piece], shape: tuple[int, int]) -> Floats:
        """Return the sum of each window."""
        return np.where(counts(pieces, shape) > 0, totals(_SUM, pieces, shape) / STEPS, np.nan)

    def one(self, pieces: Sequence[PieceOfOne], n_windows: int) -> list[float]:
        """Return the sum of each window of one request."""
        return [
            total / STEPS if n_rows(pieces, window) else math.nan
            for window, total in enumerate(totals_of_one(_SUM, pieces, n_windows))
        ]


class Mean(Sum):
    """The mean."""

    def many(self, pieces: Sequence[Piece], shape: tuple[int, int]) -> Floats:
        """Return the mean of each window."""
        count = counts(pieces, shape)
        found = totals(_SUM, pieces, shape) / STEPS / np.maximum(count, 1)
        found[count == 0] = np.nan
        return found

    def one(self, pieces: Sequence[PieceOfOne], n_windows: int) -> list[float]:
        """Return the mean of each window of one request."""
        sums = totals_of_one(_SUM, pieces, n_windows)
        return [
            total / STEPS / count if (count := n_rows(pieces, window)) else math.nan
            for window, total in enumerate(sums)
        ]


class Deviation(Sum):
    """The standard deviation of a sample, with one degree of freedom less than values; one value has none.

    Both sums are exact, and so is n times the one less the square of the other: what cancels cancels in whole
    numbers. The quotient and its root are each rounded once, so the error is that of the steps: at most 2^-21
    for values of any size.
    """

    columns: dict[str, npt.DTypeLike] = {_SUM: np.int64, _HIGH: np.int64, _LOW: np.int64}  # noqa: RUF012

    def taken(self, values: pl.Series) -> dict[str, Values]:
        """Return values in steps of 2^-20, and their squares."""
        found = super().taken(values)
        high, low = squared(found[_SUM])
        return {**found, _HIGH: high, _LOW: low}

    def many(self, pieces: Sequence[Piece], shape: tuple[int, int]) -> Floats:
        """Return the deviation of each window."""
        count = counts(pieces, shape)
        has = count > 1
        n, total, high, low = (
            # Whole numbers of Python: a product of these needs 128 bits.
            part[has].astype(object)
            for part in (count, *(totals(name, pieces, shape) for name in (_SUM, _HIGH, _LOW)))
        )
        found = np.full(shape, np.nan)
        variance = (n * ((high << _LIMB) + low) - total * total) / (n * (n - 1))
        found[has] = np.sqrt(variance.astype(np.float64)) / STEPS
        return found

    def one(self, pieces: Sequence[PieceOfOne], n_windows: int) -> list[float]:
        """Return the deviation of each window of one request."""
        sums, high, low = (totals_of_one(name, pieces, n_windows) for name in (_SUM, _HIGH, _LOW))
        found = []
        for window, total in enumerate(sums):
            n = n_rows(pieces, window)
            if n < 2:
                found.append(math.nan)
                continue
            spread = n * ((high[window] << _LIMB) + low[window]) - total * total
            found.append(math.sqrt(spread / (n * (n - 1))) / STEPS)
        return found


class Part:
    """The share of values for which a condition holds."""

    def __init__(self, share: Share) -> None:
        self._share, self._column = share, str(share)
        self.columns: dict[str, npt.DTypeLike] = {self._column: np.int64}

    def taken(self, values: pl.Series) -> dict[str, Values]:
        """Return 1 where the condition holds, else 0."""
        wanted = self._share.value
        numbers = values if isinstance(wanted, str) else values.cast(pl.Float64)
        holds = {"is": numbers.eq, "above": numbers.gt, "below": numbers.lt}[self._share.relation](wanted)
        return {self._column: holds.cast(pl.Int64).to_numpy()}

    def many(self, pieces: Sequence[Piece], shape: tuple[int, int]) -> Floats:
        """Return the share in each window."""
        count = counts(pieces, shape)
        return np.where(count > 0, totals(self._column, pieces, shape) / np.maximum(count, 1), np.nan)

    def one(self, pieces: Sequence[PieceOfOne], n_windows: int) -> list[float]:
        """Return the share in each window of one request."""
        sums = totals_of_one(self._column, pieces, n_windows)
        return [
            total / count if (count := n_rows(pieces, window)) else math.nan
            for window, total in enumerate(sums)
        ]


def fixed_point(values: Floats, column: str) -> Ints:
    """Return finite values in steps of 2^-20.

    Raises
    ------
    InvalidInput
        If a value is 2^23 or more in size.
    """
    if len(values) and float(np.abs(values).max()) >= LARGEST:
        hint = "scale the column; a contract keeps wild values out"
        raise InvalidInput("column", column, "has values too large for a window", largest=LARGEST, hint=hint)
    return np.rint(values * STEPS).astype(np.int64)


def squared(steps: Ints) -> tuple[Ints, Ints]:
    """Return the squares of whole numbers below 2^43 in size, each as ``high * 2**43 + low``.

    Examples
    --------
    >>> high, low = squared(np.array([-(2**42) - 5]))
    >>> int(high[0]) * 2**43 + int(low[0]) == (2**42 + 5) ** 2
    True
    """
    size = np.abs(steps)
    upper, lower = size >> _HALF, size & ((1 << _HALF) - 1)
    mixed = 2 * upper * lower
    rest = ((mixed & ((1 << (_LIMB - _HALF)) - 1)) << _HALF) + lower * lower
    high = (upper * upper << (2 * _HALF - _LIMB)) + (mixed >> (_LIMB - _HALF)) + (rest >> _LIMB)
    return high, rest & ((1 << _LIMB) - 1)


def counts(pieces: Sequence[Piece], shape: tuple[int, int]) -> Ints:
    """Return the number of rows in each window."""
    found = np.zeros(shape, np.int64)
    for piece in pieces:
        found += piece.highs - piece.lows
    return found


def totals(column: str, pieces: Sequence[Piece], shape: tuple[int, int]) -> Ints:
    """Return the total of a column over each window."""
    found = np.zeros(shape, np.int64)
    for piece in pieces:
        running = piece.run.totals[column]
        found += running[piece.highs] - running[piece.lows]
    return found


def totals_of_one(column: str, pieces: Sequence[PieceOfOne], n_windows: int) -> list[int]:
    """Return the total of a column over each window of one request."""
    found = [0] * n_windows
    for run, lows, high in pieces:
        running = run.view.totals[column]
        upper = running[high]
        for window in range(n_windows):
            part = upper - running[lows[window]]
            # Totals of a long run go around, as arrays of whole numbers do; what lies between two does not.
            found[window] += part if -_LARGEST <= part < _LARGEST else (part + _LARGEST) % _WRAP - _LARGEST
    return found

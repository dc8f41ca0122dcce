"""Sums over the rows in which two columns of numbers both have a value: exact, so that correlations of all
rows do not depend on the order in which rows or profiles came.

Each value is measured from the pivot of its scale in steps of 2^-15 of its spread and is a whole number from
there on. Products are made by matrices of doubles whose every partial sum is below 2^53, where doubles are
exact, and are added up as whole numbers of 103 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.profiles.counted import LARGEST, NUMERIC, numbers_of
from varv.profiles.scale import ColumnScale, Scale

MOST_COLUMNS = 50
"""Columns of numbers that are compared in pairs: the first ones."""
FINENESS = 15
"""Rounding to steps of 2^-15 of the spread draws a correlation to 0 by a share of 10^-10."""
FARTHEST = 20
"""What lies more than 2^20 spreads from the pivot counts as lying there."""
MOST_ROWS = 1 << 16
_DIGIT = 19
"""Bits of a digit, which lies within ±2^18: a product of two, summed over 2^16 rows, is 2^52 at most."""
_LOW = 40
"""Bits of the lower word of a sum: the higher one has 63 more."""
_AT_ONCE = 512
"""Rows of one product: of more, a library of matrices wakes threads that wait for each other by spinning."""

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.int64]
Terms = list[tuple[Floats, int]]
"""Arrays that are added up after multiplying each by a power of two."""


class PairSums(msgspec.Struct, frozen=True):
    """Of p columns: in how many rows each two have a value, shape (p * p,); and over those rows the sums of
    the first one's steps, of their squares, and of the products of both, shape (3 * p * p,), each as
    `high` * 2^40 + `low`.
    """

    n: np.ndarray
    high: np.ndarray
    low: np.ndarray


class Correlated(NamedTuple):
    """Pearson's correlation of two columns, and over how many rows."""

    value: float
    n: int


_EMPTY = PairSums(*(np.empty(0, np.int64) for _ in range(3)))


def paired_columns(scale: Scale) -> list[ColumnScale]:
    """Return the columns that are compared in pairs."""
    found = [one for one in scale.columns if one.kind in NUMERIC and not one.private]
    return found[:MOST_COLUMNS]


class _Presence(NamedTuple):
    """Which rows have a value: 1 or 0 in each of the columns `holes`, shape (holes, rows), all of them in
    the others of `p`.
    """

    table: Floats
    holes: list[int]
    p: int

    def over_both(self, totals: Floats, first: Floats, second: Floats | float = 1.0) -> Floats:
        """Return the sums of products over the rows in which another column has a value too, shape
        (len(totals), p): the totals, where the other has no holes.
        """
        found = np.repeat(totals[:, None], self.p, axis=1)
        if self.holes:
            found[:, self.holes] = _products(first * second, self.table)
        return found


def pair_sums(rows: pl.DataFrame, scale: Scale) -> PairSums:
    """Return the sums of some rows, `MOST_ROWS` at most."""
    columns = paired_columns(scale)
    if len(columns) < 2:
        return _EMPTY
    # Whole blocks, so that one call multiplies all of them; what is beyond the rows is 0.
    width = -(-rows.height // _AT_ONCE) * _AT_ONCE
    steps = np.zeros((len(columns), width))
    missing = dict[int, npt.NDArray[np.intp]]()
    for place, one in enumerate(columns):
        steps[place, : rows.height], gone = _steps(rows[one.name], one)
        if len(gone):
            missing[place] = gone
    present = np.zeros((len(missing), width))
    present[:, : rows.height] = 1.0
    for place, gone in enumerate(missing.values()):
        present[place, gone] = 0.0
    holes = list(missing)
    n = np.full((len(columns), len(columns)), rows.height, np.int64)
    own = present.sum(axis=1).astype(np.int64)
    n[holes, :], n[:, holes] = own[:, None], own
    n[np.ix_(holes, holes)] = _products(present, present)
    sums = _sums(steps, _Presence(present, holes, len(columns)))
    return PairSums(n.ravel(), *_words(sums))


def _steps(column: pl.Series, scale: ColumnScale) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return the steps of a column's values, 0 where there is none, and the places where there is none."""
    n_null = column.null_count()
    values = numbers_of(column.fill_null(strategy="zero") if n_null else column, scale.kind)
    with np.errstate(over="ignore"):
        # What lies beyond all numbers is farther than the farthest step.
        found = (values.astype(np.float64) - scale.pivot) * 2.0 ** (FINENESS - scale.exponent)
    gone = column.is_null().to_numpy() if n_null else np.zeros(len(found), np.bool_)
    if values.dtype.kind == "f":
        gone = gone | ~(np.abs(values) <= LARGEST)
    places = np.flatnonzero(gone)
    found[places] = 0.0
    far = 2.0 ** (FINENESS + FARTHEST)
    return np.rint(np.clip(found, -far, far, out=found), out=found), places


def _products(first: Floats, second: Floats) -> Floats:
    """Return the sums over rows of the products of each two columns, shape (p, q), in whole numbers."""
    blocks = [
        one.reshape(len(one), one.shape[1] // _AT_ONCE, _AT_ONCE).transpose(1, 0, 2)
        for one in (first, second)
    ]
    return np.matmul(blocks[0], blocks[1].transpose(0, 2, 1)).sum(axis=0)


def _sums(steps: Floats, present: _Presence) -> tuple[Terms, Terms, Terms]:
    """Return sums, squares and products, of shape (p, p) each.

    Parameters
    ----------
    steps
        Whole numbers of at most two digits, shape (p, rows); the lower digit is left in it.
    """
    wide, upper = _split(steps)
    own = _products(steps, steps)
    sums: Terms = [(present.over_both(steps.sum(axis=1), steps), 0)]
    squares: Terms = [(present.over_both(np.diag(own), steps, steps), 0)]
    products: Terms = [(own, 0)]
    if len(wide):
        p, across, high = len(steps), _products(upper, steps), _products(upper, upper)
        lower = steps[wide]
        mixed = across[np.arange(len(wide)), wide]
        sums.append((_placed(present.over_both(upper.sum(axis=1), upper), wide, p), _DIGIT))
        squares.append((_placed(present.over_both(mixed, upper, lower), wide, p), _DIGIT + 1))
        squares.append((_placed(present.over_both(np.diag(high), upper, upper), wide, p), 2 * _DIGIT))
        across = _placed(across, wide, p)
        high = _placed(_placed(high, wide, p).T, wide, p)
        products += [(across, _DIGIT), (across.T, _DIGIT), (high, 2 * _DIGIT)]
    return sums, squares, products


def _split(steps: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Take the upper digit off, and return the columns that have one and that digit."""
    limit = 2.0 ** (_DIGIT - 1)
    wide = np.flatnonzero(np.maximum(steps.max(axis=1, initial=0.0), -steps.min(axis=1, initial=0.0)) > limit)
    upper = np.rint(steps[wide] * 2.0**-_DIGIT)
    steps[wide] -= upper * 2.0**_DIGIT
    return wide, upper


def _placed(rows: Floats, places: npt.NDArray[np.intp], p: int) -> Floats:
    found = np.zeros((p, rows.shape[1]))
    found[places] = rows
    return found


def _words(sums: Sequence[Terms]) -> tuple[Words, Words]:
    """Return the higher and the lower word of sums of terms, one after the other."""
    high, low = list[Words](), list[Words]()
    for terms in sums:
        upper, lower = np.zeros(terms[0][0].size, np.int64), np.zeros(terms[0][0].size, np.int64)
        for values, by in terms:
            whole = values.astype(np.int64).ravel()
            upper += whole >> (_LOW - by)
            lower += (whole & ((1 << (_LOW - by)) - 1)) << by
        high.append(upper)
        low.append(lower)
    return _carried(np.concatenate(high), np.concatenate(low))


def _carried(high: Words, low: Words) -> tuple[Words, Words]:
    return high + (low >> _LOW), low & ((1 << _LOW) - 1)


def merged_pairs(several: Sequence[PairSums]) -> PairSums:
    """Return the sums over the rows of several, 2^22 profiles at most."""
    n, high, low = (
        np.stack([getattr(one, name) for one in several]).sum(axis=0) for name in ("n", "high", "low")
    )
    return PairSums(n, *_carried(high, low))


def correlations(sums: PairSums, n_columns: int) -> dict[tuple[int, int], Correlated]:
    """Return Pearson's correlation of each two of the columns that are compared, by their places; those left
    out that have fewer than three rows with both, or a column that is constant in them.
    """
    if not len(sums.n):
        return {}
    p = n_columns
    n = sums.n.reshape(p, p).tolist()
    exact = [(high << _LOW) + low for high, low in zip(sums.high.tolist(), sums.low.tolist(), strict=True)]

    def of(what: int, i: int, j: int) -> int:
        return exact[(what * p + i) * p + j]

    found = dict[tuple[int, int], Correlated]()
    for i in range(p):
        for j in range(i + 1, p):
            count, first, second = n[i][j], of(0, i, j), of(0, j, i)
            spreads = (count * of(1, i, j) - first**2, count * of(1, j, i) - second**2)
            if count > 2 and min(spreads) > 0:
                together = count * of(2, i, j) - first * second
                # Of whole numbers, which no double holds, the root is taken in one quotient.
                value = together / math.isqrt(spreads[0] * spreads[1])
                found[i, j] = Correlated(min(1.0, max(-1.0, value)), count)
    return found

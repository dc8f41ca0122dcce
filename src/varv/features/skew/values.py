"""Whether two values of a feature are the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

MOST_ULP = 2
"""Numbers may differ by so many units in the last place: sums of another order, or another machine."""
Flags = npt.NDArray[np.bool_]


def are_same(one: pl.Series, other: pl.Series) -> Flags:
    """Return which values are the same; two that are missing are. NaN counts as missing.

    Examples
    --------
    >>> are_same(pl.Series([1.0, None], dtype=pl.Float32), pl.Series([1.0, 2.0], dtype=pl.Float32)).tolist()
    [True, False]
    """
    if pl.String in (one.dtype, other.dtype):
        return one.cast(pl.String).eq_missing(other.cast(pl.String)).to_numpy()
    first, second = _numbers(one), _numbers(other)
    absent, also = np.isnan(first), np.isnan(second)
    near = np.abs(_places(first) - _places(second)) <= MOST_ULP
    return np.where(absent | also, absent & also, near)


def are_missing(values: pl.Series) -> Flags:
    """Return which values are none."""
    return np.isnan(_numbers(values)) if values.dtype.is_numeric() else values.is_null().to_numpy()


def _numbers(values: pl.Series) -> npt.NDArray[np.float32]:
    """Return numbers as an array, NaN where there is none."""
    # A question to the query engine would take most of the time of a search, which asks for every state.
    return (values if values.dtype == pl.Float32 else values.cast(pl.Float32)).to_numpy()


def _places(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return numbers by their place in the order of all numbers of single precision."""
    bits = np.ascontiguousarray(numbers).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)

"""The values of one column in a stretch of rows, each with how often it is there.

Everything that a profile keeps of a column follows from this, so a column is sorted once and gone through
once; where few values repeat, what comes after costs next to nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

NUMBER, INTEGER, BOOLEAN, TIME, DATE, TEXT, OTHER = (
    "number",
    "integer",
    "boolean",
    "time",
    "date",
    "text",
    "other",
)
"""What a column holds. Truth values are 0 and 1, times microseconds UTC, dates days since 1970."""
NUMERIC = frozenset((NUMBER, INTEGER, BOOLEAN, TIME, DATE))
LARGEST = 1e60
"""What lies beyond is counted with the infinite: its fourth power would be."""

Numbers = npt.NDArray[np.float64 | np.int64]
Counts = npt.NDArray[np.int64]


class Counted(NamedTuple):
    """Numbers in rising order, finite ones alone, or texts in no order, each with how often it is there."""

    n: int
    n_null: int
    n_nan: int
    n_infinite: int
    values: Numbers
    counts: Counts
    texts: list[str]


_NO_NUMBERS = np.empty(0)


def kind_of(dtype: pl.DataType) -> str:
    """Return what a column of a type holds.

    Examples
    --------
    >>> kind_of(pl.Int32()), kind_of(pl.List(pl.Int8()))
    ('integer', 'other')
    """
    if dtype == pl.Boolean:
        return BOOLEAN
    if dtype.is_integer():
        return INTEGER
    if dtype.is_float() or dtype.is_decimal():
        return NUMBER
    if isinstance(dtype, pl.Datetime):
        return TIME
    if dtype == pl.Date:
        return DATE
    return TEXT if dtype in (pl.String, pl.Categorical, pl.Enum) else OTHER


def counted(column: pl.Series, kind: str) -> Counted:
    """Return the values of a column, which holds what `kind` says, with how often each is there."""
    n, n_null = column.len(), column.null_count()
    if kind == OTHER:
        return Counted(n, n_null, 0, 0, _NO_NUMBERS, np.empty(0, np.int64), [])
    if kind == TEXT:
        return _texts(column, n, n_null)
    numbers = numbers_of(column.drop_nulls() if n_null else column, kind)
    if numbers.dtype.kind == "i":
        return Counted(n, n_null, 0, 0, *_runs(np.sort(numbers)), [])
    ordered = np.sort(numbers)
    # NaN sorts to the end, so what is not finite lies at both ends.
    n_nan = int(np.isnan(ordered[np.searchsorted(ordered, np.inf, side="right") :]).sum())
    first, last = np.searchsorted(ordered, -LARGEST), np.searchsorted(ordered, LARGEST, side="right")
    n_infinite = len(ordered) - n_nan - int(last - first)
    return Counted(n, n_null, n_nan, n_infinite, *_runs(ordered[first:last]), [])


def numbers_of(column: pl.Series, kind: str) -> Numbers:
    """Return a column without nulls as int64, or as float64 where it holds numbers or is beyond int64."""
    if kind == TIME:
        return column.dt.cast_time_unit("us").to_physical().to_numpy()
    if kind == NUMBER:
        return column.cast(pl.Float64).to_numpy()
    whole = column.cast(pl.Int64, strict=False)
    return column.cast(pl.Float64).to_numpy() if whole.null_count() else whole.to_numpy()


def _runs(ordered: Numbers) -> tuple[Numbers, Counts]:
    """Return each value of sorted ones, and how often it is there."""
    if not len(ordered):
        return ordered, np.empty(0, np.int64)
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return ordered[begins], np.diff(begins, append=len(ordered))


def _texts(column: pl.Series, n: int, n_null: int) -> Counted:
    found = column.cast(pl.String).drop_nulls().alias("text").value_counts()
    return Counted(
        n, n_null, 0, 0, _NO_NUMBERS, found["count"].cast(pl.Int64).to_numpy(), found["text"].to_list()
    )

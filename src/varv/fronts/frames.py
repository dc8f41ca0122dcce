"""Frames in JSON: a column is its name, its type and its values; times are ISO 8601 in UTC, numbers that JSON
does not know are texts.

What a server sends is read here by its clients as well, and is not believed: names, types, lengths and values
are checked.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import polars as pl

from varv.kernel.columns import TIME
from varv.kernel.errors import Corrupt

MOST_COLUMNS = 10_000
TYPES: dict[str, pl.DataType] = {
    str(dtype): dtype
    for dtype in (
        *(pl.Boolean(), pl.String(), pl.Float32(), pl.Float64(), pl.Null(), TIME),
        *(pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64()),
        *(pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()),
    )
}
"""Types of columns that have a form in JSON, by their names."""
_ODD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Column(msgspec.Struct, frozen=True):
    """A column of a frame in JSON."""

    name: str
    type: str
    values: list[Any]


class Columns(msgspec.Struct, frozen=True):
    """A frame in JSON; all columns are of one length."""

    columns: tuple[Column, ...]


def columns_of(frame: pl.DataFrame) -> Columns:
    """Return a frame as JSON can hold it; columns of other types than `TYPES` become texts."""
    return Columns(columns=tuple(_column(series) for series in frame.get_columns()))


def frame_of(said: object, *, most_rows: int) -> pl.DataFrame:
    """Return the frame that decoded JSON holds.

    Raises
    ------
    Corrupt
        If it is no frame, or one of more rows.

    Examples
    --------
    >>> frame = pl.DataFrame({"key": ["a", None], "score": [0.25, math.nan]})
    >>> frame_of(msgspec.to_builtins(columns_of(frame)), most_rows=2).equals(frame)
    True
    """
    try:
        columns = msgspec.convert(said, type=Columns).columns
        lengths = {len(column.values) for column in columns}
        if len(columns) > MOST_COLUMNS or len(lengths) > 1 or max(lengths, default=0) > most_rows:
            raise ValueError("columns of another length than was asked for")
        return pl.DataFrame([_series(column) for column in columns])
    except (ValueError, TypeError, KeyError, OverflowError, pl.exceptions.PolarsError) as error:
        hint = "use the same version of varv on both sides"
        raise Corrupt("answer", "", "holds no table", why=str(error)[:200], hint=hint) from None


def _column(series: pl.Series) -> Column:
    if series.dtype == TIME:
        return Column(series.name, str(TIME), series.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_list())
    if series.dtype.is_float():
        values = [_in_json(value) for value in series.to_list()]
        return Column(series.name, str(series.dtype), values)
    if str(series.dtype) in TYPES:
        return Column(series.name, str(series.dtype), series.to_list())
    return Column(series.name, "String", [None if value is None else str(value) for value in series])


def _series(column: Column) -> pl.Series:
    dtype = TYPES.get(column.type)
    if dtype is None:
        raise ValueError(f"the type {column.type[:40]!r}")
    if dtype == TIME:
        texts = pl.Series(column.name, column.values, dtype=pl.String)
        return texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC")
    if dtype.is_float():
        values = [_ODD[value] if isinstance(value, str) else value for value in column.values]
        return pl.Series(column.name, values, dtype=dtype, strict=True)
    return pl.Series(column.name, column.values, dtype=dtype, strict=True)


def _in_json(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)

"""Values out of JSON as typed columns, and back: what a caller may send for a column is said here, once.

The door for rows (`data.inbox`) and the data plane (`serving.answering`) type values with it; the protocols'
own forms of values are their fronts'.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from varv.kernel.clock import instant
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput, VarvError

LONGEST_TEXT = 4096
"""Characters of one value."""


class ExpectedColumn(msgspec.Struct, frozen=True):
    """A column that a row may bring."""

    name: str
    dtype: str
    required: bool
    may_be_null: bool


def typed_frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, Any]) -> pl.DataFrame:
    """Return rows of JSON values as a frame of the given types; times are microseconds."""
    plain = {name: pl.Int64() if dtype == TIME else dtype for name, dtype in types.items()}
    columns = [pl.Series(name, [row.get(name) for row in rows], dtype=dtype) for name, dtype in plain.items()]
    return pl.DataFrame(columns).with_columns(
        pl.col(name).cast(TIME) for name, dtype in types.items() if dtype == TIME
    )


def in_json(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON can hold them: times as microseconds."""
    columns = (column.cast(pl.Int64) if column.dtype == TIME else column for column in frame.get_columns())
    return pl.DataFrame(list(columns)).to_dicts()


def column_of(name: str, values: Sequence[Any], dtype: pl.DataType, expected: ExpectedColumn) -> pl.Series:
    """Return values out of JSON as a column.

    Raises
    ------
    InvalidInput
        If one is null and must not be, or does not fit; the column is named.
    """
    kinds = set(map(type, values))
    if type(None) in kinds and not expected.may_be_null:
        hint = "give a value: it was never empty in the history"
        raise InvalidInput(
            "column", name, "is null", hint=hint, reason="null", row=_first(values, type(None))
        )
    allowed, wanted = _ALLOWED[
        "float" if dtype.is_float() else "integer" if dtype.is_integer() else str(dtype.base_type())
    ]
    if dtype.is_integer() and float in kinds:
        # Dataframes turn whole numbers beside a null into floats; those are let back in.
        values = [int(value) if type(value) is float and value.is_integer() else value for value in values]
        kinds = set(map(type, values))
    odd = kinds - allowed - {type(None)}
    if odd:
        row = min(_first(values, kind) for kind in odd)
        given = type(values[row]).__name__
        raise InvalidInput(
            "column", name, f"holds {wanted}", hint=f"send {wanted}", reason="type", row=row, given=given
        )
    if dtype.is_float():
        values = [None if value is None else _number(name, value) for value in values]
    if dtype == pl.String and any(value is not None and len(value) > LONGEST_TEXT for value in values):
        raise InvalidInput(
            "column", name, "holds a text that is too long", hint=f"{LONGEST_TEXT} characters at most"
        )
    if dtype == TIME:
        return pl.Series(name, [_time(name, value) for value in values], dtype=pl.Int64).cast(TIME)
    try:
        return pl.Series(name, values, dtype=dtype, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        raise InvalidInput(
            "column", name, f"holds {wanted} that fit {dtype}", reason="range", hint="send smaller ones"
        ) from None


_ALLOWED: dict[str, tuple[set[type], str]] = {
    "float": ({int, float}, "numbers"),
    "integer": ({int}, "whole numbers"),
    "Boolean": ({bool}, "truth values"),
    "String": ({str}, "texts"),
    "Datetime": ({str}, "ISO 8601 times"),
}


def _first(values: Sequence[Any], kind: type) -> int:
    return next(number for number, value in enumerate(values) if type(value) is kind)


def _number(name: str, value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    # JSON knows no infinity, but a number that is too large for a double becomes one on the way.
    if not math.isfinite(number):
        raise InvalidInput(
            "column", name, "holds a number that is too large", hint="send null where there is none"
        )
    return number


def _time(name: str, value: str | None) -> int | None:
    try:
        return None if value is None else instant(value)
    except (VarvError, OverflowError):
        raise InvalidInput(
            "column", name, "holds no ISO 8601 time", given=str(value)[:40], hint="2026-02-01T05:00:00Z"
        ) from None

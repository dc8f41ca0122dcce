"""Datatypes of the Open Inference Protocol: what a column is announced as, and what it may be sent as.

A number may come as any type of number, if every value is one that the column holds exactly: clients send
whole numbers for fractions, and dataframes make fractions of whole numbers that stand beside a null. Whether
a value fits the column is checked by `data.values`; here, whether the tensor is what it says it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from varv.data.values import ExpectedColumn
from varv.kernel.errors import InvalidInput

_RANGES = {
    f"{sign}INT{bits}": (0 if sign else -(1 << bits - 1), (1 << bits if sign else 1 << bits - 1) - 1)
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}
_FRACTIONS = {"FP32", "FP64"}
DATATYPES = ("BOOL", *sorted(_RANGES), *sorted(_FRACTIONS), "BYTES")
"""Those that have a form in JSON; half-precision numbers have none."""
_EXACT = 1 << 53
"""Whole numbers up to this size are fractions of double precision too."""


def datatype_of(dtype: str) -> str:
    """Return the datatype as which a column of a type is announced.

    Examples
    --------
    >>> datatype_of("Int64"), datatype_of("Float32"), datatype_of("String")
    ('INT64', 'FP32', 'BYTES')
    """
    plain = {"Boolean": "BOOL", "Float32": "FP32", "Float64": "FP64"}
    return plain.get(dtype, dtype.upper() if dtype.upper() in _RANGES else "BYTES")


def content_of(dtype: str) -> dict[str, str]:
    """Return what a client must know of a column beside its datatype: that a text is a time."""
    if not dtype.startswith("Datetime"):
        return {}
    return {"content_type": "datetime", "format": "ISO 8601, such as 2026-02-01T05:00:00Z"}


def typed_values(
    name: str, given: str, values: Sequence[Any], column: ExpectedColumn | None
) -> Sequence[Any]:
    """Return the values of a tensor as its column is to get them.

    Parameters
    ----------
    given
        The datatype that the tensor says it has.
    column
        What it is sent for; None if there is no such column, which is told elsewhere.

    Raises
    ------
    InvalidInput
        If the tensor does not hold what it says, or what it says is of no use for the column.
    """
    plain = _plain(given, "" if column is None else column.dtype)
    if plain is not None and plain.holds(values):
        return values
    if given not in DATATYPES:
        hint = f"use {', '.join(DATATYPES)}"
        raise InvalidInput("column", name, f"has the datatype {given[:20]!r}", hint=hint)
    expected = given if column is None else datatype_of(column.dtype)
    if _family(given) != _family(expected):
        is_time = column is not None and bool(content_of(column.dtype))
        hint = f"send {expected}" + (", with times in ISO 8601" if is_time else "")
        problem = f"is of the datatype {expected}, not {given}"
        raise InvalidInput("column", name, problem, given=given, expected=expected, hint=hint)
    odd = next((row for row, value in enumerate(values) if not _fits(value, given)), None)
    if odd is not None:
        problem = f"holds a value that is not {given}"
        raise InvalidInput("column", name, problem, row=odd, hint="make data and datatype agree")
    if given == "BOOL":
        return [None if value is None else bool(value) for value in values]
    if given in _RANGES:
        _require_range(name, given, values, to_fraction=expected in _FRACTIONS)
    return list(values)


class _Plain(NamedTuple):
    """What a tensor may hold that needs no closer look."""

    kinds: set[type]
    low: int | None = None
    high: int = 0

    def holds(self, values: Sequence[Any]) -> bool:
        """Return whether all values are of it."""
        if not set(map(type, values)) <= self.kinds:
            return False
        return self.low is None or not values or self.low <= min(values) <= max(values) <= self.high


@cache
def _plain(given: str, dtype: str) -> _Plain | None:
    """Return what most tensors of a datatype hold that are sent for a column of a type, None if they need a
    closer look.
    """
    expected = datatype_of(dtype)
    if given not in DATATYPES or given == "BOOL" or _family(given) != _family(expected):
        return None
    if given not in _RANGES:
        return _Plain({type(None), *_KINDS[_family(given)]})
    low, high = _RANGES[given]
    return _Plain({int}, max(low, -_EXACT), min(high, _EXACT))


def _require_range(name: str, given: str, values: Sequence[Any], *, to_fraction: bool) -> None:
    low, high = _RANGES[given]
    if to_fraction:
        low, high = max(low, -_EXACT), min(high, _EXACT)
    numbers = [value for value in values if value is not None]
    if numbers and not low <= min(numbers) <= max(numbers) <= high:
        hint = f"send whole numbers from {low} to {high}, or FP64"
        raise InvalidInput("column", name, f"holds a number that is not {given}", hint=hint)


def _fits(value: object, datatype: str) -> bool:
    """Return whether a value of JSON is of a datatype.

    JSON has one kind of number, and the protocol's reference client sends truth values as numbers too.
    """
    if value is None:
        return True
    if datatype == "BOOL":
        return isinstance(value, bool | int | float) and value in (0, 1)
    if datatype in _RANGES:
        return type(value) is int or (isinstance(value, float) and value.is_integer())
    return type(value) in _KINDS[_family(datatype)]


_KINDS: dict[str, set[type]] = {"number": {int, float}, "text": {str}}


def _family(datatype: str) -> str:
    return {"BOOL": "truth", "BYTES": "text"}.get(datatype, "number")

"""Watermarks: values of a column that never falls, kept in a cursor as texts with what they are of."""

from __future__ import annotations

import datetime as dt
from typing import Any

from varv.kernel.clock import duration
from varv.kernel.errors import InvalidInput


def as_text(value: object) -> str:
    """Return a watermark as a text that says what it is of.

    Raises
    ------
    InvalidInput
        If it is nothing that has an order.

    Examples
    --------
    >>> as_text(3), as_text("2024-05-01")
    ('int:3', 'text:2024-05-01')
    """
    match value:
        case dt.datetime():
            return f"time:{value.isoformat()}"
        case dt.date():
            return f"date:{value.isoformat()}"
        case bool() | None:
            pass
        case int() | float():
            return f"{type(value).__name__}:{value!r}"
        case str():
            return f"text:{value}"
        case _:
            pass
    hint = "name a column of numbers, times or texts"
    raise InvalidInput("watermark", repr(value)[:60], "is nothing that has an order", hint=hint)


def from_text(text: str) -> Any:
    """Return the watermark that a text stands for."""
    kind, _, value = text.partition(":")
    return {
        "time": dt.datetime.fromisoformat,
        "date": dt.date.fromisoformat,
        "int": int,
        "float": float,
        "text": str,
    }[kind](value)


def later(one: str, other: str) -> str:
    """Return the later of two watermarks as texts; the first may be empty.

    Raises
    ------
    InvalidInput
        If they have no order.
    """
    if not one:
        return other
    try:
        return max(one, other, key=from_text)
    except TypeError:
        hint = "let the column be of one type; a new pull begins anew once the source is declared otherwise"
        raise InvalidInput(
            "watermark", other[:60], f"has no order with {one[:60]}, which was seen before", hint=hint
        ) from None


def before(value: Any, lag: str) -> Any:
    """Return a watermark as it was some time before, such as ``"10m"``; itself if that is empty.

    Raises
    ------
    InvalidInput
        If it is no time.
    """
    if not lag:
        return value
    span = dt.timedelta(microseconds=duration(lag))
    if isinstance(value, dt.date):
        return value - span
    if isinstance(value, str):
        try:
            # SQLite compares times as texts, so what is earlier is written in the same form.
            then = dt.datetime.fromisoformat(value) - span
        except ValueError:
            pass
        else:
            form = then.isoformat(sep="T" if "T" in value else " ")
            return form.replace("+00:00", "Z") if value.endswith("Z") else form
    hint = "leave lag out, or name a column of times"
    raise InvalidInput("watermark", str(value)[:60], "is no time, and has a lag", hint=hint)

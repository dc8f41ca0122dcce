"""Pages of rows of the recorder's file, by a filter and an order; what a page ended with asks for the next.

A page begins after the last row of the one before, by the values that it was ordered by, so none is skipped
or repeated while others write. Which rows a search is about is said by whoever searches.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from varv.kernel.codec import digest_of
from varv.kernel.errors import InvalidInput
from varv.runs.filters import Clause
from varv.runs.patience import bounded
from varv.runs.probing import compared as met_by

_HINT = "send the token of the page before with the same query, or none"
Bound = str | float | int


class Condition(NamedTuple):
    """A part of WHERE, and what is bound to it."""

    text: str
    values: tuple[Bound, ...] = ()


class Sorted(NamedTuple):
    """An expression that rows are ordered by; those without a value come last either way."""

    text: str
    ascending: bool = True
    values: tuple[Bound, ...] = ()
    may_be_missing: bool = False


class Page(NamedTuple):
    """The numbers of rows, and what asks for the next page; nothing if there is none."""

    numbers: list[int]
    token: str


class _Token(msgspec.Struct, frozen=True, array_like=True):
    query: str
    after: tuple[Bound, ...]


def compared(expression: str, clause: Clause) -> Condition:
    """Return the condition that a clause states of an expression.

    Examples
    --------
    >>> from varv.runs.filters import Field
    >>> compared("name", Clause(Field("attribute", "name", "text"), "IN", ("a", "b")))
    Condition(text='name IN (?,?)', values=('a', 'b'))
    """
    if clause.value is None:
        raise InvalidInput("operator", clause.operator, "cannot be used here", hint="compare with a value")
    met = met_by(clause)
    return Condition(met.of(expression), met.values)


def page(
    db: sqlite3.Connection,
    rows: str,
    no: str,
    conditions: Sequence[Condition],
    orders: Sequence[Sorted],
    *,
    limit: int,
    token: str,
    query: object,
) -> Page:
    """Return one page.

    Parameters
    ----------
    rows, no
        The tables, and the column that has the number of a row.
    orders
        The last of them tells any two rows apart.
    token
        Of the page before; nothing for the first.
    query
        Everything that was asked, but for the token.

    Raises
    ------
    InvalidInput
        If the token is not of this query, or the search takes too long.
    """
    keys = [key for order in orders for key in _keys(order)]
    wanted = list(conditions)
    if token:
        wanted.append(_after(keys, _read(token, query, len(keys))))
    where = " AND ".join(f"({condition.text})" for condition in wanted) or "1"
    named = ", ".join(f"{key.text} AS key_{at}" for at, key in enumerate(keys))
    sorted_by = ", ".join(f"key_{at} {'ASC' if key.ascending else 'DESC'}" for at, key in enumerate(keys))
    text = f"SELECT {no}, {named} FROM {rows} WHERE {where} ORDER BY {sorted_by} LIMIT ?"
    values = [
        *(value for key in keys for value in key.values),
        *(value for condition in wanted for value in condition.values),
        limit + 1,
    ]
    with bounded(db):
        found = db.execute(text, values).fetchall()
    numbers = [row[0] for row in found[:limit]]
    is_last = len(found) <= limit
    return Page(numbers, "" if is_last else _written(found[limit - 1][1:], query))


def _keys(order: Sorted) -> tuple[Sorted, ...]:
    if not order.may_be_missing:
        return (order,)
    missing = Sorted(f"({order.text}) IS NULL", values=order.values)
    return missing, Sorted(f"ifnull(({order.text}), 0)", order.ascending, order.values)


def _after(keys: Sequence[Sorted], after: Sequence[Bound]) -> Condition:
    """Return the condition that a row comes after the one with these values."""
    parts: list[str] = []
    values: list[Bound] = []
    for at, key in enumerate(keys):
        equal = [f"{before.text} = ?" for before in keys[:at]]
        parts.append(" AND ".join([*equal, f"{key.text} {'>' if key.ascending else '<'} ?"]))
        for before, value in zip(keys[: at + 1], after, strict=False):
            values += [*before.values, value]
    return Condition(" OR ".join(f"({part})" for part in parts), tuple(values))


def _written(after: Sequence[Bound], query: object) -> str:
    token = _Token(digest_of(query)[:16], tuple(after))
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()


def _read(token: str, query: object, n_keys: int) -> tuple[Bound, ...]:
    try:
        read = msgspec.json.decode(base64.b64decode(token, altchars=b"-_", validate=True), type=_Token)
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        raise InvalidInput("page token", token[:40], "is not valid", hint=_HINT) from None
    too_large = any(isinstance(value, int) and abs(value) >= 1 << 63 for value in read.after)
    if read.query != digest_of(query)[:16] or len(read.after) != n_keys or too_large:
        raise InvalidInput("page token", token[:40], "is of another query", hint=_HINT)
    return read.after


def page_size(asked: int | None, *, default: int, most: int) -> int:
    """Return how many rows a page has.

    Raises
    ------
    InvalidInput
        If it is to have none, or more than `most`.
    """
    if asked is None:
        return default
    if not 0 < asked <= most:
        raise InvalidInput("max_results", asked, "is out of bounds", least=1, most=most)
    return asked

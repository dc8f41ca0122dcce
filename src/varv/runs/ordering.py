"""The order of runs in an answer, and the tokens that say where a page ended.

A run's place is a tuple: for each thing ordered by, whether it has a value (0), one that is no number (1) or
none (2), and the value; then the start, latest first, and the id. So no two runs have the same place, and a
page that begins after a place neither skips nor repeats a run, whatever is added meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import functools
import heapq
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from varv.kernel.codec import digest_of
from varv.kernel.errors import InvalidInput
from varv.runs.filters import ATTRIBUTE, Order
from varv.runs.grammars import METRIC
from varv.runs.model import STATUSES
from varv.runs.probing import ASKED, COLUMN, Shard, key_no

VALUE, NOT_A_NUMBER, MISSING = range(3)
Marks = tuple[tuple[int, float | str | None], ...]
"""Of each thing that is ordered by, whether there is a value, and the value."""
_START = "start_time"
_HINT = "send the token of the page before with the same query, or none"


class Mark(NamedTuple):
    """What a run has of one thing that is ordered by."""

    rank: int
    value: float | str | None


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a run stands in an answer."""

    marks: Marks
    started_ms: int
    id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A run that was found, and what it is ordered by."""

    key: tuple[Any, ...]
    no: int
    place: Place


def natural(orders: Sequence[Order]) -> tuple[Order, ...]:
    """Return what is ordered by, without what makes no difference: runs of equal marks have the latest start
    first anyway.
    """
    kept = list(orders)
    while kept and _is_start(kept[-1]) and not kept[-1].ascending:
        kept.pop()
    return tuple(kept)


def sort_key(place: Place, orders: Sequence[Order]) -> tuple[Any, ...]:
    """Return what sorts a place among others of the same orders."""
    return _sort_key(place.marks, place.started_ms, place.id, orders)


def _sort_key(marks: Marks, started_ms: int, id: str, orders: Sequence[Order]) -> tuple[Any, ...]:
    if not orders:
        return -started_ms, id
    paired = zip(marks, orders, strict=True)
    directed = [(rank, _directed(value, order.ascending)) for (rank, value), order in paired]
    return (*directed, -started_ms, id)


@functools.total_ordering
class _Descending:
    """A text that sorts before those that it would come after."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.text == other.text

    def __lt__(self, other: _Descending) -> bool:
        return other.text < self.text


def _directed(value: float | str | None, ascending: bool) -> Any:
    if value is None:
        return 0
    if ascending:
        return value
    return _Descending(value) if isinstance(value, str) else -value


def entries(
    db: sqlite3.Connection,
    shard: Shard,
    runs: Sequence[int],
    orders: Sequence[Order],
    most: int | None = None,
    after: tuple[Any, ...] | None = None,
) -> list[Entry]:
    """Return those of `runs` that are of a shard, with their places.

    Parameters
    ----------
    most
        How many are wanted, the first ones; by default all, in no order.
    after
        The key that they come after, by default none.
    """
    if not runs:
        return []
    listed = msgspec.json.encode(list(runs)).decode()
    joined = f"{ASKED} CROSS JOIN run ON run.no = asked"
    query = f"SELECT no, started_ms, id FROM {joined} WHERE experiment = ? AND deleted = ?"
    rows = db.execute(query, (listed, shard.experiment, shard.deleted)).fetchall()
    known = [_marks(db, shard, listed, order) for order in orders]
    found = []
    for no, started, id in rows:
        marks = tuple([one.get(no, (MISSING, None)) for one in known])
        key = _sort_key(marks, started, id, orders)
        if after is None or key > after:
            found.append((key, no, marks, started, id))
    if most is not None:
        # No two keys are equal.
        found = heapq.nsmallest(most, found)
    # Places are made of these alone: there may be thousands of others.
    return [Entry(key, no, Place(marks, started, id)) for key, no, marks, started, id in found]


def _marks(db: sqlite3.Connection, shard: Shard, listed: str, order: Order) -> dict[int, tuple[int, Any]]:
    field = order.field
    if field.entity == ATTRIBUTE:
        joined = f"{ASKED} CROSS JOIN run ON run.no = asked"
        query = f"SELECT no, {attribute(order)} FROM {joined}"
        # The place of artifacts is that of the experiment and the id.
        before = f"{shard.artifacts}/" if field.key == "artifact_uri" else None
        values = (
            (no, value if before is None else before + value) for no, value in db.execute(query, (listed,))
        )
        return {no: (VALUE, value) for no, value in values if value is not None}
    table, column = ("latest", COLUMN[field.part]) if field.entity == METRIC else ("word", "value")
    joined = f"{ASKED} CROSS JOIN {table} ON run = asked"
    query = f"SELECT run, {column} FROM {joined} WHERE key = ?"
    rows = db.execute(query, (listed, key_no(db, shard, field)))
    return {run: (NOT_A_NUMBER if value is None else VALUE, value) for run, value in rows}


def attribute(order: Order) -> str:
    """Return the expression that an attribute is ordered by."""
    match order.field.key:
        case "start_time":
            return "started_ms"
        case "end_time":
            return "ended_ms"
        case "status":
            known = " ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(STATUSES))
            return f"CASE status {known} END"
        case "user_id":
            return "user"
        case _:
            # The place of artifacts begins alike within an experiment.
            return "id"


def _is_start(order: Order) -> bool:
    return order.field.entity == ATTRIBUTE and order.field.key == _START


# Tokens


class _Token(msgspec.Struct, frozen=True, array_like=True):
    query: str
    place: Place


def token_of(place: Place, query: object) -> str:
    """Return what asks for the page after a place, of the same query."""
    token = _Token(digest_of(query)[:16], place)
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()


def place_of(token: str, query: object, orders: Sequence[Order]) -> Place:
    """Return the place that a page begins after.

    Raises
    ------
    InvalidInput
        If the token is none of ours, or is of another query.
    """
    try:
        read = msgspec.json.decode(base64.b64decode(token, altchars=b"-_", validate=True), type=_Token)
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        raise InvalidInput("page token", token[:40], "is not valid", hint=_HINT) from None
    if read.query != digest_of(query)[:16]:
        raise InvalidInput("page token", token[:40], "is of another query", hint=_HINT)
    marks = read.place.marks
    if (
        len(marks) != len(orders)
        or not all(map(_fits, marks, orders))
        or abs(read.place.started_ms) >= 1 << 63
    ):
        raise InvalidInput("page token", token[:40], "is not valid", hint=_HINT)
    return read.place


def _fits(mark: tuple[int, float | str | None], order: Order) -> bool:
    rank, value = mark
    if rank != VALUE:
        return rank in (NOT_A_NUMBER, MISSING) and value is None
    return isinstance(value, str if order.field.kind == "text" else float | int)

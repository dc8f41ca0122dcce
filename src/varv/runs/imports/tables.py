"""What was taken over from where, and with which content."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, Event
from varv.runs.imports.model import Imported

_SCHEMA = """
CREATE TABLE IF NOT EXISTS imported (
    thing TEXT PRIMARY KEY, source TEXT NOT NULL, content TEXT NOT NULL) WITHOUT ROWID;
"""
_AT_ONCE = 500


class Mark(NamedTuple):
    """Where something is from, and the digest of what its source said."""

    source: str
    content: Digest


class ImportTables:
    """Folds the times of what was taken over; a `kernel.recorder.Fold` over the tables of others.

    A run is noted by whoever stores its points, not here: its events are in the ledger a moment before these
    are in the file, and one without them is to be brought again.
    """

    schema = _SCHEMA
    events: tuple[type[Event], ...] = (Imported,)

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Take in one event; again changes nothing."""
        assert isinstance(event, Imported), "there is no other"
        kind, _, id = event.thing.partition("/")
        table = {"experiment": "experiment", "logged-model": "logged"}.get(kind)
        if table is None:
            return
        query = f"UPDATE {table} SET created_ms = ?, updated_ms = ? WHERE id = ?"
        db.execute(query, (event.created_ms, event.updated_ms, id))
        put_mark(db, event.thing, Mark(event.source, event.content))

    def forget(self) -> None:
        """Throw away what is remembered of rows, which is nothing."""


def put_mark(db: sqlite3.Connection, thing: str, mark: Mark) -> None:
    """Note that something was taken over."""
    db.execute("INSERT OR REPLACE INTO imported VALUES (?, ?, ?)", (thing, *mark))


def mark_of(db: sqlite3.Connection, thing: str) -> Mark | None:
    """Return what is noted of something; None if it was not taken over, or not wholly."""
    return marks_of(db, [thing]).get(thing)


def marks_of(db: sqlite3.Connection, things: Iterable[str]) -> dict[str, Mark]:
    """Return what is noted of things, of those that were taken over."""
    names, found = list(things), dict[str, Mark]()
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        query = f"SELECT thing, source, content FROM imported WHERE thing IN ({','.join('?' * len(some))})"
        found |= {thing: Mark(*mark) for thing, *mark in db.execute(query, some)}
    return found

"""What is read from the file of an embedded ledger, through connections that wait for no writer.

A `Reader` is made once the file has been opened and checked, which is done in `kernel.sqlite_opening`. It
writes nothing.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.kernel.ledger import GENESIS, Entry, Head, SagaRow, Signer, Stored, Upcoming
from varv.kernel.sqlite_file import connect
from varv.kernel.sqlite_rows import all_commands, all_sagas, all_timers, read_saga, read_upcoming
from varv.kernel.storage import full, refused_read

VERIFY = "run varv verify, and restore a copy"
_ENTRY = "seq, stream, version, name, event_version, at, cause, data, hash, decided"
_ENTRY_1 = _ENTRY.replace("decided", "NULL")


def stored_head(db: sqlite3.Connection) -> Head:
    """Return the head that a ledger names; -1 if it names none, which is no head of a ledger."""
    row = db.execute("SELECT seq, hash FROM head").fetchone()
    return Head(*row) if row else Head(-1, b"")


def stream_head(db: sqlite3.Connection, stream: str) -> Head:
    """Return the head of a stream, as its entries say."""
    query = "SELECT version, hash FROM entries WHERE stream = ? ORDER BY version DESC LIMIT 1"
    row = db.execute(query, (stream,)).fetchone()
    return Head(*row) if row else Head(0, GENESIS)


class Reader:
    """Reads one ledger. Safe to use from many threads.

    Parameters
    ----------
    path
        The file; connections to it are made as they are needed, and kept.
    recorded_since
        Entries after this one carry records; None in a file of format 1, where none do.
    shared
        The one connection of a ledger in memory, with the lock that its writer takes too; None for a file.
    """

    def __init__(
        self,
        path: str,
        *,
        read_only: bool,
        recorded_since: int | None,
        shared: tuple[sqlite3.Connection, threading.Lock] | None,
    ) -> None:
        self._path, self._name = path, Path(path).name
        self._read_only = read_only
        self._recorded_since = recorded_since
        self._entry = _ENTRY_1 if recorded_since is None else _ENTRY
        self._shared = shared
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False

    def refuse(self) -> None:
        """Let nobody begin to read any more; who reads may finish."""
        self._closed = True

    def close(self) -> None:
        """Close the connections; who still reads closes its own."""
        self._closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def read(self, after: int, stream: str | None, limit: int | None) -> list[Entry]:
        """Return entries in order: with a seq above `after`, or with `stream` a version above it."""
        where, order = ("stream = :stream AND version", "version") if stream is not None else ("seq", "seq")
        query = f"SELECT {self._entry} FROM entries WHERE {where} > :after ORDER BY {order} LIMIT :limit"
        given = {"stream": stream, "after": after, "limit": -1 if limit is None else limit}
        with self._reading() as db:
            return [Entry(*row) for row in db.execute(query, given)]

    def head(self, stream: str | None) -> Head:
        """Return the head of the ledger, or of one stream."""
        with self._reading() as db:
            return stored_head(db) if stream is None else stream_head(db, stream)

    def saga(self, saga: str) -> SagaRow | None:
        """Return the stored state of a saga, compared with what was decided; None before its first event."""
        with self._reading() as db:
            return read_saga(db, saga, recorded_since=self._recorded_since)

    def upcoming(self) -> Upcoming:
        """Return the next timer, compared with what was decided, and when a command is next due."""
        with self._reading() as db:
            return read_upcoming(db, recorded_since=self._recorded_since)

    def stored(self, after: int) -> Stored:
        """Return all rows beside the entries, and the entries with a seq above `after`, as of one moment."""
        query = f"SELECT {self._entry} FROM entries WHERE seq > ? ORDER BY seq"
        with self._reading() as db, _snapshot(db):
            entries = tuple(Entry(*row) for row in db.execute(query, (after,)))
            first, n_entries = db.execute("SELECT min(seq), count(*) FROM entries").fetchone()
            return Stored(
                entries=entries,
                head=stored_head(db),
                first=1 if first is None else first,
                n_entries=n_entries,
                recorded_since=self._recorded_since,
                sagas=all_sagas(db),
                timers=all_timers(db),
                commands=all_commands(db),
                signers=() if self._recorded_since is None else _signers(db),
            )

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        if self._closed:
            raise FailedPrecondition("ledger", self._name, "is closed")
        if self._shared is not None:
            db, lock = self._shared
            with lock:
                yield db
            return
        own: sqlite3.Connection | None = None
        try:
            with suppress(IndexError):
                own = self._idle.pop()
            own = own or connect(self._path, read_only=self._read_only)
            yield own
        except sqlite3.DatabaseError as error:
            if refused_read(error):
                raise full("ledger", Path(self._path), str(error)) from None
            raise Corrupt("ledger", self._name, "cannot be read", why=str(error), hint=VERIFY) from None
        finally:
            if own is not None and self._closed:
                own.close()
            elif own is not None:
                self._idle.append(own)


def _signers(db: sqlite3.Connection) -> tuple[Signer, ...]:
    return tuple(
        Signer(*row) for row in db.execute("SELECT since, public, signed FROM signers ORDER BY since")
    )


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Generator[None]:
    """Show one state of the store to all statements inside."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")

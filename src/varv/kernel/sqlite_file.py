"""The file of an embedded ledger: its tables, its owner, its connections.

What is read from it is in `kernel.sqlite_reading`, what is written in `kernel.ledger_sqlite`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.kernel.ledger import GENESIS

Durability = Literal["full", "process"]

FORMAT = 2
READABLE = (1, FORMAT)
"""Version 1 had no records of what entries decided, and did not name the key of its checkpoints."""
APPLICATION_ID = 0x76617276  # "varv"
_MOST_FLAWS = 20

_SCHEMA = """
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL,
    event_version INTEGER NOT NULL, at INTEGER NOT NULL, cause INTEGER, data BLOB NOT NULL,
    hash BLOB NOT NULL, decided BLOB, UNIQUE (stream, version));
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TABLE sagas (saga TEXT PRIMARY KEY, version INTEGER NOT NULL, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE timers (
    saga TEXT NOT NULL, key TEXT NOT NULL, due INTEGER NOT NULL, cause INTEGER NOT NULL,
    PRIMARY KEY (saga, key)) WITHOUT ROWID;
CREATE INDEX timers_by_due ON timers (due, saga, key);
CREATE TABLE commands (
    id TEXT PRIMARY KEY, saga TEXT NOT NULL, cause INTEGER NOT NULL, position INTEGER NOT NULL,
    name TEXT NOT NULL, data BLOB NOT NULL,
    priority INTEGER NOT NULL, partition TEXT NOT NULL, due_at INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER NOT NULL DEFAULT 0, worker TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE INDEX commands_by_turn ON commands (priority DESC, cause, position);
CREATE INDEX commands_by_partition ON commands (partition, lease_until);
"""

_ADDED = """
CREATE TABLE recorded (one INTEGER PRIMARY KEY CHECK (one = 1), since INTEGER NOT NULL);
CREATE TABLE signers (since INTEGER PRIMARY KEY, public BLOB NOT NULL, signed INTEGER NOT NULL);
"""
"""What format 2 has beside format 1."""

_OBJECTS = {
    *("entries", "head", "sagas", "timers", "commands", "recorded", "signers"),
    *("timers_by_due", "commands_by_turn", "commands_by_partition"),
}


def own(path: Path) -> int:
    """Return a file descriptor whose lock says that this process owns the store at `path`; close it to let
    go.

    Raises
    ------
    FailedPrecondition
        If another process does; its pid is in the facts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 20).decode(errors="replace") or "unknown"
        os.close(lock)
        hint = "use it through its server, or stop that process"
        raise FailedPrecondition(
            "store", path.name, "is owned by another process", pid=pid, hint=hint
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def connect(path: str, *, read_only: bool) -> sqlite3.Connection:
    """Return a connection in which each statement stands alone until a transaction is begun."""
    target = f"{Path(path).absolute().as_uri()}?mode=ro" if read_only else path
    db = sqlite3.connect(
        target, uri=read_only, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    # Another reader may hold the store for a moment while the write-ahead log is folded in.
    db.execute("PRAGMA busy_timeout = 5000")
    return db


def prepare(db: sqlite3.Connection, name: str, durability: Durability) -> None:
    """Make a file ready for its owner: its tables if it is new, and no leases of an owner before.

    Raises
    ------
    Corrupt
        If it is a database of something else.
    """
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    if db.execute("PRAGMA user_version").fetchone()[0] == 0:
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            hint = "choose another home folder"
            raise Corrupt("ledger", name, "is a database of something else", hint=hint)
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};"
        rows = f"INSERT INTO head VALUES (1, 0, x'{GENESIS.hex()}'); INSERT INTO recorded VALUES (1, 0);"
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {_ADDED} {marks} {rows} COMMIT;")
    if require_format(db, name) < FORMAT:
        column = "ALTER TABLE entries ADD COLUMN decided BLOB;"
        since = "INSERT INTO recorded SELECT 1, seq FROM head;"
        db.executescript(
            f"BEGIN IMMEDIATE; {column} {_ADDED} {since} PRAGMA user_version = {FORMAT}; COMMIT;"
        )
    db.execute("UPDATE commands SET lease_until = 0, worker = '' WHERE lease_until > 0")


def require_format(db: sqlite3.Connection, name: str) -> int:
    """Return the format of the file.

    Raises
    ------
    Corrupt
        If it is not a ledger that this version can read.
    """
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found not in READABLE or db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        hint = "use the version of varv that wrote it, or restore the file from a copy of the home folder"
        problem = "is not a ledger of this version"
        raise Corrupt("ledger", name, problem, format=found, known=FORMAT, hint=hint)
    foreign = sorted(_objects(db) - _OBJECTS)
    if foreign:
        hint = "run varv verify, and restore the file from a copy of the home folder"
        problem = "holds a table, index or trigger that a ledger does not have"
        raise Corrupt("ledger", name, problem, found=foreign[0], hint=hint)
    return found


def _objects(db: sqlite3.Connection) -> set[str]:
    """Return the names of the tables, indexes, views and triggers in a file."""
    query = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    return {row[0] for row in db.execute(query)}


def flaws(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with the file itself: problem, expected, found. Nothing is changed.

    Pages and indexes are compared with each other, the size of the file with the number of its pages, and its
    tables with those of a ledger: a trigger, say, could change what is written.
    """
    with closing(connect(str(path), read_only=True)) as db:
        try:
            yield from _flaws(db, path)
        except sqlite3.DatabaseError as error:
            yield "has pages that cannot be read", "a database", str(error)


def _flaws(db: sqlite3.Connection, path: Path) -> Iterator[tuple[str, str, str]]:
    db.execute("BEGIN")  # one state of the file for all that follows, also while its owner writes
    said = [row[0] for row in db.execute(f"PRAGMA integrity_check({_MOST_FLAWS})")]
    yield from (("has damaged pages", "ok", line) for line in said if line != "ok")
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    n_bytes = path.stat().st_size
    if n_bytes > pages * size:
        yield "has bytes behind its last page", f"{pages * size} bytes", f"{n_bytes} bytes"
    names = _objects(db)
    older = set() if "recorded" in names else {"recorded", "signers"}
    for name in sorted(names - _OBJECTS):
        yield "has a table, index or trigger that a ledger does not have", "none", name
    for name in sorted(_OBJECTS - names - older):
        yield "has lost a table or index", name, "none"

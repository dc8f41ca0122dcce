"""The file of an embedded ledger: its tables, its owner, its connections.

What is read from it and written to it is in `kernel.ledger_sqlite`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Literal

from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.kernel.ledger import GENESIS

Durability = Literal["full", "process"]

FORMAT = 1
APPLICATION_ID = 0x76617276  # "varv"

_SCHEMA = """
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL,
    event_version INTEGER NOT NULL, at INTEGER NOT NULL, cause INTEGER, data BLOB NOT NULL,
    hash BLOB NOT NULL, UNIQUE (stream, version));
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
        head = f"INSERT INTO head VALUES (1, 0, x'{GENESIS.hex()}');"
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {marks} {head} COMMIT;")
    require_format(db, name)
    db.execute("UPDATE commands SET lease_until = 0, worker = '' WHERE lease_until > 0")


def require_format(db: sqlite3.Connection, name: str) -> None:
    """Raise `Corrupt` unless the file is a ledger of this version."""
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found != FORMAT or db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise Corrupt("ledger", name, "is not a ledger of this version", format=found, known=FORMAT)

"""Keys of subjects: what is encrypted under one can be read as long as the key is there, wherever copies lie.

They are in one database beside a home, never in it or in its ledger, so a copy or a backup of the home holds
what nobody can read without them. To destroy a key is to destroy every copy. Whoever makes backups of this
file has to let them go as soon as a subject may ask.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from varv.kernel.codec import canonical
from varv.kernel.errors import Corrupt
from varv.kernel.ids import new_secret
from varv.kernel.storage import full, refused_write, storing

FILE = "subjects.db"
DESTROYED = "subjects.destroyed"
"""Beside it: has other bytes after each destruction, by which everybody else hears of it."""
ID_BYTES = 8
_KEY_BYTES = 32
_AT_ONCE = 500
_MOST_HELD = 1 << 16
_SCHEMA = """
CREATE TABLE IF NOT EXISTS subjects (
    owner BLOB PRIMARY KEY, id BLOB NOT NULL UNIQUE, key BLOB NOT NULL
) WITHOUT ROWID
"""


class SubjectKey(NamedTuple):
    """The key of one subject: `owner` is the digest of whose it is, `id` stands beside what it encrypts."""

    owner: bytes
    id: bytes
    key: bytes


class SubjectKeys:
    """The keys of one home's subjects; threads and processes may use them at the same time.

    Parameters
    ----------
    place
        The database, made with the first key.
    index
        Returns the key under which subjects are looked up, so that the file names nobody.
    """

    def __init__(self, place: Path, index: Callable[[], bytes]) -> None:
        self._place, self._index = place, index
        # What was destroyed last when they were read, and the keys by owner.
        self._held: tuple[bytes, dict[bytes, SubjectKey]] = b"", {}

    def owner(self, dataset: str, column: str, text: str) -> bytes:
        """Return the digest of a subject: whom a text names in a column of a dataset."""
        return hmac.new(self._index(), canonical([dataset, column, text]), hashlib.sha256).digest()

    def mark(self, data: bytes) -> bytes:
        """Return by what the holder of the index tells what is encrypted from what was made up."""
        return hmac.new(self._index(), b"sealed\0" + data, hashlib.sha256).digest()

    def of(self, owners: Collection[bytes]) -> dict[bytes, SubjectKey]:
        """Return the keys of owners; who has none gets one."""
        last, held = self._destroyed(), self._held
        # What is encrypted under a key that somebody has destroyed meanwhile, nobody can ever read.
        keys = held[1] if held[0] == last else {}
        if any(owner not in keys for owner in owners):
            self._make(owners)
            # Threads that use it at the same time each have a whole one.
            kept = {} if len(keys) + len(owners) > _MOST_HELD else keys
            keys = {**kept, **self._found("owner", owners)}
            self._held = last, keys
        return {owner: keys[owner] for owner in owners}

    def with_ids(self, ids: Collection[bytes]) -> dict[bytes, SubjectKey]:
        """Return keys by their ids, as they are in the file; without those that were destroyed."""
        return {one.id: one for one in self._found("id", ids).values()}

    def count(self, owners: Collection[str]) -> int:
        """Return how many of owners, in hexadecimal, have a key."""
        return len(self._found("owner", [bytes.fromhex(one) for one in owners]))

    def destroy(self, owners: Collection[str]) -> None:
        """Destroy the keys of owners, in hexadecimal; whoever holds one uses it no more, and forgets it with
        the next that is asked for.
        """
        gone = [bytes.fromhex(one) for one in owners]
        if gone and self._place.exists():
            with self._writing() as db:
                db.executemany("DELETE FROM subjects WHERE owner = ?", [(one,) for one in gone])
            # Not a number in the database: a read of the file by itself would undo the locks of SQLite.
            draft = self._place.with_name(f".{DESTROYED}")
            with storing("key", draft):
                draft.write_bytes(new_secret(ID_BYTES))
                draft.replace(self._place.with_name(DESTROYED))
        self._held = b"", {}

    def _destroyed(self) -> bytes:
        try:
            return self._place.with_name(DESTROYED).read_bytes()
        except FileNotFoundError:
            return b""

    def _make(self, owners: Collection[bytes]) -> None:
        missing = set(owners) - self._found("owner", owners).keys()
        if missing:
            rows = [(one, new_secret(ID_BYTES), new_secret(_KEY_BYTES)) for one in sorted(missing)]
            with self._writing() as db:
                # Of two processes that meet somebody new, one makes the key.
                db.executemany("INSERT OR IGNORE INTO subjects VALUES (?, ?, ?)", rows)

    def _found(self, column: str, values: Collection[bytes]) -> dict[bytes, SubjectKey]:
        if not self._place.exists() or not values:
            return {}
        found: dict[bytes, SubjectKey] = {}
        with self._reading() as db:
            for some in _stretches(list(values)):
                marks = ",".join("?" * len(some))
                rows = db.execute(f"SELECT owner, id, key FROM subjects WHERE {column} IN ({marks})", some)
                found |= {row[0]: SubjectKey(*row) for row in rows}
        return found

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self._place.absolute().as_uri()}?mode=ro", uri=True)) as db:
                db.execute("PRAGMA busy_timeout = 5000")
                yield db
        except sqlite3.Error as error:
            raise self._corrupt(error) from None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with storing("key", self._place):
            # Made by nobody else first: a file of SQLite is readable by others where the umask lets it.
            os.close(os.open(self._place, os.O_WRONLY | os.O_CREAT, 0o600))
        try:
            with closing(sqlite3.connect(self._place, isolation_level=None)) as db:
                for pragma in ("busy_timeout = 5000", "synchronous = FULL", "secure_delete = ON"):
                    db.execute(f"PRAGMA {pragma}")
                # Without a write-ahead log, which would go on holding what was deleted.
                db.execute("PRAGMA journal_mode = DELETE")
                db.execute("BEGIN IMMEDIATE")
                db.execute(_SCHEMA)
                yield db
                db.execute("COMMIT")
        except sqlite3.Error as error:
            if refused_write(error):
                raise full("key", self._place, str(error)) from None
            raise self._corrupt(error) from None

    def _corrupt(self, error: sqlite3.Error) -> Corrupt:
        hint = "restore it: without it nothing that it has keys for can be read"
        return Corrupt("file", self._place.name, "is unreadable", why=str(error), hint=hint)


def _stretches(values: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]

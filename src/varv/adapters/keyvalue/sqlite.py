"""Packed features in files of SQLite, a file a generation; other processes read them at the same time.

A folder a table: ``1.db``, ``2.db`` and ``current``, which says which of them counts and is replaced as a
whole. A reader has a connection a thread, maps the file, and looks at ``current`` again after ten
milliseconds. A file that is dropped while somebody reads it stays until they are done, as files do.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from varv.features.online.ports import Found, Pointer, Table
from varv.kernel.blobs import sync_folder
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import Corrupt
from varv.kernel.storage import full, refused_write, storing

LOOKS_EVERY_S = 0.01
_AT_ONCE = 256
_MOST_TRIES = 20
_MAPPED_BYTES = 1 << 36
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entities (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS note (one INTEGER PRIMARY KEY CHECK (one = 1), note BLOB NOT NULL);
COMMIT;
"""
_ONE = "SELECT value FROM entities WHERE key = ?"


class _Current(msgspec.Struct, frozen=True):
    """What ``current`` holds."""

    generation: int
    note: str


class SqliteKeyValue:
    """Tables in a folder.

    Parameters
    ----------
    folder
        Made when the first value is put; a reader needs none.
    durable
        Whether what is put is on the disk when it is done.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder
        self._durable = durable
        self._pointers: dict[str, tuple[float, tuple[int, int], Pointer | None]] = {}
        self._of_thread = threading.local()
        self._all: list[sqlite3.Connection] = []

    def get_many(self, asked: Mapping[str, Sequence[bytes]]) -> dict[str, Found]:
        """See `KeyValue`."""
        return {name: self._found(name, keys) for name, keys in asked.items()}

    def _found(self, name: str, keys: Sequence[bytes]) -> Found:
        for tries in range(_MOST_TRIES):
            pointer = self.current(name)
            if pointer is None:
                return Found(None, [None] * len(keys))
            try:
                return Found(pointer, _values(self._reading(name, pointer.generation), keys))
            except sqlite3.OperationalError:
                # Another one became current, and this one went, since we looked.
                self._pointers.pop(name, None)
                if tries == _MOST_TRIES - 1:
                    raise
            except sqlite3.DatabaseError as error:
                raise _corrupt(self._path(Table(name, pointer.generation)), error) from None
        raise AssertionError("the last try returns or raises")

    def current(self, name: str) -> Pointer | None:
        """See `KeyValue`."""
        now, known = wall_seconds(), self._pointers.get(name)
        if known is not None and now - known[0] < LOOKS_EVERY_S:
            return known[2]
        path = self._folder / name / "current"
        try:
            at = path.stat()
        except FileNotFoundError:
            return None
        place = at.st_mtime_ns, at.st_ino
        if known is None or known[1] != place:
            known = (now, place, _pointer(path))
        self._pointers[name] = (now, place, known[2])
        return known[2]

    def get_from(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `KeyValue`."""
        # A connection that is kept could be to a draft that was dropped, and begun again under its number.
        path = self._path(table)
        if not path.exists():
            return [None] * len(keys)
        try:
            with closing(_opened(path)) as db:
                return _values(db, keys)
        except sqlite3.DatabaseError as error:
            raise _corrupt(path, error) from None

    def note(self, table: Table) -> bytes | None:
        """See `KeyValue`."""
        path = self._path(table)
        if not path.exists():
            return None
        try:
            with closing(_opened(path)) as db:
                row = db.execute("SELECT note FROM note").fetchone()
                return None if row is None else row[0]
        except sqlite3.OperationalError:
            # It was about to be made when a crash came.
            return None
        except sqlite3.DatabaseError as error:
            raise _corrupt(path, error) from None

    def put_many(self, table: Table, values: Sequence[tuple[bytes, bytes]], note: bytes) -> None:
        """See `KeyValue`."""
        path = self._path(table)
        with storing("online store", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not path.exists()
            db = sqlite3.connect(path, isolation_level=None)
            try:
                _prepare(db, durable=self._durable)
                db.execute("BEGIN IMMEDIATE")
                db.executemany("INSERT OR REPLACE INTO entities VALUES (?, ?)", sorted(values))
                db.execute("INSERT OR REPLACE INTO note VALUES (1, ?)", (note,))
                db.execute("COMMIT")
            except sqlite3.Error as error:
                if refused_write(error):
                    raise full("online store", path, str(error)) from None
                raise _corrupt(path, error) from None
            finally:
                db.close()
            if is_new and self._durable:
                sync_folder(path.parent)

    def swap(self, table: Table, note: bytes) -> None:
        """See `KeyValue`."""
        path = self._folder / table.name / "current"
        draft = path.with_name(".current")
        with storing("online store", path):
            with draft.open("wb") as file:
                file.write(msgspec.json.encode(_Current(table.generation, note.decode())))
                file.flush()
                if self._durable:
                    os.fsync(file.fileno())
            draft.replace(path)
            if self._durable:
                sync_folder(path.parent)
        self._pointers.pop(table.name, None)

    def drop(self, table: Table) -> None:
        """See `KeyValue`."""
        path = self._path(table)
        current = self.current(table.name)
        if current is not None and current.generation == table.generation:
            (path.parent / "current").unlink(missing_ok=True)
            self._pointers.pop(table.name, None)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            shutil.rmtree(path.parent, ignore_errors=True)

    def generations(self, name: str) -> list[int]:
        """See `KeyValue`."""
        return sorted(int(path.stem) for path in (self._folder / name).glob("*.db") if path.stem.isdecimal())

    def size_bytes(self, table: Table) -> int:
        """See `KeyValue`."""
        path = self._path(table)
        return path.stat().st_size if path.exists() else 0

    def close(self) -> None:
        """See `KeyValue`."""
        for db in self._all:
            db.close()
        self._all.clear()
        self._of_thread = threading.local()

    def _path(self, table: Table) -> Path:
        return self._folder / table.name / f"{table.generation}.db"

    def _reading(self, name: str, generation: int) -> sqlite3.Connection:
        """Return this thread's connection to a generation; it has one a table."""
        held: dict[str, tuple[int, sqlite3.Connection]] | None
        held = getattr(self._of_thread, "held", None)
        if held is None:
            held = dict[str, tuple[int, sqlite3.Connection]]()
            self._of_thread.held = held
        known = held.get(name)
        if known is not None and known[0] == generation:
            return known[1]
        path = self._path(Table(name, generation))
        db = _opened(path)
        db.execute("SELECT count(*) FROM note").fetchone()
        # Its log may have gone before it was opened, and then the newest values would be missing.
        if not path.exists():
            db.close()
            raise sqlite3.OperationalError(f"{path.name} went")
        if known is not None:
            self._all.remove(known[1])
            known[1].close()
        held[name] = (generation, db)
        self._all.append(db)
        return db


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    db.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    db.execute("PRAGMA busy_timeout = 5000")
    return db


def _values(db: sqlite3.Connection, keys: Sequence[bytes]) -> list[bytes | None]:
    if len(keys) == 1:
        row = db.execute(_ONE, keys).fetchone()
        return [None if row is None else row[0]]
    found: dict[bytes, bytes] = {}
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        marks = ",".join("?" * len(some))
        found.update(db.execute(f"SELECT key, value FROM entities WHERE key IN ({marks})", some))
    return [found.get(key) for key in keys]


def _prepare(db: sqlite3.Connection, *, durable: bool) -> None:
    db.execute("PRAGMA busy_timeout = 5000")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
    db.executescript(_SCHEMA)


def _corrupt(path: Path, error: sqlite3.Error) -> Corrupt:
    place = f"online/{path.parent.name}"
    hint = f"remove the folder {place}; varv features materialise fills it again"
    return Corrupt("file", f"{place}/{path.name}", "is unreadable", why=str(error), hint=hint)


def _pointer(path: Path) -> Pointer | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Current)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        hint = "remove the file; varv features materialise points again"
        raise Corrupt(
            "file", f"online/{path.parent.name}/current", "is unreadable", why=str(error), hint=hint
        ) from None
    return Pointer(found.generation, found.note.encode())

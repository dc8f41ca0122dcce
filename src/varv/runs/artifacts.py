"""Artifacts: which blob lies under which path of which run.

An artifact is a pair of an owner and a relative path in an index; its bytes are a blob, found by their
digest. No path that a client sends is ever the path of a file, so none can lead out of anything.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, Event, digest_of
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.recorder import Write, Writing
from varv.runs.model import ArtifactsSealed

LONGEST_PATH = 2000
MOST_LISTED = 10_000
_DECODED_TIMES = 5
_DRIVE = re.compile(r"[A-Za-z]:")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS artifact (
    owner TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
    sealed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (owner, path)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS artifact_by_digest ON artifact (digest);
"""
_PUT = "INSERT OR REPLACE INTO artifact (owner, path, digest, size) VALUES (?, ?, ?, ?)"


class Artifact(NamedTuple):
    """A file, or a folder, which has neither size nor digest."""

    path: str
    """From the root of its owner."""
    size: int | None
    digest: Digest | None

    @property
    def is_folder(self) -> bool:
        """Whether there are files below it."""
        return self.digest is None


class ArtifactIndex:
    """The index in the recorder's file; a `kernel.recorder.Fold` whose rows follow from no event."""

    schema = _SCHEMA
    events: tuple[type[Event], ...] = (ArtifactsSealed,)

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Note which rows a seal speaks of: all that are there."""
        assert isinstance(event, ArtifactsSealed), "there is no other"
        db.execute("UPDATE artifact SET sealed = 1 WHERE owner = ?", (event.owner,))

    def forget(self) -> None:
        """Forget nothing: nothing is remembered."""


def keep(owner: str, path: str, digest: Digest, size: int) -> Write[None]:
    """Return the work that puts a blob under a path, in the place of what is there.

    Raises
    ------
    InvalidInput
        If the path is none, or is that of a folder, or a part of it is a file.
    """
    require_path(path)

    def work(writing: Writing) -> None:
        if next(_below(writing.db, owner, path), None) is not None:
            raise InvalidInput("artifact", path[:200], "is a folder already", hint="choose another path")
        _require_folders(writing.db, owner, path)
        row = (owner, path, digest, size)
        before = files_of(writing.db, owner) if _is_sealed(writing.db, owner, path) else None
        writing.store(lambda db: db.execute(_PUT, row))
        if before is not None:
            _seal(writing, owner, {**before, path: (digest, size)})

    return Write(work, stores=True)


def keep_all(writing: Writing, owner: str, files: Mapping[str, tuple[Digest, int]]) -> None:
    """Put blobs under paths as a part of a piece of work, and seal what the owner has then.

    Raises
    ------
    InvalidInput
        If a path is none.
    """
    for path in files:
        require_path(path)
    rows = [(owner, path, digest, size) for path, (digest, size) in files.items()]
    before = files_of(writing.db, owner)
    writing.store(lambda db: db.executemany(_PUT, rows))
    _seal(writing, owner, {**before, **files})


def remove(owner: str, path: str) -> Write[None]:
    """Return the work that removes a file or a folder; that there is none is no failure."""
    if path:
        require_path(path)

    def work(writing: Writing) -> None:
        where, given = _within(owner, path)
        gone = f"owner = ? AND path = ? OR {where}"
        values = (owner, path, *given)
        query = f"SELECT path FROM artifact WHERE ({gone}) AND sealed = 1"
        sealed = {one for (one,) in writing.db.execute(query, values)}
        before = files_of(writing.db, owner)
        writing.store(lambda db: db.execute(f"DELETE FROM artifact WHERE {gone}", values))
        if sealed:
            # What else goes was in no seal.
            _seal(writing, owner, {one: file for one, file in before.items() if one not in sealed})

    return Write(work, stores=True)


def find(db: sqlite3.Connection, owner: str, path: str) -> Artifact:
    """Return a file.

    Raises
    ------
    NotFound
        If there is none under that path.
    """
    require_path(path)
    query = "SELECT path, size, digest FROM artifact WHERE owner = ? AND path = ?"
    row = db.execute(query, (owner, path)).fetchone()
    if row is None:
        raise NotFound("artifact", path[:200], owner=owner)
    return Artifact(*row)


def listed(db: sqlite3.Connection, owner: str, folder: str = "") -> list[Artifact]:
    """Return what is directly in a folder, by path; of a file nothing, as there is nothing in it.

    Raises
    ------
    InvalidInput
        If the path is none, or there is more than `MOST_LISTED`.
    """
    if folder:
        require_path(folder)
    found = []
    for one in _below(db, owner, folder):
        found.append(one)
        if len(found) > MOST_LISTED:
            raise InvalidInput("folder", folder[:200], "holds too much to be listed", most=MOST_LISTED)
    return found


def seal(writing: Writing, owner: str) -> None:
    """Put on record which artifacts an owner has now, if it has any."""
    if files := files_of(writing.db, owner):
        _seal(writing, owner, files)


def root_of(files: Mapping[str, tuple[Digest, int]]) -> Digest:
    """Return the digest of all paths with what is under them."""
    return digest_of([(path, *files[path]) for path in sorted(files)])


def sealed_files(db: sqlite3.Connection, owner: str) -> dict[str, tuple[Digest, int]]:
    """Return the files that the last seal of an owner speaks of."""
    query = "SELECT path, digest, size FROM artifact WHERE owner = ? AND sealed = 1"
    return {path: (digest, size) for path, digest, size in db.execute(query, (owner,))}


def below(db: sqlite3.Connection, owner: str, folder: str = "") -> dict[str, tuple[Digest, int]]:
    """Return all files in a folder, however deep, by their paths below it; of a file that file."""
    where, given = _within(owner, folder)
    query = f"SELECT path, digest, size FROM artifact WHERE {where}"
    n = len(folder) + 1 if folder else 0
    found = {path[n:]: (digest, size) for path, digest, size in db.execute(query, given)}
    if folder and not found:
        query = "SELECT digest, size FROM artifact WHERE owner = ? AND path = ?"
        found = {folder.rpartition("/")[2]: row for row in db.execute(query, (owner, folder))}
    return found


def files_of(db: sqlite3.Connection, owner: str) -> dict[str, tuple[Digest, int]]:
    """Return the digest and the size of each file of an owner, by path."""
    query = "SELECT path, digest, size FROM artifact WHERE owner = ?"
    return {path: (digest, size) for path, digest, size in db.execute(query, (owner,))}


def _seal(writing: Writing, owner: str, files: Mapping[str, tuple[Digest, int]]) -> None:
    size = sum(size for _, size in files.values())
    event = ArtifactsSealed(owner=owner, n=len(files), size=size, root=root_of(files))
    writing.record(f"artifacts/{owner}", event)


def _is_sealed(db: sqlite3.Connection, owner: str, path: str) -> bool:
    query = "SELECT sealed FROM artifact WHERE owner = ? AND path = ?"
    row = db.execute(query, (owner, path)).fetchone()
    return row is not None and bool(row[0])


def require_path(path: str) -> None:
    """Raise `InvalidInput` unless a path is a relative one that stays where it begins, however often it is
    decoded.

    Examples
    --------
    >>> require_path("model/data/100%.txt")
    >>> require_path("model/%2e%2e/x")  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    varv.kernel.errors.InvalidInput: artifact path 'model/%2e%2e/x' is not allowed; use names with slashes
    between them
    """
    decoded = path
    for _ in range(_DECODED_TIMES):
        if not _is_plain(decoded):
            hint = "use names with slashes between them"
            raise InvalidInput("artifact path", ascii(path[:200])[1:-1], "is not allowed", hint=hint)
        before, decoded = decoded, unquote(decoded)
        if before == decoded:
            return


def _is_plain(path: str) -> bool:
    if not path or len(path) > LONGEST_PATH or path[0] == "/" or _DRIVE.match(path):
        return False
    if any(character in "\\#" or unicodedata.category(character) == "Cc" for character in path):
        return False
    # A slash at the end is what a decoded name may have, and an empty name in between means the same folder
    # twice.
    return not any(part in ("", ".", "..") for part in path.split("/"))


def _below(db: sqlite3.Connection, owner: str, folder: str) -> Iterator[Artifact]:
    """Yield what is directly in a folder, without looking at what lies deeper."""
    begin = f"{folder}/" if folder else ""
    query = "SELECT path, size, digest FROM artifact WHERE owner = ? AND path > ? ORDER BY path LIMIT 1"
    after = begin
    while (row := db.execute(query, (owner, after)).fetchone()) is not None:
        path: str = row[0]
        if not path.startswith(begin):
            return
        name, slash, _ = path[len(begin) :].partition("/")
        if slash:
            yield Artifact(begin + name, None, None)
            # Past everything in it: the character after the slash.
            after = f"{begin}{name}0"
            if _is_file(db, owner, after):
                yield find(db, owner, after)
        else:
            yield Artifact(*row)
            after = path


def _is_file(db: sqlite3.Connection, owner: str, path: str) -> bool:
    query = "SELECT 1 FROM artifact WHERE owner = ? AND path = ?"
    return db.execute(query, (owner, path)).fetchone() is not None


def _within(owner: str, folder: str) -> tuple[str, tuple[str, ...]]:
    if not folder:
        return "owner = ?", (owner,)
    return "owner = ? AND path > ? AND path < ?", (owner, f"{folder}/", f"{folder}0")


def _require_folders(db: sqlite3.Connection, owner: str, path: str) -> None:
    parts = path.split("/")
    for n in range(1, len(parts)):
        if _is_file(db, owner, "/".join(parts[:n])):
            problem = "is a file, and can hold none"
            raise InvalidInput("artifact", "/".join(parts[:n])[:200], problem, hint="choose another path")

"""The boundary at which a disk that takes nothing more becomes an error of ours.

Whoever makes something durable writes it within `storing`. What could not be written is not there, and the
same call can be made again once there is room.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from varv.kernel.errors import StorageFull

_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_SQLITE_REFUSED = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_SHARED_MEMORY = {sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP}
_HINT = "free space there; everything goes on by itself once there is room"


class storing:
    """Raise `StorageFull` where the disk refuses what is written inside; a context manager.

    Parameters
    ----------
    kind, place
        What is written, and where.
    draft
        Removed if it is left behind, since half a file would only take the space that is missing.
    """

    # A class, since a generator takes three times as long, and every prediction is written within it.
    def __init__(self, kind: str, place: Path, *, draft: Path | None = None) -> None:
        self._kind, self._place, self._draft = kind, place, draft

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if self._draft is not None:
            with suppress(OSError):
                self._draft.unlink(missing_ok=True)
        if error.errno in _REFUSED:
            raise full(self._kind, self._place, error.strerror or str(error)) from None


def refused_write(error: sqlite3.Error) -> bool:
    """Return whether SQLite could not write for the disk's sake."""
    return _primary(error) in _SQLITE_REFUSED


def refused_read(error: sqlite3.Error) -> bool:
    """Return whether SQLite could not read because there is no room for what it needs beside the file."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code in _SHARED_MEMORY or _primary(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)


def full(kind: str, place: Path, why: str) -> StorageFull:
    """Return the error that says what could not be written, where, and how much room there is."""
    try:
        free: int | str = shutil.disk_usage(place if place.exists() else place.parent).free
    except OSError:
        free = "unknown"
    problem = f"cannot be written to {place.parent}: {why[:1].lower()}{why[1:]}"
    return StorageFull(kind, place.name, problem, free_bytes=free, hint=_HINT)


def _primary(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF

"""Scratch: a temporary folder that goes with whoever made it, and with this process at the latest.

It lies where the system keeps temporary files (``TMPDIR``), and whoever made it holds its lock. A process
that was killed leaves its own behind; the next one that needs any removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

_PREFIX = "varv-scratch-"
_LOCK = "lock"


class Scratch:
    """A temporary folder, made when it is first needed.

    Parameters
    ----------
    purpose
        A word for people who find it.
    """

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The folder."""
        if self._path is None:
            _remove_abandoned()
            made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}"))
            lock = os.open(made / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Only now under a name that others look for: unlocked, it would be taken for abandoned.
            path = made.rename(made.with_name(f"{_PREFIX}{self._purpose}-{made.name[len(_PREFIX) + 1 :]}"))
            weakref.finalize(self, _remove, path, lock)
            self._path = path
        return self._path


def _remove(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _remove_abandoned() -> None:
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Numbers of processes say nothing: two containers may share the folder.
        try:
            if left.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(left / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            _remove(left, lock)

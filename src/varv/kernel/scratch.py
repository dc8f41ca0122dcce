"""Scratch: a temporary folder that goes with whoever made it, and with this process at the latest.

It lies where the system keeps temporary files (``TMPDIR``). A process that was killed leaves its own behind;
the next one that needs any removes it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path

_PREFIX = "varv-"


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
            self._path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{self._purpose}-"))
            weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)
        return self._path


def _remove_abandoned() -> None:
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}[0-9]*-*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and left.is_dir() and not left.is_symlink() and _is_gone(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False

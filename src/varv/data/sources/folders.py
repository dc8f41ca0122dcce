"""Folders that others put files into: which lie there whole, and each as a file of this machine.

A file of a folder counts when nobody has written to it for a while, which its time of change says whatever
is done to its other times, and when its name is not one that tools give to what they still write.
`sources.buckets` is the same for object stores.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from varv.data.sources.files import mark_of
from varv.kernel.clock import Duration, Instant
from varv.kernel.scratch import Scratch


class Landed(NamedTuple):
    """A file by its name from its folder on, with slashes, and what changes when somebody writes to it."""

    name: str
    mark: str


class Folder(Protocol):
    """Where files lie."""

    def files(self, now: Instant | None = None) -> list[Landed]:
        """Return the files in the order of their names: those that are whole at a time, all without one."""
        ...

    def here(self, name: str, scratch: Scratch) -> Path:
        """Return a file of this machine with the content of one that lies there."""
        ...


class LocalFolder:
    """A folder of this machine.

    Parameters
    ----------
    settle
        How long a file must have been left alone.
    """

    def __init__(self, path: str, settle: Duration) -> None:
        self._path, self._settle = Path(path), settle

    def files(self, now: Instant | None = None) -> list[Landed]:
        """Return the files in the order of their names: those that are whole at a time, all without one."""
        # Seconds since 1970; a file that somebody copied keeps its other times.
        return [
            Landed(file.relative_to(self._path).as_posix(), mark_of(file))
            for file in sorted(self._path.rglob("*"))
            if file.is_file() and (now is None or now - file.stat().st_ctime_ns // 1000 >= self._settle)
        ]

    def here(self, name: str, scratch: Scratch) -> Path:
        """Return the file itself."""
        return self._path / name


def is_hidden(name: str) -> bool:
    """Return whether tools give such a name to what they still write."""
    return any(part.startswith((".", "_temporary")) for part in name.split("/"))

"""Arrays that lie in a file and are mapped into memory.

A page is read when it is looked into and can be dropped at any time, so such arrays cost a process what it
has just used of them. A file of its own has no name, so it is gone with the process however that ends. It
lies where the system keeps temporary files (``TMPDIR``); if there is no room for it, the arrays are plain
memory. A file that others made is mapped to be read only.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

_ALIGNED = 64

Shape = tuple[npt.DTypeLike, tuple[int, ...]]
"""Type and shape of an array."""


class Mapped(Protocol):
    """What arrays lie in."""

    def let_go(self) -> None:
        """Let the system have the memory of pages that were looked into; nothing is lost."""
        ...


class MappedArrays:
    """Arrays of given types and shapes, filled with zeros.

    Parameters
    ----------
    shapes
        One for each array.
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        sizes = [np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in shapes]
        starts = np.concatenate(
            ([0], np.cumsum([-(-size // _ALIGNED) * _ALIGNED for size in sizes]))
        ).tolist()
        self._pages = _pages(max(int(starts[-1]), _ALIGNED))
        self.arrays = [
            np.zeros(shape, kind)
            if self._pages is None or 0 in shape
            else np.frombuffer(self._pages, kind, int(np.prod(shape)), start).reshape(shape)
            for (kind, shape), start in zip(shapes, starts, strict=False)
        ]

    def let_go(self) -> None:
        """Let the system have the memory of pages that were looked into; nothing is lost."""
        if self._pages is not None:
            self._pages.madvise(mmap.MADV_DONTNEED)


class MappedFile:
    """A file that exists, mapped to be read. Arrays of it keep it mapped, also once it has no name any more.

    Parameters
    ----------
    file
        Open, and not empty.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._number = os.dup(file.fileno())
        self._looks = self._now()
        self._pages = mmap.mmap(self._number, 0, access=mmap.ACCESS_READ)
        weakref.finalize(self, os.close, self._number)

    def array(self, kind: npt.DTypeLike, shape: tuple[int, ...], start: int) -> npt.NDArray[Any]:
        """Return the array that begins at a byte of the file; it cannot be written to.

        Raises
        ------
        ValueError
            If the file ends before it does.
        """
        if 0 in shape:
            return np.zeros(shape, kind)
        return np.frombuffer(self._pages, kind, math.prod(shape), start).reshape(shape)

    def bytes(self, start: int, size: int) -> bytes:
        """Return a copy of some bytes."""
        return self._pages[start : start + size]

    @property
    def is_unchanged(self) -> bool:
        """Whether nobody has written to the file since it was mapped."""
        return self._now() == self._looks

    def let_go(self) -> None:
        """Let the system have the memory of pages that were looked into."""
        self._pages.madvise(mmap.MADV_DONTNEED)

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._number)
        return found.st_size, found.st_mtime_ns


def _pages(n_bytes: int) -> mmap.mmap | None:
    with suppress(OSError), tempfile.TemporaryFile(prefix="varv-") as file:
        # A hole in the file would kill the process when the disk is full and it is written to.
        os.posix_fallocate(file.fileno(), 0, n_bytes)
        return mmap.mmap(file.fileno(), n_bytes)
    return None

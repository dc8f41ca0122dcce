"""Arrays that lie in a temporary file and are mapped into memory.

A page is read when it is looked into and can be dropped at any time, so such arrays cost a process what it
has just used of them. The file has no name, so it is gone with the process however that ends. It lies where
the system keeps temporary files (``TMPDIR``); if there is no room for it, the arrays are plain memory.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

_ALIGNED = 64

Shape = tuple[npt.DTypeLike, tuple[int, ...]]
"""Type and shape of an array."""


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


def _pages(n_bytes: int) -> mmap.mmap | None:
    with suppress(OSError), tempfile.TemporaryFile(prefix="varv-") as file:
        # A hole in the file would kill the process when the disk is full and it is written to.
        os.posix_fallocate(file.fileno(), 0, n_bytes)
        return mmap.mmap(file.fileno(), n_bytes)
    return None

"""Memory that nobody uses any more, given back to the system.

The C library keeps what is freed between what is still in use, for a next wish of that size. Around a
training, which makes and drops arrays of every size, that is as much as the training's rows.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
from contextlib import suppress
from pathlib import Path


def return_freed() -> None:
    """Give the pages of what was freed back to the system, where the C library can: some milliseconds."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Return how much memory of this process is there; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * mmap.PAGESIZE


def settle() -> None:
    """Let the garbage collector pass over all that is there by now, and look less often: what a request makes
    is gone with it, and a walk through a whole process is a pause that somebody waits for.
    """
    gc.set_threshold(*_RARELY)
    if _shares:
        # To look at what is shared would copy it, and it is passed over since the fork.
        gc.collect()
        return
    # What was passed over before may be garbage by now: versions come and go.
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def settle_for_forks() -> None:
    """Let the garbage collector of this process, and of those forked from it, pass over all that is there by
    now. They share its memory for as long as nobody writes to it, and the collector does as it looks.
    """
    global _shares
    gc.collect()
    gc.freeze()
    _shares = True


_RARELY = 20_000, 20, 50
_shares = False

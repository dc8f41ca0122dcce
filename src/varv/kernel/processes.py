"""Processes by a name that no other process ever has, to know later whether one has ended without saying so.

The name is made of the machine, its last start, the space of process numbers, the number, and when the
process began. Only Linux tells all of it; elsewhere a process has no such name, and nothing is claimed.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

_SEPARATOR = "/"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def this_process() -> str:
    """Return the name of this process; nothing where the system does not tell enough."""
    place = _place()
    began = _began(os.getpid())
    if place is None or began is None:
        return ""
    return _SEPARATOR.join((*place, str(os.getpid()), began))


def has_ended(name: str) -> bool:
    """Return whether a process has certainly ended; False of one elsewhere, of which nobody here knows.

    Examples
    --------
    >>> has_ended(this_process()), has_ended("elsewhere/boot/space/1/2")
    (False, False)
    """
    parts, here = name.split(_SEPARATOR), _place()
    if here is None or len(parts) != 5 or not parts[3].isdecimal():
        return False
    host, boot, space = here
    if parts[0] != host:
        return False
    if parts[1] != boot:
        return True  # the machine was started anew since
    return parts[2] == space and _began(int(parts[3])) != parts[4]


def shown(name: str) -> str:
    """Return a process in words.

    Examples
    --------
    >>> shown("gpu-7/0f1e/4026531836/812/5501")
    'process 812 on gpu-7'
    """
    parts = name.split(_SEPARATOR)
    return f"process {parts[3]} on {parts[0]}" if len(parts) == 5 else "a process"


def _place() -> tuple[str, str, str] | None:
    """Return the machine, its last start and the space of process numbers."""
    host = platform.node().replace(_SEPARATOR, "-")
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").stat().st_ino)
        return (host, _BOOT.read_text().strip(), space) if host else None
    return None


def _began(pid: int) -> str | None:
    """Return when a process began, in ticks since the machine did; None if there is none, or it is dead and
    only not waited for yet.
    """
    with suppress(OSError, IndexError):
        # Fields after the command's name, which may hold anything: proc(5).
        rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if rest[0] in ("Z", "X") else rest[19]
    return None

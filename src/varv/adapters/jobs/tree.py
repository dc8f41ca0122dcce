"""Processes as the kernel shows them: who descends from whom, what memory they hold, and how to end them.

Used by the owner of a job and by its supervisor. All of it reads ``/proc``, which only Linux has; elsewhere
nothing is found, so that memory is not limited and only process groups are ended. Decides nothing.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

LINUX = sys.platform == "linux"

# linux/prctl.h
_SET_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36
_MOST_LOOKS = 100
_THREADS = re.compile(rb"^Uid:\s+(\d+).*?^Threads:\s+(\d+)", re.MULTILINE | re.DOTALL)
_FIELDS = re.compile(rb"^(?:RssAnon|RssShmem|VmSwap|Pss_Anon|Pss_Shmem|SwapPss):\s+(\d+) kB", re.MULTILINE)


class Process(NamedTuple):
    """A process, told from a later one that was given the same number."""

    pid: int
    started: int
    """In clock ticks since the machine began."""


def adopt_orphans() -> None:
    """Let processes whose parents end become children of this one, instead of the machine's first."""
    if LINUX:
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends; if `parent` is gone already, end
    now.
    """
    if LINUX:
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def descendants(root: int) -> list[Process]:
    """Return the living processes that descend from `root`, parents before their children."""
    if not LINUX:
        return []
    children_of = _listed_children if _LISTS_CHILDREN else _all_parents().get
    found: list[Process] = []
    waiting = deque(children_of(root) or ())
    seen = {root}
    while waiting:
        pid = waiting.popleft()
        if pid in seen:
            continue
        seen.add(pid)
        if process := living(pid):
            found.append(process)
        waiting.extend(children_of(pid) or ())
    return found


def living(pid: int) -> Process | None:
    """Return the process of this number, or None if it has ended, waited for or not."""
    fields = _stat(pid)
    return None if not fields or fields[0] in (b"Z", b"X") else Process(pid, int(fields[19]))


def is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal; under a debugger it is not."""
    return _stat(pid)[:1] == [b"T"]


def marked(mark: str) -> list[Process]:
    """Return the living processes that were started with the variable `mark`, ``NAME=value``, whoever their
    parents are now.
    """
    wanted = mark.encode()
    bearers = [pid for pid in _pids() if wanted in _read(f"/proc/{pid}/environ").split(b"\0")]
    return [process for pid in bearers if (process := living(pid))]


def n_threads_of_user() -> int:
    """Return how many threads the user of this process has, as the kernel counts them for its limit."""
    user = os.getuid()
    found = 0
    for pid in _pids():
        threads = _THREADS.search(_read(f"/proc/{pid}/status"))
        if threads and int(threads[1]) == user:
            found += int(threads[2])
    return found


def private_memory(pid: int) -> int:
    """Return the bytes that a process holds and nobody could take from it: anonymous and shared memory, in
    swap or not.

    Pages of files are not counted, since the kernel takes them back when it needs to: a large table that is
    mapped costs nothing. What a process shares with its parent since a fork is counted for both.
    """
    return _sum_of(pid, "status")


def proportional_memory(pid: int) -> int:
    """Return the same, with each page that n processes share counted for 1/n.

    The kernel walks all pages of the process for it, which takes milliseconds for each gigabyte.
    """
    return _sum_of(pid, "smaps_rollup") or private_memory(pid)


def freeze(root: int) -> list[Process]:
    """Stop all that descends from `root`, so that nothing starts or restarts anything, and return it.

    What is started while others are being stopped is found by the next look, until a look finds nothing new.
    """
    stopped: set[Process] = set()
    for _ in range(_MOST_LOOKS):
        new = [process for process in descendants(root) if process not in stopped]
        if not new:
            break
        _signal(new, signal.SIGSTOP)
        stopped.update(new)
    return list(stopped)


def end(processes: Iterable[Process]) -> None:
    """Kill processes at once; those that have ended are left alone, and so is who has their number now."""
    _signal(processes, signal.SIGKILL)


def _signal(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(OSError):
            _send(process, number)


def _send(process: Process, number: signal.Signals) -> None:
    try:
        handle = os.pidfd_open(process.pid)
    except (OSError, AttributeError):
        # It has ended, or the kernel is too old or not allowed to give handles.
        if living(process.pid) == process:
            os.kill(process.pid, number)
        return
    try:
        # The handle holds the number, so what is read now is about what is signalled.
        if living(process.pid) == process:
            signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def _listed_children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        with os.scandir(f"/proc/{pid}/task") as tasks:
            for task in tasks:
                found += map(int, _read(f"{task.path}/children").split())
    except OSError:
        return found
    return found


def _all_parents() -> dict[int, list[int]]:
    """Return the children of every process; for kernels that list no children, and slower."""
    found: dict[int, list[int]] = defaultdict(list)
    for pid in _pids():
        if fields := _stat(pid):
            found[int(fields[1])].append(pid)
    return found


def _pids() -> list[int]:
    if not LINUX:
        return []
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdecimal()]


def _stat(pid: int) -> list[bytes]:
    """Return what follows the name of a process in its ``stat``, state and parent first; empty if it is
    gone.
    """
    # The name, in parentheses, may hold anything.
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _sum_of(pid: int, file: str) -> int:
    return sum(int(size) for size in _FIELDS.findall(_read(f"/proc/{pid}/{file}"))) << 10


def _read(path: str) -> bytes:
    """Return a file of the kernel, or nothing if it cannot be read. Twenty times a second for each process of
    a job, so without a file object.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = []
        while part := os.read(handle, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(handle)


_LISTS_CHILDREN = bool(LINUX and Path(f"/proc/self/task/{threading.get_native_id()}/children").exists())

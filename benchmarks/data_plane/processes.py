"""Processor time of processes and of whole trees of them, and their end."""

from __future__ import annotations

import contextlib

import psutil

ENDS_WITHIN_S = 20
READINGS = 10
"""As often a tree is read anew if a process ended meanwhile."""


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time of a process so far, in seconds."""
    times = process.cpu_times()
    return times.user + times.system


class Tree:
    """A process and all that it has started, and what those have."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._known: set[psutil.Process] = set()

    def cpu_s(self) -> float:
        """Return the processor time of all so far, in seconds.

        A process that has ended stays in the account through its parent: what it used, and what those that it
        had waited for used, is part of the parent's time of children once the parent has waited for it, and
        until then it can still be read itself (on Linux; elsewhere that time is not kept). One whose parent
        ended before it leaves the tree: `n_strays` counts those. One whose parent ignores that children end
        leaves nothing, and could only be found by asking while it lived.
        """
        for _ in range(READINGS - 1):
            with contextlib.suppress(psutil.NoSuchProcess):
                return self._read()
        return self._read()

    def _read(self) -> float:
        times = [process.cpu_times() for process in self.processes()]
        return sum(one.user + one.system + one.children_user + one.children_system for one in times)

    def processes(self) -> list[psutil.Process]:
        """Return those that live."""
        found = [self._root, *self._root.children(recursive=True)]
        self._known.update(found)
        return found

    def n_strays(self) -> int:
        """Return how many were seen in the tree, live on, and are no longer in it."""
        within = self.processes()
        return sum(one.is_running() for one in self._known.difference(within))

    def has_ended(self) -> bool:
        """Return whether the root has."""
        return not self._root.is_running() or self._root.status() == psutil.STATUS_ZOMBIE

    def end(self) -> None:
        """Ask the root to end, then see that all have."""
        everyone = self.processes()
        with contextlib.suppress(psutil.NoSuchProcess):
            self._root.terminate()
        _, left = psutil.wait_procs(everyone, ENDS_WITHIN_S)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, ENDS_WITHIN_S)

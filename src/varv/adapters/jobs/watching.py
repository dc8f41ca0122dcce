"""The watch over a running job: what it uses, and whether it has to end.

Runs in the thread that asked for the job, twenty times a second. It decides that a job ends and why; the
supervisor does it. Memory is limited by what all processes of the job hold: anonymous and shared pages, once
for each process that has them, which is an upper bound that costs microseconds; only where several processes
are over the limit so counted, the shares are asked of the kernel, which costs milliseconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from varv.adapters.jobs import tree
from varv.adapters.jobs.process import JobProcess
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import Unavailable
from varv.kernel.executor import Limits

EVERY_S = 0.05
START_WITHIN_S = 300.0
"""How long a process may take to import what it has begun to, before the job's code is called: seconds, but
jobs stand back behind everything else on the machine."""

_SAY_WITHIN_S = 0.5
_SAY_EVERY_S = 0.01
_END_WITHIN_S = 6.0
_SHARE_OF_LOOKING = 0.1
"""Of the time, at most this is spent asking the kernel for shares of memory."""

Why = Literal["itself", "time", "memory", "processes", "unwanted", "unwatched"]


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a job's processes ended."""

    why: Why
    """``"unwanted"`` where it was cancelled, or who listens to its output failed; ``"unwatched"`` where its
    supervisor was stopped."""
    status: int | None
    """The runner's, as `os.waitstatus_to_exitcode` reads it; None if nobody is left to say."""
    cpu_s: float = 0.0
    peak_bytes: int = 0
    wall_s: float = 0.0


class Watch:
    """Watches one job until all its processes have ended.

    Parameters
    ----------
    process
        Where it runs; it was told to begin.
    limits
        What it may take.
    unwanted
        Whether nobody wants the job any more.
    """

    def __init__(self, process: JobProcess, limits: Limits, unwanted: Callable[[], bool]) -> None:
        self._process = process
        self._limits = limits
        self._unwanted = unwanted
        self._began: float | None = None
        self._cpu_before = 0.0
        self._peak_bytes = 0
        self._ask_shares_at = 0.0
        self.seen: tuple[tree.Process, ...] = ()
        """The job's processes when last looked at."""

    def until_end(self) -> End | None:
        """Return how the job ended, or None if it never began, since its process had ended before.

        Raises
        ------
        Unavailable
            If the process did not come to call the job's code.
        """
        start_by = wall_seconds() + START_WITHIN_S
        why: Why | None = None
        while why is None:
            line = self._process.line(EVERY_S)
            if line is not None:
                if end := self._told(line, "itself"):
                    return end if self._began is not None else None
                continue
            if self._began is None and wall_seconds() > start_by:
                raise Unavailable(
                    "executor", "processes", "started no process in time", within_s=START_WITHIN_S
                )
            why = self._reason_to_end()
        return self._made_to_end(why)

    def _told(self, line: str, why: Why) -> End | None:
        """Take note of a line of the supervisor; return how the job ended if it says so."""
        match line.split():
            case ["running", cpu_s]:
                self._began, self._cpu_before = wall_seconds(), float(cpu_s)
                return None
            case ["ended", status, cpu_s, peak_bytes]:
                exit_code = os.waitstatus_to_exitcode(int(status))
                return self._end(why, exit_code, float(cpu_s), int(peak_bytes))
            case _:
                return self._end(why, None, 0.0, 0)

    def _end(self, why: Why, status: int | None, cpu_s: float, peak_bytes: int) -> End:
        wall_s = 0.0 if self._began is None else wall_seconds() - self._began
        return End(
            why=why,
            status=status,
            cpu_s=max(0.0, cpu_s - self._cpu_before),
            peak_bytes=max(self._peak_bytes, peak_bytes),
            wall_s=wall_s,
        )

    def _reason_to_end(self) -> Why | None:
        if self._unwanted():
            return "unwanted"
        if tree.is_stopped(self._process.pid):
            return "unwatched"
        if self._began is None:
            return None
        self.seen = tuple(tree.descendants(self._process.pid))
        if len(self.seen) > self._limits.n_processes:
            return "processes"
        if self._outgrown():
            return "memory"
        return "time" if wall_seconds() - self._began > self._limits.time_s else None

    def _outgrown(self) -> bool:
        pids = [process.pid for process in self.seen]
        used = sum(map(tree.private_memory, pids))
        if used > self._limits.memory_bytes and len(pids) > 1:
            if (now := wall_seconds()) < self._ask_shares_at:
                return False
            used = sum(map(tree.proportional_memory, pids))
            self._ask_shares_at = wall_seconds() + (wall_seconds() - now) / _SHARE_OF_LOOKING
        self._peak_bytes = max(self._peak_bytes, used)
        return used > self._limits.memory_bytes

    def _made_to_end(self, why: Why) -> End:
        if why == "time":
            self._let_it_say_where()
        self._process.ask_end()
        if why in ("memory", "processes"):
            # At once, since it goes on growing until its supervisor has come to it.
            tree.end(tree.freeze(self._process.pid))
        until = wall_seconds() + (0.0 if why == "unwatched" else _END_WITHIN_S)
        while (left := until - wall_seconds()) > 0:
            line = self._process.line(left)
            if line is not None and (end := self._told(line, why)):
                return end
        return self._end(why, None, 0.0, 0)

    def _let_it_say_where(self) -> None:
        self._process.ask_where()
        until = wall_seconds() + _SAY_WITHIN_S
        while not self._process.place() and wall_seconds() < until:
            time.sleep(_SAY_EVERY_S)

"""The supervisor of one job: ``python -m varv.adapters.jobs.supervisor``, started by the owner.

It forks the runner in a session of its own, adopts whatever that starts, and when the runner has ended, or
the owner asks or is gone, kills all that is left and says how it ended. It imports almost nothing, so that it
costs little and forks safely; it holds no limits, which the owner watches, and never runs the author's code.

The owner writes single letters to its standard input, whose end means "end it": ``g`` lets the runner begin,
``w`` lets it write down where it is. To its standard output go two lines: ``running CPU_S`` from the runner,
``ended STATUS CPU_S PEAK_BYTES`` from here.
"""

from __future__ import annotations

import math
import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from varv.adapters.jobs import tree
from varv.adapters.jobs.birth import GO, SIGNAL_OF_WHERE, WHERE, Birth
from varv.kernel.clock import wall_seconds

_END_WITHIN_S = 4.0
_EVERY_S = 0.005
_LOOK_EVERY_S = 2.0


class _Ended(NamedTuple):
    status: int
    peak_bytes: int


class Supervisor:
    """Watches over one runner.

    Parameters
    ----------
    runner
        Its process.
    go
        Where a letter lets it begin.
    idle_s
        How long it may wait for that.
    """

    def __init__(self, runner: int, go: int, idle_s: float) -> None:
        self._runner = runner
        self._go = go
        self._idle_s = idle_s
        self._ended: _Ended | None = None
        self._wake, wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)

    def watch(self) -> None:
        """Return when the runner has ended, or is to be ended."""
        waiting = select.poll()
        waiting.register(0, select.POLLIN)
        waiting.register(self._wake, select.POLLIN)
        owner, idle_until = os.getppid(), wall_seconds() + self._idle_s
        self._reap()  # it may have ended before anybody listened
        while self._ended is None:
            wait_s = max(0.0, min(_LOOK_EVERY_S, idle_until - wall_seconds()))
            ready = [handle for handle, _ in waiting.poll(wait_s * 1000 + 1)]
            # A process that the owner forked may hold its end of the pipe open after it is gone.
            if wall_seconds() > idle_until or os.getppid() != owner:
                return
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._reap()
            if 0 in ready:
                letters = os.read(0, 64)
                if not letters:
                    return
                if GO in letters:
                    idle_until = math.inf
                self._obey(letters)

    def end(self) -> str:
        """Kill all that is left, and return the line that says how the runner ended."""
        deadline = wall_seconds() + _END_WITHIN_S
        # All of the runner's own group in one act; while any of it is left, nobody else has its number.
        with suppress(OSError):
            os.killpg(self._runner, signal.SIGKILL)
        if self._reap():
            _hurry()
        while self._reap() and wall_seconds() < deadline:
            tree.end(tree.freeze(os.getpid()))
            time.sleep(_EVERY_S)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        status, peak_bytes = self._ended or (signal.SIGKILL, 0)
        return f"ended {status} {used.ru_utime + used.ru_stime:.6f} {peak_bytes}\n"

    def _obey(self, letters: bytes) -> None:
        if GO in letters:
            with suppress(OSError):
                os.write(self._go, GO)
        if WHERE in letters and self._ended is None:
            os.kill(self._runner, SIGNAL_OF_WHERE)

    def _reap(self) -> bool:
        """Take note of children that have ended; return whether any are left."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._runner:
                unit = 1024 if tree.LINUX else 1
                self._ended = _Ended(status, used.ru_maxrss * unit)


def _hurry() -> None:
    """Go before all others, where that is allowed: a job that multiplies competes with who is to end it."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        Path("/proc/self/autogroup").write_text("-20")


def main() -> NoReturn:
    """Run one job, or none, and end."""
    birth = Birth.parsed(sys.argv[1:])
    tree.adopt_orphans()
    begin, go = os.pipe()
    parent = os.getpid()
    runner = os.fork()
    if runner == 0:
        os.close(go)
        from varv.adapters.jobs.runner import run  # its imports are for the runner only

        run(birth, begin, parent)
    for handle in (begin, birth.order, birth.where):
        os.close(handle)
    supervisor = Supervisor(runner, go, birth.idle_s)
    supervisor.watch()
    said = supervisor.end()
    os.close(2)  # what the job printed ends here
    try:
        os.write(1, said.encode())
    except BrokenPipeError:
        # The owner, which else removes it, is gone.
        import shutil  # costs milliseconds that no job should wait for

        shutil.rmtree(birth.folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()

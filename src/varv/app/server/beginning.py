"""How the owner begins processes of workers: one by one, or forked from a process that imported everything.

Forked workers share what is imported, some 60 MB each, and begin in a tenth of a second. That takes a process
more, so a single worker is started by itself, as all are where the system has no handles of processes.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, NamedTuple, Protocol

from varv.app.server.fork_server import FORK, PID_BYTES
from varv.kernel.errors import Unavailable

BEGINS_WITHIN_S = 120.0
"""How long a fork may take, with the imports before the first one."""


class Process(Protocol):
    """A process that runs, or has ended."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    def wait(self, timeout: float | None = None) -> object:
        """Return once it has ended; raises `subprocess.TimeoutExpired` after so many seconds."""
        ...

    def kill(self) -> None:
        """End it at once, if it runs."""
        ...


class Begun(NamedTuple):
    """A worker's process, what it is told through, and where it answers."""

    process: Process
    orders: IO[bytes]
    replies: IO[bytes]


class Beginner(Protocol):
    """Begins processes of workers."""

    def begin(self, listener: int) -> Begun:
        """Begin one that shares a listening socket."""
        ...

    def close(self) -> None:
        """Let go of what is kept for the next one; workers that run are not touched."""
        ...


def beginner_for(n_workers: int) -> Beginner:
    """Return what begins the processes of so many workers."""
    return Forks() if n_workers > 1 and _has_handles() else Starts()


def _has_handles() -> bool:
    """Return whether the system has handles of processes, and lets us have them: a sandbox may not."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class Starts:
    """Starts each worker by itself."""

    def begin(self, listener: int) -> Begun:
        """Begin one that shares a listening socket."""
        process = subprocess.Popen(
            [sys.executable, "-m", "varv.app.server.worker", str(listener)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(listener,),
            # An interrupt at the terminal is for the owner, which then lets the workers finish.
            start_new_session=True,
        )
        assert process.stdin is not None, "started with pipes"
        assert process.stdout is not None, "started with pipes"
        return Begun(process, process.stdin, process.stdout)

    def close(self) -> None:
        """Nothing is kept."""


class Forks:
    """Forks workers from a process that has imported what they need; it is started again if it dies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server, self._line = _fork_server()

    def begin(self, listener: int) -> Begun:
        """Begin one that shares a listening socket.

        Raises
        ------
        Unavailable
            If the process that forks dies again and again.
        """
        with self._lock:
            for _ in range(2):
                with suppress(OSError, EOFError):
                    return _forked(self._line, listener)
                self._end()
                self._server, self._line = _fork_server()
        hint = "its output is above; see varv doctor"
        raise Unavailable("fork server", "", "ends before it forks a worker", hint=hint)

    def close(self) -> None:
        """End the process that forks; workers that run are not touched."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        self._line.close()
        self._server.kill()
        self._server.wait()


class _Forked:
    """A process that another one forked, known by a handle, so that its number cannot become another's."""

    def __init__(self, pid: int, handle: int) -> None:
        self.pid = pid
        self._handle = handle

    def __del__(self) -> None:
        os.close(self._handle)

    def wait(self, timeout: float | None = None) -> None:
        """Return once it has ended."""
        ended = select.poll()
        ended.register(self._handle, select.POLLIN)
        if not ended.poll(None if timeout is None else timeout * 1000):
            raise subprocess.TimeoutExpired("worker", timeout or 0.0)

    def kill(self) -> None:
        """End it at once, if it runs."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)


def _fork_server() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    # One that hangs is started again, like one that has died.
    ours.settimeout(BEGINS_WITHIN_S)
    with theirs:
        command = [sys.executable, "-m", "varv.app.server.fork_server"]
        process = subprocess.Popen(command, stdin=theirs.fileno(), start_new_session=True)
    return process, ours


def _forked(line: socket.socket, listener: int) -> Begun:
    orders_out, orders_in = os.pipe()
    replies_out, replies_in = os.pipe()
    try:
        socket.send_fds(line, [FORK], [orders_out, replies_in, listener])
        number, handles, _, _ = socket.recv_fds(line, PID_BYTES, 1)
        if not handles:
            raise EOFError
    except BaseException:
        _close(orders_in, replies_out)
        raise
    finally:
        _close(orders_out, replies_in)
    process = _Forked(int.from_bytes(number), handles[0])
    return Begun(process, os.fdopen(orders_in, "wb"), os.fdopen(replies_out, "rb"))


def _close(*handles: int) -> None:
    for handle in handles:
        os.close(handle)

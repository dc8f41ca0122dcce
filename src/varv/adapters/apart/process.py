"""One process of a model or of a function as its worker sees it: started, told what to load, asked, and
ended.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from varv.adapters.apart import wire
from varv.adapters.jobs import tree
from varv.adapters.jobs.wire import raised
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import DeadlineExceeded, Unavailable, UserCodeFailed, VarvError
from varv.kernel.job_ends import spoken_bytes, spoken_signal
from varv.kernel.scratch import Scratch
from varv.kernel.storage import storing
from varv.registry import Rows
from varv.registry.ports import Device

_GONE_WITHIN_S = 5.0
_BY_OTHERS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that a model rarely sends itself: somebody, or the kernel, ends processes by them."""


class PackageFile:
    """An open file without a name, from which each process of a model reads its package.

    Parameters
    ----------
    data
        Its content.

    Raises
    ------
    StorageFull
        If there is no room for it.
    """

    def __init__(self, data: bytes) -> None:
        with storing("package", Path(tempfile.gettempdir())), tempfile.TemporaryFile(buffering=0) as file:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            self.handle = os.dup(file.fileno())
        # Not before the last process that is being started has it.
        weakref.finalize(self, os.close, self.handle)


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What the processes of a model, or of a function, are started with."""

    kind: Literal["model", "function"] = "model"
    name: str
    """What errors call it."""
    package: PackageFile
    """What it is loaded from."""
    threads: int = 1
    device: Device = "cpu"
    variables: Mapping[str, str]
    time_s: float
    """How long a call may take."""
    load_s: float
    memory_bytes: int

    @property
    def time_setting(self) -> str:
        """What says how long a call may take."""
        return "model_time_s" if self.kind == "model" else "its timeout_s"


class Ended(Exception):
    """The process ended, or had to be: it is to be asked no more.

    Parameters
    ----------
    error
        What whoever asked is told.
    """

    def __init__(self, error: VarvError) -> None:
        super().__init__(str(error))
        self.error = error


class ModelProcess:
    """A process that was started and has loaded nothing yet.

    Parameters
    ----------
    surroundings
        What it is started with.
    on_end
        Called once it is noticed to have ended by itself.

    Raises
    ------
    Unavailable
        If the system starts no process.
    StorageFull
        If there is no room for its files.
    """

    def __init__(self, surroundings: Surroundings, on_end: Callable[[ModelProcess], None]) -> None:
        self._around = surroundings
        self._on_end = on_end
        self._held_bytes = 0
        self._ready_at = self._answered_at = 0.0
        # What is written there goes with this process; what a killed one left, with the next.
        self._scratch: Scratch | None = Scratch("model")
        with storing("folder", Path(tempfile.gettempdir())):
            folder = self._scratch.path
        ours, its = socket.socketpair()
        try:
            self._process = self._started(its, folder)
        except OSError as error:
            ours.close()
            why = error.strerror or str(error)
            problem = "cannot be given a process"
            raise Unavailable(
                surroundings.kind, surroundings.name, problem, why=why, hint="try again later"
            ) from None
        finally:
            its.close()
        self._channel = wire.Channel(ours)

    def _started(self, its: socket.socket, folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "varv.adapters.apart.child"]
        return subprocess.Popen(
            [*command, str(its.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=2,
            env={**self._around.variables, "TMPDIR": str(folder)},
            pass_fds=(its.fileno(), self._around.package.handle),
            # Its group is ended with it, and an interrupt at the terminal is for the owner.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def memory_bytes(self) -> int:
        """How much it may hold."""
        return self._around.memory_bytes

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    @property
    def answered_s(self) -> float:
        """How long it has given answers: from when it could to the last one."""
        return max(0.0, self._answered_at - self._ready_at)

    def load(self) -> None:
        """Let it load its package and answer the probe rows.

        Raises
        ------
        Ended
            If it could not, or not in time; the process is to be ended.
        """
        around = self._around
        path, handle = [str(folder) for folder in sys.path], around.package.handle
        order: wire.Load | wire.LoadFunction
        if around.kind == "model":
            order = wire.Load(handle, around.threads, around.device, around.memory_bytes, path)
        else:
            order = wire.LoadFunction(handle, around.memory_bytes, path)
        said, _ = self._exchanged(order, (), 0, around.load_s, "to load")
        if isinstance(said, wire.Failed):
            raise Ended(raised(said.raised))
        if not isinstance(said, wire.Ready):
            raise Ended(self._no_answer(type(said).__name__))
        self._ready_at = self._answered_at = wall_seconds()

    def ask(self, rows: Rows, n: int, width: int) -> np.ndarray:
        """Return predictions of n rows, float32 of shape (n, width).

        Raises
        ------
        VarvError
            What the model raised; it can be asked again.
        Ended
            If there is no answer; the process is to be ended.
        """
        ask, parts = wire.asked(rows)
        n_bytes = 4 * n * width
        said, data = self._exchanged(ask, parts, n_bytes, self._around.time_s, "to answer")
        self._answered_at = wall_seconds()
        if isinstance(said, wire.Failed):
            raise raised(said.raised)
        if not isinstance(said, wire.Scores) or said.shape != (n, width) or len(data) != n_bytes:
            raise Ended(self._no_answer(type(said).__name__))
        return np.frombuffer(data, np.float32).reshape(n, width)

    def call(self, columns: bytes, most_bytes: int) -> memoryview:
        """Return what the function returns for columns, both in JSON.

        Parameters
        ----------
        most_bytes
            Of what it returns.

        Raises
        ------
        VarvError
            What the function raised; it can be called again.
        Ended
            If there is no answer; the process is to be ended.
        """
        said, data = self._exchanged(wire.Call(), [columns], most_bytes, self._around.time_s, "to answer")
        self._answered_at = wall_seconds()
        if isinstance(said, wire.Failed):
            raise raised(said.raised)
        if not isinstance(said, wire.Returned):
            raise Ended(self._no_answer(type(said).__name__))
        return data

    def outgrew(self, n_bytes: int) -> None:
        """End it, since it holds more than it may."""
        self._held_bytes = n_bytes
        self._kill()

    def noticed(self) -> None:
        """Pass on that it has ended."""
        self._on_end(self)

    def end(self) -> None:
        """End it with all that it has started, and let go of what it held; again is harmless."""
        self._kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GONE_WITHIN_S)
        self._channel.close()
        self._scratch = None

    def why_ended(self) -> VarvError:
        """Return why a process is gone that nobody here ended, but for its memory."""
        kind, name, status = self._around.kind, self._around.name, self._status()
        if self._held_bytes:
            allowed = spoken_bytes(self._around.memory_bytes)
            problem = f"used more than {allowed} of memory, and its process was ended"
            hint = "see whether it leaks, or raise model_memory"
            return UserCodeFailed(kind, name, problem, used=spoken_bytes(self._held_bytes), hint=hint)
        if -status in _BY_OTHERS:
            problem = f"lost its process to {signal.Signals(-status).name}, which varv did not send"
            return Unavailable(kind, name, problem, hint="see whether the machine ran out of memory")
        if status < 0:
            problem = f"was ended by {spoken_signal(-status)}"
            return UserCodeFailed(kind, name, problem, hint="look at what it printed to the server's log")
        hint = "return, or raise, instead of ending the process"
        problem = f"ended its process with status {status} before it answered"
        return UserCodeFailed(kind, name, problem, hint=hint)

    def _exchanged(
        self,
        message: wire.Message,
        parts: list[memoryview | bytes] | tuple[()],
        most_bytes: int,
        time_s: float,
        to_do: str,
    ) -> tuple[wire.Message, memoryview]:
        until = wall_seconds() + time_s
        try:
            self._channel.send(message, parts, until=until)
            return self._channel.receive(most_bytes, until=until)
        except TimeoutError:
            problem = f"took longer than {time_s:g} s {to_do}, and its process was ended"
            hint = f"see whether it hangs, or raise {self._around.time_setting}"
            raise Ended(DeadlineExceeded(self._around.kind, self._around.name, problem, hint=hint)) from None
        except (EOFError, OSError):
            raise Ended(self.why_ended()) from None
        except wire.Garbage as garbage:
            raise Ended(self._no_answer(str(garbage))) from None

    def _no_answer(self, why: str) -> VarvError:
        hint = "let it write only to files that it opened"
        return UserCodeFailed(
            self._around.kind, self._around.name, "sent bytes that are no answer", why=why, hint=hint
        )

    def _status(self) -> int:
        try:
            return self._process.wait(_GONE_WITHIN_S)
        except subprocess.TimeoutExpired:
            # It closed the socket and lives on.
            self._kill()
            return self._process.wait()

    def _kill(self) -> None:
        if self._process.poll() is None:
            below = tree.freeze(self._process.pid)
            self._process.kill()
            tree.end(below)
        # What it left in its group when it ended; the group keeps its number as long as it has members.
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)

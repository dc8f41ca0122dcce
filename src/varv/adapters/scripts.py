"""A script in a process of its own, as its author would start it: with the whole environment, and at the
head of a group of processes, so that it and all that it starts can be ended. Where this process is killed, a
guardian ends it (`adapters.script_guardian`).

Unlike jobs (`adapters.processes`), which are functions that are handed bytes and see no secrets, a script
reads its own data and writes its own files, and is bounded by nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from varv.adapters.jobs import tree
from varv.adapters.jobs.output import OutputReader
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import Unavailable
from varv.kernel.executor import KIB, Cancelled, OnOutput
from varv.kernel.job_ends import Output

KEPT_BYTES = 256 * KIB
"""Of what it prints: half from the beginning, half from the end."""
LOOKS_EVERY_S = 0.1
GRACE_S = 10.0
"""How long a script that was asked to end has for it."""


class Ended(NamedTuple):
    """How a script ended."""

    status: int
    """Its exit status; negative is the signal that ended it."""
    stopped: bool
    """Whether it was asked to end."""
    output: Output
    wall_s: float


def run_script(
    command: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    *,
    stop: Cancelled,
    look: Callable[[], None] = lambda: None,
    on_output: OnOutput | None = None,
) -> Ended:
    """Run a command to its end.

    Parameters
    ----------
    folder, variables
        Its working folder and its environment.
    stop
        Once set, it is sent SIGTERM, and killed if it has not ended within `GRACE_S`.
    look
        Called every now and then meanwhile, from this thread.
    on_output
        Called with what it prints, from another thread.

    Raises
    ------
    Unavailable
        If it cannot be started.
    """
    begun = wall_seconds()
    guardian = _guardian()
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
        _tell(guardian, process)
    except OSError as error:
        os.close(reading)
        _dismiss(guardian)
        raise Unavailable("script", command[-1][:80], "cannot be started", why=str(error)) from None
    finally:
        os.close(writing)
    output = OutputReader(reading, KEPT_BYTES, on_output)
    try:
        stopped = _wait(process, stop, look)
    finally:
        _end_all(process)
        _dismiss(guardian)
        printed = output.finish()
        os.close(reading)
    return Ended(process.returncode, stopped, printed, wall_seconds() - begun)


def _guardian() -> subprocess.Popen[bytes]:
    """Start what ends a script once this process has gone, which closes the pipe between the two."""
    command = [sys.executable, "-P", "-m", "varv.adapters.script_guardian", str(GRACE_S)]
    nowhere = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, bufsize=0, start_new_session=True
        )
    except OSError as error:
        raise Unavailable("script", "", "cannot be watched over", why=str(error)) from None


def _tell(guardian: subprocess.Popen[bytes], process: subprocess.Popen[bytes]) -> None:
    # Nobody has waited for the process yet, so its number is still its own.
    script = tree.living(process.pid)
    _write(guardian, f"{process.pid} {0 if script is None else script.started}\n")


def _dismiss(guardian: subprocess.Popen[bytes]) -> None:
    _write(guardian, "ended\n")
    guardian.kill()
    with guardian:
        pass


def _write(guardian: subprocess.Popen[bytes], line: str) -> None:
    assert guardian.stdin is not None, "it reads from a pipe"
    # A guardian that was killed guards no more, which hinders no script.
    with suppress(BrokenPipeError):
        guardian.stdin.write(line.encode())


def _wait(process: subprocess.Popen[bytes], stop: Cancelled, look: Callable[[], None]) -> bool:
    until = 0.0
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOKS_EVERY_S)
            return bool(until)
        if stop.is_set() and not until:
            until = wall_seconds() + GRACE_S
            _signal(process, signal.SIGTERM)
        if until and wall_seconds() > until:
            return True
        look()


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a script: itself, and what it started and did not wait for."""
    left = tree.freeze(process.pid)
    _signal(process, signal.SIGKILL)
    tree.end(left)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The number of the group is that of its first process, and is not given to another one while any is left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)

"""One job's processes as their owner sees them: started, told to begin, asked where they are, ended.

The owner holds three pipes (letters to the supervisor, its lines, the job's output) and three files (the
order, the answer, the runner's place in its code). Reading the lines is `watching`'s, the output `output`'s.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import msgspec

from varv.adapters.jobs import tree, wire
from varv.adapters.jobs.birth import GO, WHERE, Birth
from varv.adapters.jobs.environment import repeatable, without_secrets
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import Unavailable
from varv.kernel.executor import Job, Limits
from varv.kernel.ids import new_secret
from varv.kernel.storage import storing

MARK = "_VARV_JOB"
"""The variable by which processes of a job are found when their supervisor is gone."""

_MOST_LINE = 200
_END_WITHIN_S = 5.0
_EVERY_S = 0.01


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What all jobs of an executor are started with; `adapters.processes` says what each is for."""

    variables: Mapping[str, str]
    keep_variables: Collection[str]
    n_threads: int | None
    nice: int
    spare_for_s: float
    folder: Path
    preload: tuple[str, ...]


class JobProcess:
    """A supervisor and its runner, waiting for a job.

    Raises
    ------
    Unavailable
        If the system starts no process.
    StorageFull
        If there is no room for its files.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._mark = new_secret(16).hex()
        with storing("folder", surroundings.folder):
            self._folder = Path(tempfile.mkdtemp(prefix="varv-job-", dir=surroundings.folder))
        self._files = ExitStack()
        try:
            with storing("folder", self._folder):
                self._make_files()
            self._process = self._started(surroundings)
        except BaseException:
            self._forget()
            raise

    def _make_files(self) -> None:
        handles = []
        for name in ("order", "where", "answer"):
            file = self._files.enter_context((self._folder / name).open("x+b", buffering=0))
            handles.append(file.fileno())
        self._order, self._where, self._answer = handles
        (self._folder / "tmp").mkdir(mode=0o700)
        # Only the answer is opened by its name.
        for name in ("order", "where"):
            (self._folder / name).unlink()

    def _started(self, surroundings: Surroundings) -> subprocess.Popen[bytes]:
        birth = Birth(
            order=self._order,
            where=self._where,
            nice=surroundings.nice,
            idle_s=surroundings.spare_for_s,
            folder=str(self._folder),
            preload=",".join(surroundings.preload),
        )
        variables = {
            **without_secrets(surroundings.variables, keep=surroundings.keep_variables),
            **repeatable(surroundings.n_threads),
            "TMPDIR": birth.scratch,
            MARK: self._mark,
        }
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "varv.adapters.jobs.supervisor", *birth.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=variables,
                pass_fds=(self._order, self._where),
                # Signals to the owner's group, such as an interrupt at the terminal, are for the owner.
                start_new_session=True,
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise Unavailable("executor", "processes", "could not start a process", why=why) from None
        for pipe in (process.stdin, process.stdout, process.stderr):
            self._files.enter_context(_given(pipe))
        return process

    @property
    def pid(self) -> int:
        """The supervisor's number."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the supervisor has ended."""
        return self._process.poll() is not None

    @property
    def output(self) -> int:
        """File descriptor out of which comes what the job prints."""
        return _given(self._process.stderr).fileno()

    def begin(self, job: Job, limits: Limits) -> None:
        """Hand the job over and let its runner begin.

        Raises
        ------
        StorageFull
            If there is no room for the encoded job.
        """
        path = [str(folder) for folder in sys.path]
        order = wire.Order(
            entry=job.entry,
            subject=job.subject,
            path=path,
            memory_bytes=limits.memory_bytes,
            n_processes=limits.n_processes,
            result_bytes=limits.result_bytes,
        )
        with storing("job", self._folder):
            wire.write(self._order, order, job.encode())
        self._send(GO)

    def ask_where(self) -> None:
        """Let the runner write down where in its code it is."""
        self._send(WHERE)

    def place(self) -> tuple[tuple[str, int, str], ...]:
        """Return where the runner was when it was asked or crashed: file, line and function, the outermost
        first; as the job's process wrote it.
        """
        return wire.read_places(self._where)

    def line(self, timeout_s: float) -> str | None:
        """Return the next line of the supervisor; empty at its end, None if none came in time."""
        handle = _given(self._process.stdout).fileno()
        ready = select.poll()
        ready.register(handle, select.POLLIN)
        if not ready.poll(timeout_s * 1000):
            return None
        # Lines are short and written at once, and a pipe keeps such writes whole.
        text = b""
        while not text.endswith(b"\n") and len(text) < _MOST_LINE and (byte := os.read(handle, 1)):
            text += byte
        return text.decode(errors="replace")

    def ask_end(self) -> None:
        """Let the supervisor kill all that is there, say how it ended, and end."""
        with suppress(OSError):
            _given(self._process.stdin).close()

    def answer(self, result_bytes: int) -> tuple[wire.Answer, bytes] | None:
        """Return what the runner answered, or None if it wrote nothing; raises `wire.Garbage`."""
        if os.fstat(self._answer).st_size == 0:
            return None
        return wire.read_answer(self._answer, result_bytes)

    def close(self, seen: Collection[tree.Process] = ()) -> None:
        """End whatever is still there and let go of pipes and files; `seen` are processes of the job."""
        self.ask_end()
        try:
            self._process.wait(0 if tree.is_stopped(self._process.pid) else _END_WITHIN_S)
        except subprocess.TimeoutExpired:
            seen = {*seen, *tree.descendants(self._process.pid)}
            self._process.kill()
        if self._process.wait() != 0:
            self._end_orphans(seen)
        self._forget()

    def _end_orphans(self, seen: Collection[tree.Process]) -> None:
        """Kill what a supervisor that was killed could not: what was seen, and what bears the mark."""
        deadline = wall_seconds() + _END_WITHIN_S
        while wall_seconds() < deadline:
            left = {process for process in seen if tree.living(process.pid) == process}
            left.update(tree.marked(f"{MARK}={self._mark}"))
            for process in tuple(left):
                left.update(tree.descendants(process.pid))
            if not left:
                return
            tree.end(left)
            time.sleep(_EVERY_S)

    def _send(self, letter: bytes) -> None:
        letters = _given(self._process.stdin)
        with suppress(BrokenPipeError):
            letters.write(letter)

    def _forget(self) -> None:
        self._files.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _given(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "started with pipes"
    return pipe

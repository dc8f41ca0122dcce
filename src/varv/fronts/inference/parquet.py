"""Dataframes in Parquet, as MLflow's scoring protocol takes them, read in a process of its own.

What reads them and its bounds are in `kernel.parquet_reading`. The process is started by the first file and
serves one after the other; one that dies or takes too long is the file's fault, which is told, and the next
file has a new process.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

import msgspec

from varv.fronts.inference.scoring import require_rows
from varv.fronts.problems import TooLarge
from varv.kernel import parquet_reading
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import InvalidInput, Unavailable
from varv.kernel.parquet_reading import ASKED, READ, TOLD, TOO_MUCH
from varv.serving import Answering

PARQUET = "application/vnd.apache.parquet"
READ_S = 10.0
"""So long one file may take."""
WAIT_S = 10.0
"""So long one file waits for others."""
_ENDS_WITHIN_S = 5.0


class _Ended(Exception):
    """The process has ended."""


class ParquetReader:
    """Reads files that somebody sent; threads take turns.

    Parameters
    ----------
    read_s
        So long one file may take.
    wait_s
        So long one file waits for others.
    """

    def __init__(self, read_s: float = READ_S, wait_s: float = WAIT_S) -> None:
        self._read_s = read_s
        self._wait_s = wait_s
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def columns(self, body: bytes, answering: Answering) -> Mapping[str, Sequence[Any]]:
        """Return the columns of a file as plain values, as JSON would bring them.

        Raises
        ------
        InvalidInput
            If it is no Parquet that can be read within bounds, or has nested columns.
        TooLarge
            If it has more rows than one request may, or more values.
        Unavailable
            If others are in the way for too long, or no process can be started.
        """
        if not self._turn.acquire(timeout=self._wait_s):
            raise Unavailable("request", "body", "waits for other files", hint="try again in a moment")
        try:
            kind, told = self._asked(body, answering.max_rows)
        finally:
            self._turn.release()
        if kind == TOO_MUCH:
            raise TooLarge("request", "body", told.decode(), hint="send it in parts")
        if kind != READ:
            why = told.decode(errors="replace")
            raise InvalidInput("request", "body", "is no Parquet that is read here", why=why, hint=_HINT)
        columns: dict[str, list[Any]] = msgspec.msgpack.decode(told, type=dict[str, list[Any]])
        require_rows(len(next(iter(columns.values()), ())), answering.max_rows)
        return columns

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def _asked(self, body: bytes, most_rows: int) -> tuple[int, bytes]:
        """Ask the process, and a new one if the one that was there has ended meanwhile."""
        if self._process is not None:
            with suppress(_Ended):
                return self._asked_of(self._process, body, most_rows)
        self._process = _started()
        try:
            return self._asked_of(self._process, body, most_rows)
        except _Ended:
            problem = "is no Parquet that can be read in the memory for one request"
            raise InvalidInput("request", "body", problem, hint=_HINT) from None

    def _asked_of(self, process: subprocess.Popen[bytes], body: bytes, most_rows: int) -> tuple[int, bytes]:
        is_whole = False
        try:
            incoming, outgoing = _pipes(process)
            try:
                outgoing.write(ASKED.pack(most_rows, len(body)))
                outgoing.write(body)
                outgoing.flush()
            except OSError:
                raise _Ended from None
            until = wall_seconds() + self._read_s
            kind, size = TOLD.unpack(_read(incoming, TOLD.size, until))
            told = _read(incoming, min(size, parquet_reading.MOST_ANSWER_BYTES), until)
            is_whole = True
            return kind, told
        finally:
            if not is_whole:
                # What it would say now would pass for the answer to the next file.
                self.close()


_HINT = "send plain columns of numbers, texts, times and truth values, as pandas or polars write them"


def _started() -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "varv.kernel.parquet_reading"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Signals to the group of the server are for the server, at whose end the input ends.
            start_new_session=True,
        )
    except OSError as error:
        why = error.strerror or str(error)
        problem = "could not be started to read Parquet"
        raise Unavailable("process", "", problem, why=why, hint="try again in a moment") from None


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdout is not None, "started with pipes"
    assert process.stdin is not None, "started with pipes"
    return process.stdout, process.stdin


def _read(incoming: IO[bytes], size: int, until: float) -> bytes:
    """Return so many bytes.

    Raises
    ------
    InvalidInput
        If they do not come in time.
    """
    handle = incoming.fileno()
    parts: list[bytes] = []
    ready = select.poll()
    ready.register(handle, select.POLLIN)
    while size > 0:
        if not ready.poll(max(0.0, until - wall_seconds()) * 1000):
            problem = "takes too long to be read"
            raise InvalidInput("request", "body", problem, hint="send fewer rows, columns or row groups")
        part = os.read(handle, min(size, 1 << 20))
        if not part:
            raise _Ended
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(_ENDS_WITHIN_S)
    for pipe in _pipes(process):
        with suppress(OSError):
            pipe.close()

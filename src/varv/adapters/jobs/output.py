"""What a job prints: read as it comes, kept in part, and told to whoever listens.

One thread reads, so that the job never waits for long; another tells, so that a listener who is slow does not
make the job wait. Both hold a bounded amount whatever the job does.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress

from varv.kernel.clock import wall_seconds
from varv.kernel.executor import OnOutput
from varv.kernel.job_ends import Output

MOST_WAITING = 1 << 20
"""Bytes that wait for a slow listener; older ones are dropped, and the listener is told."""

_AT_ONCE = 1 << 16
_LOOK_EVERY_MS = 50
_READ_WITHIN_S = 2.0
"""How long the output of a job that has ended is read: what the pipe holds takes a millisecond."""
_TELL_WITHIN_S = 5.0
"""How long a job that has ended waits for its listener."""


class OutputReader:
    """Reads the output of one job until it ends.

    Parameters
    ----------
    source
        Where the output comes out of.
    keep_bytes
        How much of it is kept: half of the beginning, half of the end.
    on_output
        Who listens; `failed` holds what it raised, after which it is not called again.
    """

    def __init__(self, source: int, keep_bytes: int, on_output: OnOutput | None = None) -> None:
        self._source = source
        self._most_head = keep_bytes - keep_bytes // 2
        self._most_tail = keep_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._n_bytes = 0
        self._until: float | None = None
        self.failed: Exception | None = None
        self._on_output = on_output
        self._waiting = bytearray()
        self._n_missed = 0
        self._more = threading.Condition()
        self._complete = False
        self._threads = [threading.Thread(target=self._read, name="job-output", daemon=True)]
        if on_output is not None:
            self._threads.append(threading.Thread(target=self._tell, name="job-listener", daemon=True))
        for thread in self._threads:
            thread.start()

    def finish(self) -> Output:
        """Read what is left, now that the job has ended, and return what was kept."""
        self._until = wall_seconds() + _READ_WITHIN_S
        reader, *listener = self._threads
        reader.join()
        for thread in listener:
            thread.join(_TELL_WITHIN_S)
        self._trim()
        kept = len(self._head) + len(self._tail)
        return Output(bytes(self._head), self._n_bytes - kept, bytes(self._tail))

    def _read(self) -> None:
        ready = select.poll()
        ready.register(self._source, select.POLLIN)
        with suppress(OSError):
            # What outlives the job, if anything could, may hold the pipe open or fill it for ever.
            while self._until is None or wall_seconds() < self._until:
                if not ready.poll(_LOOK_EVERY_MS):
                    if self._until is not None:
                        break
                    continue
                part = os.read(self._source, _AT_ONCE)
                if not part:
                    break
                self._keep(part)
                if self._on_output is not None:
                    self._pass_on(part)
        with self._more:
            self._complete = True
            self._more.notify()

    def _keep(self, part: bytes) -> None:
        self._n_bytes += len(part)
        room = self._most_head - len(self._head)
        if room > 0:
            self._head += part[:room]
            part = part[room:]
        self._tail += part
        # Trimmed only when it is twice too long, so that a byte is moved once on average.
        if len(self._tail) > 2 * self._most_tail + _AT_ONCE:
            self._trim()

    def _trim(self) -> None:
        del self._tail[: max(0, len(self._tail) - self._most_tail)]

    def _pass_on(self, part: bytes) -> None:
        with self._more:
            self._waiting += part
            too_many = len(self._waiting) - MOST_WAITING
            if too_many > 0:
                del self._waiting[:too_many]
                self._n_missed += too_many
            self._more.notify()

    def _tell(self) -> None:
        assert self._on_output is not None, "started for a listener"
        while True:
            with self._more:
                self._more.wait_for(lambda: self._waiting or self._complete)
                part, n_missed = bytes(self._waiting), self._n_missed
                self._waiting.clear()
                self._n_missed = 0
            if not part:
                return
            try:
                if n_missed:
                    self._on_output(f"\n[{n_missed} bytes were missed]\n".encode())
                self._on_output(part)
            except Exception as error:  # noqa: BLE001 - the listener's, raised to whoever runs the job
                self.failed = error
                return

"""One inference process as its owner sees it: what is said to it, and the answers that it still owes."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from varv.app.server.beginning import Begun
from varv.app.server.telemetry import TelemetryCounts
from varv.app.server.wire import Order, Start, WorkerOrder, WorkerReply
from varv.features.reads import Reads
from varv.fronts.inference.counts import Counts
from varv.kernel.errors import DeadlineExceeded, Unavailable, tree
from varv.kernel.ids import ModelName

ANSWER_WITHIN_S = 60.0


class WorkerProcess:
    """One process and the answers it still owes.

    Parameters
    ----------
    begun
        The process.
    start
        What it is told first.
    on_end
        Called once it has ended.
    """

    def __init__(self, begun: Begun, start: Start, on_end: Callable[[WorkerProcess], None]) -> None:
        self.capture = Path(start.capture)
        self.is_new = False
        """Whether another one still answers in its place."""
        self.has_answered = False
        self.counts: dict[ModelName, Counts] = {}
        """What it has counted, as far as it has told."""
        self.refusals: Counter[str] = Counter()
        self.reads: dict[str, Reads] = {}
        self.telemetry = TelemetryCounts()
        self._lock = threading.Lock()
        self._number = 0
        self._owed: dict[int, Owed] = {}
        self._on_end = on_end
        self._process, self._orders, self._replies = begun
        self.send(start)
        threading.Thread(target=self._listen, name="worker-replies", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def send(self, message: Order) -> Owed:
        """Say something; the answer is awaited with `Owed.wait`."""
        owed = Owed(message)
        with self._lock:
            self._number += 1
            line = msgspec.json.encode(WorkerOrder(self._number, message)) + b"\n"
            if not isinstance(message, Start):
                self._owed[self._number] = owed
            try:
                self._orders.write(line)
                self._orders.flush()
            except (BrokenPipeError, ValueError):
                owed.end(None)
        return owed

    def stop(self, timeout_s: float) -> None:
        """Close its input, so that it finishes and ends; after `timeout_s` it is killed."""
        with self._lock:
            self._orders.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _take(self, reply: WorkerReply) -> None:
        self.has_answered = True
        self.counts = reply.counts or self.counts
        self.refusals = Counter(reply.refusals or self.refusals)
        self.reads = reply.reads or self.reads
        self.telemetry = reply.telemetry or self.telemetry
        with self._lock:
            owed = self._owed.pop(reply.number, None)
        if owed is not None:
            owed.end(reply)

    def _listen(self) -> None:
        with self._replies:
            for line in self._replies:
                self._take(msgspec.json.decode(line, type=WorkerReply))
        self._process.wait()
        with self._lock:
            with suppress(BrokenPipeError):
                self._orders.close()
            left = list(self._owed.values())
            self._owed.clear()
        for owed in left:
            owed.end(None)
        self._on_end(self)


class Owed:
    """An answer that is awaited, to an order."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._done = threading.Event()
        self._reply: WorkerReply | None = None

    def end(self, reply: WorkerReply | None) -> None:
        """Take the answer; None if there will be none."""
        self._reply = reply
        self._done.set()

    def wait(self, timeout_s: float = ANSWER_WITHIN_S) -> WorkerReply:
        """Return the answer; an error that the worker met is raised here."""
        if not self._done.wait(timeout_s):
            raise DeadlineExceeded("worker", "", "has not answered in time", timeout_s=timeout_s)
        if self._reply is None:
            raise Unavailable("worker", "", "ended before it answered", hint="it is started again; retry")
        if self._reply.code:
            # Of classes that share a code the first is the general one.
            kind = next(error for error in tree() if error.code == self._reply.code)
            raise kind("worker", "", f"refused: {self._reply.problem}")
        return self._reply

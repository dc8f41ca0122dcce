"""The owner's side of the inference workers: starts them, tells them what to do, and starts them again if
they die.

A message goes to every worker and counts as done when each has answered. A worker that dies is replaced and
told everything that is in force, so a routing table that was confirmed stays confirmed.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from varv.app.server.wire import (
    Observe,
    Order,
    Restore,
    Seal,
    Start,
    Table,
    Unload,
    Warm,
    WorkerOrder,
    WorkerReply,
)
from varv.data.intake import Batch
from varv.kernel.clock import Clock
from varv.kernel.codec import Digest
from varv.kernel.columns import segment_name
from varv.kernel.errors import DeadlineExceeded, Unavailable, tree
from varv.kernel.ids import ModelName, Version
from varv.kernel.observe import log
from varv.serving.routing import RoutingTable

ANSWER_WITHIN_S = 60.0
MOST_DEATHS = 5
"""Workers that may die in a row before they have answered anything; more, and something is wrong with them
all.
"""
_LOG = logging.getLogger(__name__)


class WorkerProcess:
    """One process and the answers it still owes."""

    def __init__(self, start: Start, on_end: Callable[[WorkerProcess], None]) -> None:
        self.capture = Path(start.capture)
        self.has_answered = False
        self._lock = threading.Lock()
        self._number = 0
        self._owed: dict[int, _Owed] = {}
        self._on_end = on_end
        self._process = subprocess.Popen(
            [sys.executable, "-m", "varv.app.server.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(start.socket,),
            # An interrupt at the terminal is for the owner, which then lets the workers finish.
            start_new_session=True,
        )
        self.send(start)
        threading.Thread(target=self._listen, name="worker-replies", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def send(self, message: Order) -> _Owed:
        """Say something; the answer is awaited with `_Owed.wait`."""
        owed = _Owed()
        with self._lock:
            self._number += 1
            line = msgspec.json.encode(WorkerOrder(self._number, message)) + b"\n"
            if not isinstance(message, Start):
                self._owed[self._number] = owed
            try:
                self._pipe.write(line)
                self._pipe.flush()
            except (BrokenPipeError, ValueError):
                owed.end(None)
        return owed

    def stop(self, timeout_s: float) -> None:
        """Close its input, so that it finishes and ends; after `timeout_s` it is killed."""
        with self._lock:
            self._pipe.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None, "started with pipes"
        return self._process.stdin

    def _listen(self) -> None:
        assert self._process.stdout is not None, "started with pipes"
        for line in self._process.stdout:
            reply = msgspec.json.decode(line, type=WorkerReply)
            self.has_answered = True
            with self._lock:
                owed = self._owed.pop(reply.number, None)
            if owed is not None:
                owed.end(reply)
        self._process.wait()
        with self._lock:
            left = list(self._owed.values())
            self._owed.clear()
        for owed in left:
            owed.end(None)
        self._on_end(self)


class _Owed:
    """An answer that is awaited."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._reply: WorkerReply | None = None

    def end(self, reply: WorkerReply | None) -> None:
        self._reply = reply
        self._done.set()

    def wait(self) -> WorkerReply:
        """Return the answer; an error that the worker met is raised here."""
        if not self._done.wait(ANSWER_WITHIN_S):
            raise DeadlineExceeded("worker", "", "has not answered in time", timeout_s=ANSWER_WITHIN_S)
        if self._reply is None:
            raise Unavailable("worker", "", "ended before it answered", hint="it is started again; retry")
        if self._reply.code:
            # Of classes that share a code the first is the general one.
            kind = next(error for error in tree() if error.code == self._reply.code)
            raise kind("worker", "", f"refused: {self._reply.problem}")
        return self._reply


class Workers:
    """All workers of a home: its fleet.

    Parameters
    ----------
    home, file, model
        What they serve; all models of the file if `model` is empty.
    listener
        The listening socket that they share.
    hosts
        The names by which requests may call them; None allows any.
    n_workers, max_rows, capture_required
        How many there are, how large a request may be, and whether one that cannot be captured is refused.
    """

    def __init__(
        self,
        home: Path,
        file: str,
        model: str,
        listener: socket.socket,
        clock: Clock,
        *,
        hosts: frozenset[str] | None,
        n_workers: int,
        max_rows: int,
        capture_required: bool = False,
    ) -> None:
        self._home = home
        self._file = file
        self._model = model
        self._listener = listener
        self._clock = clock
        self._hosts = hosts
        self._max_rows = max_rows
        self._capture_required = capture_required
        self._uncaptured: Counter[ModelName] = Counter()
        self._lock = threading.RLock()
        self._warm: dict[tuple[ModelName, Version], Digest] = {}
        self._tables: dict[ModelName, RoutingTable] = {}
        self._restored = False
        self._stopping = False
        self._started = 0
        self._deaths = 0
        self.failed = threading.Event()
        """Set when workers die faster than they can be replaced."""
        self._workers = [self._start() for _ in range(n_workers)]

    # The fleet

    def warm(self, model: ModelName, version: Version, package: Digest) -> None:
        """Bring a version into memory in every worker."""
        with self._lock:
            self._warm[model, version] = package
        self._ask(Warm(model, version, package))

    def apply(self, model: ModelName, table: RoutingTable) -> int:
        """Put a table in force in every worker and return its epoch."""
        with self._lock:
            before = self._tables.get(model)
            if before is None or table.epoch > before.epoch:
                self._tables[model] = table
        epochs = [reply.epoch for reply in self._ask(Table(model, table))]
        return min(epochs, default=table.epoch)

    def unload(self, model: ModelName, version: Version) -> None:
        """Let a version go in every worker."""
        with self._lock:
            self._warm.pop((model, version), None)
        self._ask(Unload(model, version))

    def restore(self) -> None:
        """Let every worker read what the ledger holds; from then on `rows_known` keeps them up to date."""
        with self._lock:
            self._restored = True
        self._ask(Restore())

    def rows_known(self, batch: Batch) -> None:
        """Tell that rows became known; nobody waits for the answers, which come in order."""
        with self._lock:
            for worker in self._workers:
                worker.send(Observe(batch.dataset.name, batch.part, batch.segment))

    # What else the owner says

    def seal(self) -> list[Path]:
        """Return the capture files that are complete."""
        files: list[Path] = []
        for owed in self._send(Seal()):
            try:
                reply = owed.wait()
            except Unavailable:
                # Its folder is taken over once it is gone.
                log(_LOG, logging.WARNING, "worker.ended_unsealed")
                continue
            files += [Path(name) for name in reply.files]
            self._uncaptured.update(reply.n_uncaptured)
        return files

    @property
    def n_uncaptured(self) -> int:
        """Answers that were given without capture and are not on record yet, as far as workers have told."""
        return self._uncaptured.total()

    def take_uncaptured(self) -> dict[ModelName, int]:
        """Return how many answers of each model were given without capture since the last call."""
        taken, self._uncaptured = dict(self._uncaptured), Counter()
        return taken

    def capture_folders(self) -> set[Path]:
        """Return the folders that living workers write."""
        with self._lock:
            return {worker.capture for worker in self._workers}

    @property
    def pids(self) -> list[int]:
        """The processes."""
        with self._lock:
            return [worker.pid for worker in self._workers]

    def stop(self, timeout_s: float = 15.0) -> None:
        """Let every worker finish and end."""
        with self._lock:
            self._stopping = True
            workers = list(self._workers)
        for worker in workers:
            worker.stop(timeout_s)
        with self._lock:
            self._workers.clear()

    def _send(self, message: Order) -> list[_Owed]:
        with self._lock:
            return [worker.send(message) for worker in self._workers]

    def _ask(self, message: Order) -> list[WorkerReply]:
        return [owed.wait() for owed in self._send(message)]

    def _start(self) -> WorkerProcess:
        self._started += 1
        name = f"{segment_name(self._clock.now())}-{self._started}"
        start = Start(
            home=str(self._home),
            file=self._file,
            model=self._model,
            capture=str(self._home / "capture" / name),
            socket=self._listener.fileno(),
            hosts=self._hosts,
            max_rows=self._max_rows,
            capture_required=self._capture_required,
        )
        worker = WorkerProcess(start, self._replace)
        if self._restored:
            worker.send(Restore())
        for (model, version), package in sorted(self._warm.items()):
            worker.send(Warm(model, version, package))
        for model, table in sorted(self._tables.items()):
            worker.send(Table(model, table))
        return worker

    def _replace(self, ended: WorkerProcess) -> None:
        with self._lock:
            if self._stopping or ended not in self._workers:
                return
            self._deaths = 0 if ended.has_answered else self._deaths + 1
            log(_LOG, logging.ERROR, "worker.died", pid=ended.pid, in_a_row=self._deaths)
            self._workers.remove(ended)
            if self._deaths >= MOST_DEATHS:
                self.failed.set()
                return
            self._workers.append(self._start())

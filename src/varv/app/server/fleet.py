"""The owner's side of the inference workers: starts them, tells them what to do, and starts them again if
they die.

A message goes to every worker and counts as done when each has answered. A worker that dies is replaced and
told everything that is in force, so a routing table that was confirmed stays confirmed.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path

from varv.app.server.beginning import beginner_for
from varv.app.server.telemetry import Telemetry, TelemetryCounts
from varv.app.server.tls import TlsFiles
from varv.app.server.wire import (
    Accept,
    Access,
    Count,
    Drain,
    Keep,
    Models,
    Observe,
    Online,
    Order,
    Reserve,
    Restore,
    Seal,
    Start,
    Table,
    Unload,
    Warm,
    WorkerReply,
)
from varv.app.server.worker_process import Owed, WorkerProcess
from varv.data import Dataset
from varv.data.intake import Batch
from varv.features.reads import Reads, added
from varv.fronts.inference.counts import Counts, together
from varv.kernel.clock import Clock
from varv.kernel.codec import Digest
from varv.kernel.columns import segment_name
from varv.kernel.errors import DeadlineExceeded, Unavailable, VarvError
from varv.kernel.ids import DatasetName, ModelName, Version
from varv.kernel.observe import Format, log
from varv.kernel.snapshots import Position
from varv.serving.fleet import Reserves
from varv.serving.routing import RoutingTable

RENEW_WITHIN_S = 3600.0
"""How long a new worker may take to read what is stored, before it takes over."""
STOP_WITHIN_S = 15.0
COUNT_WITHIN_S = 1.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""Between two tries to bring a worker to what is in force; each time twice as long."""
MOST_DEATHS = 5
"""Workers that may die in a row before they have answered anything; more, and something is wrong with them
all.
"""
_LOG = logging.getLogger(__name__)


class Workers:
    """All workers of a home: its fleet.

    Parameters
    ----------
    home, file, model
        What they serve; all models of the file if `model` is empty.
    listener
        The listening socket that they share.
    grpc
        The address at which they answer calls over gRPC; nothing if there are none.
    hosts
        The names by which requests may call them; None allows any.
    access
        Who may ask.
    telemetry, log_format
        What they keep of requests for others to look at, and the form of their logs.
    tls
        Where the certificates are that they show their callers; None for no TLS.
    n_workers, max_rows, capture_required, capture_window_ms
        How many there are, how large a request may be, whether one that cannot be captured is refused, and
        how long what is captured may take to reach the disk.
    models
        Where models compute, and what those may take that run code of their own.
    online
        Where features are online, and of which views requests read them from there.
    """

    def __init__(
        self,
        home: Path,
        file: str,
        model: str,
        listener: socket.socket,
        clock: Clock,
        *,
        grpc: str = "",
        hosts: frozenset[str] | None,
        access: Access | None = None,
        telemetry: Telemetry | None = None,
        log_format: Format = "text",
        tls: TlsFiles | None = None,
        n_workers: int,
        max_rows: int,
        capture_required: bool = False,
        capture_window_ms: int = 50,
        models: Models | None = None,
        online: Online | None = None,
    ) -> None:
        self._home = home
        self._file = file
        self._model = model
        self._listener = listener
        self._grpc = grpc
        self._clock = clock
        self._hosts = hosts
        self.access = access or Access()
        """Who may ask."""
        self._telemetry = telemetry or Telemetry()
        self._log_format: Format = log_format
        self._tls = tls
        self._max_rows = max_rows
        self._capture_required = capture_required
        self._capture_window_ms = capture_window_ms
        self._models = models or Models()
        self._online = online or Online()
        self._uncaptured: Counter[ModelName] = Counter()
        self._counted: dict[ModelName, Counts] = {}  # by workers that have ended
        self._refused: Counter[str] = Counter()  # by those too
        self._read: dict[str, Reads] = {}  # by those too
        self._sent = TelemetryCounts()
        self._lock = threading.RLock()
        self._warm: dict[tuple[ModelName, Version], Digest] = {}
        self._tables: dict[ModelName, RoutingTable] = {}
        self._reserves = Reserves()
        self._restored = False
        self._stopping = threading.Event()
        self._started = 0
        self._deaths = 0
        self.failed = threading.Event()
        """Set when workers die faster than they can be replaced."""
        self._beginner = beginner_for(n_workers)
        self._workers = [self._start()[0] for _ in range(n_workers)]

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
        held = self._reserves.of(model)
        if self._reserves.changed(model, before, table):
            self._ask(Reserve(model, self._reserves.of(model)))
            if held is not None and held not in table.versions:
                self.unload(model, held)
        return min(epochs, default=table.epoch)

    def unload(self, model: ModelName, version: Version) -> None:
        """Let a version go in every worker, unless it is kept in reserve."""
        if version == self._reserves.of(model):
            return
        with self._lock:
            self._warm.pop((model, version), None)
        self._ask(Unload(model, version))

    def reserve(self, model: ModelName, version: Version | None) -> None:
        """Keep the champion before of a model from now on."""
        self._reserves.keep(model, version)
        self._ask(Reserve(model, version))

    def keep_no_reserve(self, model: ModelName) -> None:
        """Keep the champion before of a model no more."""
        held, table = self._reserves.drop(model), self._tables.get(model)
        if held is not None:
            self._ask(Reserve(model, None))
            if table is None or held not in table.versions:
                self.unload(model, held)

    def restore(self) -> None:
        """Let every worker read what the ledger holds; from then on `rows_known` keeps them up to date."""
        with self._lock:
            self._restored = True
        self._ask(Restore())

    def renew(self, declarations: Mapping[ModelName, Digest], access: Access) -> None:
        """Let new workers take over, which read the declaration and what the ledger holds anew. Those before
        answer until then, and finish what they have accepted; their captures are abandoned to whoever ingests
        them.

        Parameters
        ----------
        declarations, access
            What the new ones have to find declared, and who may ask them.

        Raises
        ------
        VarvError
            If a new one cannot start; the ones before go on then.
        """
        with self._lock:
            before, access_before = list(self._workers), self.access
            self._restored = True
            self.access = access
            made = [self._start(declarations) for _ in before]
            for worker, _ in made:
                worker.is_new = True
            self._workers = [*before, *(worker for worker, _ in made)]
        taken_over = False
        try:
            for _, owed in made:
                for one in owed:
                    one.wait(RENEW_WITHIN_S)
            for worker, _ in made:
                worker.send(Accept()).wait()
                worker.is_new = False
            taken_over = True
        finally:
            if not taken_over:
                self.access = access_before
                self._end([worker for worker, _ in made])
        with self._lock:
            self._warm = {one: package for one, package in self._warm.items() if one[0] in declarations}
            self._tables = {model: table for model, table in self._tables.items() if model in declarations}
        self._retire(before)

    def _retire(self, workers: Sequence[WorkerProcess]) -> None:
        """Let workers finish what they have accepted, count what they could not capture, and end."""
        drained = [(worker, worker.send(Drain())) for worker in workers]
        for worker, owed in drained:
            # One that ends by itself has lost nothing that was captured.
            with suppress(Unavailable, DeadlineExceeded):
                owed.wait()
                self._uncaptured.update(worker.send(Seal()).wait().n_uncaptured)
        self._end(workers)

    def _end(self, workers: Sequence[WorkerProcess]) -> None:
        """End workers, which are not started again."""
        with self._lock:
            self._workers = [worker for worker in self._workers if worker not in workers]
            self._counted = together([self._counted, *(worker.counts for worker in workers)])
            self._refused = sum((worker.refusals for worker in workers), self._refused)
            self._read = added([self._read, *(worker.reads for worker in workers)])
            self._sent = reduce(TelemetryCounts.plus, (worker.telemetry for worker in workers), self._sent)
        for worker in workers:
            worker.stop(STOP_WITHIN_S)

    def rows_known(self, batch: Batch) -> None:
        """Tell that rows became known; nobody waits for the answers, which come in order."""
        with self._lock:
            for worker in self._workers:
                worker.send(Observe(batch.dataset.name, batch.part, batch.segment))

    def rows_rewritten(self, dataset: Dataset) -> None:
        """Let every worker read what the ledger holds anew, and answer by what it held until it has."""
        with self._lock:
            is_restored = self._restored
        if is_restored:
            self._ask(Restore())

    def keep(self, position: Position, versions: Mapping[DatasetName, Version]) -> None:
        """Let one worker write a snapshot of its feature state; nobody waits for it.

        Parameters
        ----------
        position, versions
            An entry of the ledger and versions of datasets; `rows_known` told everything up to them.
        """
        with self._lock:
            for worker in [worker for worker in self._workers if not worker.is_new][:1]:
                worker.send(Keep(position, dict(versions)))

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

    def counts(self) -> dict[ModelName, Counts]:
        """Return what all workers have counted since this process started, those that have ended included, as
        far as they have told.
        """
        for owed in self._send(Count()):
            # One that is busy is counted as it was when it last told.
            with suppress(Unavailable, DeadlineExceeded):
                owed.wait(COUNT_WITHIN_S)
        with self._lock:
            return together([self._counted, *(worker.counts for worker in self._workers)])

    @property
    def refusals(self) -> Counter[str]:
        """What was refused at the door, by reason and client, as far as workers have told."""
        with self._lock:
            return sum((worker.refusals for worker in self._workers), Counter(self._refused))

    @property
    def reads(self) -> dict[str, Reads]:
        """Reads of the views that declare an age, as far as workers have told."""
        with self._lock:
            return added([self._read, *(worker.reads for worker in self._workers)])

    @property
    def telemetry(self) -> TelemetryCounts:
        """What became of what was traced and logged, as far as workers have told."""
        with self._lock:
            return reduce(TelemetryCounts.plus, (worker.telemetry for worker in self._workers), self._sent)

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

    def stop(self, timeout_s: float = STOP_WITHIN_S) -> None:
        """Let every worker finish and end."""
        with self._lock:
            self._stopping.set()
            workers = list(self._workers)
        for worker in workers:
            worker.stop(timeout_s)
        with self._lock:
            self._workers.clear()
        self._beginner.close()

    def _send(self, message: Order) -> list[Owed]:
        with self._lock:
            return [worker.send(message) for worker in self._workers]

    def _ask(self, message: Order) -> list[WorkerReply]:
        return [owed.wait() for owed in self._send(message)]

    def _start(
        self, declarations: Mapping[ModelName, Digest] | None = None, *, is_alone: bool = True
    ) -> tuple[WorkerProcess, list[Owed]]:
        """Start a worker that knows what is in force, and return it with the answers that it owes.

        Once others have been restored, one accepts connections only when it has been restored too: who asks
        meanwhile waits for it, or is answered by another.

        Parameters
        ----------
        declarations
            What it has to find declared; it then accepts nothing before it is told to.
        is_alone
            Whether nobody else answers, so that it accepts connections even if a version fails to load.
        """
        self._started += 1
        name = f"{segment_name(self._clock.now())}-{self._started}"
        start = Start(
            home=str(self._home),
            file=self._file,
            model=self._model,
            capture=str(self._home / "capture" / name),
            grpc=self._grpc,
            hosts=self._hosts,
            access=self.access,
            max_rows=self._max_rows,
            capture_required=self._capture_required,
            capture_window_ms=self._capture_window_ms,
            models=self._models,
            online=self._online,
            accepting=not self._restored,
            declarations=dict(declarations or {}),
            telemetry=self._telemetry,
            log_format=self._log_format,
            tls=self._tls,
        )
        worker = WorkerProcess(self._beginner.begin(self._listener.fileno()), start, self._replace)
        orders: list[Order] = [Restore()] if self._restored else []
        orders += self._in_force(declarations)
        if self._restored and declarations is None and is_alone:
            orders.append(Accept())
        owed = [worker.send(order) for order in orders]
        return worker, owed

    def _in_force(self, declarations: Mapping[ModelName, Digest] | None = None) -> list[Order]:
        """Return what tells a worker which versions answer, of declared models if any are named."""

        def wanted(model: ModelName) -> bool:
            return declarations is None or model in declarations

        warm, tables = sorted(self._warm.items()), sorted(self._tables.items())
        orders: list[Order] = []
        orders += [Warm(model, version, package) for (model, version), package in warm if wanted(model)]
        orders += [Table(model, table) for model, table in tables if wanted(model)]
        kept = [model for model in self._reserves.models() if wanted(model)]
        orders += [Reserve(model, self._reserves.of(model)) for model in kept]
        return orders

    def _replace(self, ended: WorkerProcess) -> None:
        with self._lock:
            if self._stopping.is_set() or ended not in self._workers:
                return
            self._deaths = 0 if ended.has_answered else self._deaths + 1
            log(_LOG, logging.ERROR, "worker.died", pid=ended.pid, in_a_row=self._deaths)
            self._workers.remove(ended)
            self._counted = together([self._counted, ended.counts])
            self._refused += ended.refusals
            self._read = added([self._read, ended.reads])
            self._sent = self._sent.plus(ended.telemetry)
            if ended.is_new:
                return
            if self._deaths >= MOST_DEATHS:
                self.failed.set()
                return
            worker, owed = self._start(is_alone=not self._workers)
            self._workers.append(worker)
        words = worker, owed
        threading.Thread(target=self._catch_up, args=words, name="worker-catches-up", daemon=True).start()

    def _catch_up(self, worker: WorkerProcess, owed: Sequence[Owed]) -> None:
        """Tell a worker what is in force until it has taken all of it in, then to accept connections: what
        kept it from loading a version may pass, and nobody else would tell it again.
        """
        wait_s = FIRST_WAIT_S
        while failed := [one.order for one in owed if not _is_done(one)]:
            if self._stopping.wait(wait_s):
                return
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            with self._lock:
                if worker not in self._workers:
                    return
                again = [order for order in failed if isinstance(order, Restore)]
                owed = [worker.send(order) for order in (*again, *self._in_force())]
        worker.send(Accept())


def _is_done(owed: Owed) -> bool:
    """Wait for an answer, and return whether it is no error."""
    try:
        owed.wait(RENEW_WITHIN_S)
    except VarvError:
        return False
    return True

"""One inference process: ``python -m varv.app.server.worker LISTENER``, begun and told what to do by the
owner of the home.

It answers from memory alone: versions, features and the routing table are here, and what it answers is
captured in a folder of its own before the answer goes out. It never writes the ledger, and it ends when its
standard input closes, however the owner ended.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
import uvicorn

from varv.adapters.apart import Apart
from varv.adapters.observers import EventSender
from varv.adapters.runtimes import installed_runtimes
from varv.app.compose import open_ledger, open_snapshots, open_views
from varv.app.online import online_store, stored_by
from varv.app.server.data_server import DataServer
from varv.app.server.draining import drain
from varv.app.server.memory import Memory
from varv.app.server.protocol import Sweep, bounded_protocol
from varv.app.server.telemetry import RequestTelemetry
from varv.app.server.tls import Certificates
from varv.app.server.transforms import WorkerTransforms
from varv.app.server.wire import (
    Accept,
    Access,
    Count,
    Drain,
    Keep,
    Observe,
    Reserve,
    Restore,
    Seal,
    Start,
    Table,
    Unload,
    Warm,
    WorkerOrder,
    WorkerReply,
)
from varv.app.settings import variables
from varv.data import Dataset, Datasets
from varv.data.intake import Batch
from varv.data.shape import in_shape
from varv.data.versions import table_of
from varv.features import FeatureEngine
from varv.features.online.model import readable_views
from varv.features.online.reading import OnlineReader
from varv.features.reads import ReadCounts
from varv.fronts.access import Door, Origins
from varv.fronts.gateway import Gateway
from varv.fronts.inference import HotCalls, Inference, Together, create_inference
from varv.fronts.inference.counts import Counts
from varv.fronts.inference.online import OnlineFeatures
from varv.home.change.recorded import effective_plans, recorded_schemas
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import DAY, Instant, SystemClock, wall_seconds
from varv.kernel.errors import Conflict, FailedPrecondition, StorageFull, VarvError
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import DatasetName, ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.memory import return_freed, settle
from varv.kernel.observe import log, start_logging
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.views import Views
from varv.loop.views import LoopView
from varv.project import ModelPlan, load_project
from varv.registry import Surroundings
from varv.serving import Answering, CaptureLog, DataPlanes, RequestSchema
from varv.serving.capture import keep_flushed
from varv.serving.observing import Observing
from varv.serving.recorded import Recorded

SWITCH_S = 0.0005
DRAIN_S = 10
"""How long requests under way may take once the owner is gone, and open connections once another worker takes
over.
"""
MAPPED = "cache/runtimes"
"""Where in a home what workers share of large models lies."""
_AGAIN = "run varv apply once more"
_LOG = logging.getLogger(__name__)


class Worker:
    """Holds what the owner told, and answers its messages one by one.

    Parameters
    ----------
    start
        What this worker is.
    """

    def __init__(self, start: Start) -> None:
        self._home = Path(start.home)
        self._start = start
        self._clock = SystemClock()
        models = start.models
        around = Surroundings(mapped=self._home / MAPPED, device=models.device, variables=variables())
        apart = Apart(
            around.variables, time_s=models.time_s, memory_bytes=models.memory_bytes, device=models.device
        )
        runtimes = installed_runtimes(around, apart)
        self._transforms = WorkerTransforms(apart, around.variables)
        blobs = FolderBlobs(self._home / "blobs")
        self._columns = FolderColumns(self._home / "columns")
        self._planes = DataPlanes(
            runtimes,
            blobs,
            timer=wall_seconds,
            most_bytes=models.most_bytes,
            recorded=Recorded(self._columns),
        )
        self._log = CaptureLog(Path(start.capture), at_once=not start.capture_window_ms)
        with suppress(StorageFull):
            self._log.open()
        self._ended = threading.Event()
        if start.capture_window_ms:
            given = self._log, start.capture_window_ms / 1e3, self._ended
            threading.Thread(target=keep_flushed, args=given, name="capture", daemon=True).start()
        self.telemetry = RequestTelemetry(start.telemetry, self._clock, is_secure=start.tls is not None)
        self.telemetry.start()
        self.inference = Inference(door_of(start.access), self.telemetry.watcher)
        self.accepts = threading.Event()
        """Set once connections are to be accepted."""
        if start.accepting:
            self.accepts.set()
        self._senders: dict[ModelName, EventSender] = {}
        self._variables = around.variables
        self._features = online_store(self._home, start.online.store)
        self._reads = ReadCounts()
        self._declared: dict[DatasetName, Dataset] = {}
        self._memory: Memory | None = None

    def do(self, order: WorkerOrder) -> WorkerReply:
        """Act on one message."""
        message = order.message
        if isinstance(message, Restore):
            self._restore()
            settle()
            return_freed()
        elif isinstance(message, Accept):
            self.accepts.set()
        elif isinstance(message, Warm):
            self._planes.warm(message.model, message.version, message.package)
            settle()
            return_freed()
        elif isinstance(message, Table):
            epoch = self._planes.apply(message.model, message.table)
            return WorkerReply(number=order.number, epoch=epoch)
        elif isinstance(message, Unload):
            self._planes.unload(message.model, message.version)
        elif isinstance(message, Reserve):
            self._planes.plane(message.model).reserve(message.version)
        elif isinstance(message, Observe):
            self._observe(message)
        elif isinstance(message, Keep):
            if self._memory is not None:
                declared = list(self._declared.values())
                self._memory.keep(declared, message.position, message.versions)
        elif isinstance(message, Seal):
            return self._seal(order.number)
        elif isinstance(message, Count):
            return self._counted(WorkerReply(number=order.number))
        return WorkerReply(number=order.number)

    def close(self) -> None:
        """Flush what was captured, and finish what is being kept."""
        self._ended.set()
        self.inference.parquet.close()
        with suppress(StorageFull):
            self._log.close()
        if self._memory is not None:
            self._memory.close()
        self.telemetry.close()
        for sender in self._senders.values():
            sender.close()

    def _seal(self, number: int) -> WorkerReply:
        files = tuple(str(path) for path in self._log.seal())
        counts = {one.model: one.take_uncaptured() for one in self.inference.models.values()}
        missing = {model: n for model, n in counts.items() if n}
        return self._counted(WorkerReply(number=number, files=files, n_uncaptured=missing))

    def _counted(self, reply: WorkerReply) -> WorkerReply:
        """Return a reply with what was counted so far."""
        return msgspec.structs.replace(
            reply,
            counts=self._counts(),
            refusals=self._refusals(),
            reads=self._reads.totals(),
            telemetry=self.telemetry.counts,
        )

    def _refusals(self) -> dict[str, int]:
        refused = list(self.inference.door.refusals.items())
        return {f"{reason}/{client}": n for (reason, client), n in refused}

    def _counts(self) -> dict[ModelName, Counts]:
        found = {model: one.counts for model, one in list(self.inference.statistics.items())}
        for model, sender in list(self._senders.items()):
            if model in found:
                found[model].n_observed = sender.counts
        return found

    def _restore(self) -> None:
        secret = Secret(self._home / SECRET_FILE)
        online = self._start.online
        stored = stored_by(self._features, online.views)
        memory = Memory(secret, open_snapshots(self._home), stored, self._reads)
        ledger = open_ledger(self._home, read_only=True)
        try:
            views = open_views(ledger, self._home)
            schemas = self._schemas(views, ledger)
            engines = {
                one.model: FeatureEngine(one.features, one.requests, memory.features) for one in schemas
            }
            with views.reading(LoopView) as loops:
                self.inference.retired, self.inference.default = loops.retired, loops.first
            datasets = Datasets(ledger, self._columns, self._clock, views, secret)
            memory.restore(datasets, _datasets_of(schemas), ledger)
        finally:
            ledger.close()
        self._memory = memory
        self._declared = {dataset.name: dataset for dataset in _datasets_of(schemas)}
        self.inference.models = {
            one.model: self._answering(one, engines[one.model], memory.ever_empty(one.requests))
            for one in schemas
        }
        by_model = {str(one.model): one.features.views for one in schemas}
        views = readable_views(view for several in by_model.values() for view in several)
        if views:
            reader = OnlineReader(self._features, views, self._reads)
            self.inference.features = OnlineFeatures(reader, by_model, self.inference.door)
        self.inference.door.costs = {
            model: one.cost for model, one in self.inference.models.items() if one.cost > 1
        }
        self._observe_answers()

    def _observe_answers(self) -> None:
        """Send what is asked and answered from now on to the observers of models that have one."""
        for model, answering in self.inference.models.items():
            if answering.observer is not None and model not in self._senders:
                self.inference.observing[model] = Observing(model, answering.observer)
                self._senders[model] = EventSender(self.inference.observing[model], self._variables)
                self._senders[model].start()

    def _schemas(self, views: Views, ledger: Ledger) -> tuple[RequestSchema, ...]:
        """Return what a request of each model is: as it is on record, without a look at the project's file,
        which may have changed by now and imports whatever its author needs; or, where a feature is a function
        that no ledger keeps, as the file says.

        Raises
        ------
        Conflict
            If the file has to say it, and is not what its owner has read.
        """
        with views.reading(LoopView) as loops:
            declared = {name: loops.declared[name].declaration for name in loops.declared}
            served = [name for name in declared if ModelName(name) not in loops.retired]
        wanted = dict(self._start.declarations) or {name: declared[name] for name in served}
        if self._start.model:
            wanted = {name: digest for name, digest in wanted.items() if name == self._start.model}
        if wanted and all(declared.get(name) == digest for name, digest in wanted.items()):
            with suppress(FailedPrecondition):
                found = recorded_schemas(views, ledger, map(ModelName, wanted))
                if len(found) == len(wanted):
                    return tuple(found.values())
        plans = self._plans()
        if wanted and {plan.name: plan.digest() for plan in plans} != wanted:
            raise Conflict("declaration", Path(self._start.file).name, "changed", hint=_AGAIN)
        return tuple(plan.schema for plan in effective_plans(plans, views, ledger))

    def _plans(self) -> tuple[ModelPlan, ...]:
        project = load_project(self._start.file)
        project = project.only(self._start.model) if self._start.model else project
        project.validate()
        return project.plans()

    def _answering(self, schema: RequestSchema, engine: FeatureEngine, nullable: frozenset[str]) -> Answering:
        return Answering(
            schema,
            engine,
            self._planes.add(schema.model, schema.task, schema.serving),
            self._log,
            self._clock,
            nullable=nullable,
            max_rows=self._start.max_rows,
            capture_required=self._start.capture_required,
            secret=Secret(self._home / SECRET_FILE),
            transforms=self._transforms,
        )

    def _observe(self, message: Observe) -> None:
        # Before the restore there is nothing to add to: the restore reads these rows with all the others.
        dataset, memory = self._declared.get(DatasetName(message.dataset)), self._memory
        if dataset is None or memory is None:
            return
        if not memory.is_sound:
            log(_LOG, logging.ERROR, "snapshot.changed", next="everything is read anew")
            self._restore()
            return
        table = table_of(message.dataset, message.part)
        rows = self._columns.scan(table, [message.segment]).collect()
        rows = in_shape(rows, dataset.part_types(message.part))
        memory.rows_known(Batch(dataset, message.part, rows, message.segment))
        today = Instant(self._clock.now() // DAY * DAY)
        # Requests come with the present instant, so what only older ones could see can go.
        memory.features.trim(Instant(today - DAY))
        memory.features.let_go()


def door_of(access: Access) -> Door:
    """Return the door of a worker."""
    return Door(
        access.clients,
        n_workers=access.n_workers,
        origins=Origins(access.allowed_origins),
        v1_deprecated_s=access.v1_deprecated_s,
    )


def _datasets_of(schemas: Sequence[RequestSchema]) -> tuple[Dataset, ...]:
    """Return every dataset that requests or features come from, each once."""
    every = ((one.requests, *(view.source for view in one.features.views)) for one in schemas)
    return tuple(dict.fromkeys(dataset for several in every for dataset in several))


def main(listener: int) -> int:
    """Serve at a listening socket, given by its handle, until standard input closes."""
    # The declaration is the author's and may print; what is printed must not pass for a reply.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    incoming = sys.stdin.buffer
    first = incoming.readline()
    if not first:
        return 0
    start = msgspec.json.decode(first, type=WorkerOrder).message
    assert isinstance(start, Start), "the first message says what the worker is"
    start_logging(start.log_format, sys.stderr, SystemClock(), level=logging.WARNING)
    # A large request in a thread must not keep the event loop from the interpreter for long.
    sys.setswitchinterval(SWITCH_S)
    worker = Worker(start)
    together = Together(worker.inference)
    certificates = None if start.tls is None else Certificates(start.tls, None, asks_callers=True)
    identify = None if certificates is None else worker.inference.door.callers.header_of
    sweep = bounded_protocol(hot=HotCalls(worker.inference, start.hosts, together), identify=identify)
    config = uvicorn.Config(
        Gateway(create_inference(worker.inference), start.hosts),
        http=sweep,  # type: ignore[bad-argument-type]
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = DataServer(config, worker.inference, together, start.grpc, DRAIN_S, certificates)
    control = threading.Thread(target=_obey, args=(worker, incoming, replies, server, sweep), daemon=True)
    control.start()
    worker.accepts.wait()
    server.run(sockets=[socket.socket(fileno=listener)])
    worker.close()
    return 0


def _obey(worker: Worker, incoming: BinaryIO, replies: BinaryIO, server: DataServer, sweep: Sweep) -> None:
    for line in incoming:
        order = msgspec.json.decode(line, type=WorkerOrder)
        try:
            if isinstance(order.message, Drain):
                calls = server.end_calls()
                drain(server, sweep, DRAIN_S)
                calls.result()
            reply = worker.do(order)
            if isinstance(order.message, Accept):
                # Whoever drains next must not be the last one that takes calls.
                server.takes_calls.wait()
        except VarvError as error:
            log(_LOG, logging.ERROR, "worker.refused", why=str(error))
            reply = WorkerReply(number=order.number, code=error.code, problem=str(error))
        try:
            replies.write(msgspec.json.encode(reply) + b"\n")
        except BrokenPipeError:
            break
    server.should_exit = True
    worker.accepts.set()
    # A request that never ends must not keep a worker without an owner alive.
    timer = threading.Timer(DRAIN_S + 2, os._exit, args=(1,))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

"""One inference process: ``python -m varv.app.worker``, started and told what to do by the owner of the home.

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
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
import uvicorn

from varv.adapters.runtimes import installed_runtimes
from varv.app.compose import LocalServing, open_ledger, open_views
from varv.app.loading import load_declaration, model_of
from varv.app.protocol import bounded_protocol
from varv.app.wire import Observe, Reply, Request, Restore, Seal, Start, Table, Unload, Warm
from varv.data import Dataset, Datasets
from varv.features import FeatureEngine
from varv.fronts.gateway import Gateway
from varv.fronts.inference import Inference, create_inference
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import DAY, Instant, SystemClock, wall_seconds
from varv.kernel.columns import FolderColumns
from varv.kernel.errors import StorageFull, VarvError
from varv.kernel.observe import log, start_logging
from varv.kernel.secret import SECRET_FILE, Secret
from varv.loop.answering import Answering
from varv.loop.declaration import Model
from varv.serving import CaptureLog, DataPlane

SWITCH_S = 0.0005
DRAIN_S = 10
"""How long requests under way may take once the owner is gone."""
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
        self._dataplane = DataPlane(installed_runtimes(), timer=wall_seconds)
        self._serving = LocalServing(self._dataplane, FolderBlobs(self._home / "blobs"))
        self._columns = FolderColumns(self._home / "columns")
        self._log = CaptureLog(Path(start.capture))
        with suppress(StorageFull):
            self._log.open()
        self.inference = Inference()
        self._model: Model | None = None
        self._features: FeatureEngine | None = None

    def do(self, request: Request) -> Reply:
        """Act on one message."""
        message = request.message
        if isinstance(message, Restore):
            self._restore()
        elif isinstance(message, Warm):
            self._serving.warm(message.version, message.package)
        elif isinstance(message, Table):
            return Reply(number=request.number, epoch=self._serving.apply(message.table))
        elif isinstance(message, Unload):
            self._serving.unload(message.version)
        elif isinstance(message, Observe):
            self._observe(message)
        elif isinstance(message, Seal):
            return self._seal(request.number)
        return Reply(number=request.number)

    def close(self) -> None:
        """Flush what was captured."""
        with suppress(StorageFull):
            self._log.close()

    def _seal(self, number: int) -> Reply:
        answering = self.inference.answering
        files = tuple(str(path) for path in self._log.seal())
        return Reply(
            number=number, files=files, n_uncaptured=0 if answering is None else answering.take_uncaptured()
        )

    def _restore(self) -> None:
        model = model_of(load_declaration(self._start.file))
        model.validate()
        features = FeatureEngine(model.feature_set, model.requests)
        nullable: set[str] = set()
        ledger = open_ledger(self._home, read_only=True)
        try:
            secret = Secret(self._home / SECRET_FILE)
            datasets = Datasets(ledger, self._columns, self._clock, open_views(ledger), secret)
            for dataset in model.datasets:
                for part in dataset.parts:
                    rows = datasets.read_part(dataset, part)
                    features.observe(dataset, part, rows)
                    if dataset is model.requests and part == dataset.event_time:
                        nullable = {name for name in rows.columns if rows[name].null_count()}
        finally:
            ledger.close()
        self._model, self._features = model, features
        self.inference.answering = Answering(
            model,
            features,
            self._dataplane,
            self._log,
            self._clock,
            nullable=frozenset(nullable),
            max_rows=self._start.max_rows,
            capture_required=self._start.capture_required,
        )

    def _observe(self, message: Observe) -> None:
        # Before the restore there is nothing to add to: the restore reads these rows with all the others.
        if self._features is None or self._model is None:
            return
        dataset = _dataset(self._model, message.dataset)
        rows = self._columns.scan(f"data/{dataset.name}/{message.part}", [message.segment]).collect()
        self._features.observe(dataset, message.part, rows)
        today = Instant(self._clock.now() // DAY * DAY)
        # Requests come with the present instant, so what only older ones could see can go.
        self._features.trim(Instant(today - DAY))


def main() -> int:
    """Serve until standard input closes."""
    # The declaration is the author's and may print; what is printed must not pass for a reply.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    start_logging("text", sys.stderr, SystemClock(), level=logging.WARNING)
    incoming = sys.stdin.buffer
    first = incoming.readline()
    if not first:
        return 0
    start = msgspec.json.decode(first, type=Request).message
    assert isinstance(start, Start), "the first message says what the worker is"
    # A large request in a thread must not keep the event loop from the interpreter for long.
    sys.setswitchinterval(SWITCH_S)
    worker = Worker(start)
    config = uvicorn.Config(
        Gateway(create_inference(worker.inference), start.hosts),
        http=bounded_protocol(),  # type: ignore[bad-argument-type]
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = uvicorn.Server(config)
    control = threading.Thread(target=_obey, args=(worker, incoming, replies, server), daemon=True)
    control.start()
    server.run(sockets=[socket.socket(fileno=start.socket)])
    worker.close()
    return 0


def _obey(worker: Worker, incoming: BinaryIO, replies: BinaryIO, server: uvicorn.Server) -> None:
    for line in incoming:
        request = msgspec.json.decode(line, type=Request)
        try:
            reply = worker.do(request)
        except VarvError as error:
            log(_LOG, logging.ERROR, "worker.refused", why=str(error))
            reply = Reply(number=request.number, code=error.code, problem=str(error))
        try:
            replies.write(msgspec.json.encode(reply) + b"\n")
        except BrokenPipeError:
            break
    server.should_exit = True
    # A request that never ends must not keep a worker without an owner alive.
    timer = threading.Timer(DRAIN_S + 2, os._exit, args=(1,))
    timer.daemon = True
    timer.start()


def _dataset(model: Model, name: str) -> Dataset:
    return next(dataset for dataset in model.datasets if dataset.name == name)


if __name__ == "__main__":
    sys.exit(main())

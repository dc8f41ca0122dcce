"""`varv up`: the process that owns a home, serves its control plane, and drives its loop.

The console answers first; the declaration is read, history taken in and the first model trained behind it,
in a thread of its own, with what is going on to be seen. Answering predictions is left to worker processes.
On a signal the server stops accepting, lets everything under way finish, takes in what was captured, and
signs off.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from varv.adapters.processes import Processes
from varv.app.clients import load_clients
from varv.app.online import names_in, online_store
from varv.app.server.captured import Captured
from varv.app.server.capturing import TrainingCaptures
from varv.app.server.driving import Driver
from varv.app.server.fleet import Workers
from varv.app.server.listening import address_of
from varv.app.server.measures import (
    of_alarms,
    of_certificate,
    of_online,
    of_processes,
    of_pulls,
    of_reads,
    of_record,
    of_requests,
    of_skew,
    of_telemetry,
)
from varv.app.server.opening import Opening
from varv.app.server.owned import OwnedHome
from varv.app.server.server_file import announce, withdraw
from varv.app.server.telemetry import OwnerTelemetry, format_of, telemetry_of
from varv.app.server.threads import Threads
from varv.app.server.tls import expires_at_s, tls_files_of
from varv.app.server.wire import Models, Online
from varv.app.settings import FILE, Settings, variables
from varv.app.traffic import Traffic, TrafficReport
from varv.fronts.access.door import Callers
from varv.fronts.gateway import allowed_hosts
from varv.home.change.verbs import Applied, Declarations
from varv.home.live import Live
from varv.kernel.clock import SystemClock
from varv.kernel.errors import FailedPrecondition, StorageFull, Unavailable
from varv.kernel.faults import Faults
from varv.kernel.metrics import Family
from varv.kernel.observe import log, start_logging
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.sizes import size_bytes
from varv.project.planned import Retirement
from varv.registry.ports import Device

SEALS_EVERY_S = 5.0
"""How often runs are looked for whose metrics wait to be sealed."""
STOP_S = 20.0
_LOG = logging.getLogger(__name__)


def serve(
    file: str,
    settings: Settings,
    *,
    model: str = "",
    retire: Retirement | None = None,
    clients: Path = Path(FILE),
) -> int:
    """Own the home and serve until a signal comes; return the exit status.

    Parameters
    ----------
    file
        The project: a file or a folder.
    model
        The only model to serve; all of the project if it is empty.
    retire
        Which models may go that the project does not declare any more.
    clients
        The file that declares clients of the data plane; it is read again with each change.

    Raises
    ------
    FailedPrecondition
        If another process owns the home, a port is taken, or a change of the declaration is refused.
    """
    # A failure is told in one place, whichever thread it came from.
    start_logging(format_of(settings), sys.stderr, SystemClock())
    server = _Server(file, settings, model, retire or Retirement(), clients)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.threads.told.put(None))
    try:
        server.run()
    finally:
        server.close()
    if server.threads.failure is not None:
        raise server.threads.failure
    return 1 if server.threads.crashed else 0


class _Server:
    def __init__(self, file: str, settings: Settings, model: str, retire: Retirement, clients: Path) -> None:
        self._file = file
        self._model = model
        self._retire_at_start = retire
        self._settings = settings
        self._system = SystemClock()
        self._declared_clients = load_clients(clients)
        self._known = Callers(self._declared_clients, 1)
        self._faults = Faults.parse(settings.fault)
        self.threads = Threads()
        self._home = OwnedHome(settings, self._system, self._faults, predictions=True)
        desk = self._home.desk
        desk.state = self._state
        desk.declarations = Declarations(self._apply)
        desk.traffic = Traffic(self._traffic)
        self._workers: Workers | None = None
        self._captured: Captured | None = None
        self._driver: Driver | None = None
        self._fits = Processes(
            variables(), nice=settings.training_nice, folder=_emptied(settings.home / "jobs")
        )
        self._telemetry = OwnerTelemetry(
            telemetry_of(settings), self._system, Secret(settings.home / SECRET_FILE), self._measures
        )
        self._features = online_store(settings.home, settings.online_store)
        self._opening = Opening(
            file,
            model,
            clients,
            settings,
            self._home,
            self._system,
            self._faults,
            self._fits,
            self._telemetry.tracer,
        )

    def run(self) -> None:
        """Serve until told to stop, or until a thread has ended that must not."""
        settings, home, threads = self._settings, self._home, self.threads
        home.show(self._health, self._measures, self._callers, threads.stop.is_set)
        port, inference_port = home.ports.control.getsockname()[1], self._inference.getsockname()[1]
        announce(settings, port, inference_port, self._grpc_port)
        scheme = "http" if home.certificates is None else "https"
        log(_LOG, logging.INFO, "server.started", console=f"{scheme}://{settings.host}:{port}/")
        workers = self._workers = self._started_workers()
        captured = self._captured = Captured(settings.home / "capture", workers, self._telemetry.tracer)
        driver = self._driver = Driver(
            settings,
            home,
            self._opening,
            workers,
            captured,
            threads,
            self._features,
            self._system,
            self._faults,
        )
        self._telemetry.start()
        threads.start("sealer", self._seal)
        place = Path(self._file.partition(":")[0]).absolute()
        captures = TrainingCaptures(home.tracking, home.ledger, place, settings.home, variables())
        threads.start("captures", lambda: captures.follow(threads.stop))
        threads.start("driver", lambda: driver.drive(self._retire_at_start))
        while not threads.told_to_stop():
            if workers.failed.is_set():
                hint = "their output is above"
                threads.failure = FailedPrecondition("workers", "", "stop right after they start", hint=hint)
                return

    def _started_workers(self) -> Workers:
        settings, ports = self._settings, self._home.ports
        return Workers(
            settings.home,
            self._file,
            self._model,
            self._inference,
            self._system,
            grpc="" if ports.grpc is None else address_of(ports.grpc),
            hosts=allowed_hosts(settings.host, settings.allowed_hosts),
            access=self._opening.access(),
            telemetry=telemetry_of(settings),
            log_format=format_of(settings),
            tls=tls_files_of(settings),
            n_workers=settings.workers,
            max_rows=settings.max_rows,
            capture_required=settings.capture == "required",
            capture_window_ms=settings.capture_window_ms,
            models=Models(
                device=cast("Device", settings.device),
                time_s=settings.model_time_s,
                memory_bytes=size_bytes(settings.model_memory),
                most_bytes=size_bytes(settings.models_memory) if settings.models_memory else None,
            ),
            online=Online(store=settings.online_store, views=names_in(settings.online_views)),
        )

    def _seal(self) -> None:
        while not self.threads.stop.wait(SEALS_EVERY_S):
            with suppress(StorageFull, Unavailable):
                self._home.tracking.tend()

    def close(self) -> None:
        """Stop accepting, let what is under way finish, take in what was captured, and give the home back."""
        log(_LOG, logging.INFO, "server.stopping")
        self.threads.stop.set()
        if self._driver is not None and self._driver.present is not None:
            self._driver.present.ended.set()
        # Trainings are ended, without a failure on record: they run again after the next start.
        self._fits.close()
        self._home.hide()
        # Workers are still there to be counted.
        self._telemetry.close()
        live = self._live
        if self._workers is not None:
            try:
                if live is not None and self._serves(live):
                    self._take_in_while_answering(live)
                    live.keeping.keep_features()
            finally:
                self._workers.stop()
        self.threads.join(STOP_S)
        try:
            self._take_in_the_rest()
        except StorageFull as error:
            then = "the next start takes them in"
            log(_LOG, logging.ERROR, "server.left_captures", why=str(error), next=then)
        self._home.close()
        withdraw(self._settings)
        log(_LOG, logging.INFO, "server.stopped")

    def _take_in_while_answering(self, live: Live) -> None:
        """Take in what was captured so far, so that the feature state that is kept next holds it: what comes
        after that has to be read again by the next start.
        """
        assert self._captured is not None, "it comes before what drives a home"
        if self.threads.join_named("intake", STOP_S):
            # Whatever hinders it hinders the last take too, which tells.
            with suppress(StorageFull, Unavailable):
                self._captured.take(live)

    def _take_in_the_rest(self) -> None:
        if self._captured is None:
            return
        self._captured.close()
        live = self._live
        if live is not None and self._serves(live):
            live.ingest(self._captured.leftovers())
            live.keeping.keep_own()

    @property
    def _live(self) -> Live | None:
        return None if self._driver is None else self._driver.live

    def _serves(self, live: Live) -> bool:
        return live.state == "serving" and not self.threads.crashed

    # The control plane

    def _callers(self) -> Callers:
        """Return who may read and write runs by now."""
        # Until workers are there, those of the file that this began with.
        declared = self._declared_clients if self._workers is None else self._workers.access.clients
        if declared != self._declared_clients:
            self._declared_clients, self._known = declared, Callers(declared, 1)
        return self._known

    def _apply(self, retire: Retirement, by: str) -> Applied:
        if self._driver is None:
            raise Unavailable("server", "", "is still starting", hint="try again in a moment")
        return self._driver.apply(retire, by)

    def _traffic(self) -> TrafficReport:
        workers = self._workers
        if workers is None:
            return TrafficReport(models={}, workers=())
        return TrafficReport(models=workers.counts(), workers=tuple(workers.pids))

    def _measures(self) -> Iterator[Family]:
        workers, views, online = self._workers, self._home.views, self._home.desk.online
        pids = {"owner": os.getpid()}
        if workers is not None:
            yield from of_requests(workers.counts(), workers.refusals)
            yield from of_telemetry(workers.telemetry.plus(self._telemetry.counts))
            pids |= {f"worker-{number}": pid for number, pid in enumerate(workers.pids)}
        yield from of_record(views, self._home.ledger)
        yield from of_pulls(views, self._system.now())
        if online is not None:
            yield from of_online(online.shown())
        if self._driver is not None:
            yield from of_reads(self._driver.reads())
        yield from of_skew(views)
        yield of_alarms(views)
        yield from of_processes(pids)
        if self._home.certificates is not None:
            yield of_certificate(expires_at_s(self._home.certificates.pem))

    def _health(self) -> dict[str, Any]:
        problem = self.threads.patience.problem
        return {
            "status": "waiting" if problem else "ok",
            "problem": problem,
            "n_uncaptured": 0 if self._captured is None else self._captured.n_uncaptured,
            "state": self._state(),
            "pid": os.getpid(),
            "inference_port": self._inference.getsockname()[1],
            "grpc_port": self._grpc_port,
            "workers": [] if self._workers is None else self._workers.pids,
            "n_entries": self._home.ledger.head().version,
        }

    @property
    def _inference(self) -> socket.socket:
        assert self._home.ports.inference is not None, "it was opened for predictions"
        return self._home.ports.inference

    @property
    def _grpc_port(self) -> int:
        grpc = self._home.ports.grpc
        return -1 if grpc is None else grpc.getsockname()[1]

    def _state(self) -> str:
        if self.threads.stop.is_set():
            return "stopping"
        live = self._live
        if live is None:
            return "reading the declaration"
        # Predictions are answered before; what is sent to the control port is taken from here on.
        is_open = live.state != "serving" or self._home.desk.inbox is not None
        return live.state if is_open else "taking in what was captured"


def _emptied(folder: Path) -> Path:
    """Return a folder without what the jobs of a killed owner left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

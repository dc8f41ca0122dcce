"""`varv track`: the tracking server by itself, for a home that declares no model.

It owns the home as `varv up` does and serves the same control plane, without a declaration, without workers
and without anything that trains. Whoever declares a model later stops it and starts `varv up` on the same
home.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from varv.app.clients import load_clients
from varv.app.compose import open_ledger, open_snapshots, open_tracking, open_views
from varv.app.desk import Desk
from varv.app.server.control import application
from varv.app.server.listening import control_plane, listener
from varv.app.server.measures import of_processes, of_record
from varv.app.server.server_file import announce, withdraw
from varv.app.server.telemetry import format_of
from varv.app.server.tls import Certificates, tls_files_of
from varv.app.settings import FILE, Settings
from varv.fronts.access.door import Callers
from varv.kernel.clock import SystemClock
from varv.kernel.errors import StorageFull, Unavailable, VarvError
from varv.kernel.faults import Faults
from varv.kernel.metrics import Family
from varv.kernel.observe import start_logging

TICK_S = 5.0
"""How often runs are looked for whose metrics wait to be sealed."""


def track(settings: Settings, clients: Path = Path(FILE)) -> int:
    """Own the home and serve runs and the registry until a signal comes; return the exit status.

    Parameters
    ----------
    clients
        The file that declares who may read and write.

    Raises
    ------
    FailedPrecondition
        If another process owns the home, or the port is taken.
    """
    start_logging(format_of(settings), sys.stderr, SystemClock())
    server = Tracker(settings, clients)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.told.set())
    try:
        server.run()
    finally:
        server.close()
    return 0


class Tracker:
    """The owner of a home without models, until it is closed.

    Raises
    ------
    FailedPrecondition
        If another process owns the home, or the port is taken.
    """

    def __init__(self, settings: Settings, clients: Path = Path(FILE)) -> None:
        self._settings = settings
        self.told = threading.Event()
        """Set to end it."""
        self.announced = threading.Event()
        """Set once others find it."""
        clock, faults = SystemClock(), Faults.parse(settings.fault)
        files = tls_files_of(settings)
        certificates = None if files is None else Certificates(files, clock, asks_callers=False)
        settings.home.mkdir(parents=True, exist_ok=True)
        self._ledger = open_ledger(settings.home, faults=faults)
        try:
            self._socket = listener(settings.host, settings.port, "port")
        except VarvError:
            self._ledger.close()
            raise
        self._views = open_views(self._ledger, settings.home)
        self._tracking = open_tracking(
            settings.home, self._ledger, clock, faults=faults, webhooks_inside=settings.webhooks_inside
        )
        desk = Desk(settings.home, self._ledger, self._views, clock, None, running=True)
        desk.state = lambda: "tracking"
        desk.tracking, desk.runs = self._tracking, self._tracking.runs_read()
        declared = Callers(load_clients(clients), 1)
        served = application(
            settings,
            desk,
            self._tracking,
            self._health,
            self._measures,
            lambda: declared,
            self.told.is_set,
        )
        self._uvicorn = control_plane(served, certificates)
        self._console = threading.Thread(
            target=self._uvicorn.run, args=([self._socket],), name="console", daemon=True
        )

    def run(self) -> None:
        """Serve until told to stop."""
        self._console.start()
        announce(self._settings, self._socket.getsockname()[1], -1, -1)
        self.announced.set()
        while True:
            # Pages should not wait for entries of runs, which nothing in memory takes in, to be passed over.
            self._views.catch_up()
            if self.told.wait(TICK_S):
                return
            with suppress(StorageFull, Unavailable):
                self._tracking.runs.seal_due()

    def close(self) -> None:
        """Finish what is under way, and give the home back."""
        self._uvicorn.should_exit = True
        if self._console.ident is not None:
            self._console.join(10)
        self._tracking.close()
        with suppress(StorageFull):
            self._views.save(open_snapshots(self._settings.home))
        self._ledger.close()
        withdraw(self._settings)

    def _health(self) -> dict[str, Any]:
        return {
            "status": "ok",
            "state": "tracking",
            "pid": os.getpid(),
            "n_entries": self._ledger.head().version,
        }

    def _measures(self) -> Iterator[Family]:
        yield from of_record(self._views, self._ledger)
        yield from of_processes({"tracker": os.getpid()})

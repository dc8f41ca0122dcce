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
from varv.app.compose import open_snapshots
from varv.app.online import online_store
from varv.app.server.measures import of_processes, of_record
from varv.app.server.owned import OwnedHome
from varv.app.server.server_file import announce, withdraw
from varv.app.server.telemetry import format_of
from varv.app.settings import FILE, Settings
from varv.fronts.access.door import Callers
from varv.home.erasure.carrying import Erasures
from varv.home.erasure.verbs import unserved
from varv.kernel.clock import SystemClock
from varv.kernel.errors import StorageFull, Unavailable
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
        self._callers = Callers(load_clients(clients), 1)
        self._home = OwnedHome(settings, SystemClock(), Faults.parse(settings.fault), predictions=False)
        self._home.desk.state = lambda: "tracking"
        self._home.desk.erasing = unserved(self._erasures)

    def run(self) -> None:
        """Serve until told to stop."""
        home = self._home
        home.show(self._health, self._measures, lambda: self._callers, self.told.is_set)
        announce(self._settings, home.ports.control.getsockname()[1], -1, -1)
        self.announced.set()
        while True:
            # Pages should not wait for entries of runs, which nothing in memory takes in, to be passed over.
            home.views.catch_up()
            if self.told.wait(TICK_S):
                return
            with suppress(StorageFull, Unavailable):
                home.tracking.tend()

    def close(self) -> None:
        """Finish what is under way, and give the home back."""
        self._home.hide()
        with suppress(StorageFull):
            self._home.views.save(open_snapshots(self._settings.home))
        self._home.close()
        withdraw(self._settings)

    def _erasures(self) -> Erasures:
        settings, home = self._settings, self._home
        store = online_store(settings.home, settings.online_store)
        return Erasures(settings.home, home.ledger, home.views, SystemClock(), online=store)

    def _health(self) -> dict[str, Any]:
        return {
            "status": "ok",
            "state": "tracking",
            "pid": os.getpid(),
            "n_entries": self._home.ledger.head().version,
        }

    def _measures(self) -> Iterator[Family]:
        yield from of_record(self._home.views, self._home.ledger)
        yield from of_processes({"tracker": os.getpid()})

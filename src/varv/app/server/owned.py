"""A home that this process owns, and the control plane that shows it and takes runs in; for `varv up` and
`varv track` alike.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import uvicorn

from varv.app.compose import open_ledger, open_tracking, open_views
from varv.app.desk import Desk
from varv.app.server.control import application
from varv.app.server.listening import control_plane, listener, reserved
from varv.app.server.tls import Certificates, tls_files_of
from varv.app.settings import Settings
from varv.fronts.access.door import Callers
from varv.kernel.clock import Clock
from varv.kernel.errors import VarvError
from varv.kernel.faults import Faults
from varv.kernel.metrics import Family

ENDS_WITHIN_S = 10


class Ports(NamedTuple):
    """Where a server listens; None for what it does not answer."""

    control: socket.socket
    inference: socket.socket | None = None
    grpc: socket.socket | None = None


class OwnedHome:
    """The ledger, the read models and the tracking of a home, with the ports that show them.

    Parameters
    ----------
    predictions
        Whether predictions are answered too, at ports of their own.

    Raises
    ------
    FailedPrecondition
        If another process owns the home, or a port is taken.
    """

    def __init__(self, settings: Settings, clock: Clock, faults: Faults, *, predictions: bool) -> None:
        files = tls_files_of(settings)
        # Before anything is opened: what is wrong with them is for whoever has just started this.
        self.certificates = None if files is None else Certificates(files, clock, asks_callers=False)
        settings.home.mkdir(parents=True, exist_ok=True)
        self.ledger = open_ledger(settings.home, faults=faults)
        try:
            self.ports = _ports(settings, predictions=predictions)
        except VarvError:
            self.ledger.close()
            raise
        self.views = open_views(self.ledger, settings.home)
        inside = settings.webhooks_inside
        self.tracking = open_tracking(
            settings.home, self.ledger, clock, faults=faults, webhooks_inside=inside
        )
        self.desk = Desk(settings.home, self.ledger, self.views, clock, None, running=True)
        self.desk.tracking, self.desk.runs = self.tracking, self.tracking.runs_read()
        self._settings = settings
        self._server: uvicorn.Server | None = None
        self._console: threading.Thread | None = None

    def show(
        self,
        health: Callable[[], dict[str, Any]],
        measures: Callable[[], Iterator[Family]],
        callers: Callable[[], Callers],
        is_stopping: Callable[[], bool],
    ) -> None:
        """Answer on the control port, in a thread, until `hide`; parameters as of `control.application`."""
        served = application(self._settings, self.desk, self.tracking, health, measures, callers, is_stopping)
        self._server = control_plane(served, self.certificates)
        self._console = threading.Thread(
            target=self._server.run, args=([self.ports.control],), name="console", daemon=True
        )
        self._console.start()

    def hide(self) -> None:
        """Answer what is under way, and nothing more."""
        if self._server is not None and self._console is not None:
            self._server.should_exit = True
            self._console.join(ENDS_WITHIN_S)

    def close(self) -> None:
        """Give the home back; before that, whoever uses it has ended."""
        self.tracking.close()
        self.ledger.close()


def _ports(settings: Settings, *, predictions: bool) -> Ports:
    control = listener(settings.host, settings.port, "port")
    if not predictions:
        return Ports(control)
    inference = listener(settings.host, settings.inference_port, "inference_port")
    if settings.grpc_port < 0:
        return Ports(control, inference)
    return Ports(control, inference, reserved(settings.host, settings.grpc_port, "grpc_port"))

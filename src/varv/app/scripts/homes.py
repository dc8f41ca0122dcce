"""How whoever runs a script reaches the runs of a home: at its server, or by serving it meanwhile."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from varv.app.clients import load_clients
from varv.app.server.server_file import Running, running_server
from varv.app.settings import FILE, Settings
from varv.app.settings import variables as process_variables
from varv.fronts.client import Client
from varv.fronts.mlflow.client import TrackingClient
from varv.kernel.errors import Unavailable
from varv.kernel.ids import new_secret

_ANNOUNCED_WITHIN_S = 30.0
TOKEN = "MLFLOW_TRACKING_TOKEN"
"""The variable that clients of MLflow find their token in."""


@dataclass(frozen=True)
class Tracked:
    """A home whose runs can be written."""

    runs: TrackingClient
    verbs: Client
    variables: dict[str, str]
    """What tells a client of MLflow where to log, and by what right."""

    def ask(self, verb: str, asked: msgspec.Struct) -> dict[str, object]:
        """Return the result of a verb."""
        return self.verbs.call(verb, **msgspec.to_builtins(asked))


@contextmanager
def tracked_home(settings: Settings, clients: Path = Path(FILE)) -> Generator[Tracked]:
    """Give the runs of a home: at the server that runs, or else at one that runs as long as this.

    Parameters
    ----------
    clients
        The file that declares who else may write runs.

    Raises
    ------
    FailedPrecondition
        If the home is owned by a process that serves no runs.
    """
    server = running_server(settings)
    if server is not None:
        with reached(server, settings) as tracked:
            yield tracked
        return
    # Heavy, and not needed where a server runs.
    from varv.app.server.tracker import Tracker

    token = settings.token
    if not token and load_clients(clients):
        token = new_secret().hex()  # or it would refuse us, as nobody that is declared
    without_tls = {"tls_certificate": "", "tls_key": "", "tls_client_authority": ""}
    alone = replace(settings, host="127.0.0.1", port=0, token=token, **without_tls)
    tracker = Tracker(alone, clients)
    serving = threading.Thread(target=tracker.run, name="tracker", daemon=True)
    serving.start()
    try:
        tracker.announced.wait(_ANNOUNCED_WITHIN_S)
        found = running_server(alone)
        if found is None:
            raise Unavailable("server", str(settings.home), "has ended at once", hint="see varv doctor")
        with reached(found, alone) as tracked:
            yield tracked
    finally:
        tracker.told.set()
        serving.join()
        tracker.close()


@contextmanager
def reached(server: Running, settings: Settings) -> Generator[Tracked]:
    """Give the runs of a home at the server that owns it."""
    verify: ssl.SSLContext | None = None
    variables = {"MLFLOW_TRACKING_URI": server.url}
    if server.tls:
        from varv.app.server.tls import pinned

        verify = pinned(settings.tls_certificate)
        variables["MLFLOW_TRACKING_SERVER_CERT_PATH"] = settings.tls_certificate
    token = settings.token or process_variables().get(TOKEN, "")
    if token:
        variables[TOKEN] = token
    with (
        TrackingClient(server.url, token=token, verify=verify) as runs,
        Client(server.url, token=settings.token, verify=verify) as verbs,
    ):
        yield Tracked(runs, verbs, variables)

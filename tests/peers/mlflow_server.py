"""MLflow's own tracking server, started in a folder of its own, with SQLite behind it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
from tests.peers.conftest import await_ready, end


@contextlib.contextmanager
def tracking_server(peer: Path, folder: Path) -> Iterator[str]:
    """Start the server of one environment; give its URL, and end it afterwards."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    command = [peer / "bin" / "mlflow", "server", "--workers", "1", "--port", port, "--serve-artifacts"]
    command += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./artifacts"]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own = {"PATH": f"{peer.absolute() / 'bin'}:{kept['PATH']}", "HOME": str(folder), "DO_NOT_TRACK": "true"}
    with (folder / "server.log").open("w+") as log:
        running = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=kept | own | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, timeout=5.0) as client:
                await_ready(client, "/health", running, log)
            yield url
        finally:
            end(running)

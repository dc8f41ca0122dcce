"""A server in a process of its own, for the benchmarks that ask it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from varv.kernel.clock import wall_seconds

VARV = Path(sys.executable).with_name("varv")
ENDS_WITHIN_S = 60
ROW = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}
"""A request to a project as `varv init` writes it."""


class Served(NamedTuple):
    """Where a server is asked, and its process, whose children answer predictions."""

    control: int
    inference: int
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def started(folder: Path, *words: str) -> Generator[Served]:
    """Start a command that serves, in a folder, and end it with the block; it may not answer yet."""
    control, inference = free_port(), free_port()
    ports = ["--port", str(control), "--inference-port", str(inference)]
    command = [VARV, *words, *ports]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Served(control, inference, server)
    finally:
        server.terminate()
        server.wait(ENDS_WITHIN_S)


@contextlib.contextmanager
def deliveries() -> Generator[Served]:
    """Serve a project as `varv init` writes it, once it answers predictions."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([VARV, "init", folder], check=True, stdout=subprocess.DEVNULL)
        with started(Path(folder), "up", "deliveries.py") as found:
            while not ready(found.inference):
                if found.process.poll() is not None:
                    raise SystemExit("the server has ended")
                threading.Event().wait(0.1)
            yield found


def ready(port: int) -> bool:
    """Return whether predictions are answered."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


class Client:
    """One connection that asks for one prediction after another."""

    def __init__(self, port: int, name: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._name, self._n = name, 0

    def ask(self) -> float:
        """Ask once; return the milliseconds until the answer was there."""
        self._n += 1
        body = json.dumps({"dataframe_records": [{**ROW, "delivery_id": f"{self._name}-{self._n}"}]})
        begin = wall_seconds()
        self._connection.request("POST", "/invocations", body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise SystemExit(told.decode())
        return (wall_seconds() - begin) * 1000

"""Other servers, each in an environment of its own: `make packages` makes them, PEERS says where they are."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

collect_ignore = ["clients"]  # run by the peers' interpreters, which have what they import
PEERS = Path(os.environ.get("PEERS", ".venv-peers")).absolute()
STARTS_WITHIN_S = 120.0


@pytest.fixture(scope="session")
def program():
    """Return a function from a peer to a program of its environment; a test is skipped without it."""

    def found(peer, name="python"):
        path = PEERS / peer / "bin" / name
        if not path.exists():
            pytest.skip(f"{peer} is not installed in {PEERS.name}: make packages")
        return str(path)

    return found


@pytest.fixture
def serving(tmp_path):
    """Return a function that starts a server and returns a client of it, once it is ready."""
    with contextlib.ExitStack() as ended:

        def start(command, folder, ready, port, **variables):
            # Its own packages alone, and its programs by their names.
            kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            path = f"{Path(command[0]).parent}:{kept['PATH']}"
            log = ended.enter_context((tmp_path / "server.log").open("w+"))
            running = subprocess.Popen(
                command,
                cwd=folder,
                env=kept | {"PATH": path, "HOME": str(tmp_path)} | variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            ended.callback(end, running)
            client = ended.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30.0))
            await_ready(client, ready, running, log)
            return client

        yield start


def await_ready(client, path, running, log):
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until and running.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if client.get(path).status_code == 200:
                return
        time.sleep(0.2)
    log.seek(0)
    pytest.fail(f"the server did not start: {log.read()[-3000:]}")


def end(running):
    """End a server and the processes that it started, which are of its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGTERM)
    try:
        running.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait(20)


@pytest.fixture
def ports():
    """Return a function that returns so many free ports."""

    def free(n):
        with contextlib.ExitStack() as held:
            found = [held.enter_context(socket.socket()) for _ in range(n)]
            for one in found:
                one.bind(("127.0.0.1", 0))
            return [one.getsockname()[1] for one in found]

    return free

"""A `varv up` in a process of its own, on ports that the system chose."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import httpx

from varv.app.cli import main

T = TypeVar("T")
DEADLINE_S = 300.0  # a first start needs 15 s of processor, of which a busy machine gives a part
STEP_S = 0.05
# What reads a file of its author imports it, and a module of a name is imported once.
OWN_PROCESS = ("up", "plan", "replay", "run", "reproduce")


def varv(home: Path, *arguments: str, check: bool = True) -> str:
    """Run one command to its end and return what it wrote; in this process, unless it wants one of its own.

    A process spends a second on imports, and tests that wait ask again and again.
    """
    status, out, err = (_apart if arguments[0] in OWN_PROCESS else _here)(home, *arguments)
    assert not check or status == 0, err
    return out


def _apart(home: Path, *arguments: str) -> tuple[int, str, str]:
    found = subprocess.run(
        command_of(home, *arguments), capture_output=True, text=True, env=environment(), check=False
    )
    return found.returncode, found.stdout, found.stderr


def _here(home: Path, *arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, environment(), clear=True), redirect_stdout(out), redirect_stderr(err):
        status = main(["--home", str(home), *arguments])
    return status, out.getvalue(), err.getvalue()


def eventually(look: Callable[[], T | None], *, deadline_s: float = DEADLINE_S) -> T:
    """Return what `look` finds, once it finds something; the only place that waits."""
    pause = threading.Event()
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        found = look()
        if found is not None:
            return found
        pause.wait(STEP_S)
    raise AssertionError("nothing was found before the deadline")


class Server:
    """A running server.

    Parameters
    ----------
    home, file
        What it serves.
    wait
        Whether to wait until it answers predictions.
    log
        Where its standard error goes; to ours if None.
    settings
        Further settings, as in ``varv.toml``.
    """

    def __init__(
        self, home: Path, file: Path, *, wait: bool = True, log: Path | None = None, **settings: object
    ) -> None:
        self.home = home
        ports = ("--port", "0", "--inference-port", "0")
        more = {f"VARV_{name.upper()}": str(value) for name, value in settings.items()}
        stderr = None if log is None else log.open("ab")
        self.process = subprocess.Popen(
            command_of(home, "up", str(file), *ports), env={**environment(), **more}, stderr=stderr
        )
        if stderr is not None:
            stderr.close()
        self.control = self.inference = httpx.Client()
        if wait:
            self.ready()

    def ready(self) -> Server:
        """Wait until predictions are answered."""
        said = eventually(self._announced)
        self.control = httpx.Client(base_url=f"http://127.0.0.1:{said['port']}", timeout=60)
        self.inference = httpx.Client(base_url=f"http://127.0.0.1:{said['inference_port']}", timeout=60)
        eventually(lambda: True if self._state() == "serving" else None)
        eventually(lambda: True if self.inference.get("/v2/health/ready").status_code == 200 else None)
        return self

    def predict(self, key: str, **columns: object) -> httpx.Response:
        """Ask for one prediction."""
        return self.inference.post(
            "/invocations", json={"dataframe_records": [{"delivery_id": key, **columns}]}
        )

    def act(self, verb: str, **fields: object) -> httpx.Response:
        """Call a verb."""
        return self.control.post(f"/api/v1/{verb.replace('.', '/')}", json=fields)

    def kill(self) -> None:
        """End the owner at once, as a power cut would."""
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        """Ask it to stop, impatiently, and return its exit status."""
        # A supervisor tells the process and its group, and a person presses Ctrl+C twice.
        for _ in range(20):
            self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        status = self.process.wait(DEADLINE_S)
        self.control.close()
        self.inference.close()
        return status

    def _announced(self) -> dict[str, int] | None:
        assert self.process.poll() is None, f"the server has ended with {self.process.returncode}"
        try:
            said = json.loads((self.home / "server.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return said if said["pid"] == self.process.pid else None

    def _state(self) -> str:
        assert self.process.poll() is None, f"the server has ended with {self.process.returncode}"
        try:
            return self.control.get("/health").json()["state"]
        except httpx.TransportError:
            return ""


def command_of(home: Path, *arguments: str) -> list[str]:
    """Return the words of a command."""
    return [sys.executable, "-m", "varv.app.cli", "--home", str(home), *arguments]


def environment() -> dict[str, str]:
    """Return the variables that commands of tests run with."""
    # One thread a process: machines that run tests are shared.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VARV_")}
    return {**kept, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "VARV_SEAL_EVERY_S": "0.2"}

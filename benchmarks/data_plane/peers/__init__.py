"""Other servers, each with one worker on the model of `bare`, asked for one row by its own usual protocol.

`NAME.txt` beside this file says what a peer's virtual environment has, and `serve_NAME.py`, which runs in
there, serves a model. Nothing of a peer is imported here.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from data_plane import bare
from data_plane.load import INFER, ONE_ROW, VALUES, Payload, asked, matrix
from data_plane.processes import Tree
from served import free_port

HERE = Path(__file__).parent
STARTS_WITHIN_S = 120
ROWS = {"rows": [VALUES]}

PEERS = {
    "mlserver": asked(ONE_ROW, INFER, {"inputs": [matrix()]}),
    "bentoml": asked(ONE_ROW, "/predict", ROWS),
    "ray": asked(ONE_ROW, "/predict", ROWS),
    "fastapi": asked(ONE_ROW, "/predict", ROWS),
    "mlflow": asked(ONE_ROW, "/invocations", {"inputs": [VALUES]}),
}
"""What is asked of each."""


class LeftOut(RuntimeError):
    """A peer cannot be measured; the text says why."""


class Serving(NamedTuple):
    """Where a peer is asked, and its processes."""

    port: int
    tree: Tree


def installed(name: str, folder: Path) -> Path:
    """Return the interpreter of a peer's virtual environment, made anew where its versions are others."""
    home, wanted = folder / name, (HERE / f"{name}.txt").read_text()
    has, python = home / "installed.txt", home / "bin" / "python"
    if has.exists() and has.read_text() == wanted:
        return python
    print(f"installing {name} into {home}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, "-r", HERE / f"{name}.txt"], capture_output=True, text=True)
    if done.returncode:
        raise LeftOut(f"it does not install: {last_line(done.stdout + done.stderr)}")
    has.write_text(wanted)
    return python


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "(nothing was said)")


@contextmanager
def peer_server(name: str, folder: Path) -> Iterator[Serving]:
    """Serve the model by a peer, once it answers as the model does."""
    python = installed(name, folder)
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "wide.onnx").write_bytes(model := bare.written())
        tree, port = started(name, python, Path(home))
        try:
            told = first_answer(tree, port, PEERS[name], Path(home) / "log")
            if not says(json.loads(told), expected(model)):
                raise LeftOut(f"it answers otherwise than the model: {told[:200]!r}")
            yield Serving(port, tree)
        finally:
            tree.end()


def started(name: str, python: Path, home: Path) -> tuple[Tree, int]:
    """Start a peer's script in a folder, where it tells what it does in `log`."""
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    command = [python, HERE / f"serve_{name}.py", home / "wide.onnx", str(port)]
    with (home / "log").open("wb") as log:
        process = psutil.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
    return Tree(process), port


def first_answer(tree: Tree, port: int, payload: Payload, log: Path) -> bytes:
    """Return what is answered first; servers take their time to begin."""
    for _ in range(2 * STARTS_WITHIN_S):
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", payload.path, payload.body, payload.headers)
            reply = connection.getresponse()
            if reply.status == 200:
                return reply.read()
        if tree.has_ended():
            break
        threading.Event().wait(0.5)
    raise LeftOut(f"it does not answer: {last_line(log.read_text(errors='replace'))}")


def expected(model: bytes) -> float:
    """Return the probability that the model gives the row."""
    session = bare.session(model)
    rows = {session.get_inputs()[0].name: np.array([VALUES], np.float32)}
    return float(session.run([session.get_outputs()[-1].name], rows)[0][0, 1])


def says(value: object, probability: float) -> bool:
    """Return whether an answer holds a number, wherever it lies."""
    if isinstance(value, dict):
        return any(says(one, probability) for one in value.values())
    if isinstance(value, list):
        return any(says(one, probability) for one in value)
    return isinstance(value, float) and abs(value - probability) < 1e-6

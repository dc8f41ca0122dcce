"""varv and the bare handler, each in processes of its own."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from data_plane.processes import Tree
from served import Served, free_port, ready, started
from varv.app.compose import open_ledger, open_views
from varv.kernel.codec import Digest
from varv.kernel.ids import ModelName
from varv.registry import RegistryView

HERE = Path(__file__).parent
MODEL = ModelName("wide")


@contextmanager
def varv_server(*more: str) -> Iterator[tuple[Served, psutil.Process]]:
    """Serve the model, once it answers; give its worker too.

    Parameters
    ----------
    more
        Further words of the command.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(HERE / "wide.py", folder)
        with started(Path(folder), "up", "wide.py", "--workers", "1", *more) as found:
            while not ready(found.inference):
                if found.process.poll() is not None:
                    raise SystemExit("the server has ended")
                threading.Event().wait(0.1)
            threading.Event().wait(3.0)
            yield found, worker_of(found)


def trained(folder: Path) -> Digest:
    """Make a home in a folder, and return the package of its first version."""
    shutil.copy(HERE / "wide.py", folder)
    with started(folder, "up", "wide.py", "--workers", "1") as found:
        while not ready(found.inference):
            if found.process.poll() is not None:
                raise SystemExit("the server has ended")
            threading.Event().wait(0.2)
    ledger = open_ledger(folder / ".varv", read_only=True)
    try:
        with open_views(ledger, folder / ".varv").reading(RegistryView) as registry:
            return registry.version(MODEL, 1).registered.package
    finally:
        ledger.close()


def worker_of(served: Served) -> psutil.Process:
    """Return the process that answers predictions."""
    children = psutil.Process(served.process.pid).children(recursive=True)
    return next(one for one in children if "varv.app.server.worker" in " ".join(one.cmdline()))


def settled(tree: Tree) -> None:
    """Wait until no process does more than wait: what follows a start is no part of a prediction."""
    quiet = 0
    while quiet < 4:
        before = tree.cpu_s()
        threading.Event().wait(0.5)
        quiet = quiet + 1 if tree.cpu_s() - before < 0.06 else 0


@contextmanager
def bare_server(
    module: str = "bare", is_there: Callable[[int], bool] | None = None
) -> Iterator[tuple[int, psutil.Process]]:
    """Serve a bare handler.

    Parameters
    ----------
    module
        Of this package.
    is_there
        Whether it answers on a port; over HTTP by default.
    """
    port, is_there = free_port(), is_there or answers
    command = [sys.executable, "-m", f"data_plane.{module}", str(port)]
    process = subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.DEVNULL)
    try:
        while not is_there(port):
            threading.Event().wait(0.1)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    """Return whether somebody answers on a port."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status < 500
    except OSError:
        return False

"""What several workers hold together, and how soon they answer: ``python benchmarks/bench_workers.py [MB]``.

Four workers serve one model with weights of 192 MB, begun one by one and forked from one process that has
imported what they need. Memory is the share of each page that is a process's own (PSS), summed over the
workers and the process that forks them. Exits 1 if the bar is missed.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import psutil
from onnx import TensorProto, helper, numpy_helper

from data_plane.servers import MODEL, trained
from data_plane.wide import COLUMNS
from served import ready
from varv.app.server import fleet
from varv.app.server.beginning import Forks, Starts
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import SystemClock, wall_seconds
from varv.kernel.codec import Digest
from varv.kernel.ids import Version
from varv.registry import open_package
from varv.registry.package import packed
from varv.serving import RoutingShare, RoutingTable

N_WORKERS, N_REQUESTS, MOST_MB = 4, 400, 400
HIDDEN = 1600
BODY = json.dumps(
    {"inputs": [{"name": "X", "shape": [1, len(COLUMNS)], "datatype": "FP64", "data": [0.5] * len(COLUMNS)}]}
)


def main() -> int:
    """Print what four workers hold, however they begin."""
    weights_mb = int(sys.argv[1]) if len(sys.argv) > 1 else 192
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = with_weights(folder / ".varv", trained(folder), weights_mb)
        found = {how.__name__: measure(folder, package, how) for how in (Starts, Forks)}
    return int(found["Forks"] > MOST_MB)


def with_weights(home: Path, package: Digest, weights_mb: int) -> Digest:
    """Store a package of a model with so many MB of weights in the place of one."""
    blobs = FolderBlobs(home / "blobs")
    before = open_package(blobs.get(package))
    rng, width = np.random.default_rng(0), weights_mb * (1 << 20) // (4 * HIDDEN)
    first = rng.normal(size=(len(COLUMNS), HIDDEN)).astype(np.float32)
    second = rng.normal(size=(HIDDEN, width)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["X", "first"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "second"], ["products"]),
            helper.make_node("ReduceMean", ["products"], ["mean"], axes=[1]),
            helper.make_node("Sigmoid", ["mean"], ["probability"]),
        ],
        "large",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, len(COLUMNS)])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    files = {**before.files, "model.onnx": model.SerializeToString()}
    return blobs.put(packed(msgspec.structs.replace(before, files=files, probe=(), probe_scores=())))


def measure(folder: Path, package: Digest, how: type[Starts | Forks]) -> float:
    """Print how soon workers answer and what they hold; return the latter at the end, in MB."""
    with socket.create_server(("127.0.0.1", 0)) as listener, serving(folder, package, how, listener) as taken:
        port = listener.getsockname()[1]
        before = held_mb()
        for _ in range(N_REQUESTS):
            ask(port)
        after = held_mb()
    print(
        f"{how.__name__}: the first answers after {taken[0]:.1f} s, all after {taken[1]:.1f} s; "
        f"{before:.0f} MB, {after:.0f} MB after {N_REQUESTS} requests",
        flush=True,
    )
    return after


@contextmanager
def serving(
    folder: Path, package: Digest, how: type[Starts | Forks], listener: socket.socket
) -> Generator[tuple[float, float]]:
    """Serve with four workers; give after how many seconds the first and all of them answer."""
    fleet.beginner_for = lambda n: how()
    begun = wall_seconds()
    workers = fleet.Workers(
        folder / ".varv",
        str(folder / "wide.py"),
        "",
        listener,
        SystemClock(),
        hosts=None,
        n_workers=N_WORKERS,
        max_rows=10_000,
    )
    try:
        workers.restore()
        workers.warm(MODEL, Version(1), package)
        workers.apply(MODEL, RoutingTable(epoch=1, shares=(RoutingShare(Version(1), 1.0),), salt="b"))
        everybody = wall_seconds() - begun
        while not ready(listener.getsockname()[1]):
            threading.Event().wait(0.01)
        yield wall_seconds() - begun, everybody
    finally:
        workers.stop()


def held_mb() -> float:
    """Return what the processes that this one began hold, directly and by forks of them."""
    every = psutil.Process().children(recursive=True)
    return sum(one.memory_full_info().pss for one in every) / (1 << 20)


def ask(port: int) -> None:
    """Ask for one prediction, over a connection of its own, so that every worker gets some."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", f"/v2/models/{MODEL}/infer", BODY, {"content-type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {body[:300]!r}")


if __name__ == "__main__":
    sys.exit(main())

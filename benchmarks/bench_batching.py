"""What batches of a moment are worth to a model that takes its time: ``python benchmarks/bench_batching.py``.

A worker serves a model of at least one millisecond and 20 µs a row. `wrk` asks for one row at a time over 64
connections; by turns as many rows are scored in one call as a worker allows, and one. Requests that are
refused are not counted. On a machine that does other work the processor time of a request tells more than how
many were answered. Exits 1 if a bar is missed.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import psutil

from data_plane.load import Cost, measured, payloads
from data_plane.processes import cpu_s
from data_plane.servers import HERE, MODEL, answers, trained
from varv.app.server.wire import Order, Restore, Start, Table, Warm, WorkerOrder
from varv.fronts.inference.pace import MOST_ROWS
from varv.kernel.codec import Digest
from varv.kernel.ids import Version
from varv.serving import RoutingShare, RoutingTable

ROUNDS, SECONDS, CONNECTIONS = 3, 5.0, 64
DEADLINE_MS, LEAST_TIMES = 200.0, 10.0


@contextmanager
def worker(folder: Path, package: Digest, most_rows: int) -> Generator[tuple[int, psutil.Process]]:
    """Serve with a worker that scores so many rows in one call; give its port and its process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        start = Start(
            home=str(folder / ".varv"),
            file=str(folder / "wide.py"),
            model="",
            capture=str(folder / "capture" / str(most_rows)),
            hosts=None,
            max_rows=10_000,
            capture_required=False,
        )
        alone = RoutingTable(epoch=1, shares=(RoutingShare(Version(1), 1.0),), salt="b")
        orders: list[Order] = [start, Restore(), Warm(MODEL, Version(1), package), Table(MODEL, alone)]
        handle = listener.fileno()
        command = [sys.executable, "-m", "data_plane.slow_worker", str(most_rows), str(handle)]
        process = subprocess.Popen(
            command, cwd=HERE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(handle,)
        )
        assert process.stdin is not None, "started with pipes"
        assert process.stdout is not None, "started with pipes"
        try:
            for number, order in enumerate(orders):
                process.stdin.write(msgspec.json.encode(WorkerOrder(number, order)) + b"\n")
            process.stdin.flush()
            for _ in orders[1:]:
                process.stdout.readline()
            while not answers(port):
                threading.Event().wait(0.1)
            yield port, psutil.Process(process.pid)
        finally:
            process.stdin.close()
            process.wait(30)


def answered_per_s(cost: Cost) -> float:
    """Return how many requests were answered a second, without those that were refused."""
    return cost.per_s * (1 - cost.n_failed / max(cost.n_requests, 1))


def answered_us(cost: Cost) -> float:
    """Return what an answered request costs the processor, in microseconds, the refused ones with it."""
    return cost.cpu_us * cost.per_s / max(answered_per_s(cost), 1e-9)


def main() -> int:
    """Measure, print, and say whether every bar holds."""
    found: dict[int, list[Cost]] = {MOST_ROWS: [], 1: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = trained(folder)
        for _ in range(ROUNDS):
            for most_rows, costs in found.items():
                with worker(folder, package, most_rows) as (port, process):
                    measured(port, payloads()[0], CONNECTIONS, 1.0, lambda: 0.0)
                    used = partial(cpu_s, process)
                    cost = measured(port, payloads()[0], CONNECTIONS, SECONDS, used)
                costs.append(cost)
                took = (
                    f"p50 {cost.p50_ms:.0f} ms, p99 {cost.p99_ms:.0f} ms, {answered_us(cost):.0f} us of CPU"
                )
                told = f"{answered_per_s(cost):6.0f} a s  {took}, {cost.n_failed} refused"
                print(f"{most_rows:>4} rows at most  {told}", flush=True)
    together, alone = (statistics.median(map(answered_per_s, costs)) for costs in found.values())
    of_processor = [statistics.median(map(answered_us, costs)) for costs in found.values()]
    p99_ms = statistics.median(cost.p99_ms for cost in found[MOST_ROWS])
    print(f"{together / alone:.1f} times as many  >= {LEAST_TIMES:g}")
    print(f"{of_processor[1] / of_processor[0]:.1f} times less of the processor for each")
    print(f"p99 {p99_ms:.0f} ms  <= {DEADLINE_MS:g}")
    return 0 if together >= LEAST_TIMES * alone and p99_ms <= DEADLINE_MS else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""What requests leave in memory, and what a restart takes: ``python benchmarks/bench_memory.py [rows]``.

A server is started on a project as `varv init` writes it. Requests of forty rows, or of as many as a second
number says, with keys of their own are answered, captured and ingested, and the outcome of each row is sent.
The resident memory of the owner and of its worker is read every second, and the median of each tenth of the
load counts: what is being merged or compacted at the moment takes some 15 MiB. Then the server is stopped,
started, killed and started again, each time until it answers. Exits 1 if a bar is missed; the bars are those
of 5,000,000 rows.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil

from served import ROW, VARV, ready, started
from varv.kernel.clock import wall_seconds

ROWS = int(sys.argv[2]) if len(sys.argv) > 2 else 40
N_ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
STEPS = 10
STEP = N_ROWS // STEPS
N_CLIENTS = 4
MOST_GROWTH, MOST_SECONDS = 0.05, 5.0


class Client:
    """Sends requests of `ROWS` rows and then their outcomes."""

    def __init__(self, control: int, inference: int, name: str) -> None:
        self._ports = control, inference
        self._name, self._n = name, 0

    def send(self, n_rows: int) -> None:
        """Send so many rows."""
        # An idle connection is closed by the server, so each part of the load opens its own.
        to_control, to_inference = (http.client.HTTPConnection("127.0.0.1", port) for port in self._ports)
        for _ in range(n_rows // ROWS):
            self._n += 1
            keys = [f"{self._name}-{self._n}-{number}" for number in range(ROWS)]
            records = [{**ROW, "delivery_id": key} for key in keys]
            self._post(to_inference, "/invocations", {"dataframe_records": records})
            outcomes = [{"delivery_id": key, "late": number % 2} for number, key in enumerate(keys)]
            asked = {"model": "late-parcel", "rows": outcomes}
            self._post(to_control, "/api/v1/outcome/record", asked)

    def _post(self, connection: http.client.HTTPConnection, path: str, body: object) -> None:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise SystemExit(told.decode())


def load(clients: list[Client], n_rows: int) -> None:
    """Let every client send its part of `n_rows`."""
    threads = [threading.Thread(target=client.send, args=(n_rows // len(clients),)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Watched:
    """Reads the resident memory of processes every second, as long as a block lasts."""

    def __init__(self, *processes: psutil.Process) -> None:
        self._processes = processes
        self._read: list[list[float]] = [[] for _ in processes]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def medians(self) -> list[float]:
        """Resident memory in KiB, of each process."""
        return [statistics.median(found) for found in self._read]

    def _watch(self) -> None:
        while True:
            for process, found in zip(self._processes, self._read, strict=True):
                found.append(process.memory_info().rss / 1024)
            if self._ended.wait(1):
                return


def served_again(folder: Path, how: str) -> float:
    """Return the seconds from a server's start until it answers; it is then ended as `how` says."""
    began = wall_seconds()
    with started(folder, "up", "deliveries.py") as server:
        while not ready(server.inference):
            if server.process.poll() is not None:
                raise SystemExit("the server has ended")
            threading.Event().wait(0.02)
        took = wall_seconds() - began
        if how == "killed":
            for process in (
                psutil.Process(server.process.pid),
                *psutil.Process(server.process.pid).children(),
            ):
                process.kill()
        return took


def loaded(folder: Path) -> list[tuple[int, float, float]]:
    """Load a server in `folder`, and return the memory of owner and worker after each part of the load."""
    waiter = threading.Event()
    points: list[tuple[int, float, float]] = []
    with started(folder, "up", "deliveries.py") as server:
        while not ready(server.inference):
            waiter.wait(0.2)
        waiter.wait(2)
        owner = psutil.Process(server.process.pid)
        # Beside it there may be a process that waits for a training.
        (worker,) = (one for one in owner.children() if "varv.app.server.worker" in one.cmdline())
        clients = [
            Client(server.control, server.inference, f"client-{number}") for number in range(N_CLIENTS)
        ]
        for step in range(1, STEPS + 1):
            begin = wall_seconds()
            with Watched(owner, worker) as watched:
                load(clients, STEP)
                took = wall_seconds() - begin
                waiter.wait(7)  # what was captured last is ingested
            n, (of_owner, of_worker) = step * STEP, watched.medians
            points.append((n, of_owner, of_worker))
            print(
                f"{n:>9,} rows  owner {of_owner / 1024:7.1f} MiB  worker {of_worker / 1024:7.1f} MiB"
                f"  {STEP / took:6.0f} rows/s",
                flush=True,
            )
    return points


def main() -> int:
    """Measure, print, and say whether every bar holds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([VARV, "init", name], check=True, stdout=subprocess.DEVNULL)
        points = loaded(folder)
        restarts = [(how, served_again(folder, how)) for how in ("stopped", "killed", "stopped")]
    (_, owner0, worker0), (_, owner1, worker1) = points[0], points[-1]
    held = True
    for what, before, after in (("owner", owner0, owner1), ("worker", worker0, worker1)):
        growth = after / before - 1
        held &= growth < MOST_GROWTH
        print(f"{what} grew by {growth:.1%} after the first {STEP:,}  < {MOST_GROWTH:.0%}")
    for before, (_, took) in zip(("stopped", "stopped", "killed"), restarts, strict=True):
        held &= took <= MOST_SECONDS
        print(f"restart of a server that was {before}: {took:.1f} s  <= {MOST_SECONDS:g}")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())

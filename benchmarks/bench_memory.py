"""What requests leave in memory: ``python benchmarks/bench_memory.py`` prints a table.

A server is started on a project as `varv init` writes it. Requests of forty rows with keys of their own are
answered, captured and ingested, and the outcome of each row is sent. The resident memory of the owner and of
its worker is read after a warm-up and after each further part of the load; the slope is what a row leaves.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading

import psutil

from bench_serving import ROW
from served import deliveries
from varv.kernel.clock import wall_seconds

ROWS = 40
WARM_UP = 40_000
STEP = 40_000
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
N_CLIENTS = 4


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


def resident(process: psutil.Process) -> float:
    """Return resident memory in KiB."""
    return process.memory_info().rss / 1024


def main() -> int:
    waiter = threading.Event()
    with deliveries() as server:
        waiter.wait(2)
        owner = psutil.Process(server.process.pid)
        (worker,) = owner.children()
        clients = [
            Client(server.control, server.inference, f"client-{number}") for number in range(N_CLIENTS)
        ]
        points: list[tuple[int, float, float]] = []
        for step in range(STEPS + 1):
            begin = wall_seconds()
            load(clients, WARM_UP if step == 0 else STEP)
            took = wall_seconds() - begin
            waiter.wait(7)  # what was captured last is ingested
            points.append((WARM_UP + step * STEP, resident(owner), resident(worker)))
            n, of_owner, of_worker = points[-1]
            print(
                f"{n:>9,} rows  owner {of_owner / 1024:7.1f} MiB  worker {of_worker / 1024:7.1f} MiB"
                f"  {STEP / took:6.0f} rows/s",
                flush=True,
            )
        (n0, owner0, worker0), (n1, owner1, worker1) = points[0], points[-1]
        print(f"owner  {(owner1 - owner0) / (n1 - n0):6.3f} KiB a row")
        print(f"worker {(worker1 - worker0) / (n1 - n0):6.3f} KiB a row")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

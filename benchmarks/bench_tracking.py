"""What requests to the tracking server cost, in processor time of its whole process tree; MLflow's own beside
it.

    python benchmarks/bench_tracking.py [--peer .venv-peers/mlflow/bin/mlflow]

Both servers run at once and are asked in turns, in rounds, so that a slow minute of the machine hits both.
Each request is made over a connection that stays open; the client's time is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

from served import VARV, free_port

API = "/api/2.0/mlflow/"
START_MS = 1_700_000_000_000
ROUNDS = 5
TICKS = os.sysconf("SC_CLK_TCK")
_PROCESSOR_CLOCK = 2


class Server(NamedTuple):
    """A server that is asked, and the process that it began as."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """Return the processor time of the whole tree, with that of children that have ended."""
        return sum(_cpu_s(pid) for pid in _tree(self.process.pid))

    def memory_mb(self) -> float:
        """Return what the tree holds, each shared page counted by its share."""
        return sum(_pss_mb(pid) for pid in _tree(self.process.pid))


@contextlib.contextmanager
def serving(name: str, command: list[str], port: int, folder: str) -> Generator[Server]:
    """Start a server, and end it with the block."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield Server(name, port, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(60)


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        return self.ask("POST", API + path, json.dumps(fields).encode())

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer to a question."""
        return self.ask("GET", API + path, None)

    def ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        """Return the answer to any request."""
        kind = "application/octet-stream" if method == "PUT" else "application/json"
        try:
            self._connection.request(method, path, body, {"content-type": kind})
        except ConnectionError:
            # It was closed as an idle one, while the other server took its time.
            self._connection.close()
            self._connection.request(method, path, body, {"content-type": kind})
        response = self._connection.getresponse()
        told = response.read()
        if response.status != 200:
            raise SystemExit(f"{method} {path}: {response.status} {told[:300]!r}")
        return json.loads(told) if told.startswith(b"{") else {}


def wait_for(server: Server) -> float:
    """Return how long a server took until it answered."""
    begun = time.perf_counter()
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            connection.request("GET", "/version")
            if connection.getresponse().status == 200:
                return time.perf_counter() - begun
        time.sleep(0.02)


def settle(server: Server, within_s: float = 60.0) -> None:
    """Wait until a server that answers has finished starting: MLflow's goes on with its other processes."""
    end = time.perf_counter() + within_s
    while time.perf_counter() < end:
        cpu = server.cpu_s()
        time.sleep(1.0)
        if server.cpu_s() - cpu < 0.05:
            return


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        # Linux makes the number of a process's clock of its id. Ticks of 10 ms, which is all that is known of
        # children that have ended, are too coarse for a few requests.
        own = time.clock_gettime((~pid << 3) | _PROCESSOR_CLOCK)
    except OSError:
        return 0.0
    return own + sum(map(int, fields[13:15])) / TICKS


def cpu_of_children_s() -> float:
    """Return the processor time of children of this process that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


Act = Callable[[Client, int], object]


def measured(server: Server, act: Act, n: int, n_connections: int) -> tuple[float, float]:
    """Return milliseconds of processor and of waiting for each of `n` requests over several connections."""
    clients = [Client(server.port) for _ in range(n_connections)]
    each = n // n_connections

    def work(number: int) -> None:
        for place in range(each):
            act(clients[number], number * each + place)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(n_connections)]
    cpu, begun = server.cpu_s(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - begun
    return 1000 * (server.cpu_s() - cpu) / n, 1000 * taken / n


def acts(server: Server) -> dict[str, Act]:
    """Return what is measured, by its name, on runs that are made here."""
    client = Client(server.port)
    now = START_MS

    def begun() -> str:
        return client.post("runs/create", experiment_id="0", start_time=now)["run"]["info"]["run_id"]

    runs = [begun() for _ in range(8)]
    full = begun()
    metrics = [{"key": f"m{k}", "value": k / 7, "timestamp": now, "step": 1} for k in range(100)]
    params = [{"key": f"p{k}", "value": str(k)} for k in range(20)]
    client.post("runs/log-batch", run_id=full, metrics=metrics, params=params, tags=[])
    model = f"model-{now}"
    with contextlib.suppress(SystemExit):
        client.post("registered-models/create", name=model)
    source = f"runs:/{full}/model"

    def log_metric(client: Client, n: int) -> object:
        return client.post(
            "runs/log-metric", run_id=runs[n % 8], key="loss", value=n / 7, timestamp=now + n, step=n
        )

    def log_batch(client: Client, n: int) -> object:
        points = [{**one, "step": n, "timestamp": now + n} for one in metrics]
        return client.post("runs/log-batch", run_id=runs[n % 8], metrics=points, params=[], tags=[])

    def create_run(client: Client, n: int) -> object:
        tags = [{"key": "mlflow.user", "value": "ana"}, {"key": "mlflow.source.name", "value": "train.py"}]
        return client.post("runs/create", experiment_id="0", start_time=now + n, tags=tags)

    def get_run(client: Client, n: int) -> object:
        return client.get(f"runs/get?run_id={full}")

    def create_version(client: Client, n: int) -> object:
        return client.post("model-versions/create", name=model, source=source, run_id=full)

    def put_artifact(client: Client, n: int) -> object:
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/{full}/artifacts/folder/{n}.bin"
        return client.ask("PUT", path, os.urandom(4096))

    return {
        "log_metric": log_metric,
        "log_batch(100)": log_batch,
        "create_run": create_run,
        "get_run(100, 20)": get_run,
        "create_version": create_version,
        "artifact 4 KiB": put_artifact,
    }


def history(server: Server, n: int = 100_000) -> dict[str, float]:
    """Return how long it takes to read a history of `n` points, in seconds, and a sample of it in
    milliseconds.
    """
    client = Client(server.port)
    now = START_MS
    run = client.post("runs/create", experiment_id="0", start_time=now)["run"]["info"]["run_id"]
    for start in range(0, n, 1000):
        points = [
            {"key": "loss", "value": 1 / (k + 1), "timestamp": now + k, "step": k}
            for k in range(start, start + 1000)
        ]
        client.post("runs/log-batch", run_id=run, metrics=points, params=[], tags=[])
    asked = {
        "history, s": f"metrics/get-history?run_id={run}&metric_key=loss",
        "320 samples, s": f"metrics/get-history-bulk-interval?run_ids={run}&metric_key=loss&max_results=320",
    }
    found = {}
    for name, path in asked.items():
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            told = client.ask("GET", ("/ajax-api/2.0/mlflow/" if "bulk" in path else API) + path, None)
            times.append(time.perf_counter() - begun)
        assert len(told["metrics"]) >= min(n, 320), name
        found[name] = statistics.median(times)
    return found


def main() -> None:
    """Measure, and print a table."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--peer", default="", help="the program mlflow of an environment that has it")
    asked.add_argument(
        "--n", type=int, default=800, help="requests of ours in a round; a tenth of the peer's"
    )
    asked.add_argument("--only", default="", help="one of what is measured")
    options = asked.parse_args()
    with contextlib.ExitStack() as ended:
        servers = []
        folder, port = ended.enter_context(tempfile.TemporaryDirectory()), free_port()
        command = [str(VARV), "track", "--port", str(port)]
        servers.append(ended.enter_context(serving("varv", command, port, folder)))
        if options.peer:
            folder, port = ended.enter_context(tempfile.TemporaryDirectory()), free_port()
            store = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./artifacts"]
            command = [options.peer, "server", "--workers", "1", "--port", str(port), *store]
            servers.append(ended.enter_context(serving("mlflow", command, port, folder)))
        for server in servers:
            print(f"{server.name}: ready after {wait_for(server):.1f} s, {server.memory_mb():.0f} MB")
        for server in servers:
            settle(server)
        compare(servers, options)


def compare(servers: list[Server], options: argparse.Namespace) -> None:
    """Print what each act costs each server."""
    todo = {server.name: acts(server) for server in servers}
    for name in todo[servers[0].name]:
        if options.only and options.only not in name:
            continue
        for n_connections in (1, 8):
            costs: dict[str, list[tuple[float, float]]] = {server.name: [] for server in servers}
            for _ in range(ROUNDS):
                for server in servers:
                    n = options.n if server.name == "varv" else max(16, options.n // 10)
                    costs[server.name].append(measured(server, todo[server.name][name], n, n_connections))
            told = []
            for server in servers:
                cpu = statistics.median(cost for cost, _ in costs[server.name])
                wall = statistics.median(taken for _, taken in costs[server.name])
                told.append(f"{server.name} {cpu:.3f} ms cpu, {wall:.2f} ms wall")
            print(f"{name:18} x{n_connections}: {'; '.join(told)}", flush=True)
    if not options.only or options.only in "history":
        for server in servers:
            print(server.name, {name: f"{taken:.3f}" for name, taken in history(server).items()})
    for server in servers:
        print(f"{server.name}: {server.memory_mb():.0f} MB at the end")


if __name__ == "__main__":
    sys.exit(main())

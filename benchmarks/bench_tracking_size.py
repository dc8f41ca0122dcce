"""What tracking does with what is large: a file of a gigabyte, a start over a million runs, the capture of a
run, and a million runs moved in from MLflow's database.

    python benchmarks/bench_tracking_size.py [artifact] [start] [capture] [import] [--full]
        [--peer .venv-peers/mlflow/bin/mlflow] [--home FOLDER]

Small sizes take a minute; `--full` takes the sizes of the bars, and an hour. What writes to the disk is
measured beside `dd`. The database that is moved in has the tables that MLflow itself makes, so that part
needs `--peer`. `--home` keeps the runs of `start`, and takes those of `bench_tracking_search.py --million`.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from bench_tracking import START_MS, Client, Server, cpu_of_children_s, serving, wait_for
from bench_tracking_search import write_runs
from served import VARV, free_port

MIB = 1 << 20
STARTS = 5
CAPTURES = 15
LOOKS_EVERY_S = 0.05
_CAPTURE = """
import os, time
from pathlib import Path
from varv.runs.capture import captured
begun = time.perf_counter()
captured(Path.cwd(), "benchmarks/bench_tracking_size.py", (), os.environ)
print(1000 * (time.perf_counter() - begun))
"""


@contextlib.contextmanager
def tracking(home: Path) -> Generator[Server]:
    """Start a tracking server over a home."""
    port = free_port()
    command = [str(VARV), "track", "--home", str(home), "--port", str(port)]
    with serving("varv", command, port, str(home)) as server:
        yield server


# A large file


def artifact(n_mib: int, folder: Path) -> None:
    """Print how fast a file goes up and comes back, and what the server holds meanwhile."""
    print(f"artifact of {n_mib} MiB: dd with one fsync writes {_dd(n_mib, folder):.0f} MB/s")
    with tracking(folder) as server:
        wait_for(server)
        run = Client(server.port).post("runs/create", experiment_id="0", start_time=START_MS)
        id = run["run"]["info"]["run_id"]
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/{id}/artifacts/large.bin"
        for name, moved in (("up", _upload), ("down", _download)):
            with _watched(server) as held:
                begun, cpu = time.perf_counter(), server.cpu_s()
                moved(server.port, path, n_mib)
                taken, cpu = time.perf_counter() - begun, server.cpu_s() - cpu
            rate = n_mib * MIB / 1e6 / taken
            print(
                f"  {name}: {rate:.0f} MB/s, {cpu:.2f} s of cpu, at most {max(held):.0f} MB held", flush=True
            )


def _dd(n_mib: int, folder: Path) -> float:
    target = folder / "dd.bin"
    begun = time.perf_counter()
    command = ["dd", "if=/dev/zero", f"of={target}", "bs=1M", f"count={n_mib}", "conv=fsync"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    taken = time.perf_counter() - begun
    target.unlink()
    return n_mib * MIB / 1e6 / taken


def _parts(n_mib: int) -> Iterator[bytes]:
    # Each part is another, and none costs the client what random bytes would.
    noise = random.Random(0).randbytes(MIB)
    for number in range(n_mib):
        yield number.to_bytes(8, "little") + noise[8:]


def _upload(port: int, path: str, n_mib: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    said = {"content-type": "application/octet-stream", "content-length": str(n_mib * MIB)}
    connection.request("PUT", path, _parts(n_mib), said)
    _require_ok(connection.getresponse(), "PUT")


def _download(port: int, path: str, n_mib: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", path)
    response = connection.getresponse()
    n_bytes = 0
    while part := response.read(MIB):
        n_bytes += len(part)
    _require_ok(response, "GET")
    if n_bytes != n_mib * MIB:
        raise SystemExit(f"{n_bytes} bytes came back of {n_mib * MIB}")


def _require_ok(response: http.client.HTTPResponse, method: str) -> None:
    if response.status != 200:
        raise SystemExit(f"{method}: {response.status} {response.read()[:300]!r}")


@contextlib.contextmanager
def _watched(server: Server) -> Generator[list[float]]:
    held, ended = [server.memory_mb()], threading.Event()

    def watch() -> None:
        while not ended.wait(LOOKS_EVERY_S):
            held.append(server.memory_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield held
    finally:
        ended.set()
        watcher.join()


# A start over many runs


def start(n_runs: int, home: Path) -> None:
    """Print how long a server takes until it answers, and how long its first page does."""
    write_runs(home, n_runs)
    for _ in range(STARTS):
        with tracking(home) as server:
            ready = wait_for(server)
            held = server.memory_mb()
            first = _page(server.port)
            again = _page(server.port)
            told = f"ready after {ready:.1f} s with {held:.0f} MB; first page {first:.2f} s, then {again:.2f}"
            print(f"  {n_runs} runs: {told}, {server.memory_mb():.0f} MB", flush=True)


def _page(port: int) -> float:
    begun = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    if response.status >= 400:
        raise SystemExit(f"the console answers {response.status}")
    return time.perf_counter() - begun


# The capture of a run


def capture(n: int) -> None:
    """Print how long it takes to look at what a run is made from, each time in a fresh process."""
    command = [sys.executable, "-c", _CAPTURE]
    root = Path(__file__).parent.parent
    taken = [
        float(subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout)
        for _ in range(n)
    ]
    print(f"capture: median {statistics.median(taken):.0f} ms, at worst {max(taken):.0f}, of {n}", flush=True)


# Moving in


def moving(n_runs: int, mlflow: str, folder: Path) -> None:
    """Print how fast runs with seven metrics come from MLflow's database, and again when nothing is new."""
    database = folder / "mlflow.db"
    made = subprocess.run([mlflow, "db", "upgrade", f"sqlite:///{database}"], capture_output=True)
    if made.returncode:
        raise SystemExit(f"MLflow made no tables: {made.stderr[-300:]!r}")
    _fill(database, n_runs)
    home = folder / "home"
    command = [str(VARV), "import", "mlflow", f"sqlite:///{database}", "--home", str(home)]
    for name in ("moved in", "again, nothing new"):
        begun, cpu = time.perf_counter(), cpu_of_children_s()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken, cpu = time.perf_counter() - begun, cpu_of_children_s() - cpu
        told = f"{n_runs / taken:.0f} runs/s, {1000 * cpu / n_runs:.2f} ms of cpu a run"
        print(f"import of {n_runs} runs, {name}: {told}", flush=True)


def _fill(database: Path, n_runs: int) -> None:
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute(
            "INSERT INTO experiments VALUES (1, 'many', ?, 'active', ?, ?, 'default')",
            (f"file://{database.parent}/artifacts/1", START_MS, START_MS),
        )
        for number in range(n_runs):
            _fill_run(db, number, f"{number * 2654435761 % 2**32:032x}")
        db.commit()


def _fill_run(db: sqlite3.Connection, number: int, id: str) -> None:
    dice, at = random.Random(number), START_MS + number
    columns = "run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, experiment_id"
    row = (id, f"run-{number}", "ana", "FINISHED", at, at + 1000, "active", 1)
    db.execute(f"INSERT INTO runs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    params = [(f"p{k}", str(dice.randrange(10 ** (k + 1))), id) for k in range(4)]
    db.executemany("INSERT INTO params VALUES (?, ?, ?)", params)
    tags = (("mlflow.runName", f"run-{number}"), ("mlflow.user", "ana"), ("team", "risk"))
    db.executemany("INSERT INTO tags VALUES (?, ?, ?)", [(*tag, id) for tag in tags])
    values = [(f"m{k}", dice.random(), at, id) for k in range(7)]
    db.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, 1, 0)", values)
    db.executemany("INSERT INTO latest_metrics VALUES (?, ?, ?, 1, 0, ?)", values)


def main() -> None:
    """Measure what is named, or all."""
    asked = argparse.ArgumentParser()
    asked.add_argument("what", nargs="*", help="artifact, start, capture, import")
    asked.add_argument("--full", action="store_true", help="the sizes of the bars")
    asked.add_argument("--peer", default="", help="the program mlflow of an environment that has it")
    asked.add_argument("--home", default="", help="keeps the runs of start")
    asked.add_argument("--runs", type=int, default=0, help="another number of runs")
    options = asked.parse_args()
    what = options.what or ["artifact", "start", "capture", "import"]
    n_runs = options.runs or (1_000_000 if options.full else 5_000)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if "artifact" in what:
            artifact(1024 if options.full else 64, place)
        if "start" in what:
            start(n_runs, Path(options.home or place / "many"))
        if "capture" in what:
            capture(CAPTURES)
        if "import" in what and options.peer:
            moving(n_runs, options.peer, place)


if __name__ == "__main__":
    main()

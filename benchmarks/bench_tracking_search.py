"""How long searches of runs take: of ten thousand runs with twenty metrics, and of a million with seven keys.

    python benchmarks/bench_tracking_search.py [--runs 10000] [--peer .venv-peers/mlflow/bin/mlflow]
    python benchmarks/bench_tracking_search.py --million [--runs 1000000] [--home FOLDER]

The first are in the stores of both servers alike if there is a peer, and each question is asked of them in
turns. The million is written in large groups by the same events, its last values without the points
before them, into a home that `--home` keeps; then its server is started and asked.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_tracking import START_MS as START
from bench_tracking import Client, Server, serving, settle, wait_for
from served import VARV, free_port
from tracking_stores import fill_mlflow, fill_varv
from varv.app.compose import open_ledger, open_tracking
from varv.kernel.clock import SystemClock
from varv.kernel.recorder import Write, Writing
from varv.runs import Tracking
from varv.runs.model import ExperimentId, RunCreated, RunDescribed, RunId, RunUpdated, run_stream
from varv.runs.tables import METRIC

ROUNDS = 7
GROUP = 2000
TEN = {
    "first 100": {"max_results": 100},
    "metric and param": {"filter": "metrics.m3 > 0.5 and params.p0 = '1'", "max_results": 100},
    "order by a metric": {"order_by": ["metrics.m5 DESC"], "max_results": 100},
    "filter, order and tag": {
        "filter": "metrics.m1 < 0.5 and tags.team = 'risk'",
        "order_by": ["metrics.m2"],
        "max_results": 100,
    },
}
MILLION = {
    "no filter": {},
    "m0 > .9 and p0 = '1'": {"filter": "metrics.m0 > 0.9 and params.p0 = '1'"},
    "order by a metric": {"order_by": ["metrics.m0"]},
    "order by a metric, filter on metric and tag": {
        "filter": "metrics.m0 > 0.5 and tags.team = 'risk'",
        "order_by": ["metrics.m1 DESC"],
    },
    "one value of a param, 100 of a million": {"filter": "params.p1 = '77'"},
    "two 1 % filters": {"filter": "metrics.m0 < 0.01 and params.p3 = '7'"},
    "two 30 % filters that never meet": {"filter": "metrics.m1 > 0.7 and metrics.m2 > 0.7"},
    "LIKE without a match": {"filter": "params.p2 LIKE '%nobody%'"},
    "ILIKE of a few": {"filter": "params.p2 ILIKE '%-WORD-77777%'"},
    "running": {"filter": "status = 'RUNNING'"},
    "by name": {"filter": "run_name = 'run-500000'"},
    "order by a param": {"order_by": ["params.p0 DESC", "metrics.m0 DESC"]},
    "order by the end": {"order_by": ["end_time DESC"], "filter": "params.p0 != '3'"},
    "not nulls": {"filter": "tags.`none` IS NULL and metrics.m0 != 2"},
}


def median_and_p95(times: list[float]) -> tuple[float, float]:
    """Return the two in milliseconds."""
    ordered = sorted(times)
    return 1000 * statistics.median(ordered), 1000 * ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def ask(client: Client, experiment: str, asked: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Return how long a search took, in seconds, and its answer."""
    begun = time.perf_counter()
    told = client.post("runs/search", experiment_ids=[experiment], **asked)
    return time.perf_counter() - begun, told


# Ten thousand runs


def all_pages(client: Client, experiment: str) -> float:
    """Return how long it takes to read all runs by pages of a thousand, in seconds."""
    begun, asked = time.perf_counter(), {"max_results": 1000}
    while token := ask(client, experiment, asked)[1].get("next_page_token"):
        asked = {"max_results": 1000, "page_token": token}
    return time.perf_counter() - begun


def compare(servers: list[Server], experiments: dict[str, str], n_runs: int) -> None:
    """Print what each search takes each server."""
    clients = {server.name: Client(server.port) for server in servers}
    for name, client in clients.items():
        n_found = len(ask(client, experiments[name], {"max_results": n_runs})[1]["runs"])
        assert n_found == n_runs, f"{name} has {n_found} runs"
    for name, asked in TEN.items():
        times: dict[str, list[float]] = {server.name: [] for server in servers}
        costs: dict[str, list[float]] = {server.name: [] for server in servers}
        for _ in range(ROUNDS):
            for server in servers:
                cpu = server.cpu_s()
                times[server.name].append(ask(clients[server.name], experiments[server.name], asked)[0])
                costs[server.name].append(server.cpu_s() - cpu)
        show(name, {server: statistics.median(found) for server, found in times.items()})
        show("  of processor", {server: statistics.median(found) for server, found in costs.items()})
    show(
        "all pages of 1000", {name: all_pages(client, experiments[name]) for name, client in clients.items()}
    )
    for server in servers:
        print(f"{server.name}: {server.memory_mb():.0f} MB")


def show(name: str, times: dict[str, float]) -> None:
    """Print one line, with how many times longer the peer took."""
    told = ", ".join(f"{server} {1000 * taken:.1f} ms" for server, taken in times.items())
    ratio = f"; {times['mlflow'] / times['varv']:.0f} times" if len(times) > 1 else ""
    print(f"  {name}: {told}{ratio}", flush=True)


# A million, written in groups


def written(tracking: Tracking, n_runs: int) -> None:
    """Write runs with three metrics, four params and a tag, in large groups."""
    recorder = tracking.recorder
    experiment = recorder.do(tracking.experiments.create("million"))
    keys = [recorder.do(_key(tracking, experiment, name)) for name in ("m0", "m1", "m2")]
    for start in range(0, n_runs, GROUP):
        numbers = range(start, min(start + GROUP, n_runs))
        recorder.do(
            Write(lambda writing, numbers=numbers: _group(writing, experiment, keys, numbers), stores=True)
        )


def _key(tracking: Tracking, experiment: str, name: str) -> Write[int]:
    query = "INSERT INTO key (experiment, kind, name) SELECT no, ?, ? FROM experiment WHERE id = ?"

    def work(writing: Writing) -> int:
        writing.store(lambda db: db.execute(query, (METRIC, name, experiment)))
        return 1 + (writing.db.execute("SELECT max(no) FROM key").fetchone()[0] or 0)

    return Write(work, stores=True)


def _group(writing: Writing, experiment: str, keys: list[int], numbers: range) -> None:
    rows = []
    for number in numbers:
        dice = random.Random(number)
        run = RunId(f"{number * 2654435761 % 2**32:032x}")
        params = {"p0": str(dice.randrange(10)), "p1": str(number % 10_000), "p3": str(dice.randrange(100))}
        params["p2"] = f"some-word-{number}"
        created = RunCreated(
            run=run,
            experiment=ExperimentId(experiment),
            name=f"run-{number}",
            user="ana",
            started_ms=START + number,
            tags={"team": dice.choice(["risk", "growth", "ops"])},
        )
        writing.record(run_stream(run), created)
        writing.record(run_stream(run), RunDescribed(run=run, params=params))
        if number % 5000:
            ended = RunUpdated(run=run, status="FINISHED", ended_ms=START + number + dice.randrange(10**6))
            writing.record(run_stream(run), ended)
        value = dice.random()
        rows += [(run, key, one) for key, one in zip(keys, (dice.random(), value, 1 - value), strict=True)]
    one = "INSERT INTO latest SELECT no, ?2, ?3, 1, 1, 0, 1, ?3, ?3, ?3 FROM run WHERE id = ?1"
    writing.store(lambda db: db.executemany(one, rows))


def write_runs(folder: Path, n_runs: int) -> None:
    """Write runs if the folder has none."""
    if (folder / "ledger.db").exists():
        return
    begun = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(folder, durability="process")
    desk = open_tracking(folder, ledger, SystemClock(), durability="process")
    written(desk.runs, n_runs)
    desk.close()
    ledger.close()
    sizes = ", ".join(
        f"{path.name} {path.stat().st_size / 2**20:.0f} MiB" for path in sorted(folder.glob("*.db"))
    )
    print(f"{n_runs} runs written in {time.perf_counter() - begun:.0f} s; {sizes}", flush=True)


def million(folder: Path, n_runs: int) -> None:
    """Write runs if the folder has none, then start a server and print what each search takes."""
    write_runs(folder, n_runs)
    port = free_port()
    with serving(
        "varv", [str(VARV), "track", "--home", str(folder), "--port", str(port)], port, str(folder)
    ) as server:
        print(f"ready after {wait_for(server):.1f} s, {server.memory_mb():.0f} MB")
        questions(server)
        print(f"{server.memory_mb():.0f} MB in the end")


def questions(server: Server) -> None:
    """Print how long each question takes, the first time and after."""
    client = Client(server.port)
    experiment = client.get("experiments/get-by-name?experiment_name=million")["experiment"]["experiment_id"]
    together: list[float] = []
    for name, asked in deep(client, experiment):
        found = [ask(client, experiment, {"max_results": 100, **asked}) for _ in range(ROUNDS + 1)]
        times = [taken for taken, _ in found]
        together += times[1:]
        median, worst = median_and_p95(times[1:])
        n = len(found[0][1].get("runs", ()))
        print(
            f"  {name}: {n} runs; first {1000 * times[0]:.0f} ms, then {median:.1f}, p95 {worst:.1f}",
            flush=True,
        )
    print("  all: median {:.1f} ms, p95 {:.1f} ms".format(*median_and_p95(together)))


def deep(client: Client, experiment: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the questions, with pages deep inside the answers of some."""
    yield from MILLION.items()
    for name in ("no filter", "order by a metric", "order by a metric, filter on metric and tag"):
        asked = {"max_results": 20_000, **MILLION[name]}
        for _ in range(3):
            token = ask(client, experiment, asked)[1]["next_page_token"]
            asked["page_token"] = token
        yield f"{name}, after 60,000", {**MILLION[name], "page_token": token}


def main() -> None:
    """Measure, and print a table."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--peer", default="", help="the program mlflow of an environment that has it")
    asked.add_argument("--runs", type=int, default=0, help="10,000 or a million without it")
    asked.add_argument("--million", action="store_true", help="search many runs, of ours only")
    asked.add_argument("--home", default="", help="keeps the million runs")
    options = asked.parse_args()
    with contextlib.ExitStack() as ended:
        if options.million:
            million(
                Path(options.home or ended.enter_context(tempfile.TemporaryDirectory())),
                options.runs or 10**6,
            )
            return
        n_runs = options.runs or 10_000
        folder, port = ended.enter_context(tempfile.TemporaryDirectory()), free_port()
        experiments = {"varv": fill_varv(Path(folder) / ".varv", n_runs)}
        command = [str(VARV), "track", "--port", str(port)]
        servers = [ended.enter_context(serving("varv", command, port, folder))]
        if options.peer:
            folder, port = ended.enter_context(tempfile.TemporaryDirectory()), free_port()
            store = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./artifacts"]
            command = [options.peer, "server", "--workers", "1", "--port", str(port), *store]
            with serving("mlflow", command, port, folder) as first:
                wait_for(first)
                made = Client(port).post("experiments/create", name="search")
            experiments["mlflow"] = made["experiment_id"]
            fill_mlflow(Path(folder) / "mlflow.db", made["experiment_id"], n_runs)
            servers.append(ended.enter_context(serving("mlflow", command, port, folder)))
        for server in servers:
            wait_for(server)
            settle(server)
        compare(servers, experiments, n_runs)


if __name__ == "__main__":
    main()

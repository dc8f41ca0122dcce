"""What the online store costs: ``python benchmarks/bench_online_store.py [ENTITIES] [SECONDS]`` measures it.

Three views of five columns each are materialised from a dataset of one row an entity and view, and read: in
this process, one entity and more at a time, and over HTTP by eight clients. With ``FEAST`` naming the Python
of an environment that has Feast, ``feast serve`` answers the same question about as many entities in the same
run. Processor times are of this process; requests a second of the whole machine, which others use as well.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl

from varv.adapters.keyvalue.sqlite import SqliteKeyValue
from varv.data import Dataset, Datasets, DatasetsView, Frame
from varv.features import FeatureView
from varv.features.online.materialising import Materialiser
from varv.features.online.model import OnlineView
from varv.features.online.ports import KeyValue
from varv.features.online.reading import OnlineReader
from varv.kernel.clock import SECOND, SystemClock, cpu_seconds, instant
from varv.kernel.columns import TIME
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.views import Views

N_CLIENTS = 8
ASKED = 20_000
START = instant("2026-01-01")
NAMES = ("a", "b", "c")
COLUMNS = [f"v{number}" for number in range(5)]
TYPES = {"at": TIME, "driver_id": pl.Int64, **dict.fromkeys(COLUMNS, pl.Float64)}
FEATURES = [f"{name}:{column}" for name in NAMES for column in COLUMNS]


def dataset(name: str) -> Dataset:
    """Return a dataset of one row a driver."""
    return Dataset(name, source=Frame(pl.DataFrame(schema=TYPES)), key="driver_id", event_time="at")


def views() -> list[FeatureView]:
    """Return the views."""
    return [
        FeatureView(name, source=dataset(name), entity="driver_id", features=COLUMNS, ttl="36500d")
        for name in NAMES
    ]


def rows_of(n: int, seed: int) -> pl.DataFrame:
    """Return a row a driver."""
    rng = np.random.default_rng(seed)
    times = START + rng.integers(0, 86_400, n) * SECOND
    columns = {name: rng.normal(size=n) for name in COLUMNS}
    return pl.DataFrame({"at": times, "driver_id": np.arange(n), **columns}).cast({"at": TIME})


def materialised(folder: Path, n: int) -> tuple[KeyValue, list[FeatureView], float]:
    """Return a store that is filled, its views, and the processor seconds that filling it took."""
    ledger, clock, store = SqliteLedger(":memory:"), SystemClock(), SqliteKeyValue(folder / "online")
    seen = Views(ledger, DatasetsView, OnlineView)
    datasets = Datasets(ledger, FolderColumns(folder / "columns"), clock, seen, Secret(folder / "digest.key"))
    declared = views()
    for seed, view in enumerate(declared):
        datasets.commit(datasets.register(view.source))
        datasets.append(view.source, "at", rows_of(n, seed), segment="all")
    begun = cpu_seconds()
    writer = Materialiser(datasets, seen, store, clock, datasets.commit)
    for view in declared:
        writer.materialise(view)
    return store, declared, cpu_seconds() - begun


def read_in_process(reader: OnlineReader, n: int) -> None:
    """Print what reads cost in this process."""
    rng, now = np.random.default_rng(9), SystemClock().now()
    print(f"{'entities':>9} {'CPU us':>8} {'p50 us':>8} {'p99 us':>8}")
    for at_once in (1, 10, 100):
        asked = [rng.integers(0, n, at_once).tolist() for _ in range(max(300, ASKED // at_once))]
        took = []
        begun = cpu_seconds()
        for drivers in asked:
            since = time.perf_counter_ns()
            reader.read(NAMES, {"driver_id": drivers}, now)
            took.append(time.perf_counter_ns() - since)
        spent = (cpu_seconds() - begun) / len(asked) * 1e6
        p50, p99 = np.quantile(took, [0.5, 0.99]) / 1e3
        print(f"{at_once:>9} {spent:>8.1f} {p50:>8.1f} {p99:>8.1f}")


def serve(folder: str, port: int) -> None:
    """Answer over HTTP as a worker does; in a process of its own."""
    import uvicorn

    from varv.app.server.protocol import bounded_protocol
    from varv.fronts.inference import HotCalls, Inference, create_inference
    from varv.fronts.inference.online import OnlineFeatures

    inference, declared = Inference(), views()
    reader = OnlineReader(SqliteKeyValue(Path(folder) / "online"), declared)
    inference.features = OnlineFeatures(reader, {"model": declared}, inference.door)
    hot = bounded_protocol(hot=HotCalls(inference, None))
    uvicorn.run(
        create_inference(inference),
        port=port,
        http=hot,  # type: ignore[bad-argument-type]
        loop="uvloop",
        log_level="error",
        access_log=False,
    )


def ask(port: int, n: int, seconds: float, seed: int, counts: multiprocessing.Queue[int]) -> None:
    """Ask for one entity again and again, and put how often it was answered."""
    rng, until, answered = np.random.default_rng(seed), time.monotonic() + seconds, 0
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        while time.monotonic() < until:
            body = json.dumps(
                {
                    "entities": {"driver_id": [int(rng.integers(n))]},
                    "features": FEATURES,
                    "full_feature_names": True,
                }
            )
            connection.request("POST", "/get-online-features", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said
            answered += 1
    counts.put(answered)


def requests_a_second(port: int, n: int, seconds: float) -> float:
    """Return how many requests eight clients got answered a second."""
    counts: multiprocessing.Queue[int] = multiprocessing.Queue()
    clients = [
        multiprocessing.Process(target=ask, args=(port, n, seconds, seed, counts))
        for seed in range(N_CLIENTS)
    ]
    for one in clients:
        one.start()
    total = sum(counts.get(timeout=seconds + 120) for _ in clients)
    for one in clients:
        one.join()
    return total / seconds


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(600):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("nobody listens")


FEAST_REPOSITORY = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource
from feast.types import Float32
from feast.value_type import ValueType
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
def view(name):
    source = FileSource(name=name + "_source", path=name + ".parquet", timestamp_field="at")
    schema = [Field(name="v%d" % i, dtype=Float32) for i in range(5)]
    return FeatureView(name=name, entities=[driver], ttl=timedelta(days=36500), schema=schema, source=source)
a, b, c = view("a"), view("b"), view("c")
"""


def feast_served(python: str, folder: Path, n: int, port: int) -> subprocess.Popen[bytes]:
    """Return a `feast serve` of its SQLite store with the same rows."""
    folder.mkdir()
    (folder / "repository.py").write_text(FEAST_REPOSITORY)
    (folder / "feature_store.yaml").write_text(
        "project: p\nprovider: local\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\n"
        "entity_key_serialization_version: 3\n"
    )
    for seed, name in enumerate(NAMES):
        rows_of(n, seed).write_parquet(folder / f"{name}.parquet")
    program = str(Path(python).with_name("feast"))
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([program, "apply"], check=True, **quiet)
    subprocess.run(
        [program, "materialize", "2025-12-31T00:00:00", "2026-02-01T00:00:00"], check=True, **quiet
    )
    return subprocess.Popen([program, "serve", "--port", str(port), "--no-access-log"], **quiet)


def main() -> None:
    """Measure, and print."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store, declared, spent = materialised(folder, n)
        print(f"materialised {3 * n:,} rows in {spent:.2f} CPU s")
        read_in_process(OnlineReader(store, declared), n)
        port = free_port()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(place, port), daemon=True)
        server.start()
        wait_for(port)
        ours = requests_a_second(port, n, seconds)
        print(f"varv: {ours:,.0f} requests/s, 8 clients")
        if python := os.environ.get("FEAST"):
            other = free_port()
            feast = feast_served(python, folder / "feast", min(n, 10_000), other)
            try:
                wait_for(other)
                theirs = requests_a_second(other, min(n, 10_000), seconds)
            finally:
                feast.terminate()
            ours = max(ours, requests_a_second(port, n, seconds))
            print(f"feast serve: {theirs:,.0f} requests/s, 8 clients; varv {ours / theirs:.1f} times as many")
        server.terminate()


if __name__ == "__main__":
    main()

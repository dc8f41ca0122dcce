"""What a restart costs: ``python benchmarks/bench_restart.py [rows]``.

Predictions: a day of live traffic is 17,280 segments of three predictions each, one every five seconds, as a
server with one worker seals them. Read back as they were written, and after compaction.

Rows: a project like that of `varv init` with five million rows and as many outcomes by default. What a worker
needs for features, and the owner for the keys of the first batch, from all that is stored and from snapshots.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from varv.app.compose import open_ledger, open_snapshots
from varv.app.server.memory import Memory
from varv.data import Dataset, Datasets, DatasetsView, Frame
from varv.data.outcomes import OutcomeSpec
from varv.features import FeatureEngine, FeatureView, windows
from varv.features.model import Feature
from varv.kernel.clock import DAY, Instant, SystemClock, wall_seconds
from varv.kernel.columns import TIME
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import ModelName, Version
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.snapshots import Position
from varv.kernel.views import Views
from varv.serving.predictions import Predictions
from varv.serving.scores import answer_schema
from varv.tasks import task_of

MODEL = ModelName("late")
TABLE = f"predictions/{MODEL}"
REQUESTS = Dataset("asked", source=Frame(pl.DataFrame()), key="key", event_time="at")
OUTCOME = OutcomeSpec(requests=REQUESTS, task=task_of("binary"), mature=DAY)
N_SEGMENTS = 17_280
N_FEATURES = 20
EVERY = 512
ANSWER = {"version": 1, "arm": "champion", "share": 0.0, "epoch": 1, "score": 0.5}
ANSWER |= {"champion": 1, "champion_score": 0.5}


def predictions(number: int) -> pl.DataFrame:
    at = pl.Series("requested_at", [number * 5_000_000 + k for k in range(3)]).cast(pl.Datetime("us", "UTC"))
    answer = [pl.repeat(value, 3, dtype=kind, eager=True).alias(name) for value, (name, kind) in ANSWERS]
    features = [pl.Series(f"f{k}", [0.5, 1.5, number], dtype=pl.Float32) for k in range(N_FEATURES)]
    return pl.DataFrame([pl.Series("key", [f"{number}-{k}" for k in range(3)]), at, *answer, *features])


ANSWERS = [(ANSWER.get(name), (name, kind)) for name, kind in answer_schema(task_of("binary")).items()]


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def restored(folder: Path, segments: list[str]) -> tuple[float, float]:
    """Return the seconds and the megabytes that it takes a fresh process to read predictions back."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_restored, folder, segments).result()


def _restored(folder: Path, segments: list[str]) -> tuple[float, float]:
    before, began = resident_mb(), wall_seconds()
    telemetry = Predictions(MODEL, FolderColumns(folder), OUTCOME)
    telemetry.restore(segments)
    took, grown = wall_seconds() - began, resident_mb() - before
    assert telemetry.n_labelled(Instant(0), known_by=Instant(0)) == 0
    return took, grown


def main() -> int:
    """Measure and print."""
    n_rows = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    of_predictions()
    of_rows(n_rows)
    return 0


def of_predictions() -> None:
    """Measure what a restart reads of a day's predictions."""
    segments = [f"{number:012d}" for number in range(N_SEGMENTS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns = FolderColumns(folder, durable=False)
        began = wall_seconds()
        for number, segment in enumerate(segments):
            columns.append(TABLE, segment, predictions(number))
        print(f"{N_SEGMENTS:,} segments written one by one        {wall_seconds() - began:8.1f} s")
        took, grown = restored(folder, segments)
        print(f"restored from a file a segment           {took:8.1f} s {grown:8.0f} MB")
        began = wall_seconds()
        for number in range(EVERY, N_SEGMENTS + EVERY, EVERY):
            columns.compact(TABLE, segments[:number])
        print(f"compacted, {EVERY} at a time               {wall_seconds() - began:8.1f} s")
        took, grown = restored(folder, segments)
        print(f"restored from compacted files            {took:8.1f} s {grown:8.0f} MB")


DELIVERIES = Dataset(
    "deliveries",
    source=Frame(
        pl.DataFrame(
            schema={
                "delivery_id": pl.String,
                "ordered_at": TIME,
                "district": pl.String,
                "courier": pl.String,
                "distance_km": pl.Float64,
                "weight_kg": pl.Float64,
                "hour": pl.Int64,
                "delivered_at": TIME,
                "late": pl.Int64,
            }
        )
    ),
    key="delivery_id",
    event_time="ordered_at",
    known_at={"delivered_at": ["late"]},
)
ROWS_AT_ONCE = 100_000


def features() -> list[Feature]:
    def lately(name: str, entity: str, *over: str) -> FeatureView:
        return FeatureView(
            name, source=DELIVERIES, entity=entity, features=windows("late", "mean", over=over)
        )

    return [lately("district_lately", "district", "12h", "7d"), lately("courier_lately", "courier", "7d")]


def rows(start: int, n: int) -> pl.DataFrame:
    """Return deliveries of a hundred a second."""
    rng = np.random.default_rng(start)
    ordered = (np.arange(start, start + n) * 10_000).astype("datetime64[us]")
    return pl.DataFrame(
        {
            "delivery_id": [f"parcel-{number}" for number in range(start, start + n)],
            "ordered_at": ordered,
            "district": rng.choice([f"district {k}" for k in range(12)], n),
            "courier": rng.choice([f"courier {k}" for k in range(3_000)], n),
            "distance_km": rng.gamma(2.0, 3.0, n),
            "weight_kg": rng.gamma(2.0, 1.0, n),
            "hour": rng.integers(0, 24, n),
            "delivered_at": ordered + rng.integers(600, 7200, n).astype("timedelta64[s]"),
            "late": rng.integers(0, 2, n),
        }
    ).cast({"ordered_at": TIME, "delivered_at": TIME})


class OpenedHome:
    """A home that holds deliveries and nothing else."""

    def __init__(self, folder: Path, *, read_only: bool = True) -> None:
        self.secret = Secret(folder / SECRET_FILE)
        self.ledger = open_ledger(folder, read_only=read_only)
        self.snapshots = open_snapshots(folder, self.secret)
        views, columns = Views(self.ledger, DatasetsView), FolderColumns(folder / "columns", durable=False)
        self.datasets = Datasets(self.ledger, columns, SystemClock(), views, self.secret, self.snapshots)

    @property
    def position(self) -> Position:
        """The head of the ledger."""
        head = self.ledger.head()
        return Position(head.version, head.hash)

    def take(self, start: int, n: int) -> None:
        """Ingest rows, and what became known of them."""
        frame = rows(start, n)
        for part in DELIVERIES.parts:
            self.datasets.append(DELIVERIES, part, DELIVERIES.part(frame, part), segment=f"s{start:012d}")

    def memory(self) -> Memory:
        """Return what a worker remembers once it is restored."""
        memory = Memory(self.secret, self.snapshots)
        FeatureEngine(features(), DELIVERIES, memory.features)
        memory.restore(self.datasets, [DELIVERIES], self.ledger)
        return memory


def measured(what: Callable[[Path], None], folder: Path) -> str:
    """Return what it takes a fresh process to do something: seconds, of the processor, and its growth."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        took, cpu, grown = fresh.submit(_measured, what, folder).result()
    return f"{took:8.2f} s {cpu:8.2f} s of processor {grown:8.0f} MB"


def _measured(what: Callable[[Path], None], folder: Path) -> tuple[float, float, float]:
    before, began, cpu = resident_mb(), wall_seconds(), os.times()
    what(folder)
    after = os.times()
    used = after.user + after.system - cpu.user - cpu.system
    return wall_seconds() - began, used, resident_mb() - before


def restore_features(folder: Path) -> None:
    OpenedHome(folder).memory()


def restore_keys(folder: Path) -> None:
    home = OpenedHome(folder)
    home.datasets.keys.n_waiting_for(DELIVERIES, "delivered_at", pl.DataFrame({"delivery_id": ["parcel-1"]}))


def keep(folder: Path) -> None:
    """Write both snapshots, and print what their making takes from who answers."""
    home = OpenedHome(folder)
    memory = home.memory()
    home.datasets.keys.n_waiting_for(DELIVERIES, "delivered_at", pl.DataFrame({"delivery_id": ["parcel-1"]}))
    versions = {DELIVERIES.name: Version(len(home.datasets.versions(DELIVERIES)))}
    longest, stop = [0.0], threading.Event()

    def answer() -> None:
        while not stop.is_set():
            began = wall_seconds()
            threading.Event().wait(0.001)
            longest[0] = max(longest[0], wall_seconds() - began - 0.001)

    began = wall_seconds()
    other = threading.Thread(target=answer)
    other.start()
    memory.keep([DELIVERIES], home.position, versions)
    ordered = wall_seconds() - began
    memory.close()
    features_s = wall_seconds() - began
    stop.set()
    other.join()
    began = wall_seconds()
    if (write := home.datasets.keep_keys(DELIVERIES, home.position)) is not None:
        write()
    keys_s = wall_seconds() - began
    sizes = {path.name.split(".")[0]: path.stat().st_size for path in (folder / "snapshots").iterdir()}
    print(
        f"feature state written: the order {ordered:.3f} s, all {features_s:.1f} s, "
        f"another thread waited {longest[0] * 1e3:.0f} ms at most; keys {keys_s:.1f} s; bytes {sizes}"
    )


def of_rows(n_rows: int) -> None:
    """Measure what a restart reads of rows, with snapshots and without."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home, began = OpenedHome(folder, read_only=False), wall_seconds()
        for start in range(0, n_rows, ROWS_AT_ONCE):
            home.take(start, ROWS_AT_ONCE)
        print(f"{n_rows:,} rows and outcomes stored         {wall_seconds() - began:8.1f} s")
        print(f"features, from everything                {measured(restore_features, folder)}")
        print(f"keys, from everything                    {measured(restore_keys, folder)}")
        print(f"both snapshots written                   {measured(keep, folder)}")
        print(f"features, from a snapshot                {measured(restore_features, folder)}")
        print(f"keys, from a snapshot                    {measured(restore_keys, folder)}")
        for start in range(n_rows, n_rows + n_rows // 8, ROWS_AT_ONCE):
            home.take(start, ROWS_AT_ONCE)
        print(f"features, and an eighth after it         {measured(restore_features, folder)}")
        print(f"keys, and an eighth after it             {measured(restore_keys, folder)}")


if __name__ == "__main__":
    sys.exit(main())

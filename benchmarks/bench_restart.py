"""What a restart costs after a day of live traffic: ``python benchmarks/bench_restart.py``.

A day is 17,280 segments of three predictions each, one every five seconds, as a server with one worker seals
them. Read back as they were written, and after compaction; `restore` is what `varv up` waits for.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import polars as pl

from varv.data import Dataset, Frame
from varv.data.outcomes import OutcomeSpec
from varv.kernel.clock import DAY, Instant, wall_seconds
from varv.kernel.columns import FolderColumns
from varv.kernel.ids import ModelName
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
    return 0


if __name__ == "__main__":
    sys.exit(main())

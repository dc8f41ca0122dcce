"""What statistics of windows cost: ``python benchmarks/bench_features.py [ROWS] [ENTITIES]`` prints a table.

Rows of ninety days are observed, and requests within them are looked up, together and one by one, in windows
of six hours and seven days. All times are processor time of this one process.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import polars as pl

import varv
from varv.data import Dataset
from varv.features import FeatureEngine, FeatureView
from varv.features.statistics import Share
from varv.kernel.clock import DAY, cpu_seconds, instant
from varv.kernel.columns import TIME

START = instant("2024-01-01")
N_ASKED = 100_000
N_SINGLE = 3_000
ROUNDS = 3
OVER = ["6h", "7d"]
ASKED: dict[str, str | Share | Sequence[str | Share]] = {
    "mean": "mean",
    "mean, count": ["mean", "count"],
    "std": "std",
    "share": varv.share(above=100),
    "max": "max",
    "last": "last",
    "p95": "p95",
    "distinct": "distinct",
}


def rows_of(n_rows: int, n_entities: int) -> pl.DataFrame:
    """Return rows in order of time."""
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "id": np.arange(n_rows),
            "at": np.sort(START + rng.integers(0, 90 * DAY, n_rows)),
            "who": rng.integers(0, n_entities, n_rows),
            "size": rng.normal(100, 30, n_rows).round(1),
        }
    ).cast({"at": TIME})


def measured(view: FeatureView, data: Dataset, rows: pl.DataFrame) -> tuple[float, float, float]:
    """Return the seconds of observing all rows, and the microseconds of a request in bulk and alone."""
    engine = FeatureEngine([view], data)
    begun = cpu_seconds()
    engine.store.observe(data, "at", rows)
    observed = cpu_seconds() - begun
    asked = rows.sample(min(N_ASKED, rows.height), seed=2)
    engine.lookup(asked, "at")
    bulk, single = [], []
    singly = list(asked.select("who", pl.col("at").cast(pl.Int64)).head(N_SINGLE).iter_rows())
    [history] = engine.histories
    for _ in range(ROUNDS):
        begun = cpu_seconds()
        engine.lookup(asked, "at")
        bulk.append((cpu_seconds() - begun) / asked.height)
        begun = cpu_seconds()
        for who, at in singly:
            history.lookup_one([who], at, [])
        single.append((cpu_seconds() - begun) / len(singly))
    return observed, min(bulk) * 1e6, min(single) * 1e6


def main(n_rows: int = 1_000_000, n_entities: int = 5_000) -> None:
    """Measure and print."""
    rows = rows_of(n_rows, n_entities)
    data = Dataset("rows", source=varv.Frame(rows.head(0)), key="id", event_time="at")
    kinds = {name: varv.windows("size", asked, over=OVER) for name, asked in ASKED.items()}
    kinds["mean, session"] = varv.windows("size", "mean", gap="6h", longest="7d")
    kinds["mean, each day"] = varv.windows("size", "mean", every="1d", zone="Europe/Berlin")
    sys.stdout.write(f"{n_rows:,} rows of {n_entities:,} entities\n\n")
    sys.stdout.write("| windows | observe, s | bulk, µs a request | alone, µs |\n|---|---|---|---|\n")
    for name, windows in kinds.items():
        view = FeatureView("v", source=data, entity="who", features=windows)
        observed, bulk, single = measured(view, data, rows)
        sys.stdout.write(f"| {name} | {observed:.2f} | {bulk:.2f} | {single:.1f} |\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

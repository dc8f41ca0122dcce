"""What profiles cost: ``python benchmarks/bench_profiles.py [ROWS] [PROFILES] [PEER_PYTHON]`` prints a table.

A table of twenty columns comes in frames of a million rows, as from files: ten columns of numbers, one with
holes, one mostly zero, four of whole numbers, three of texts, a truth value and the key. Processor and
wall time are of this process, memory is what it grew by beyond one frame. `PEER_PYTHON` is a Python that has
fg-data-profiling: it profiles 100,000 of the same rows, whose minimal report is the nearest it has.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from varv.kernel.clock import cpu_seconds, wall_seconds
from varv.profiles import Profile, merged, profile_of

AT_ONCE = 1_000_000
SMALL = 100_000
_PEER = """
import sys, time, pandas
from data_profiling import ProfileReport
frame = pandas.read_parquet(sys.argv[1])
begun, cpu = time.perf_counter(), time.process_time()
ProfileReport(frame, minimal=True, progress_bar=False).to_html()
print(time.process_time() - cpu, time.perf_counter() - begun)
"""


def frame(n_rows: int, first: int = 0) -> pl.DataFrame:
    """Return rows with keys from `first` on."""
    rng = np.random.default_rng(first)
    columns: dict[str, object] = {"id": np.arange(first, first + n_rows)}
    columns |= {f"number {place}": rng.normal(100, 10, n_rows) for place in range(9)}
    columns |= {f"whole {place}": rng.integers(0, 1000, n_rows) for place in range(4)}
    texts = pl.Series([f"carrier {number}" for number in range(300)])
    columns |= {f"text {place}": texts[rng.integers(0, 300, n_rows)] for place in range(3)}
    columns["late"] = rng.random(n_rows) < 0.3
    columns["zero"] = np.where(rng.random(n_rows) < 0.9, 0.0, rng.exponential(5, n_rows))
    holes = pl.Series(rng.normal(size=n_rows)).set(pl.Series(rng.random(n_rows) < 0.2), None)
    return pl.DataFrame(columns | {"holes": holes})


def measured(what: str, act: Callable[[], Profile]) -> Profile:
    """Print what a profile costs, and return it."""
    process = psutil.Process()
    before = process.memory_info().rss
    cpu, wall = cpu_seconds(), wall_seconds()
    found = act()
    cpu, wall = cpu_seconds() - cpu, wall_seconds() - wall
    grown = (process.memory_info().rss - before) / 1e6
    print(f"{what:<34} {cpu:8.2f} CPU s {wall:8.2f} s {grown:8.0f} MB")
    return found


def main(n_rows: int, n_profiles: int, peer: str) -> None:
    """Measure a small table, a long one, and merging."""
    small = frame(SMALL)
    profile_of(small.head(1000), key=["id"])
    whole = measured(f"{SMALL:,} rows of 20 columns", lambda: profile_of(small, key=["id"]))
    spent = [0.0]

    def frames() -> Iterator[pl.DataFrame]:
        for first in range(0, n_rows, AT_ONCE):
            cpu = cpu_seconds()
            rows = frame(min(AT_ONCE, n_rows - first), first)
            spent[0] += cpu_seconds() - cpu
            yield rows

    measured(f"{n_rows:,} rows of 20 columns", lambda: profile_of(frames(), key=["id"]))
    print(f"  of these {spent[0]:.2f} CPU s made the rows")
    parts = [profile_of(frame(2_000, 2_000 * place), scale=whole.scale) for place in range(n_profiles)]
    measured(f"{n_profiles:,} profiles merged", lambda: merged(parts))
    data = whole.to_bytes()
    print(f"a profile is {len(data) / 1e6:.2f} MB")
    if peer:
        with tempfile.TemporaryDirectory() as folder:
            small.write_parquet(Path(folder) / "rows.parquet")
            command = [peer, "-c", _PEER, str(Path(folder) / "rows.parquet")]
            cpu, wall = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[
                -2:
            ]
        print(f"{'fg-data-profiling, minimal':<34} {float(cpu):8.2f} CPU s {float(wall):8.2f} s")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        int(given[0]) if given else 10_000_000,
        int(given[1]) if len(given) > 1 else 1000,
        given[2] if len(given) > 2 else "",
    )

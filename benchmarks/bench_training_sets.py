"""What training sets cost, in processor time and peak memory, beside polars' own ASOF join of the same files.

    python benchmarks/bench_training_sets.py [--rows 10_000_000] [--long 100_000_000] [--folder FOLDER]
                                             [--feast PYTHON]

Three views of five features over 100,000 entities, with a ttl, from Parquet files in the order of time. Each
figure is that of a process of its own; both read the same files and their answers are compared. Files are
made once and stay in FOLDER. With the interpreter of an environment that has Feast and duckdb, its stores
join them too (`feast_join.py`). Bars are of the default sizes; exits 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import varv

ENTITIES = 100_000
YEAR_US = 365 * 86_400 * 10**6
START_US = 1_600_000_000 * 10**6
TIME = pl.Datetime("us", "UTC")
FILE_ROWS = 5_000_000
TTL = "30d"


class Bar(NamedTuple):
    """What a case may cost."""

    cpu_s: float
    memory_mb: float
    ratio: float = float("inf")
    """Of polars' processor time."""
    above: bool = False
    """Whether the memory is what comes on top of what imports take."""


class Ratio(NamedTuple):
    """How many times more another must take at least."""

    cpu: float
    memory: float = 0.0

    def __str__(self) -> str:
        memory = f", {self.memory:g} times the memory" if self.memory else ""
        return f"≥ {self.cpu:g} times{memory}"


def history(folder: Path, name: str, n: int, n_values: int) -> str:
    """Make the files of one view's rows, if they are not there, and return their pattern."""
    place = folder / f"{name}-{n}-{n_values}"
    n_files = -(-n // FILE_ROWS)
    for number in range(n_files):
        path = place / f"{number:04d}.parquet"
        if path.exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([number, *name.encode()])
        rows = min(FILE_ROWS, n - number * FILE_ROWS)
        length = YEAR_US // n_files
        at = np.sort(rng.integers(0, length, rows)) + START_US + number * length
        known = at + rng.exponential(3600e6, rows).astype(np.int64)
        columns = {"id": number * FILE_ROWS + np.arange(rows), "entity": rng.integers(0, ENTITIES, rows)}
        times = {"at": pl.Series(at).cast(TIME), "known_at": pl.Series(known).cast(TIME)}
        values = {f"{name}{i}": rng.normal(size=rows) for i in range(n_values)}
        draft = path.with_suffix(".draft")
        pl.DataFrame({**columns, **times, **values}).write_parquet(draft)
        draft.rename(path)
    return str(place / "*.parquet")


def requests(folder: Path, n: int) -> Path:
    """Make a file of requests in no order, if it is not there."""
    path = folder / f"requests-{n}.parquet"
    if not path.exists():
        rng = np.random.default_rng(n)
        at = pl.Series(rng.integers(0, YEAR_US, n) + START_US).cast(TIME)
        pl.DataFrame({"entity": rng.integers(0, ENTITIES, n), "at": at}).write_parquet(path)
    return path


def views(patterns: list[str], *, known: bool, windowed: bool) -> list[varv.FeatureView]:
    """Return a view of each pattern's rows."""
    found = []
    for number, pattern in enumerate(patterns):
        source = varv.Parquet(pattern)
        values = [name for name in source.types() if name not in ("id", "entity", "at", "known_at")]
        known_at = {"known_at": values} if known else {}
        data = varv.Dataset(f"rows{number}", source=source, key="id", event_time="at", known_at=known_at)
        if windowed and number:
            windows = varv.windows(values[0], ["mean", "count"], over=["1d", "30d"])
            found.append(varv.FeatureView(f"v{number}", source=data, entity="entity", features=windows))
        else:
            found.append(
                varv.FeatureView(f"v{number}", source=data, entity="entity", features=values, ttl=TTL)
            )
    return found


def by_varv(asked: Path, patterns: list[str], *, known: bool, windowed: bool, to: str) -> pl.DataFrame:
    """Return a training set."""
    wanted = views(patterns, known=known, windowed=windowed)
    if to:
        return pl.read_parquet(varv.training_set(asked, wanted, at="at", to=to, most_bytes=1 << 30))
    found = varv.training_set(asked, wanted, at="at")
    assert isinstance(found, pl.DataFrame)
    return found


def by_polars(asked: Path, patterns: list[str], **_: Any) -> pl.DataFrame:
    """Return the same by joins, one after the other."""
    found = pl.read_parquet(asked).with_row_index("row").sort("at")
    for pattern in patterns:
        rows = pl.scan_parquet(pattern).drop("id", "known_at").collect().sort("at").rename({"at": "row at"})
        found = found.join_asof(
            rows,
            left_on="at",
            right_on="row at",
            by="entity",
            strategy="backward",
            tolerance=TTL,
            check_sortedness=False,
        ).drop("row at")
        del rows
    return found.sort("row").drop("row")


def peak_mb() -> float:
    """Return what this program has held at most. The figure of `getrusage` begins with what the process held
    that started it.
    """
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


WAYS: dict[str, Callable[..., pl.DataFrame]] = {"varv": by_varv, "polars": by_polars}


def work(way: str, asked: str, patterns: list[str], options: dict[str, Any]) -> None:
    """Print what one way costs; runs in a process of its own."""
    # Importing the composition takes a second, once, and is no part of a join.
    assert varv.training_set
    before_mb = peak_mb()
    started = time.process_time()
    found = WAYS[way](Path(asked), patterns, **options)
    cpu_s = time.process_time() - started
    peak = peak_mb()
    numbers = found.select(pl.all().exclude("entity", "at").cast(pl.Float32).cast(pl.Float64))
    sums = [round(value or 0.0, 3) for value in numbers.sum().row(0)]
    print(json.dumps({"cpu_s": cpu_s, "peak_mb": peak, "above_mb": peak - before_mb, "sums": sums}))


def measured(way: str, asked: Path, patterns: list[str], **options: Any) -> dict[str, Any]:
    """Return what one way costs."""
    options = {"known": False, "windowed": False, "to": "", **options}
    given = json.dumps([way, str(asked), patterns, options])
    done = subprocess.run(
        [sys.executable, __file__, "--work", given], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {
            "cpu_s": float("nan"),
            "peak_mb": float("nan"),
            "above_mb": float("nan"),
            "sums": done.stderr[-300:],
        }
    return json.loads(done.stdout.splitlines()[-1])


def case(title: str, bar: Bar, asked: Path, patterns: list[str], *, beside: bool, **options: Any) -> bool:
    """Measure one case, print a row of a table, and return whether it holds its bar."""
    ours = measured("varv", asked, patterns, **options)
    theirs = measured("polars", asked, patterns) if beside else None
    equal = theirs is None or theirs["sums"] == ours["sums"]
    memory_mb, what = ours["above_mb" if bar.above else "peak_mb"], " above imports" if bar.above else ""
    cost = f"{ours['cpu_s']:.2f} s | {bar.cpu_s:g} s | {memory_mb:.0f} MB{what} | {bar.memory_mb:g} MB"
    peer = f"{theirs['cpu_s']:.2f} s, {theirs['peak_mb']:.0f} MB" if theirs else ""
    print(f"| {title} | {cost} | {peer} |", flush=True)
    within = ours["cpu_s"] <= bar.cpu_s and memory_mb <= bar.memory_mb
    if not equal:
        print(f"not equal: {ours['sums']} {theirs and theirs['sums']}")
    return within and equal and (theirs is None or ours["cpu_s"] <= bar.ratio * theirs["cpu_s"])


def beside_feast(python: str, title: str, asked: Path, patterns: list[str], stores: dict[str, Ratio]) -> bool:
    """Measure one case beside Feast's stores, print rows of a table, and return whether the bars hold."""
    ours = measured("varv", asked, patterns)
    print(f"| {title} | varv | {ours['cpu_s']:.1f} s | {ours['peak_mb']:.0f} MB | | |", flush=True)
    held = True
    for store, least in stores.items():
        script = str(Path(__file__).with_name("feast_join.py"))
        command = [python, "-W", "ignore", script, store, str(asked), *patterns]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            # The last line of its trace, or a signal: address space is limited.
            why = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1][:80]
            print(f"| | Feast, {store} | stopped: {why} | | | |", flush=True)
            continue
        theirs = json.loads(done.stdout.splitlines()[-1])
        cpu, memory = theirs["cpu_s"] / ours["cpu_s"], theirs["peak_mb"] / ours["peak_mb"]
        rows = f"{theirs['n_rows']:,} rows{', equal' if theirs['sums'] == ours['sums'] else ', not equal'}"
        cost = f"{theirs['cpu_s']:.1f} s, {cpu:.1f} times | {theirs['peak_mb']:.0f} MB, {memory:.1f} times"
        print(f"| | Feast, {store} | {cost} | {rows} | {least} |", flush=True)
        held &= cpu >= least.cpu and memory >= least.memory
    return held


def shown(n: int) -> str:
    """Return a number of rows in short."""
    return f"{n // 10**6}M" if n >= 10**6 else f"{n // 1000}k"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--long", type=int, default=100_000_000, help="0 leaves it out")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--feast", metavar="PYTHON", default="", help="also measure Feast's stores")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(*json.loads(given.work))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        n = given.rows
        many, few = requests(folder, 1_000_000), requests(folder, 100_000)
        three = [history(folder, name, n, 5) for name in "abc"]
        tenth = [history(folder, name, n // 10, 5) for name in "abc"]
        large, small = f"3 views of {shown(n)} rows", f"3 views of {shown(n // 10)} rows"
        print("| case | CPU | bar | peak | bar | polars join_asof |\n|---|---|---|---|---|---|")
        held = [
            case(f"1M requests, {large}", Bar(15, 1200, 1.5), many, three, beside=True),
            case("the same, rows known later", Bar(28, 1200), many, three, beside=False, known=True),
            case(f"100k requests, {large}", Bar(8, 1024, 1.5), few, three, beside=True),
            case(f"1M requests, {small}", Bar(3, 1200, 1.5), many, tenth, beside=True),
        ]
        title = f"100k requests, last row and windows of {shown(n // 10)} rows"
        bar, two = Bar(1, 150, above=True), tenth[:1] * 2
        held.append(case(title, bar, few, two, beside=False, windowed=True))
        if given.long:
            long = [history(folder, "l", given.long, 2)] * 2
            to = str(folder / "made.parquet")
            title = f"1M requests, last row and windows of {shown(given.long)} rows, to a file"
            held.append(case(title, Bar(300, 2048), many, long, beside=False, windowed=True, to=to))
        if given.feast:
            print("\n| case | | CPU | peak | answer | bar |\n|---|---|---|---|---|---|")
            most = {"file": Ratio(10, 5), "duckdb": Ratio(1)}
            held += [
                beside_feast(given.feast, f"100k requests, {large}", few, three, most),
                beside_feast(given.feast, f"1M requests, {small}", many, tenth, {"duckdb": Ratio(3)}),
            ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())

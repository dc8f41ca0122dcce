"""What a contract costs: ``python benchmarks/bench_contracts.py [ROWS] [PEER]``.

A contract is learned of ROWS of 20 columns, a million by default; they are looked at by 28 declared rules and
by learned ones, and their digest is taken. PEER is the interpreter of an environment with pandera, whose same
rules are asked of the same rows; without it only ours are. Processor seconds of the process, and what its
peak of memory grew by.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from varv import expect
from varv.data.contracts.inference import infer_contract
from varv.data.contracts.model import Expectation
from varv.data.contracts.rules import Screen
from varv.kernel.clock import Instant, cpu_seconds, instant, wall_seconds
from varv.kernel.columns import TIME
from varv.kernel.content import rows_digest

STRETCH = 250_000
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
START = instant("2013-01-01")
PEER = """
import json, sys, time
import polars as pl
import pandera.polars as pa
frame = pl.read_parquet(sys.argv[1])
numbers = [pa.Check.in_range(-9, 9), pa.Check.less_than(50)]
checks = {f"x{i}": pa.Column(pl.Float64, numbers) for i in range(8)}
checks |= {f"n{i}": pa.Column(pl.Int64, [pa.Check.in_range(0, 999)]) for i in range(4)}
checks |= {f"t{i}": pa.Column(pl.String, [pa.Check.isin([f"town{n}" for n in range(50)]),
           pa.Check.str_matches("^town[0-9]+$"), pa.Check.str_length(1, 12)]) for i in range(4)}
schema = pa.DataFrameSchema(checks)
open("/proc/self/clear_refs", "w").write("5")
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
before, cpu = peak(), time.process_time()
schema.validate(frame, lazy=True)
print(json.dumps([time.process_time() - cpu, peak() - before]))
"""


def made(n_rows: int, seed: int) -> pl.DataFrame:
    """Return rows that keep the rules."""
    drawn = np.random.default_rng(seed)
    columns: dict[str, object] = {
        "id": np.arange(seed * STRETCH, seed * STRETCH + n_rows),
        "at": pl.Series(START + np.arange(n_rows) * 1_000_000).cast(TIME),
        "on": drawn.random(n_rows) < 0.5,
        "late": drawn.integers(0, 2, n_rows).astype(np.int8),
    }
    columns |= {f"x{i}": drawn.normal(size=n_rows).clip(-8, 8) for i in range(8)}
    columns |= {f"n{i}": drawn.integers(0, 1000, n_rows) for i in range(4)}
    towns = pl.Series([f"town{n}" for n in range(50)])
    columns |= {f"t{i}": towns[drawn.integers(0, 50, n_rows)] for i in range(4)}
    return pl.DataFrame(columns)


def rules() -> list[Expectation]:
    """Return 28 rules."""
    found = [expect.between(f"x{i}", -9, 9) for i in range(8)]
    found += [expect.between(f"x{i}", high=50, name=f"x{i} below 50") for i in range(8)]
    found += [expect.between(f"n{i}", 0, 999) for i in range(4)]
    for i in range(4):
        found.append(expect.one_of(f"t{i}", [f"town{n}" for n in range(50)]))
        found.append(expect.matches(f"t{i}", "^town[0-9]+$"))
        found.append(expect.length(f"t{i}", 1, 12))
    return found


def main() -> int:
    n_rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    frame = pl.concat([made(STRETCH, seed) for seed in range(max(1, n_rows // STRETCH))], rechunk=True)
    types = dict(frame.schema)
    contract = infer_contract(made(20_000, 0), key=["id"], time="at")
    now = Instant(START + 10**13)
    print(f"{frame.height:,} rows of {frame.width} columns, {frame.estimated_size('mb'):,.0f} MB")
    measured("learning, by stretches", partial(_learned, frame))
    screens = {
        "learned rules": Screen(contract, types),
        "and 28 declared": Screen(contract, types, rules()),
        "and repeats of the key": Screen(contract, types, [*rules(), expect.unique("id")]),
    }
    for what, screen in screens.items():
        measured(what, partial(_looked_at, screen, frame, now))
    measured("digest", partial(rows_digest, frame))
    measured("all of it", lambda: (rows_digest(frame), _looked_at(screen, frame, now)))
    if len(sys.argv) > 2:
        peer(sys.argv[2], frame)
    return 0


def measured(what: str, act: Callable[[], object]) -> None:
    """Print what an act costs; the peak of memory is set back before it."""
    CLEAR_REFS.write_text("5")
    before, cpu, wall = _peak_mb(), cpu_seconds(), wall_seconds()
    act()
    spent, took = cpu_seconds() - cpu, wall_seconds() - wall
    print(f"{what:<24} processor {spent:6.2f} s, wall {took:6.2f} s, {_peak_mb() - before:6.0f} MB more")


def _learned(frame: pl.DataFrame) -> None:
    found = infer_contract(frame.iter_slices(STRETCH), key=["id"], time="at")
    assert found.n_reference == frame.height, found


def _looked_at(screen: Screen, frame: pl.DataFrame, now: Instant) -> None:
    found = screen.look(frame, now=now).report
    assert found.ok, found


def peer(python: str, frame: pl.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        frame.write_parquet(path)
        ended = subprocess.run([python, "-c", PEER, str(path)], capture_output=True, text=True, check=False)
    if ended.returncode:
        print(f"pandera: {ended.stderr[-300:]}")
        return
    spent, more = json.loads(ended.stdout.splitlines()[-1])
    print(f"{'pandera, same rules':<24} processor {spent:6.2f} s, {more:22.0f} MB more")


def _peak_mb() -> float:
    [line] = [one for one in STATUS.read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    raise SystemExit(main())

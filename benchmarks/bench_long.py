"""Thirty years of flights replayed within a bounded memory.

    python benchmarks/bench_long.py       # thirty times the year: 31 million rows, hours on two cores
    python benchmarks/bench_long.py 3     # three years

The year of the flights is repeated with its keys and times shifted, in Parquet files; the declaration is that
of the example, with a training window of 120 days and without plants and references. Resident memory is read
every second. Exits 1 if a bar is missed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import polars as pl
import psutil

from served import VARV
from varv.kernel.clock import DAY, Instant, instant, iso

FLIGHTS = Path(__file__).resolve().parent.parent / "examples" / "flights"
MOST_GB = 2.0
YEAR_DAYS = 365
UNTIL = "2014-01-01T05:00:00Z"
_CHANGED = {
    "import nyc\n": "",
    "varv.Frame(nyc.flights)": 'varv.Parquet("flights-*.parquet")',
    "varv.Frame(nyc.weather)": 'varv.Parquet("weather-*.parquet")',
    "        fit,\n": '        fit,\n        window="120d",\n',
    'references=["never", "monthly", "weekly"]': "references=[]",
}


def written(folder: Path, years: int) -> int:
    """Write the project, and return how many rows its datasets hold in all their parts."""
    sys.path.insert(0, str(FLIGHTS))
    import nyc

    n_rows = 0
    for name, table, key in (("flights", nyc.flights(), "flight_id"), ("weather", nyc.weather(), None)):
        times = [column for column, dtype in table.schema.items() if isinstance(dtype, pl.Datetime)]
        known = [
            column
            for column in times
            if column in ("requested_at", "departed_at", "arrived_at", "observed_at")
        ]
        for year in range(years):
            shifted = table.with_columns(pl.col(times) + pl.duration(days=YEAR_DAYS * year))
            if key is not None:
                shifted = shifted.with_columns(pl.format("{}-{}", pl.lit(year), key).alias(key))
            shifted.write_parquet(folder / f"{name}-{year:03d}.parquet")
            n_rows += sum(shifted[column].count() for column in known)
    (folder / "long.py").write_text(declaration(years))
    return n_rows


def declaration(years: int) -> str:
    """Return the declaration of the example, over so many years."""
    text = (FLIGHTS / "flights.py").read_text()
    for old, new in _CHANGED.items():
        assert old in text, f"the example does not hold {old!r} any more"
        text = text.replace(old, new)
    start, end = text.index("    plants=["), text.index("    references=")
    last = iso(Instant(instant(UNTIL) + YEAR_DAYS * DAY * (years - 1)))
    text = text[:start] + text[end:]
    return text.replace(UNTIL, last)


def main() -> int:
    """Measure, print, and say whether the bar holds."""
    years = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_rows = written(folder, years)
        print(f"{n_rows:,} rows of {years} years written", flush=True)
        began = time.perf_counter()
        command = [VARV, "--home", "home", "--json", "replay", "long.py", "--declared-only"]
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            replay = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err)
            peak = watched(replay, folder)
        if replay.returncode:
            raise SystemExit((folder / "err").read_text()[-2000:])
        policy = json.loads((folder / "out").read_text())["models"][0]["policies"][0]
        took = time.perf_counter() - began
    found = f"log-loss {policy['log_loss']}, {policy['n_retrains']} retrains"
    print(f"{took:.0f} s, {n_rows / took:,.0f} rows/s, {found}")
    held = peak <= MOST_GB
    print(f"peak memory {peak:.2f} GB  <= {MOST_GB:g}  {'ok' if held else 'MISSED'}")
    return 0 if held else 1


def watched(replay: subprocess.Popen[bytes], folder: Path) -> float:
    """Wait for a replay; return its peak of resident memory in GB, and print it now and then."""
    process, peak, n = psutil.Process(replay.pid), 0.0, 0
    while replay.poll() is None:
        try:
            resident = process.memory_info().rss / 1e9
        except psutil.Error:
            break
        peak = max(peak, resident)
        if n % 120 == 0:
            told = (folder / "err").read_text().strip().rsplit("\n", 1)[-1].rsplit("\r", 1)[-1]
            print(f"{n:>6} s  {resident:5.2f} GB, at most {peak:5.2f}  {told[-100:]}", flush=True)
        threading.Event().wait(1)
        n += 1
    replay.wait()
    return peak


if __name__ == "__main__":
    raise SystemExit(main())

"""The demo against its bars: the quality, time and memory of a year of flights, and the first page.

    python benchmarks/bench_replay.py            # everything, about five minutes on two quiet cores
    python benchmarks/bench_replay.py --declared # the declared policy only

Times are wall times of whole processes, imports included; memory is the peak of the largest process. Exits 1
if a bar is missed.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from served import VARV, started

ROOT = Path(__file__).resolve().parent.parent
FLIGHTS = ROOT / "examples" / "flights" / "flights.py"


def replayed(home: Path, *flags: str) -> tuple[dict, float, float]:
    """Run one replay; return its result, its wall seconds, and its peak memory in GB."""
    began = time.perf_counter()
    done = subprocess.run(
        [VARV, "--home", str(home), "--json", "replay", str(FLIGHTS), *flags],
        capture_output=True,
        text=True,
        check=True,
    )
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return json.loads(done.stdout), took, peak


def first_page(home: Path) -> float:
    """Return the seconds from the start of `varv up` to the first page of the console."""
    began = time.perf_counter()
    with started(ROOT, "--home", str(home), "up", str(FLIGHTS)) as server:
        while time.perf_counter() - began < 60:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{server.control}/", timeout=5) as page:
                    page.read()
                return time.perf_counter() - began
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
        return float("inf")


def help_cpu_s(n: int = 9) -> float:
    """Return the median processor time of `varv --help`, in seconds, of the whole process."""
    spent = []
    for _ in range(n):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([VARV, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(spent)


def main() -> int:
    """Measure, print, and say whether every bar holds."""
    rows: list[tuple[str, float, str, bool]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        result, took, peak = replayed(home, "--declared-only")
        declared = result["models"][0]["policies"][0]
        rows.append(("declared policy, s", took, "<= 45", took <= 45))
        rows.append(("peak memory, GB", peak, "<= 0.6", peak <= 0.6))
        rows.append(("log-loss", declared["log_loss"], "<= .480", declared["log_loss"] <= 0.480))
        rows.append(("AUC", declared["auc"], ">= .730", declared["auc"] >= 0.730))
        rows.append(("retrains", declared["n_retrains"], "<= 15", declared["n_retrains"] <= 15))
        if "--declared" not in sys.argv:
            result, rest, peak = replayed(home)
            rows.append(("all four policies, s", took + rest, "<= 360", took + rest <= 360))
            rows.append(("peak memory with all, GB", peak, "", True))
            gain = next(
                gain for gain in result["models"][0]["policies"][0]["gains"] if gain["over"] == "never"
            )
            rows.append(("gain over never, low end", gain["low"], "> 0", gain["low"] > 0))
            for policy in result["models"][0]["policies"]:
                rows.append((f"log-loss, {policy['name']}", policy["log_loss"], "", True))
                rows.append((f"AUC, {policy['name']}", policy["auc"], "", True))
        page = first_page(home)
        rows.append(("console's first page, s", page, "<= 5", page <= 5))
    spent = help_cpu_s()
    rows.append(("varv --help, CPU s", spent, "<= .15", spent <= 0.15))
    for name, value, bar, held in rows:
        sys.stdout.write(f"{name:<28} {value:>9.4g}  {bar:<8} {'ok' if held else 'MISSED'}\n")
    return 0 if all(held for *_, held in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""Forty small models in one home, against their bars: ``python benchmarks/bench_many.py``.

The models learn from one table of parcels, each from other features. A first start trains them all; what is
measured is the next one: until every model answers, the memory of all processes, and what an answer takes
while forty loops turn. Exits 1 if a bar is missed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from served import started

N_MODELS = 40
MOST_SECONDS, MOST_GB = 15.0, 1.2
PROJECT = Path(__file__).parent / "projects" / "many.py"


def answers(inference: int) -> list[float]:
    """Ask every model once, and return how long each took, in seconds; nothing if one does not answer yet."""
    row = {"inputs": [{"name": f"x{k}", "datatype": "FP64", "shape": [1], "data": [0.5]} for k in range(6)]}
    took = []
    with httpx.Client(base_url=f"http://127.0.0.1:{inference}", timeout=10) as client:
        for number in range(N_MODELS):
            began = time.perf_counter()
            try:
                answer = client.post(f"/v2/models/late-{number}/infer", json=row)
            except httpx.TransportError:
                return []
            if answer.status_code != 200:
                return []
            took.append(time.perf_counter() - began)
    return took


def memory_gb(pid: int) -> float:
    """Return the memory of a process and its children, pages that they share counted once."""
    owner = psutil.Process(pid)
    return sum(one.memory_full_info().pss for one in [owner, *owner.children(recursive=True)]) / 1e9


def served(home: Path) -> tuple[float, float, list[float]]:
    """Start a server; return the seconds until all answer, its memory, and what answers took then."""
    began = time.perf_counter()
    with started(PROJECT.parent, "--home", str(home), "up", str(PROJECT)) as server:
        while not (took := answers(server.inference)):
            if time.perf_counter() - began > 600 or server.process.poll() is not None:
                raise SystemExit("the server has ended, or not all models answer after ten minutes")
            time.sleep(0.1)
        ready = time.perf_counter() - began
        time.sleep(5)
        took = [one for _ in range(5) for one in answers(server.inference)]
        return ready, memory_gb(server.process.pid), took


def main() -> int:
    """Measure, print, and say whether every bar holds."""
    with tempfile.TemporaryDirectory() as name:
        first, *_ = served(Path(name))
        ready, gb, took = served(Path(name))
    rows = [
        ("first start, all trained, s", first, "", True),
        ("restart until all answer, s", ready, f"<= {MOST_SECONDS:g}", ready <= MOST_SECONDS),
        ("memory of all processes, GB", gb, f"<= {MOST_GB:g}", gb <= MOST_GB),
        ("an answer, median, ms", 1e3 * statistics.median(took), "", True),
    ]
    for what, value, bar, held in rows:
        sys.stdout.write(f"{what:<32} {value:>9.4g}  {bar:<8} {'ok' if held else 'MISSED'}\n")
    return 0 if all(held for *_, held in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())

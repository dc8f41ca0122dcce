"""What becomes of twice as many requests as can be answered: ``python benchmarks/bench_overload.py``.

Requests of 500 rows, some milliseconds of work each, are asked of one worker as quickly as it answers over
four connections, which is its capacity. Then they are asked at twice that pace, over as many connections as
would keep it busy for twice the deadline that each request has, 200 ms. On two cores the server has one and
those who ask the other. Needs `wrk` and `h2load`.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from bench_hostile import pinned as pinned_process
from data_plane.load import Payload, measured, payloads, pinned
from data_plane.processes import Tree, cpu_s
from data_plane.servers import settled, varv_server

DEADLINE_MS = 200
N_ROWS = 500
MOST_CONNECTIONS = 900
"""A worker takes a thousand."""
QUICK_MS = 10.0
SETTLES_S = 2.0
"""At the beginning, not counted: the limit of what may be under way is being found."""


class Line(NamedTuple):
    """One request: when it began, in seconds; its status, and what it took, in milliseconds."""

    at: float
    status: int
    took_ms: float


def asked(port: int, payload: Payload, per_s: float, seconds: float, connections: int) -> list[Line]:
    """Ask at a pace, and return what became of each request."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(payload.body)
        headers = {**payload.headers, "x-varv-timeout-ms": str(DEADLINE_MS)}
        command = [
            *(*pinned(1), "h2load", "--h1", "-t1", f"-c{connections}", f"-D{seconds:.0f}"),
            *(f"--rps={per_s / connections:.3f}", f"--log-file={log}", "-d", str(body)),
            *(word for name, value in headers.items() for word in ("-H", f"{name}: {value}")),
            f"http://127.0.0.1:{port}{payload.path}",
        ]
        subprocess.run(command, check=True, capture_output=True)
        rows = [line.split("\t") for line in log.read_text().splitlines()]
    return [Line(int(row[0]) / 1e6, int(row[1]), int(row[2]) / 1e3) for row in rows]


def told(lines: Sequence[Line], capacity: float) -> str:
    """Return what became of requests, against what can be answered."""
    first = min(line.at for line in lines)
    lines = [line for line in lines if line.at - first > SETTLES_S]
    took_s = max(line.at for line in lines) - first - SETTLES_S
    answered = sorted(line.took_ms for line in lines if line.status == 200)
    refused = sorted(line.took_ms for line in lines if line.status in (503, 504))
    in_time = sum(one <= DEADLINE_MS for one in answered)
    quick = sum(one <= QUICK_MS for one in refused)
    n_answered, n_refused = in_time / took_s, len(refused) / took_s
    late, shares = len(answered) - in_time, (len(lines) / took_s / capacity, n_answered / capacity)
    return "\n".join(
        (
            f"asked            {len(lines) / took_s:8.0f} a second, {shares[0]:.2f} of capacity",
            f"answered in time {n_answered:8.0f} a second, {shares[1]:.2f} of capacity; late {late};"
            f" {_times(answered)}",
            f"refused          {n_refused:8.0f} a second, {quick / max(len(refused), 1):.3f} within"
            f" {QUICK_MS:.0f} ms; {_times(refused)}",
            f"anything else    {len(lines) - len(answered) - len(refused):8d}",
        )
    )


def _times(values: Sequence[float]) -> str:
    return f"p50 {_at(values, 0.5):.1f}, p99 {_at(values, 0.99):.1f} ms"


def _at(values: Sequence[float], share: float) -> float:
    return values[min(int(share * len(values)), len(values) - 1)] if values else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rows", type=int, default=N_ROWS)
    parser.add_argument("--factor", type=float, default=2.0)
    options = parser.parse_args()
    with varv_server() as (served, worker):
        tree = psutil.Process(served.process.pid)
        pinned_process(tree, 0)
        payload = payloads(options.rows)[-1]
        settled(Tree(tree))
        cost = measured(served.inference, payload, 4, options.seconds, lambda: cpu_s(worker))
        print(f"{payload.name}: {cost.per_s:.0f} a second, p99 {cost.p99_ms:.1f} ms, {cost.n_failed} failed")
        pace = options.factor * cost.per_s
        connections = min(MOST_CONNECTIONS, max(64, round(2 * DEADLINE_MS / 1e3 * pace)))
        print(f"over {connections} connections", flush=True)
        lines = asked(served.inference, payload, pace, options.seconds, connections)
        print(told(lines, cost.per_s), flush=True)
        again = measured(served.inference, payload, 16, options.seconds, lambda: cpu_s(worker))
        per_s = (again.n_requests - again.n_failed) / options.seconds
        print(f"afterwards, over 16 connections: {per_s:.0f} a second, {again.n_failed} refused")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""What becomes of twice as many requests as can be answered: ``python benchmarks/bench_overload.py``.

Requests of 500 rows, some milliseconds of work each, are asked of one worker as quickly as it answers over
four connections, which is its capacity. Then they are asked at twice that pace, over as many connections as
would keep it busy for twice the deadline that each request has, 200 ms. On two cores the server has one and
those who ask the other. Needs `wrk`.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psutil

from bench_hostile import pinned as pinned_process
from data_plane.load import Payload, measured, payloads
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
    """Ask at a pace from a process of its own, and return what became of each request.

    Arrivals are those of many callers who know nothing of each other (a Poisson process). A tool that paces
    each connection by a timer would send from all of them at once.
    """
    task = _Task(port, payload, per_s, seconds, connections)
    with multiprocessing.get_context("spawn").Pool(1, _pinned_to_second) as pool:
        return pool.apply(_asked, (task,))


class _Task(NamedTuple):
    port: int
    payload: Payload
    per_s: float
    seconds: float
    connections: int


def _pinned_to_second() -> None:
    os.sched_setaffinity(0, {1})


def _asked(task: _Task) -> list[Line]:
    import uvloop

    return uvloop.run(_at_a_pace(task))


async def _at_a_pace(task: _Task) -> list[Line]:
    rng, loop = random.Random(1), asyncio.get_running_loop()
    head = "".join(f"{name}: {value}\r\n" for name, value in task.payload.headers.items())
    request = (
        f"POST {task.payload.path} HTTP/1.1\r\nhost: 127.0.0.1:{task.port}\r\n{head}"
        f"x-varv-timeout-ms: {DEADLINE_MS}\r\ncontent-length: {len(task.payload.body)}\r\n\r\n"
    ).encode() + task.payload.body
    free: list[_Caller] = []
    for _ in range(task.connections):
        _, made = await loop.create_connection(_Caller, "127.0.0.1", task.port)
        free.append(made)
    lines: list[Line] = []
    due, until, n_short = loop.time(), loop.time() + task.seconds, 0
    while due < until:
        due += rng.expovariate(task.per_s)
        if (left := due - loop.time()) > 0:
            await asyncio.sleep(left)
        if not free:
            n_short += 1
            continue
        free.pop(0).ask(request, lines, free, loop.time)
    await asyncio.sleep(1.0)
    if n_short:
        print(f"{n_short} requests found no free connection and were not sent")
    return lines


class _Caller(asyncio.Protocol):
    """One connection, which has one request under way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._told = b""

    def ask(self, request: bytes, lines: list[Line], free: list[_Caller], now: Callable[[], float]) -> None:
        self._lines, self._free, self._now, self._told = lines, free, now, b""
        self._at = now()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._told += data
        head, ended, body = self._told.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if ended and length is not None and len(body) >= int(length[1]):
            status = int(head.split(b" ", 2)[1])
            self._lines.append(Line(self._at, status, 1e3 * (self._now() - self._at)))
            self._free.append(self)


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

"""What honest callers notice of others: ``python benchmarks/bench_hostile.py`` prints a table.

One client asks for one prediction after another, alone, beside requests of ten thousand rows that follow one
another, and beside a thousand half-open connections.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import statistics
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack

import psutil

from served import ROW, Client, deliveries
from varv.kernel.clock import wall_seconds

SECONDS = 8.0
HUGE_ROWS = 10_000


def huge(port: int, stop: threading.Event) -> None:
    """Ask for ten thousand predictions at once, again and again."""
    rows = [{**ROW, "delivery_id": f"huge-{number}"} for number in range(HUGE_ROWS)]
    body = json.dumps({"dataframe_records": rows})
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/invocations", body, {"content-type": "application/json"})
        if connection.getresponse().status != 200:
            raise SystemExit("a huge request was not answered")


@contextlib.contextmanager
def beside_huge(port: int) -> Generator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=huge, args=(port, stop))
    thread.start()
    yield
    stop.set()
    thread.join()


@contextlib.contextmanager
def beside_half_open(port: int) -> Generator[None]:
    with ExitStack() as stack:
        for _ in range(900):
            made = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            made.sendall(b"POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        yield


def measured(name: str, port: int, beside: Callable[[int], contextlib.AbstractContextManager[None]]) -> None:
    """Print what one client waits beside something."""
    client, spent = Client(port, name.replace(" ", "-")), []
    with beside(port):
        until = wall_seconds() + SECONDS
        while wall_seconds() < until:
            spent.append(client.ask())
    cuts = statistics.quantiles(spent, n=100)
    print(f"{name:<28} p50 {cuts[49]:7.2f} ms   p99 {cuts[98]:7.2f} ms   {len(spent):6} requests", flush=True)


def main() -> int:
    with deliveries() as server:
        inference = server.inference
        (worker,) = psutil.Process(server.process.pid).children()
        measured("alone", inference, lambda _: contextlib.nullcontext())
        before = worker.memory_info().rss
        measured("beside huge requests", inference, beside_huge)
        measured("beside half-open ones", inference, beside_half_open)
        print(f"{'memory of the worker':<28} {(worker.memory_info().rss - before) / (1 << 20):+7.1f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

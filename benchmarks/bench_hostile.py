"""What honest callers notice of others: ``python benchmarks/bench_hostile.py`` prints a table.

One client asks for one prediction after another: alone and beside each kind of load, by turns. The load comes
from a process of its own. On two cores the server has one, and both kinds of callers share the other; the
client pauses between its requests, and goes before the load, so that what it waits is the server's doing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import polars as pl
import psutil

from data_plane.servers import worker_of
from served import ROW, Client, deliveries
from varv.kernel.clock import wall_seconds

SECONDS, ROUNDS = 3.0, 3
PACE_S = 0.005
"""Between two honest requests."""
ATTACKS_EVERY_S = 0.05
"""Between two requests of a kind that comes again and again."""
MIB = 1 << 20
HEAD = b"POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


def with_body(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def tensors(shape: list[int], size: int) -> bytes:
    """Return a request for a tensor of a shape that its bytes do not have."""
    one = {"name": "hour", "shape": shape, "datatype": "INT64", "parameters": {"binary_data_size": size}}
    asked = json.dumps({"inputs": [one]}).encode()
    head = b"POST /v2/models/late-parcel/infer HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    head += b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % len(asked)
    return with_body(asked + b"\0" * 8, head)


def parquet() -> bytes:
    """Return a file of some kilobytes that says to hold four hundred megabytes of text."""
    file = io.BytesIO()
    pl.DataFrame({"district": ["x" * (4 * MIB)] * 100}).write_parquet(file, compression="zstd")
    head = HEAD.replace(b"application/json", b"application/vnd.apache.parquet")
    return with_body(file.getvalue(), head)


def chunked(*chunks: bytes) -> bytes:
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"".join(chunks)


def records(n: int) -> bytes:
    rows = [{**ROW, "delivery_id": f"huge-{number}"} for number in range(n)]
    return with_body(json.dumps({"dataframe_records": rows}).encode())


REPEATED: dict[str, Callable[[], Iterator[bytes]]] = {
    "bodies of 100 MB": lambda: iter([HEAD + b"content-length: 100000000\r\n\r\n" + b" " * MIB]),
    "chunked bodies of 100 MB": lambda: iter(
        [chunked(), *[b"%x\r\n%s\r\n" % (MIB, b" " * MIB) for _ in range(100)]]
    ),
    "JSON 100,000 deep": lambda: iter([with_body(b"[" * 100_000)]),
    "objects 100,000 deep": lambda: iter([with_body(b'{"dataframe_records":' * 100_000)]),
    "malformed chunks": lambda: iter([chunked(b"5\r\nhello\r\nzz\r\n" + b"x" * 1000)]),
    "overflowing shapes": lambda: iter([tensors([1 << 31, 1 << 31], 8) + tensors([(1 << 63) - 1], 1 << 40)]),
    "Parquet bombs": lambda: iter([parquet()]),
    "10,000 rows at once": lambda: iter([records(10_000)]),
}
"""Kinds of requests that come one after the other, by their names."""
HELD = ("200 idle and slow connections", "900 half-open connections")
EVERYTHING = "all of these together"


def repeat(port: int, parts: Callable[[], Iterator[bytes]]) -> None:
    """Send the same for ever, on a new connection each time, and read what comes back."""
    made = list(parts())
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=20) as asked:
            for part in made:
                asked.sendall(part)
            asked.shutdown(socket.SHUT_WR)
            while asked.recv(1 << 16):
                pass
        threading.Event().wait(ATTACKS_EVERY_S)


def hold(port: int, n: int, *, slow: bool) -> None:
    """Keep connections that never end a request: open ones, and some that send a byte now and then."""
    with ExitStack() as stack:
        made: list[socket.socket] = []
        while True:
            for number in range(n):
                if len(made) <= number:
                    made.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
                    if not slow or number % 2:
                        made[number].sendall(HEAD)
                elif slow and number % 4 == 1:
                    try:
                        made[number].sendall(b"x")
                    except OSError:
                        made[number] = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            threading.Event().wait(1.0)


def attack(name: str, port: int) -> None:
    """Do what a kind of load does, behind everybody else on its core, as long as its starter is there."""
    starter = os.getppid()
    os.nice(19)
    names = [*REPEATED, HELD[0]] if name == EVERYTHING else [name]
    for one in names:
        if one in REPEATED:
            target, words, more = repeat, (port, REPEATED[one]), {}
        else:
            target, words, more = hold, (port, int(one.split()[0])), {"slow": "slow" in one}
        threading.Thread(target=target, args=words, kwargs=more, daemon=True).start()
    while os.getppid() == starter:
        threading.Event().wait(1.0)


@contextmanager
def beside(name: str, port: int) -> Generator[None]:
    """Have a load beside the block."""
    if not name:
        yield
        return
    words = [sys.executable, __file__, "--attack", name, "--port", str(port)]
    process = subprocess.Popen(words)
    try:
        threading.Event().wait(2.0)
        if process.poll() is not None:
            raise SystemExit(f"the load {name!r} has ended")
        yield
    finally:
        process.kill()
        process.wait()


class Waited(NamedTuple):
    """What one client waited, in milliseconds, and the most memory that the worker had beside it."""

    spent: list[float]
    most_bytes: int

    def at(self, share: float) -> float:
        """Return a quantile."""
        ordered = sorted(self.spent)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def waited(client: Client, worker: psutil.Process, seconds: float) -> Waited:
    """Return what a client waits."""
    spent: list[float] = []
    most, until = 0, wall_seconds() + seconds
    while wall_seconds() < until:
        spent.append(client.ask())
        if len(spent) % 20 == 0:
            most = max(most, memory(worker))
        threading.Event().wait(PACE_S)
    return Waited(spent, most)


def compared(
    name: str, port: int, worker: psutil.Process, seconds: float, rounds: int
) -> tuple[Waited, Waited]:
    """Return what a client waits alone and beside a load, by turns, since others may use the machine too."""
    client = Client(port, name.replace(" ", "-")[:20])
    found: tuple[list[Waited], list[Waited]] = [], []
    for _ in range(rounds):
        found[0].append(waited(client, worker, seconds))
        with beside(name, port):
            found[1].append(waited(client, worker, seconds))
        threading.Event().wait(1.0)
    alone, together = (
        Waited([one for each in several for one in each.spent], max(each.most_bytes for each in several))
        for several in found
    )
    return alone, together


def memory(worker: psutil.Process) -> int:
    """Return what a worker holds, and what it has started."""
    total = 0
    for process in (worker, *worker.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def pinned(process: psutil.Process, core: int) -> None:
    """Keep a process and its children on a core, where there are two."""
    if psutil.cpu_count() == 2:
        for one in (process, *process.children(recursive=True)):
            one.cpu_affinity([core])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--only", default="", help="measure loads whose name has this")
    options = parser.parse_args()
    if options.attack:
        attack(options.attack, options.port)
        return 0
    with deliveries() as server:
        tree = psutil.Process(server.process.pid)
        worker = worker_of(server)
        pinned(tree, 0)
        pinned(psutil.Process(), 1)
        threading.Event().wait(5.0)
        head = "".join(f"{word:>9}" for word in ("alone p50", "p99", "beside p50", "p99", "most"))
        print(f"{'':<34}{head}{'p99 by':>9}{'memory':>12}", flush=True)
        for name in (one for one in (*HELD, *REPEATED, EVERYTHING) if options.only in one):
            alone, found = compared(name, server.inference, worker, options.seconds, options.rounds)
            shown = (alone.at(0.5), alone.at(0.99), found.at(0.5), found.at(0.99), found.at(1.0))
            times = "".join(f"{one:>9.2f}" for one in (*shown, found.at(0.99) / alone.at(0.99)))
            more = (found.most_bytes - alone.most_bytes) / MIB
            print(f"{name:<34}{times}{more:>+8.0f} MiB", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

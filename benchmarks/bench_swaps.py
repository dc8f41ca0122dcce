"""Versions swapped under load: ``python benchmarks/bench_swaps.py [requests]``, 5,000,000 by default.

A worker answers requests of one row over 32 connections. After each 1,000 answers another version is loaded,
a routing table puts it in force, and the one before it is let go; every fourth table shares the requests with
the version before. A version answers under the epoch of its own number, so every answer, and every captured
row, shows by itself whether it is of its epoch's table; and a request that was sent after a table was
confirmed must not be answered under an earlier one. The resident memory of the worker is read every second,
and the median of each tenth of the load counts. Exits 1 if a bar is missed; they are those of 5,000,000
requests.
"""

from __future__ import annotations

import asyncio
import re
import socket
import statistics
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path

import psutil
import uvloop

from data_plane.load import INFER, asked, matrix
from data_plane.servers import MODEL, trained
from varv.app.server.fleet import Workers
from varv.kernel.clock import SystemClock, wall_seconds
from varv.kernel.codec import Digest
from varv.kernel.ids import Version
from varv.kernel.memory import return_freed
from varv.serving.capture import read_captures
from varv.serving.routing import RoutingShare, RoutingTable

N_REQUESTS = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
EVERY = 1_000
STEPS = 10
N_CONNECTIONS = 32
SEAL_EVERY_S = 2.0
MOST_GROWTH = 0.05
SHARED = 0.3
_ANSWERED = re.compile(rb'"model_version":"(\d+)".*"epoch":(\d+),')
_LENGTH = re.compile(rb"content-length: (\d+)")


def table(epoch: int) -> RoutingTable:
    """Return the table of an epoch: the version of its number answers, or the one before it too."""
    shares = (RoutingShare(Version(epoch), 1.0),)
    if epoch % 4 == 0:
        shares = (RoutingShare(Version(epoch - 1), SHARED), RoutingShare(Version(epoch), 1.0 - SHARED))
    return RoutingTable(epoch=epoch, shares=shares, salt="soak")


def is_of_its_table(version: int, epoch: int) -> bool:
    """Return whether a version may answer under an epoch."""
    return version == epoch or (version == epoch - 1 and epoch % 4 == 0)


class Soak:
    """What is sent, and what came back."""

    def __init__(self, body: bytes, n_requests: int) -> None:
        head = f"POST {INFER} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        self.request = head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body
        self.left = n_requests
        self.n_answered = 0
        self.confirmed = 1
        """The last epoch that the worker has confirmed."""
        self.problems: deque[str] = deque(maxlen=20)
        self.n_problems = 0
        self.n_by_shared = 0
        self.more = threading.Semaphore(0)
        """Released for each swap that is due."""

    def took(self, body: bytes, oldest: int) -> None:
        """Look at an answer to what was sent when `oldest` was confirmed already."""
        self.n_answered += 1
        if self.n_answered % EVERY == 0:
            self.more.release()
        found = _ANSWERED.search(body)
        if found is None or b'"captured":true' not in body:
            self.fail(body[:300].decode(errors="replace"))
            return
        version, epoch = int(found[1]), int(found[2])
        self.n_by_shared += version != epoch
        if not is_of_its_table(version, epoch) or epoch < oldest:
            self.fail(f"version {version} answered under epoch {epoch}, after {oldest} was confirmed")

    def fail(self, why: str) -> None:
        """Note a problem."""
        self.n_problems += 1
        self.problems.append(why)


class Connection(asyncio.Protocol):
    """Sends one request after the other."""

    def __init__(self, soak: Soak, ended: asyncio.Semaphore) -> None:
        self._soak, self._ended = soak, ended
        self._got = b""
        self._waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first one."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Look at an answer once it is whole, and send the next request."""
        self._got = self._got + data if self._got else data
        at = self._got.find(b"\r\n\r\n")
        length = _LENGTH.search(self._got, 0, at) if at > 0 else None
        if length is None or len(self._got) < at + 4 + int(length[1]):
            return
        body, self._got = self._got, b""
        self._waits = False
        if body.startswith(b"HTTP/1.1 200"):
            self._soak.took(body, self._oldest)
        else:
            self._soak.n_answered += 1
            self._soak.fail(body[:300].decode(errors="replace"))
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note an answer that did not come."""
        if self._waits:
            self._soak.fail(f"a connection ended before its answer: {exc}")
        self._ended.release()

    def _send(self) -> None:
        if self._soak.left <= 0:
            self._transport.close()
            return
        self._soak.left -= 1
        self._oldest, self._waits = self._soak.confirmed, True
        self._transport.write(self._soak.request)


async def sent(soak: Soak, port: int) -> None:
    """Send everything, and return once it is answered."""
    loop, ended = asyncio.get_running_loop(), asyncio.Semaphore(0)
    for _ in range(N_CONNECTIONS):
        await loop.create_connection(lambda: Connection(soak, ended), "127.0.0.1", port)
    for _ in range(N_CONNECTIONS):
        await ended.acquire()


class Swaps:
    """Swaps versions whenever it is due, and looks at what the worker has captured."""

    def __init__(self, workers: Workers, soak: Soak, package: Digest) -> None:
        self._workers, self._soak, self._package = workers, soak, package
        self.epoch = 0
        self._warm: set[Version] = set()
        self.n_captured = 0
        self.swapped_s: list[float] = []

    def next(self) -> None:
        """Put the next version in force."""
        self.epoch += 1
        began = wall_seconds()
        self._workers.warm(MODEL, Version(self.epoch), self._package)
        self._workers.apply(MODEL, table(self.epoch))
        self._soak.confirmed = self.epoch
        for version in sorted(self._warm - table(self.epoch).versions):
            self._workers.unload(MODEL, version)
        self._warm = set(table(self.epoch).versions)
        self.swapped_s.append(wall_seconds() - began)

    def until(self, ended: threading.Event) -> None:
        """Swap and look until the load has ended."""
        looked = wall_seconds()
        while not ended.is_set():
            if self._soak.more.acquire(timeout=0.2):
                self.next()
            if wall_seconds() - looked > SEAL_EVERY_S:
                self.look()
                looked = wall_seconds()

    def look(self) -> None:
        """Look at every captured row, and remove what was looked at."""
        for path in self._workers.seal():
            for one in read_captures(path):
                if one.block is None:
                    continue
                self.n_captured += one.block.n_rows
                block, of = one.block, table(one.block.epoch)
                if (block.champion, block.candidate, block.share) != (
                    of.champion, of.candidate, of.candidate_share
                ):  # fmt: skip
                    self._soak.fail(
                        f"captured under epoch {block.epoch}: {block.champion}, {block.candidate}"
                    )
            path.unlink()
        return_freed()


def watched(worker: psutil.Process, soak: Soak, ended: threading.Event) -> list[tuple[int, float]]:
    """Return the memory of a worker, the median of each tenth of the load, in MiB."""
    points: list[tuple[int, float]] = []
    step, read, began = N_REQUESTS // STEPS, [], wall_seconds()
    while not ended.wait(1.0):
        read.append(worker.memory_info().rss / 2**20)
        due = (len(points) + 1) * step
        if soak.n_answered >= due:
            points.append((due, statistics.median(read)))
            per_s = soak.n_answered / (wall_seconds() - began)
            print(f"{due:>9,} requests  worker {points[-1][1]:7.1f} MiB  {per_s:6.0f} a second", flush=True)
            read = []
    if len(points) < STEPS:
        points.append((N_REQUESTS, statistics.median(read or [worker.memory_info().rss / 2**20])))
        print(f"{N_REQUESTS:>9,} requests  worker {points[-1][1]:7.1f} MiB", flush=True)
    return points


def soaked(folder: Path, package: Digest) -> tuple[Soak, Swaps, list[tuple[int, float]]]:
    """Load a worker on the home in a folder, with versions of a package."""
    home = folder / ".varv"
    soak = Soak(asked("", INFER, {"inputs": [matrix()]}).body, N_REQUESTS)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        clock = SystemClock()
        file = str(folder / "wide.py")
        workers = Workers(home, file, "", listener, clock, hosts=None, n_workers=1, max_rows=10_000)
        swaps = Swaps(workers, soak, package)
        try:
            workers.restore()
            swaps.next()
            worker = psutil.Process(workers.pids[0])
            swapping = threading.Thread(target=swaps.until, args=(ended,))
            port = listener.getsockname()[1]
            points: list[tuple[int, float]] = []
            watching = threading.Thread(target=lambda: points.extend(watched(worker, soak, ended)))
            swapping.start()
            watching.start()
            uvloop.run(sent(soak, port))
            ended.set()
            swapping.join()
            watching.join()
            swaps.look()
            if workers.pids != [worker.pid]:
                soak.fail("the worker has ended")
        finally:
            ended.set()
            workers.stop()
    return soak, swaps, points


def main() -> int:
    """Measure, print, and say whether every bar holds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = trained(folder)
        soak, swaps, points = soaked(folder, package)
    for problem in soak.problems:
        print(problem)
    ordered = sorted(swaps.swapped_s)
    print(f"{soak.n_answered:,} answered, {soak.n_problems} problems; {swaps.n_captured:,} captured")
    print(f"{swaps.epoch:,} versions, {soak.n_by_shared:,} answers by the one before")
    print(f"a swap took {1e3 * ordered[len(ordered) // 2]:.0f} ms, {1e3 * ordered[-1]:.0f} at most")
    growth = points[-1][1] / points[0][1] - 1
    print(f"worker grew by {growth:.1%} after the first {points[0][0]:,}  < {MOST_GROWTH:.0%}")
    held = growth < MOST_GROWTH and not soak.n_problems and swaps.n_captured == soak.n_answered == N_REQUESTS
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())

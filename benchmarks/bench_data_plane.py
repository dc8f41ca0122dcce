"""What a prediction costs the processor: ``python benchmarks/bench_data_plane.py`` prints a table.

A server is started on a small model of thirty numbers, with one worker. `wrk` asks for predictions, each of one
row and captured before its answer goes out, over 1, 16 and 64 connections. The processor time is that of the
worker and of everything that the server runs, until all that was captured is on record; a bare handler on the
same protocol that only calls ONNX Runtime is measured beside it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from served import Served, free_port, ready, started

from varv.kernel.clock import wall_seconds

HERE = Path(__file__).parent / "data_plane"
COLUMNS = [f"x{number}" for number in range(30)]
VALUES = [round(0.731 * number - 9.0, 4) for number in range(30)]
CONNECTIONS = (1, 16, 64)
INFER = "/v2/models/wide/infer"
BYTES = "application/octet-stream"
JSON = "application/json"


class Payload(NamedTuple):
    """One way to ask."""

    name: str
    path: str
    body: bytes
    headers: dict[str, str]
    n_rows: int = 1


class Cost(NamedTuple):
    """What requests of one payload cost."""

    n_requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    n_failed: int
    cpu_us: float
    """Of those who answer."""


def payloads(binary_rows: int = 64) -> list[Payload]:
    """Return the ways to ask that are measured."""
    matrix = {"name": "input", "shape": [1, 30], "datatype": "FP64", "data": VALUES}
    tensors = [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
        for name, value in zip(COLUMNS, VALUES, strict=True)
    ]
    many = {"name": "input", "shape": [binary_rows, 30], "datatype": "FP32"}
    many["parameters"] = {"binary_data_size": 120 * binary_rows}
    head = _json(
        {"inputs": [many], "outputs": [{"name": "probability", "parameters": {"binary_data": True}}]}
    )
    data = struct.pack(f"<{30 * binary_rows}f", *VALUES * binary_rows)
    length = {"inference-header-content-length": str(len(head))}
    return [
        Payload("one matrix, JSON", INFER, _json({"inputs": [matrix]}), {"content-type": JSON}),
        Payload("30 tensors, JSON", INFER, _json({"inputs": tensors}), {"content-type": JSON}),
        Payload(
            "instances", "/v1/models/wide:predict", _json({"instances": [VALUES]}), {"content-type": JSON}
        ),
        Payload(
            f"{binary_rows} rows, bytes", INFER, head + data, {"content-type": BYTES, **length}, binary_rows
        ),
    ]


def measured(
    port: int, payload: Payload, connections: int, seconds: float, answerers: Sequence[psutil.Process]
) -> Cost:
    """Return what a payload costs over some connections."""
    before, began = cpu_s(answerers), wall_seconds()
    found = _wrk(port, payload, connections, seconds)
    spent, took = cpu_s(answerers) - before, wall_seconds() - began
    n = found["requests"]
    cpu_us = 1e6 * spent / max(n, 1)
    return Cost(n, n / took, found["p50"] / 1e3, found["p99"] / 1e3, found["failed"], cpu_us)


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """Return the processor time of processes so far, in seconds."""
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


def _wrk(port: int, payload: Payload, connections: int, seconds: float) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(payload.body)
        script = Path(folder) / "ask.lua"
        headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in payload.headers.items())
        script.write_text(_LUA.format(body=f"{folder}/body", headers=headers))
        address = f"http://127.0.0.1:{port}{payload.path}"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script), address]
        if pin := _pinned(1):
            command = [*pin, *command]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(told[told.index("{") :])


_LUA = """
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
{headers}
function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.status + summary.errors.timeout
  io.write(string.format('{{"requests":%d,"p50":%d,"p99":%d,"failed":%d}}',
    summary.requests, latency:percentile(50), latency:percentile(99), failed))
end
"""


def _pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if shutil.which("taskset") and psutil.cpu_count() == 2 else []


@contextmanager
def varv_server() -> Iterator[tuple[Served, psutil.Process]]:
    """Serve the model, once it answers; give its worker too."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(HERE / "wide.py", folder)
        with started(Path(folder), "up", "wide.py", "--workers", "1") as found:
            while not ready(found.inference):
                if found.process.poll() is not None:
                    raise SystemExit("the server has ended")
                threading.Event().wait(0.1)
            threading.Event().wait(3.0)
            yield found, worker_of(found)


def worker_of(served: Served) -> psutil.Process:
    """Return the process that answers predictions."""
    children = psutil.Process(served.process.pid).children(recursive=True)
    return next(one for one in children if "varv.app.server.worker" in " ".join(one.cmdline()))


def settled(served: Served) -> None:
    """Wait until the owner does nothing but wait."""
    owner = psutil.Process(served.process.pid)
    quiet = 0
    while quiet < 4:
        before = cpu_s([owner])
        threading.Event().wait(0.5)
        quiet = quiet + 1 if cpu_s([owner]) - before < 0.06 else 0


@contextmanager
def bare_server() -> Iterator[tuple[int, psutil.Process]]:
    """Serve the bare handler."""
    port = free_port()
    command = [sys.executable, str(HERE / "bare.py"), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not answers(port):
            threading.Event().wait(0.1)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    """Return whether somebody answers on a port."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status < 500
    except OSError:
        return False


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def shown(who: str, payload: str, connections: int, cost: Cost, more: str = "") -> None:
    print(
        f"{who:<10}{payload:<20}{connections:>4}{cost.per_s:>9.0f} /s   p50 {cost.p50_ms:7.2f} ms"
        f"   p99 {cost.p99_ms:7.2f} ms   {cost.cpu_us:7.1f} us{more}   {cost.n_failed} failed",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk: apt install wrk")
    chosen = [one for one in payloads() if options.only in one.name]
    with bare_server() as (port, process):
        for payload in (one for one in chosen if one.path == INFER and "tensors" not in one.name):
            for connections in CONNECTIONS:
                cost = measured(port, payload, connections, options.seconds, [process])
                shown("bare", payload.name, connections, cost)
    with varv_server() as (served, worker):
        owner = psutil.Process(served.process.pid)
        for payload in chosen:
            for connections in CONNECTIONS:
                settled(served)
                before = cpu_s([owner])
                cost = measured(served.inference, payload, connections, options.seconds, [worker])
                settled(served)
                beside = 1e6 * (cpu_s([owner]) - before) / max(cost.n_requests, 1)
                shown("varv", payload.name, connections, cost, f" + {beside:5.1f} us to take it in")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

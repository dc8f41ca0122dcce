"""The ways to ask, and what it costs to be asked so by `wrk`.

Servers are started in `servers` and `peers`, whose processor time is read in `processes`.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from varv.kernel.clock import wall_seconds

COLUMNS = [f"x{number}" for number in range(30)]
VALUES = [round(0.731 * number - 9.0, 4) for number in range(30)]
CONNECTIONS = (1, 16, 64)
INFER = "/v2/models/wide/infer"
ONE_ROW = "one matrix, JSON"
"""The payload of varv's that stands beside one row asked of a peer."""

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
    tensors = [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
        for name, value in zip(COLUMNS, VALUES, strict=True)
    ]
    return [
        asked(ONE_ROW, INFER, {"inputs": [matrix()]}),
        asked("30 tensors, JSON", INFER, {"inputs": tensors}),
        asked("instances", "/v1/models/wide:predict", {"instances": [VALUES]}),
        _binary(binary_rows),
    ]


def matrix() -> dict[str, object]:
    """Return one row as a tensor of the Open Inference Protocol."""
    return {"name": "input", "shape": [1, 30], "datatype": "FP64", "data": VALUES}


def asked(name: str, path: str, value: object) -> Payload:
    """Return a payload of JSON."""
    return Payload(name, path, json.dumps(value).encode(), {"content-type": JSON})


def _binary(n_rows: int) -> Payload:
    many = {"name": "input", "shape": [n_rows, 30], "datatype": "FP32"}
    many["parameters"] = {"binary_data_size": 120 * n_rows}
    output = {"name": "probability", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [many], "outputs": [output]}).encode()
    data = struct.pack(f"<{30 * n_rows}f", *VALUES * n_rows)
    headers = {"content-type": BYTES, "inference-header-content-length": str(len(head))}
    return Payload(f"{n_rows} rows, bytes", INFER, head + data, headers, n_rows)


def measured(
    port: int, payload: Payload, connections: int, seconds: float, cpu_s: Callable[[], float]
) -> Cost:
    """Return what a payload costs over some connections, by the processor time so far of those who answer."""
    before, began = cpu_s(), wall_seconds()
    found = _wrk(port, payload, connections, seconds)
    spent, took = cpu_s() - before, wall_seconds() - began
    n = found["requests"]
    cpu_us = 1e6 * spent / max(n, 1)
    return Cost(n, n / took, found["p50"] / 1e3, found["p99"] / 1e3, found["failed"], cpu_us)


def _wrk(port: int, payload: Payload, connections: int, seconds: float) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(payload.body)
        script = Path(folder) / "ask.lua"
        headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in payload.headers.items())
        script.write_text(_LUA.format(body=f"{folder}/body", headers=headers))
        address = f"http://127.0.0.1:{port}{payload.path}"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script), address]
        if pin := pinned(1):
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


def pinned(core: int) -> list[str]:
    """Return what keeps a command on a core, where there are two."""
    return ["taskset", "-c", str(core)] if shutil.which("taskset") and psutil.cpu_count() == 2 else []

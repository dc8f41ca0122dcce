"""What it costs to be called over gRPC, by `h2load`: one connection, so many streams at a time."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import grpc

from data_plane.load import COLUMNS, VALUES, Cost, pinned
from varv.fronts.inference.rpc.messages import SERVICE, messages
from varv.kernel.clock import wall_seconds

STREAMS = (1, 16, 64)
ONE_CALL = "one row, gRPC"
_INFER = f"/{SERVICE}/ModelInfer"


def request() -> bytes:
    """Return one row as bytes, whose answer is the probability alone."""
    made = messages()
    asked = made["ModelInferRequest"](model_name="wide")
    asked.inputs.add(name="input", datatype="FP32", shape=[1, len(COLUMNS)])
    asked.outputs.add(name="probability")
    asked.raw_input_contents.append(struct.pack(f"<{len(VALUES)}f", *VALUES))
    return asked.SerializeToString()


def answered(port: int) -> bool:
    """Return whether a call is answered as it should be."""
    give = messages()["ModelInferResponse"].FromString
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(_INFER, response_deserializer=give)
        try:
            return len(call(request(), timeout=5, wait_for_ready=True).raw_output_contents) == 1
        except grpc.RpcError:
            return False


def measured_calls(port: int, streams: int, seconds: float, cpu_s: Callable[[], float]) -> Cost:
    """Return what calls cost over one connection, by the processor time so far of those who answer."""
    if not answered(port):
        raise SystemExit("a call was not answered")
    before, began = cpu_s(), wall_seconds()
    times_us, n_failed = _h2load(port, streams, seconds)
    spent, took = cpu_s() - before, wall_seconds() - began
    if not answered(port):
        raise SystemExit("a call was not answered")
    n = len(times_us)
    p50, p99 = times_us[n // 2] / 1e3, times_us[n * 99 // 100] / 1e3
    return Cost(n, n / took, p50, p99, n_failed, 1e6 * spent / max(n, 1))


def _h2load(port: int, streams: int, seconds: float) -> tuple[list[int], int]:
    """Return what each call took, sorted, in microseconds, and how many failed."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        asked = request()
        body.write_bytes(b"\0" + struct.pack(">I", len(asked)) + asked)
        command = [
            *pinned(1),
            *(
                "h2load",
                "-t1",
                "-c1",
                f"-m{streams}",
                f"-D{seconds:.0f}",
                f"--log-file={log}",
                "-d",
                str(body),
            ),
            *("-H", "content-type: application/grpc", "-H", "te: trailers"),
            f"http://127.0.0.1:{port}{_INFER}",
        ]
        subprocess.run(command, check=True, capture_output=True)
        lines = [line.split("\t") for line in log.read_text().splitlines()]
    return sorted(int(line[2]) for line in lines), sum(line[1] != "200" for line in lines)

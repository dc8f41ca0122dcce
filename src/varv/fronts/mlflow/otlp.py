"""Spans over OpenTelemetry's protocol: what any program that is instrumented with it, and MLflow's own
client, exports. A header says which experiment they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from varv.fronts.encodings import inflated
from varv.fronts.gateway import Bodies
from varv.fronts.mlflow.app import MOST_BYTES, MOST_BYTES_TOGETHER
from varv.fronts.mlflow.errors import NoSuchEndpoint
from varv.fronts.mlflow.otlp_json import exported_json
from varv.fronts.mlflow.spans import exported
from varv.kernel.errors import InvalidInput
from varv.kernel.recorder import Write
from varv.runs.traces import Traces

PATH = "/v1/traces"
MOST_INFLATED = 64 << 20
QUICK_BYTES = 16 << 10
"""Of an export that is taken apart while others wait, which takes a millisecond."""
EXPERIMENT, RUN = "x-mlflow-experiment-id", "x-mlflow-run-id"
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_DECODERS = {_PROTOBUF: exported, _JSON: exported_json}
_ANSWERS = {_PROTOBUF: b"", _JSON: b"{}"}


class Export:
    """Answers exports, at `PATH`.

    Parameters
    ----------
    do
        Has work done by the recorder.
    """

    def __init__(self, traces: Traces, do: Callable[[Write[Any]], Any]) -> None:
        self._traces = traces
        self._do = do
        self._bodies = Bodies(MOST_BYTES, MOST_BYTES_TOGETHER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if scope["path"] != PATH or scope["method"] != "POST":
            problem = f"does not take {scope['method']}" if scope["path"] == PATH else "is no endpoint"
            allowed = ["POST"] if scope["path"] == PATH else []
            raise NoSuchEndpoint("path", scope["path"][:200], problem, allowed=allowed)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _DECODERS:
            hint = f"send {' or '.join(_DECODERS)}"
            raise InvalidInput("content-type", kind[:80], "is not that of an export", hint=hint)
        if not (experiment := request.headers.get(EXPERIMENT, "")):
            raise InvalidInput(
                "header", EXPERIMENT, "is missing", hint="say which experiment the spans are of"
            )
        async with self._bodies.receive(request) as body:
            if len(body) > QUICK_BYTES or "content-encoding" in request.headers:
                write = await run_in_threadpool(self._write, request, body, kind, experiment)
            else:
                write = self._write(request, body, kind, experiment)
        await self._do(write)
        await _send(send, kind)

    def _write(self, request: Request, body: bytes, kind: str, experiment: str) -> Write[Any]:
        whole = inflated(request, body, MOST_INFLATED)
        return self._traces.take(experiment, _DECODERS[kind](whole), run=request.headers.get(RUN, ""))


async def _send(send: Send, kind: str) -> None:
    body = _ANSWERS[kind]
    headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

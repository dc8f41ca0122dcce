"""A handler that does nothing but call ONNX Runtime, on the protocol that varv's workers have.

Beside this folder: ``python -m data_plane.bare PORT``. The model written here is the one that peers serve.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import uvicorn
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingClassifier

from varv.app.server.protocol import bounded_protocol


class Tensor(msgspec.Struct):
    """One input."""

    shape: tuple[int, int]
    data: list[float] = []


class Asked(msgspec.Struct):
    """A request."""

    inputs: list[Tensor]


DECODER = msgspec.json.Decoder(Asked)


def written() -> bytes:
    """Return a model like the one that varv trains on `wide.py`, as an ONNX file holds it."""
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(3000, 30)).astype(np.float32)
    target = rows[:, :5].sum(axis=1) + rng.normal(size=3000) > 0
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15).fit(rows, target)
    return to_onnx(model, rows[:1], options={"zipmap": False}).SerializeToString()


def session(model: bytes) -> onnxruntime.InferenceSession:
    """Return a session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Bare:
    """Answers every request for `/v2/models/wide/infer`."""

    most_bytes = 1 << 20

    def __init__(self) -> None:
        made = session(written())
        self._run, self._input = made.run, made.get_inputs()[0].name
        self._output = [made.get_outputs()[-1].name]
        self.calls = {b"/v2/models/wide/infer": self}

    def takes(self, headers: Mapping[bytes, bytes]) -> bool:
        """Everything is taken."""
        return True

    def flush(self) -> None:
        """Nothing waits."""

    def submit(
        self, headers: list[tuple[bytes, bytes]], body: bytes, reply: Callable[[bytes, bytes], None]
    ) -> None:
        """Answer one request."""
        length = dict(headers).get(b"inference-header-content-length")
        size = len(body) if length is None else int(length)
        [tensor] = DECODER.decode(body[:size]).inputs
        if length is None:
            rows = np.array(tensor.data, np.float32).reshape(tensor.shape)
        else:
            rows = np.frombuffer(body, np.float32, offset=size).reshape(tensor.shape)
        said = self._run(self._output, {self._input: rows})[0][:, 1]
        if length is None:
            told = msgspec.json.encode({"outputs": [{"name": "probability", "data": said.tolist()}]})
        else:
            told = said.tobytes()
        reply(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(told), told)


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Answer that all is well."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(
        nothing,
        port=int(sys.argv[1]),
        http=bounded_protocol(hot=Bare()),  # type: ignore[bad-argument-type]
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
    )

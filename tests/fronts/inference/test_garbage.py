"""What was refused is let go at once, not once the garbage is collected: that is rare in a worker."""

from __future__ import annotations

import asyncio
import gc
import types

import grpc
import pytest
from tests.fronts.inference.rpc.test_service import Loop
from tests.serving.said import all_answering
from tritonclient.grpc import service_pb2

from varv.fronts.inference import Inference, create_inference
from varv.fronts.inference.rpc.messages import SERVICE


@pytest.fixture
def inference(tmp_path):
    made = Inference()
    made.models = all_answering(tmp_path)
    return made


@pytest.fixture(autouse=True)
def _nobody_collects():
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def held() -> list[str]:
    """Return the functions of ours whose variables only the garbage holds, a request or a body among them."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    frames = [one for one in gc.garbage if isinstance(one, types.FrameType)]
    large = ("request", "body", "data", "asked", "columns")
    return sorted(
        frame.f_code.co_qualname
        for frame in frames
        if "/varv/" in frame.f_code.co_filename
        and any(frame.f_locals.get(name) is not None for name in large)
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/invocations/binary", b"application/json"),
        ("/invocations/binary", b"text/csv"),
        ("/v2/models/binary/infer", b"application/json"),
        ("/v2/models/binary/generate", b"application/json"),
        ("/models/binary/explain", b"application/json"),
        ("/v2/repository/index", b"application/json"),
    ],
)
@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_body_that_is_refused_is_let_go(inference, path, kind, size):
    application, statuses = create_inference(inference), []
    messages = [{"type": "http.request", "body": b"{" * size, "more_body": False}]

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message):
        statuses.append(message.get("status"))

    headers = [(b"host", b"here"), (b"content-type", kind)]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    asyncio.run(
        application(scope | {"server": ("here", 1), "scheme": "http", "root_path": ""}, receive, send)
    )
    assert statuses[0] in (400, 422)
    assert held() == []


@pytest.mark.parametrize("n", [1, 20_000])
def test_a_call_that_is_refused_is_let_go(inference, n):
    loop = Loop(inference)
    request = service_pb2.ModelInferRequest(model_name="binary")
    request.inputs.add(name="nothing", datatype="FP64", shape=[n]).contents.fp64_contents.extend([1.0] * n)
    with grpc.insecure_channel(loop.place) as channel, pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
        channel.unary_unary(f"/{SERVICE}/ModelInfer")(request.SerializeToString())
    loop.close()
    assert held() == []

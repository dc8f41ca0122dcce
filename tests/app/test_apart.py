"""A model that runs code of its own may hang or die: over HTTP nobody else notices, and it is there again."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time
from dataclasses import replace

import grpc
import httpx
import msgspec
import pytest
from tests.adapters.apart.hostile import hostile
from tests.app.raw_http import port_of, serving
from tests.fronts.inference.rpc.test_service import Loop
from tests.serving.said import SAID, answering, schema_of
from tests.serving.samples import table
from tritonclient.grpc import service_pb2, service_pb2_grpc

import varv
from varv.adapters.apart import Apart
from varv.adapters.runtimes import installed_runtimes
from varv.app.server.protocol import Deadlines
from varv.features import FeatureEngine, FeatureStore
from varv.fronts.inference import HotCalls, Inference, create_inference
from varv.kernel.clock import SystemClock
from varv.kernel.ids import ModelName
from varv.registry import Column, Signature
from varv.serving import Answering, CaptureLog, DataPlane
from varv.serving.policy import DefaultStep, ServingPolicy

TIME_S = 1.0


def risky(folder, runtimes, name="risky", policy=None) -> Answering:
    """Return what answers for a model that does what the number ``x`` says."""
    task = varv.task.score()
    schema = replace(schema_of(name, task), serving=policy or ServingPolicy())
    plane = DataPlane(task, runtimes)
    plane.serve_by(schema.serving)
    package = msgspec.structs.replace(
        hostile(), signature=Signature((Column("x", "number"),)), probe=((-1.0,),), probe_scores=((-1.0,),)
    )
    plane.warm(1, package)
    plane.swap(table(1))
    engine = FeatureEngine(schema.features, schema.requests, FeatureStore())
    return Answering(schema, engine, plane, CaptureLog(folder / name), SystemClock())


@pytest.fixture(scope="module")
def inference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("apart")
    inference = Inference()
    task, row = SAID["score"]
    apart = Apart(os.environ, time_s=TIME_S, memory_bytes=1 << 30)
    inference.models = {
        ModelName("risky"): risky(folder, installed_runtimes(apart=apart)),
        ModelName("guarded"): risky(
            folder, installed_runtimes(apart=apart), "guarded", ServingPolicy(fallback=(DefaultStep((0.5,)),))
        ),
        ModelName("sound"): answering(folder, "sound", task, row),
    }
    yield inference
    assert inference.door.n_under_way == 0


@pytest.fixture(scope="module")
def url(inference):
    with (
        pytest.MonkeyPatch.context() as patched,
        serving(create_inference(inference), Deadlines(), HotCalls(inference, None)) as server,
    ):
        # No breaker, which other tests ask about.
        patched.setattr("varv.adapters.apart.restarts.SOUND_S", 0.0)
        yield f"http://127.0.0.1:{port_of(server)}"


def ask(url, model, x, *, path="hot"):
    """Ask for one prediction, by the hot path or by the application."""
    tensors = [{"name": "x", "shape": [1], "datatype": "FP64", "data": [x]}]
    tensors += [{"name": "query", "shape": [1], "datatype": "BYTES", "data": ["q"]}]
    body = json.dumps({"inputs": tensors}).encode()
    headers = {"content-type": "application/json"}
    if path == "application":
        body, headers["content-encoding"] = gzip.compress(body), "gzip"
    return httpx.post(f"{url}/v2/models/{model}/infer", content=body, headers=headers, timeout=30)


def again(url):
    """Return once the model answers again."""
    until = time.monotonic() + 60
    while ask(url, "risky", -1).status_code == 503:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("path", ["hot", "application"])
def test_others_are_answered_while_a_model_hangs(url, path):
    again(url)
    found = []
    hanging = threading.Thread(target=lambda: found.append(ask(url, "risky", 1, path=path)))
    hanging.start()
    n_answered = 0
    while not found:
        for way in ("hot", "application"):
            assert ask(url, "sound", 2.0, path=way).status_code == 200
            # Only what is there before it: whoever waits for it comes after it.
            n_answered += not found
    hanging.join()
    assert n_answered > 4
    assert found[0].status_code == 504
    assert "took longer than 1 s to answer, and its process was ended" in found[0].json()["error"]
    refused = ask(url, "risky", -1)
    assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (503, True)


@pytest.mark.parametrize(
    ("does", "status", "says"),
    [(2, 500, "ended its process with status 3"), (5, 500, "raised ValueError: five is no number")],
)
@pytest.mark.parametrize("path", ["hot", "application"])
def test_what_a_model_does_to_itself_is_told_in_the_protocols_own_form(url, path, does, status, says):
    again(url)
    answer = ask(url, "risky", does, path=path)
    assert answer.status_code == status
    assert says in answer.json()["error"]


def test_one_that_is_killed_is_there_again(url):
    again(url)
    [value] = ask(url, "risky", 10).json()["outputs"][0]["data"]
    os.kill(int(value), signal.SIGKILL)
    time.sleep(0.2)
    again(url)
    assert ask(url, "risky", -1).json()["outputs"][0]["data"] == [-1.0]


def test_over_grpc_others_are_answered_too(url, inference):
    again(url)
    loop = Loop(inference)

    def request(model, x):
        asked = service_pb2.ModelInferRequest(model_name=model)
        for name, kind, value in (("x", "fp32_contents", x), ("query", "bytes_contents", b"q")):
            datatype = "FP32" if name == "x" else "BYTES"
            tensor = asked.inputs.add(name=name, datatype=datatype, shape=[1])
            getattr(tensor.contents, kind).append(value)
        return asked

    try:
        with grpc.insecure_channel(loop.place) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            hanging = stub.ModelInfer.future(request("risky", 1.0))
            assert not hanging.done()
            assert stub.ModelInfer(request("sound", 1.0)).model_name == "sound"
            assert not hanging.done()
            assert hanging.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert "took longer than 1 s to answer" in hanging.details()
    finally:
        loop.close()


@pytest.mark.parametrize("path", ["hot", "application"])
@pytest.mark.parametrize("does", [1, 2, 5], ids=["hangs", "ends its process", "raises"])
def test_what_is_declared_answers_in_its_place(url, path, does):
    answer = ask(url, "guarded", does, path=path)
    assert (answer.status_code, answer.headers["x-varv-arm"]) == (200, "default")
    assert answer.json()["outputs"][0]["data"] == [0.5]
    until = time.monotonic() + 60
    while (sound := ask(url, "guarded", -1, path=path)).headers["x-varv-arm"] == "default":
        assert sound.status_code == 200, "while the process is started anew"
        assert time.monotonic() < until
        time.sleep(0.05)
    assert sound.json()["outputs"][0]["data"] == [-1.0]

"""A little of what `make fuzz` sends to a server, to the same code in this process."""

from __future__ import annotations

import json

import grpc
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from tests.fronts.asking import asking
from tests.fronts.inference.rpc.test_service import Loop, typed
from tests.fronts.inference.test_generate import reading
from tests.fronts.inference.test_hot import GOOD, INFER, JSON, MATRIX, Asked, infer
from tests.fuzz.mutations import mutated_bytes, mutated_json
from tests.serving.said import all_answering

from varv.fronts.inference import Inference, create_inference
from varv.fronts.inference.rpc.messages import SERVICE
from varv.kernel.ids import ModelName

REFUSED = (200, 400, 404, 413, 415, 504)
TARGETS = sorted({target for target, _ in GOOD.values()})
JSON_BODIES = [json.loads(body) for _, body in GOOD.values()]
BYTES_HEAD = infer(
    [{"name": "input", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}],
    parameters={"binary_data_output": True},
)
DATA = bytes(range(24))
CALLS = [
    typed("FP64", "fp64_contents", [1.0, 2.0]).SerializeToString(),
    typed("INT64", "int64_contents", [1, 2]).SerializeToString(),
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return Asked(tmp_path_factory.mktemp("shared"))


@seed(1)
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(TARGETS), mutated_json(JSON_BODIES) | mutated_bytes([body for _, body in GOOD.values()])
)
def test_any_body_is_answered_or_refused_in_both_ways_alike(asked, target, body):
    status, _, told = asked.same(target, [JSON], body)
    assert status in REFUSED
    assert status == 200 or json.loads(told)["error"]


@seed(1)
@settings(max_examples=100, deadline=None)
@given(
    mutated_bytes([BYTES_HEAD]) | mutated_json([json.loads(BYTES_HEAD)]),
    mutated_bytes([DATA]),
    st.none() | st.sampled_from(["-1", "1e3", "99999999999999999999", "", "0", "٣"]),
)
def test_any_tensor_of_bytes_is_answered_or_refused(asked, head, data, said):
    size = str(len(head)) if said is None else said
    headers = [
        (b"inference-header-content-length", size.encode()),
        (b"content-type", b"application/octet-stream"),
    ]
    [(status, headers, told)] = asked.replies((INFER, headers, head + data))
    assert status in REFUSED
    assert status == 200 or json.loads(told)["error"]
    assert asked.replies((INFER, [JSON], infer([MATRIX])))[0][0] == 200


@seed(1)
@settings(max_examples=60, deadline=None)
@given(mutated_json([{"text_input": "good day", "id": "one", "parameters": {"timeout": 10**7}}]))
def test_any_text_is_answered_or_refused(texts, body):
    answer = texts.post("/v2/models/multiclass/generate", content=body)
    assert answer.status_code in (200, 413, 422, 504)
    assert answer.status_code == 200 or answer.json()["error"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    inference = Inference()
    inference.models = {ModelName("multiclass"): reading(tmp_path_factory.mktemp("texts"), "multiclass")}
    with asking(create_inference(inference)) as client:
        yield client


@seed(1)
@settings(max_examples=150, deadline=None)
@given(mutated_bytes(CALLS))
def test_any_call_is_answered_or_refused(call, body):
    try:
        call(body, timeout=30)
    except grpc.RpcError as error:
        refused = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
        assert error.code() in refused, error  # noqa: PT017


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    inference = Inference()
    inference.models = all_answering(tmp_path_factory.mktemp("calls"))
    loop = Loop(inference)
    with grpc.insecure_channel(loop.place) as channel:
        yield channel.unary_unary(f"/{SERVICE}/ModelInfer")
    loop.close()

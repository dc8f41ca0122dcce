"""Bodies and calls that were sound before something was done to them."""

from __future__ import annotations

import io
import json
import struct

import grpc
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.mutations import mutated_bytes, mutated_json
from tests.fuzz.served import PARCEL, require_told

from varv.fronts.inference.rpc.messages import ACTS, SERVICE, files, messages

EXAMPLES = settings(max_examples=3000, deadline=None)
KINDS = {"str": "BYTES", "int": "INT64", "float": "FP64"}
ROWS = [{**PARCEL, "delivery_id": f"f-{number}"} for number in range(2)]
TENSORS = [
    {
        "name": name,
        "shape": [2],
        "datatype": KINDS[type(value).__name__],
        "data": [row[name] for row in ROWS],
    }
    for name, value in ROWS[0].items()
]
BODIES = {
    "/v2/models/late-parcel/infer": [{"inputs": TENSORS, "id": "one", "outputs": [{"name": "probability"}]}],
    "/models/late-parcel/predict": [{"rows": ROWS, "id": "one"}],
    "/v1/models/late-parcel:predict": [{"instances": ROWS}],
    "/invocations": [
        {"dataframe_records": ROWS},
        {"dataframe_split": {"columns": list(ROWS[0]), "data": [list(row.values()) for row in ROWS]}},
        {"inputs": {name: [row[name] for row in ROWS] for name in ROWS[0]}},
    ],
    "/v2/models/late-parcel/generate": [{"text_input": "a", "parameters": {"timeout": 1000}}],
    "/v2/repository/index": [{"ready": True}],
    "/v2/repository/models/late-parcel/load": [{"parameters": {"config": "{}"}}],
}
CSV = ("\n".join([",".join(ROWS[0]), *(",".join(map(str, row.values())) for row in ROWS)])).encode()


def parquet() -> bytes:
    file = io.BytesIO()
    pl.DataFrame(ROWS).write_parquet(file)
    return file.getvalue()


def packed(kind: str, values: list) -> bytes:
    if kind == "BYTES":
        return b"".join(struct.pack("<I", len(value)) + value.encode() for value in values)
    return struct.pack(f"<{len(values)}{'q' if kind == 'INT64' else 'd'}", *values)


def binary() -> tuple[dict, bytes]:
    """Return a request whose tensors are bytes: its head, and the bytes."""
    parts = [packed(one["datatype"], one["data"]) for one in TENSORS]
    inputs = [{name: one[name] for name in ("name", "shape", "datatype")} for one in TENSORS]
    for head, part in zip(inputs, parts, strict=True):
        head["parameters"] = {"binary_data_size": len(part)}
    return {"inputs": inputs, "parameters": {"binary_data_output": True}}, b"".join(parts)


def call() -> bytes:
    """Return a call of the same."""
    request = messages()["ModelInferRequest"](model_name="late-parcel", id="one")
    for one in TENSORS:
        request.inputs.add(name=one["name"], datatype=one["datatype"], shape=one["shape"])
        request.raw_input_contents.append(packed(one["datatype"], one["data"]))
    return request.SerializeToString()


@pytest.fixture(autouse=True)
def _unharmed(fuzzed):
    yield
    fuzzed.require_unharmed()


@EXAMPLES
@given(st.data(), st.sampled_from(sorted(BODIES)))
def test_bodies_of_json(fuzzed, data, target):
    sound = BODIES[target]
    body = data.draw(mutated_json(sound) | mutated_bytes([json.dumps(one).encode() for one in sound]))
    require_told(fuzzed.http.post(target, content=body, headers={"content-type": "application/json"}))


HEAD, DATA = binary()
BYTES = {"content-type": "application/octet-stream"}


def test_what_is_changed_was_sound(fuzzed):
    head = json.dumps(HEAD).encode()
    headers = {**BYTES, "inference-header-content-length": str(len(head))}
    answer = fuzzed.http.post("/v2/models/late-parcel/infer", content=head + DATA, headers=headers)
    assert answer.status_code == 200, answer.text
    for body, kind in ((CSV, "text/csv"), (parquet(), "application/vnd.apache.parquet")):
        answer = fuzzed.http.post("/invocations", content=body, headers={"content-type": kind})
        assert answer.status_code == 200, answer.text
    with grpc.insecure_channel(fuzzed.calls) as channel:
        assert channel.unary_unary(f"/{SERVICE}/ModelInfer")(call())


@EXAMPLES
@given(
    mutated_json([HEAD]) | mutated_bytes([json.dumps(HEAD).encode()]),
    mutated_bytes([DATA]),
    st.none() | st.integers(-2, 2000).map(str) | st.sampled_from(["", "1e3", "9" * 30]),
)
def test_tensors_of_bytes(fuzzed, head, data, said):
    headers = {**BYTES, "inference-header-content-length": str(len(head)) if said is None else said}
    require_told(fuzzed.http.post("/v2/models/late-parcel/infer", content=head + data, headers=headers))


@EXAMPLES
@given(st.sampled_from([(CSV, "text/csv"), (parquet(), "application/vnd.apache.parquet")]), st.data())
def test_files(fuzzed, sound, data):
    body, kind = sound
    mutated = data.draw(mutated_bytes([body]))
    require_told(fuzzed.http.post("/invocations", content=mutated, headers={"content-type": kind}))


@pytest.fixture(scope="module")
def channel(fuzzed):
    with grpc.insecure_channel(fuzzed.calls) as made:
        yield made


REFUSED = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        # What gRPC itself says of a message beyond the limit of bytes.
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


@EXAMPLES
@given(st.sampled_from(ACTS), mutated_bytes([call()]) | st.binary(max_size=80))
def test_calls(channel, act, body):
    try:
        if act == "ModelStreamInfer":
            list(channel.stream_stream(f"/{SERVICE}/{act}")(iter([body, call()]), timeout=30))
        else:
            channel.unary_unary(f"/{SERVICE}/{act}")(body, timeout=30)
    except grpc.RpcError as error:
        assert error.code() in REFUSED, error  # noqa: PT017


@EXAMPLES
@given(st.sampled_from(files()[2:]), st.binary(max_size=60))
def test_questions_of_reflection(channel, file, body):
    act = f"/{file.package}.{file.service[0].name}/{file.service[0].method[0].name}"
    try:
        list(channel.stream_stream(act)(iter([body]), timeout=30))
    except grpc.RpcError as error:
        assert error.code() in REFUSED, error  # noqa: PT017

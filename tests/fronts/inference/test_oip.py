"""The Open Inference Protocol with tensors as bytes, and what is asked of outputs."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serving.said import CLASSES

from varv.fronts.inference.oip import JSON_BYTES
from varv.fronts.inference.tensors import bytes_of, values_of

GROUP = {"name": "query", "shape": [2], "datatype": "BYTES", "data": ["q7", "q7"]}


@pytest.fixture(scope="module")
def client(of_tasks):
    return of_tasks


def tensor(name, datatype, values):
    data = bytes_of(datatype, values)
    size = {"binary_data_size": len(data)}
    return {"name": name, "shape": [len(values)], "datatype": datatype, "parameters": size}, data


def asked(client, model, inputs, *parts, **more):
    head = msgspec.json.encode({"inputs": inputs, **more})
    headers = {JSON_BYTES: str(len(head)), "content-type": "application/octet-stream"}
    return client.post(f"/v2/models/{model}/infer", content=b"".join([head, *parts]), headers=headers)


def outputs_in(answer):
    size = answer.headers.get(JSON_BYTES)
    head = msgspec.json.decode(answer.content[: int(size)] if size else answer.content)
    rest = memoryview(answer.content[int(size) :] if size else b"")
    found = {}
    for one in head["outputs"]:
        data = one.get("data")
        if data is None:
            n = one["parameters"]["binary_data_size"]
            data, rest = values_of(one["name"], one["datatype"], rest[:n]), rest[n:]
        found[one["name"]] = (one["shape"], one["datatype"], data)
    assert not rest
    return found


def test_tensors_as_bytes_mean_what_those_in_json_mean(client):
    x, data = tensor("x", "FP64", [1.0, 2.0])
    plain = {"name": "x", "shape": [2], "datatype": "FP64", "data": [1.0, 2.0]}
    in_json = client.post("/v2/models/multiclass/infer", json={"id": "a", "inputs": [plain, GROUP]})
    as_bytes = asked(client, "multiclass", [x, GROUP], data, id="a")
    assert as_bytes.json()["outputs"] == in_json.json()["outputs"]
    texts, named = tensor("query", "BYTES", ["q7", "q7"])
    both = asked(
        client, "multiclass", [texts, x], named, data, id="a", parameters={"binary_data_output": True}
    )
    assert both.headers["content-type"] == "application/octet-stream"
    assert outputs_in(both) == outputs_in(in_json)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "INT8", "UINT64"])
def test_numbers_may_come_as_any_that_the_column_holds(client, datatype):
    x, data = tensor("x", datatype, [1, 2])
    assert asked(client, "binary", [x, GROUP], data).status_code == 200


def test_an_output_says_for_itself_whether_it_comes_as_bytes(client):
    x, data = tensor("x", "FP64", [1.0, 2.0])
    wanted = [{"name": "probability"}, {"name": "key", "parameters": {"binary_data": False}}]
    answer = asked(
        client, "binary", [x, GROUP], data, outputs=wanted, parameters={"binary_data_output": True}
    )
    head = msgspec.json.decode(answer.content[: int(answer.headers[JSON_BYTES])])
    assert ["data" in one for one in head["outputs"]] == [False, True]
    found = outputs_in(answer)
    assert found["probability"] == ([2], "FP32", [0.25, 0.25])


@pytest.mark.parametrize("binary", [False, True])
def test_classes_are_told_by_value_place_and_name(client, binary):
    x, data = tensor("x", "FP64", [1.0, 2.0])
    options = {"classification": 2, "binary_data": binary}
    answer = asked(
        client, "multiclass", [x, GROUP], data, outputs=[{"name": "probabilities", "parameters": options}]
    )
    best = [f"0.500000:0:{CLASSES[0]}", f"0.250000:1:{CLASSES[1]}"]
    shape, datatype, values = outputs_in(answer)["probabilities"]
    assert (shape, datatype, values) == ([2, 2], "BYTES", best * 2)


def test_a_model_of_tasks_takes_bytes_alone(client):
    # The group is needed by the ranking alone.
    data = np.array([1.0, 2.0]).tobytes()
    answer = client.post("/v2/models/binary/infer", content=data, headers={JSON_BYTES: "0"})
    assert answer.status_code == 200, answer.text
    assert outputs_in(answer)["probability"][2] == [0.25, 0.25]
    refused = client.post("/v2/models/ranking/infer", content=data, headers={JSON_BYTES: "0"})
    assert refused.status_code == 400


X, DATA = tensor("x", "FP64", [1.0, 2.0])
BAD = {
    "bytes that no tensor has": ([X, GROUP], DATA + b"more", {}),
    "a tensor larger than the body": ([X, GROUP], DATA[:8], {}),
    "data twice": ([{**X, "data": [1.0, 2.0]}, GROUP], DATA, {}),
    "no data": ([{**X, "parameters": {}}, GROUP], b"", {}),
    "a size that is no number": ([{**X, "parameters": {"binary_data_size": "16"}}, GROUP], DATA, {}),
    "a size below zero": ([{**X, "parameters": {"binary_data_size": -16}}, GROUP], DATA, {}),
    "a size that is a truth value": ([{**X, "parameters": {"binary_data_size": True}}, GROUP], DATA, {}),
    "values that the shape has not": ([{**X, "shape": [3]}, {**GROUP, "shape": [3]}], DATA, {}),
    "a shape that overflows": ([{**X, "shape": [2**63]}, GROUP], DATA, {}),
    "an infinite number": ([X, GROUP], np.array([np.inf, 0.0]).tobytes(), {}),
    "a flag that is none": ([X, GROUP], DATA, {"parameters": {"binary_data_output": 1}}),
    "classes of texts": (
        [X, GROUP],
        DATA,
        {"outputs": [{"name": "key", "parameters": {"classification": 1}}]},
    ),
    "no number of classes": (
        [X, GROUP],
        DATA,
        {"outputs": [{"name": "probability", "parameters": {"classification": -1}}]},
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_fit_is_refused_and_named(client, kind):
    inputs, data, more = BAD[kind]
    answer = asked(client, "binary", inputs, data, **more)
    assert answer.status_code in (400, 413), answer.text
    assert answer.json()["error"]


@pytest.mark.parametrize("said", ["-1", "1e3", "99999", "9" * 30, "", "0x10"])
def test_a_head_that_does_not_fit_is_refused(client, said):
    answer = client.post("/v2/models/binary/infer", content=b"{}", headers={JSON_BYTES: said})
    assert answer.status_code == 400


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=120), st.integers(0, 130))
def test_whatever_comes_the_server_says_what_is_wrong(client, body, size):
    answer = client.post("/v2/models/binary/infer", content=body, headers={JSON_BYTES: str(size)})
    assert answer.status_code in (200, 400)

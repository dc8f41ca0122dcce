"""Several models behind one front: each answers as its task has it, and a request says whose it is."""

from __future__ import annotations

import pytest
from tests.fronts.asking import asking
from tests.home.live_home import NOW, REQUEST, LiveHome
from tests.loop.other_tasks import twins
from tests.serving.said import CLASSES, SAID, answering

from varv.fronts.inference import Inference, create_inference
from varv.kernel.clock import Instant, as_datetime

TENSORS = {
    "binary": {"probability": ([1], "FP32", [0.25])},
    "multiclass": {
        "probabilities": ([1, 3], "FP32", [0.5, 0.25, 0.25]),
        "label": ([1], "BYTES", ["on time"]),
    },
    "regression": {"prediction": ([1], "FP32", [12.5])},
    "quantiles": {"quantiles": ([1, 3], "FP32", [-1.5, 3.0, 40.0])},
    "ranking": {"score": ([1], "FP32", [2.5])},
    "score": {"score": ([1], "FP32", [-0.75])},
}
PLAIN = {
    "binary": 0.25,
    "multiclass": dict(zip(CLASSES, (0.5, 0.25, 0.25), strict=True)),
    "regression": 12.5,
    "quantiles": [-1.5, 3.0, 40.0],
    "ranking": 2.5,
    "score": -0.75,
}
ASKED = {
    "inputs": [
        {"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]},
        {"name": "query", "shape": [1], "datatype": "BYTES", "data": ["q7"]},
    ]
}
FRAME = {"dataframe_records": [{"x": 1.0, "query": "q7"}] * 2}


@pytest.fixture(scope="module")
def client(of_tasks):
    return of_tasks


@pytest.mark.parametrize("name", SAID)
def test_an_answer_comes_in_the_tensors_of_its_task(client, name):
    said = client.post(f"/v2/models/{name}/infer", json=ASKED).json()
    outputs = {one["name"]: (one["shape"], one["datatype"], one["data"]) for one in said["outputs"]}
    about = {kind: outputs.pop(kind) for kind in ("version", "arm", "key")}
    assert outputs == TENSORS[name]
    assert about["version"] == ([1], "INT32", [1])
    assert (said["model_name"], said["model_version"]) == (name, "1")


@pytest.mark.parametrize("name", SAID)
def test_the_metadata_of_a_model_lists_the_tensors_that_it_answers(client, name):
    told = client.get(f"/v2/models/{name}").json()
    assert told["parameters"]["task"] == SAID[name][0].name
    shown = {one["name"]: (one["shape"][1:], one["datatype"]) for one in told["outputs"]}
    expected = {tensor: (shape[1:], kind) for tensor, (shape, kind, _) in TENSORS[name].items()}
    assert shown.items() >= expected.items()
    assert shown.keys() - expected.keys() == {"version", "arm", "key"}


@pytest.mark.parametrize("name", SAID)
def test_an_invocation_answers_in_the_plain_form_of_its_task(client, name):
    by_path = client.post(f"/invocations/{name}", json=FRAME)
    by_header = client.post("/invocations", json=FRAME, headers={"x-varv-model": name})
    assert by_path.json() == by_header.json() == {"predictions": [PLAIN[name]] * 2}


def test_an_invocation_that_names_no_model_is_told_how_to(client):
    answer = client.post("/invocations", json=FRAME)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "INVALID_INPUT"
    for way in ("/invocations/NAME", "x-varv-model", "binary, multiclass"):
        assert way in answer.json()["hint"]


@pytest.mark.parametrize("path", ["/invocations/other", "/v2/models/other/infer"])
def test_a_model_that_is_not_served_is_not_found(client, path):
    answer = client.post(path, json=FRAME if "inv" in path else ASKED)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    assert "ranking, score" in answer.json()["hint"]


def test_only_the_tensor_asked_for_is_given(client):
    asked = {**ASKED, "outputs": [{"name": "label"}]}
    said = client.post("/v2/models/multiclass/infer", json=asked).json()
    assert [one["name"] for one in said["outputs"]] == ["label"]
    refused = client.post("/v2/models/regression/infer", json=asked)
    assert refused.status_code == 400
    assert "prediction, version, arm, key" in refused.json()["hint"]


def test_models_are_listed_with_whether_they_are_ready(tmp_path):
    inference = Inference()
    inference.models = {
        name: answering(tmp_path, name, *SAID["regression"][:1], row)
        for name, row in (("a", [1.0]), ("b", None))
    }
    with asking(create_inference(inference)) as client:
        assert client.get("/v2/models").json() == {"models": ["a", "b"]}
        every = client.post("/v2/repository/index", json={}).json()
        ready = client.post("/v2/repository/index", json={"ready": True}).json()
        assert client.get("/v2/health/ready").status_code == 503
    assert [(one["name"], one["version"], one["state"]) for one in every] == [
        ("a", "1", "READY"),
        ("b", "", "UNAVAILABLE"),
    ]
    assert [one["name"] for one in ready] == ["a"]


def test_a_ranking_asks_every_request_for_its_list(client):
    told = client.get("/v2/models/ranking").json()
    required = {one["name"] for one in told["inputs"] if one["parameters"]["required"]}
    assert required == {"x", "query"}
    refused = client.post("/v2/models/ranking/infer", json={"inputs": ASKED["inputs"][:1]})
    assert (refused.status_code, refused.json()["field"]) == (400, "query")


def test_two_models_of_one_home_are_answered_and_captured_apart(tmp_path):
    served = LiveHome(tmp_path, *twins())
    inference = Inference()
    inference.models = dict(served.answering_of)
    record = {name: values[0] for name, values in REQUEST.items()}
    try:
        with asking(create_inference(inference)) as client:
            for name, kept in (("late-parcel", record), ("slow-parcel", {"load": 0.5, "route": "north"})):
                answer = client.post(
                    "/invocations", json={"dataframe_records": [kept]}, headers={"x-varv-model": name}
                )
                assert answer.status_code == 200, answer.json()
                assert answer.headers["x-varv-version"] == "1"
        served.ingest()
        counted = {
            name: parts.predictions.requested(NOW, Instant(NOW + 1)).height
            for name, parts in served.home.models.items()
        }
        assert counted == {"late-parcel": 1, "slow-parcel": 1}
        asked = served.home.datasets.read(served.parts.schema.requests).filter(asked_at=as_datetime(NOW))
        assert asked.height == 2
    finally:
        served.close()

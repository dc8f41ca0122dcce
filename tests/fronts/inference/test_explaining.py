"""Explanations over HTTP: what each feature contributed, of the version that is asked, kept by nobody."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.fronts.asking import asking
from tests.serving.said import NOW, all_answering
from tests.serving.samples import table

import varv
from varv.features import FeatureEngine, FeatureSet, FeatureStore
from varv.fronts.inference import Inference, create_inference
from varv.fronts.inference.openapi import document
from varv.kernel.clock import VirtualClock
from varv.kernel.environment import environment
from varv.kernel.ids import ModelName
from varv.registry import Column, Package, Signature
from varv.serving import Answering, CaptureLog, DataPlane, RequestSchema
from varv.serving.explaining import MOST_ROWS

WEIGHTS = {"a": 0.5, "b": -0.25, "c": 0.0}


class Weighed:
    """A model that weighs and adds."""

    def __init__(self, weights):
        self._weights = np.array(list(weights.values()))

    def predict(self, rows):
        return (np.nan_to_num(rows.astype(np.float64)) @ self._weights).astype(np.float32).reshape(-1, 1)


class WeighedRuntime:
    def load(self, package, *, threads=1):
        return Weighed(msgspec.json.decode(package.file("weights")))


def package(weights, probe):
    made = Weighed(weights)
    return Package(
        estimator="weighed",
        signature=Signature(tuple(Column(name, "number") for name in weights)),
        environment=environment(),
        params={},
        seed=0,
        n_rows=1,
        task=varv.task.score().spec,
        runtime="weighed",
        files={"weights": msgspec.json.encode(weights)},
        probe=probe,
        probe_scores=tuple((float(one),) for one in made.predict(np.array(probe, np.float32))[:, 0]),
    )


@pytest.fixture
def inference(tmp_path):
    types = {"id": pl.String(), "asked_at": pl.Datetime("us", "UTC")}
    past = pl.DataFrame(
        {"id": ["x"], "asked_at": [NOW], **{name: [1.0] for name in WEIGHTS}}, schema_overrides=types
    )
    data = varv.Dataset("asked", source=varv.Frame(past), key="id", event_time="asked_at", known_at={})
    task = varv.task.score()
    schema = RequestSchema(ModelName("sum"), data, FeatureSet(tuple(WEIGHTS), data), task)
    plane = DataPlane(task, WeighedRuntime())
    plane.warm(1, package(WEIGHTS, ((0.0, 0.0, 0.0), (2.0, 4.0, 8.0))))
    plane.warm(2, package(dict.fromkeys(WEIGHTS, 1.0), ((0.0, 0.0, 0.0),)))
    plane.swap(table(1, candidate=2, share=0.5))
    engine = FeatureEngine(schema.features, data, FeatureStore())
    made = Inference()
    made.log = CaptureLog(tmp_path / "log")
    made.models = {ModelName("sum"): Answering(schema, engine, plane, made.log, VirtualClock(NOW))}
    made.models |= all_answering(tmp_path)
    return made


@pytest.fixture
def client(inference):
    with asking(create_inference(inference)) as asked:
        yield asked


ROW = {"a": 3.0, "b": 1.0, "c": 100.0}


def test_each_feature_is_told_what_it_contributed(client, inference):
    answer = client.post("/models/sum/explain", json={"id": "e", "rows": [ROW, {**ROW, "a": 1.0}]})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["id"], told["model"], told["version"], told["method"]) == ("e", "sum", 1, "exact")
    [first, second] = told["rows"]
    assert first["key"] == "e-0"
    assert first["prediction"] == pytest.approx(1.25)
    assert first["base"] == pytest.approx(0.0)
    # Of the mean of the background, a is 1 and b 2.
    assert first["contributions"] == [
        {"feature": "a", "contribution": pytest.approx(1.0), "error": 0.0},
        {"feature": "b", "contribution": pytest.approx(0.25), "error": 0.0},
        {"feature": "c", "contribution": pytest.approx(0.0), "error": 0.0},
    ]
    assert second["contributions"][0]["feature"] == "b"
    assert not inference.log.seal(), "a question is no request of the model's"
    assert inference.statistics[ModelName("sum")].counts.n_answered == 0


def test_a_version_may_be_named(client):
    told = client.post("/models/sum/explain?version=2", json={"rows": [ROW]}).json()
    assert told["version"] == 2
    assert {one["feature"]: one["contribution"] for one in told["rows"][0]["contributions"]} == pytest.approx(
        ROW
    )


def test_kserve_asks_in_its_own_way(client):
    answer = client.post("/v1/models/sum:explain", json={"instances": [ROW]})
    [row] = answer.json()["explanations"]
    assert row["prediction"] == pytest.approx(1.25)


@pytest.mark.parametrize("name", ["binary", "multiclass", "quantiles"])
def test_every_number_of_a_prediction_is_explained(client, inference, name):
    rows = [{"x": 1.0, "query": "q"}]
    told = client.post(f"/models/{name}/explain", json={"rows": rows}).json()["rows"][0]
    task = inference.models[ModelName(name)].task
    [one] = told["contributions"]
    if task.width == 1:
        assert one["contribution"] == 0.0
    else:
        assert set(one["contribution"]) == set(told["base"]) == set(task.outputs)


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        ("/models/sum/explain?version=x", {"rows": [ROW]}, 400),
        ("/models/sum/explain?version=9", {"rows": [ROW]}, 404),
        ("/models/nope/explain", {"rows": [ROW]}, 404),
        ("/models/sum/explain", {"rows": [ROW] * (MOST_ROWS + 1)}, 400),
        ("/models/sum/explain", {"rows": [{"a": 1.0}]}, 400),
        ("/v1/models/sum:explain", {"instances": 3}, 400),
    ],
)
def test_what_is_wrong_is_told(client, target, body, status):
    answer = client.post(target, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_it_is_described(inference):
    described = document(inference)["paths"]["/models/sum/explain"]["post"]
    shown = json.dumps(described["responses"]["200"])
    assert "contribution" in shown
    assert (
        described["requestBody"]["content"]["application/json"]["schema"]["properties"]["rows"]["maxItems"]
        == MOST_ROWS
    )

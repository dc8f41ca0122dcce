"""Every protocol shows what a declared transformation makes of an answer, and says so beforehand."""

from __future__ import annotations

import asyncio
import json

import polars as pl
import pytest
from tests.fronts.asking import asking
from tests.fronts.inference.test_hot import HOST, JSON, parsed
from tests.serving.test_transforming import answering

import varv
from varv.fronts.inference import HotCalls, Inference, create_inference
from varv.kernel.ids import ModelName

KM = varv.transform({"x": pl.col("miles") * 1.5}, inputs={"miles": float})
SHOWN = varv.transform(
    {
        "label": pl.when(pl.col("probability") >= 0.2).then(pl.lit("late")).otherwise(pl.lit("on time")),
        "probability": pl.col("probability") * 100,
        "sure": pl.col("probability") > 0.9,
        "rank": pl.when(pl.col("arm") == "champion").then(None).otherwise(pl.col("version")),
    }
)
MILES = {"inputs": [
    {"name": "miles", "shape": [1], "datatype": "FP64", "data": [2.0]},
    {"name": "query", "shape": [1], "datatype": "BYTES", "data": ["q"]},
]}  # fmt: skip
ROW = {"miles": 2.0, "query": "q"}


@pytest.fixture
def inference(tmp_path):
    made = Inference()
    made.models = {ModelName("transformed"): answering(tmp_path, before=KM, after=SHOWN)[0]}
    return made


def hot(inference, target, body):
    """Return what the hot path says."""

    async def ask():
        found = []
        calls = HotCalls(inference, frozenset({"127.0.0.1"})).calls
        calls[target].submit([HOST, JSON], json.dumps(body).encode(), lambda *told: found.append(told))
        while not found:
            await asyncio.sleep(0.005)
        return found[0]

    return parsed(*asyncio.run(ask()))


def outputs(told):
    return {one["name"]: (one["datatype"], one.get("data")) for one in told["outputs"]}


def test_tensors_show_what_is_made_of_the_answer(inference):
    status, _, body = hot(inference, b"/v2/models/transformed/infer", MILES)
    assert status == 200
    found = outputs(json.loads(body))
    assert found["label"] == ("BYTES", ["late"])
    assert found["probability"] == ("FP64", [25.0])
    assert found["sure"] == ("BOOL", [False])
    assert found["rank"] == ("INT64", [None])
    with asking(create_inference(inference)) as client:
        described = client.get("/v2/models/transformed").json()
        asked = {**MILES, "parameters": {"binary_data_output": True}}
        raw = client.post("/v2/models/transformed/infer", json=asked)
        one = client.post("/v2/models/transformed/infer", json={**MILES, "outputs": [{"name": "label"}]})
        wrong = [{"name": "probability", "parameters": {"classification": 1}}]
        refused = client.post("/v2/models/transformed/infer", json={**MILES, "outputs": wrong})
    assert {one["name"]: one["datatype"] for one in described["outputs"]} == {
        name: kind for name, (kind, _) in found.items()
    }
    inputs = {one["name"]: one["parameters"]["required"] for one in described["inputs"]}
    assert inputs["miles"]
    assert "x" not in inputs
    assert raw.status_code == 200, "a null that bytes do not have is no error"
    assert b"late" in raw.content
    assert outputs(one.json()) == {"label": ("BYTES", ["late"])}
    assert refused.status_code == 400


def test_rows_and_predictions_show_what_is_made_of_the_answer(inference):
    with asking(create_inference(inference)) as client:
        [row] = client.post("/models/transformed/predict", json={"rows": [ROW]}).json()["rows"]
        asked = {"instances": [ROW]}
        [predicted] = client.post("/v1/models/transformed:predict", json=asked).json()["predictions"]
        told = client.get("/openapi.json")
    shown = {"label": "late", "probability": 25.0, "sure": False, "rank": None}
    assert predicted == shown
    assert {name: row[name] for name in shown} == shown
    assert '"rank"' in told.text


def test_one_column_is_one_prediction(tmp_path):
    made = Inference()
    label = varv.transform({"label": pl.lit("late")})
    made.models = {ModelName("transformed"): answering(tmp_path, after=label)[0]}
    with asking(create_inference(made)) as client:
        asked = {"dataframe_records": [{"x": 1.0, "query": "q"}] * 2}
        assert client.post("/invocations", json=asked).json() == {"predictions": ["late", "late"]}


def test_what_goes_on_otherwise_than_declared_is_counted(tmp_path):
    number = varv.transform(
        {"x": pl.col("given").str.to_integer()},
        inputs={"given": str},
        otherwise="default",
        default={"x": 0.0},
    )
    made = Inference()
    made.models = {ModelName("transformed"): answering(tmp_path, before=number)[0]}
    with asking(create_inference(made)) as client:
        for given in ("7", "seven"):
            body = {"rows": [{"given": given, "query": "q"}]}
            response = client.post("/models/transformed/predict", json=body)
            assert response.status_code == 200
    assert response.headers["x-varv-flagged"] == "transformer.before"
    assert response.json()["flagged"] == {"transformer.before": [0]}
    counts = made.statistics[ModelName("transformed")].counts
    assert counts.n_flagged == {"transformer.before": 1}

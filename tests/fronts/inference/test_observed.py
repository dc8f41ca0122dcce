"""What was asked and answered waits for a model's observer, whichever way it was answered."""

from __future__ import annotations

import json

import pytest
from tests.fronts.asking import asking
from tests.fronts.inference.test_transformed import KM, MILES, ROW, SHOWN, hot, outputs
from tests.serving.test_transforming import answering

from varv.fronts.inference import Inference, create_inference
from varv.kernel.ids import ModelName
from varv.serving.observing import Observing
from varv.serving.policy import LogPolicy, Observer

NAME = ModelName("transformed")
OBSERVER = Observer(url="http://127.0.0.1:1/")


@pytest.fixture
def inference(tmp_path):
    made = Inference()
    made.models = {NAME: answering(tmp_path, before=KM, after=SHOWN)[0]}
    made.observing = {NAME: Observing(NAME, OBSERVER)}
    return made


def sent(inference, observer=OBSERVER):
    """Return the parts of the one request that waits, by their names."""
    found = inference.observing[NAME].take().events(observer)
    assert inference.observing[NAME].take() is None
    return {one.part: (one.id, json.loads(one.body)) for one in found}


def test_it_is_in_one_form_whatever_it_came_in(inference):
    hot(inference, b"/v2/models/transformed/infer", {"id": "r", **MILES})
    of_tensors = sent(inference)
    with asking(create_inference(inference)) as client:
        client.post("/models/transformed/predict", json={"rows": [ROW], "id": "r"})
        of_rows = sent(inference)
    assert of_tensors == of_rows
    name, request = of_rows["request"]
    assert name == request["id"] == "r"
    assert {one["name"]: one["data"] for one in request["inputs"]} == {"miles": [2.0], "query": ["q"]}
    _, response = of_rows["response"]
    assert outputs(response)["label"] == ("BYTES", ["late"])
    assert (response["model_name"], response["model_version"]) == ("transformed", "1")


@pytest.mark.parametrize("mode", ["request", "response"])
def test_one_part_is_sent_where_one_is_wished_for(mode, inference):
    hot(inference, b"/v2/models/transformed/infer", MILES)
    assert [*sent(inference, Observer(url="http://127.0.0.1:1/", mode=mode))] == [mode]


def test_what_is_refused_or_asked_of_a_version_is_not_sent(inference):
    with asking(create_inference(inference)) as client:
        assert client.post("/models/transformed/predict", json={"rows": [{}]}).status_code == 400
        path = "/v2/models/transformed/versions/1/infer"
        assert client.post(path, json=MILES).status_code == 200
    assert inference.observing[NAME].take() is None


def test_columns_that_are_not_kept_are_not_sent(inference, tmp_path):
    assert inference.models[NAME].hidden == frozenset()
    log = LogPolicy(redact=("query",))
    inference.models[NAME] = answering(tmp_path / "redacted", before=KM, after=SHOWN, log=log)[0]
    assert inference.models[NAME].hidden == {"query", "miles"}, "what is transformed may hold the same"
    hot(inference, b"/v2/models/transformed/infer", MILES)
    _, request = sent(inference)["request"]
    assert request["inputs"] == []

"""Text in, text out, for models whose requests are a text."""

from __future__ import annotations

import asyncio
import json

import msgspec
import polars as pl
import pytest
from openapi_spec_validator import validate
from tests.fronts.asking import asking
from tests.fronts.inference.test_access import CLIENTS
from tests.fronts.inference.test_hot import HOST, JSON, parsed
from tests.serving.said import NOW, SAID, FixedRuntime, answering, fixed
from tests.serving.samples import table

import varv
from varv.features import FeatureEngine, FeatureSet, FeatureStore
from varv.fronts.access import Door
from varv.fronts.inference import HotCalls, Inference, create_inference
from varv.kernel.clock import VirtualClock
from varv.kernel.errors import UserCodeFailed
from varv.kernel.ids import ModelName
from varv.registry import Column, Signature
from varv.serving import Answering, CaptureLog, DataPlane, RequestSchema

TEXTS = {
    "binary": "0.25",
    "multiclass": "on time",
    "regression": "12.5",
    "quantiles": "[-1.5,3.0,40.0]",
    "score": "-0.75",
}
"""What models say, by their task."""


def reading(folder, name) -> Answering:
    """Return what answers for a model that reads a text."""
    task, row = SAID[name]
    past = pl.DataFrame(
        {"id": ["a"], "asked_at": [NOW], "words": ["some"], "note": ["n"]},
        schema_overrides={"asked_at": pl.Datetime("us", "UTC")},
    )
    data = varv.Dataset("asked", source=varv.Frame(past), key="id", event_time="asked_at", known_at={})
    schema = RequestSchema(ModelName(name), data, FeatureSet(("words",), data), task)
    plane = DataPlane(task, FixedRuntime())
    signature = Signature((Column("words", "text"),), form="columns")
    plane.warm(1, msgspec.structs.replace(fixed(task, row), signature=signature, probe=(("some",),)))
    plane.swap(table(1))
    engine = FeatureEngine(schema.features, data, FeatureStore())
    return Answering(schema, engine, plane, CaptureLog(folder / name), VirtualClock(NOW))


@pytest.fixture
def inference(tmp_path):
    made = Inference()
    made.models = {ModelName(name): reading(tmp_path, name) for name in TEXTS}
    made.models[ModelName("numbers")] = answering(tmp_path, "numbers", *SAID["binary"])
    return made


@pytest.fixture
def client(inference):
    with asking(create_inference(inference)) as made:
        yield made


@pytest.mark.parametrize("name", TEXTS)
def test_the_prediction_of_a_text_is_a_text(client, name):
    answer = client.post(f"/v2/models/{name}/generate", json={"text_input": "good day", "id": "one"})
    told = {"id": "one", "model_name": name, "model_version": "1", "text_output": TEXTS[name]}
    assert (answer.status_code, answer.json()) == (200, told)
    assert answer.headers["x-varv-captured"] == "true"


def test_a_stream_has_one_event(client):
    answer = client.post("/v2/models/multiclass/generate_stream", json={"text_input": "good day"})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    [event, end] = answer.text.split("\n\n")
    assert end == ""
    told = json.loads(event.removeprefix("data: "))
    assert told["id"] == answer.headers["x-request-id"]
    assert (told["text_output"], told["done"]) == ("on time", True)


def test_parameters_are_taken_and_a_time_to_wait_is_kept(client):
    many = {"text_input": "good day", "parameters": {"temperature": 0.5, "stop": ["."]}, "top_p": 1}
    assert client.post("/v2/models/binary/generate", json=many).status_code == 200
    late = {"text_input": "good day", "parameters": {"timeout": 1}}
    assert client.post("/v2/models/binary/generate", json=late).status_code == 504


BAD = {
    "no JSON": (b"{", 422),
    "no text": (b"{}", 422),
    "a number for a text": (b'{"text_input": 1}', 422),
    "a time that is none": (b'{"text_input": "a", "parameters": {"timeout": "soon"}}', 422),
    "a text that is too long": (json.dumps({"text_input": "a" * 5000}).encode(), 422),
    "a long id": (json.dumps({"text_input": "a", "id": "a" * 5000}).encode(), 422),
}


@pytest.mark.parametrize("act", ["generate", "generate_stream"])
@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_told_by_the_statuses_of_the_protocol(client, act, kind):
    body, status = BAD[kind]
    answer = client.post(f"/v2/models/binary/{act}", content=body)
    assert (answer.status_code, set(answer.json()) >= {"error", "hint"}) == (status, True)
    assert client.post(f"/v2/models/nobody/{act}", content=b"{}").status_code == 404
    for version, expected in ((1, 200), (9, 404)):
        named = client.post(f"/v2/models/binary/versions/{version}/{act}", json={"text_input": "a"})
        assert named.status_code == expected
    typed = client.post(f"/v2/models/binary/{act}", content=b"a", headers={"content-type": "text/csv"})
    assert typed.status_code == 422


def test_a_model_that_fails_failed_to_generate(client, inference, monkeypatch):
    def fails(*_):
        raise UserCodeFailed("estimator", "Mine", "raised ValueError")

    monkeypatch.setattr(inference.models["binary"], "answer", fails)
    assert client.post("/v2/models/binary/generate", json={"text_input": "a"}).status_code == 424


def test_a_model_of_anything_else_says_why_it_does_not(client):
    answer = client.post("/v2/models/numbers/generate", json={"text_input": "good day"})
    assert answer.status_code == 400
    assert "needs x (Float64), and not one text" in answer.json()["error"]
    assert "/v2/models/numbers/infer" in answer.json()["hint"]


def test_whoever_may_only_read_generates_nothing(tmp_path):
    inference = Inference(Door(CLIENTS))
    inference.models = {ModelName("binary"): reading(tmp_path, "binary")}
    with asking(create_inference(inference)) as rest:
        for name, status in (("reader", 403), ("shop", 200)):
            headers = {"authorization": f"Bearer {name}"}
            for act in ("generate", "generate_stream"):
                asked = {"text_input": "good day"}
                answer = rest.post(f"/v2/models/binary/{act}", json=asked, headers=headers)
                assert answer.status_code == status


def test_what_can_be_asked_is_listed(client):
    assert "generate" in client.get("/v2").json()["extensions"]
    document = client.get("/openapi.json").json()
    validate(document)
    assert "/v2/models/binary/generate_stream" in document["paths"]
    assert "/v2/models/numbers/generate" not in document["paths"]


def test_the_hot_path_answers_alike(inference, client):
    hot, found = HotCalls(inference, None), []

    async def ask(target, body):
        hot.calls[target].submit([HOST, JSON], body, lambda *reply: found.append(parsed(*reply)))
        await asyncio.sleep(0.01)

    for name in ("multiclass", "numbers"):
        for body in (b'{"text_input": "good day", "id": "one"}', b"{}"):
            for act in ("generate", "generate_stream"):
                target = f"/v2/models/{name}/{act}"
                asyncio.run(ask(target.encode(), body))
                expected = client.post(target, content=body, headers={"content-type": "application/json"})
                status, headers, told = found.pop()
                assert (status, told) == (expected.status_code, expected.content)
                assert headers["content-type"] == expected.headers["content-type"]

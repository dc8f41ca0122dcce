"""The hot path answers as the application does, whatever it is asked."""

from __future__ import annotations

import asyncio
import gzip
import json

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fronts.asking import asking
from tests.serving.said import NOW, FixedRuntime, fixed
from tests.serving.samples import table

import varv
from varv.features import FeatureEngine, FeatureSet, FeatureStore
from varv.fronts.access import Door
from varv.fronts.inference import Inference, create_inference
from varv.fronts.inference.hot import HotCalls
from varv.fronts.inference.pace import MOST_ROWS
from varv.kernel.clock import VirtualClock
from varv.kernel.errors import StorageFull
from varv.kernel.ids import ModelName
from varv.registry import Column, Signature
from varv.serving import Answering, CaptureLog, DataPlane, RequestSchema
from varv.serving.capture import read_captures

NAMES = ("a", "b", "c")
HOST = (b"host", b"127.0.0.1:8480")
JSON = (b"content-type", b"application/json")
INFER, TYPED, KSERVE, MLFLOW = (
    b"/v2/models/wide/infer",
    b"/models/wide/predict",
    b"/v1/models/wide:predict",
    b"/invocations",
)


def answering(folder, name="wide") -> Answering:
    """Return what answers for a model of three numbers, and a text that need not be there."""
    types = {"id": pl.String(), "asked_at": pl.Datetime("us", "UTC"), "note": pl.String()}
    past = pl.DataFrame(
        {"id": ["x"], "asked_at": [NOW], "note": ["n"], "a": [1.0], "b": [1.0], "c": [1.0]},
        schema_overrides=types,
    )
    data = varv.Dataset("asked", source=varv.Frame(past), key="id", event_time="asked_at", known_at={})
    task = varv.task.binary()
    schema = RequestSchema(ModelName(name), data, FeatureSet(NAMES, data), task)
    plane = DataPlane(task, FixedRuntime())
    made = msgspec.structs.replace(
        fixed(task, (0.25,)),
        signature=Signature(tuple(Column(one, "number") for one in NAMES)),
        probe=((1.0,) * 3,),
    )
    plane.warm(1, made)
    plane.swap(table(1))
    engine = FeatureEngine(schema.features, data, FeatureStore())
    nullable = frozenset({"b"})
    return Answering(
        schema, engine, plane, CaptureLog(folder / name), VirtualClock(NOW), nullable=nullable, max_rows=500
    )


class Asked:
    """The hot path and the application over one model each, asked the same."""

    def __init__(self, folder, door_of=Door):
        self.hot_inference, self.inference = Inference(door_of()), Inference(door_of())
        self.hot_inference.models = {ModelName("wide"): answering(folder / "hot")}
        self.inference.models = {ModelName("wide"): answering(folder / "app")}
        self.hot = HotCalls(self.hot_inference, frozenset({"127.0.0.1"}))
        self.app = create_inference(self.inference)

    def replies(self, *requests):
        """Return what the hot path says to requests of one moment: status, headers and body of each."""

        async def ask():
            found = [None] * len(requests)
            for number, (target, headers, body) in enumerate(requests):

                def reply(head, answer, number=number):
                    assert found[number] is None
                    found[number] = head, answer

                self.hot.calls[target].submit([HOST, *headers], body, reply)
            for _ in range(200):
                if all(one is not None for one in found):
                    break
                await asyncio.sleep(0.005)
            return found

        return [parsed(head, body) for head, body in asyncio.run(ask())]

    def same(self, target, headers, body):
        """Return what both ways say, which is the same."""
        [hot] = self.replies((target, headers, body))
        given = {name.decode(): value.decode("latin-1") for name, value in headers}
        with asking(self.app) as client:
            response = client.post(target.decode(), content=body, headers={**given, "host": "127.0.0.1:8480"})
        told = dict(response.headers)
        for one in (told, hot[1]):
            if "x-request-id" not in given:
                one.pop("x-request-id", None)
        assert (hot[0], hot[1], without_id(hot[2])) == (
            response.status_code,
            told,
            without_id(response.content),
        )
        return hot


def parsed(head: bytes, body: bytes):
    first, *lines = head.decode("latin-1").split("\r\n")[:-1]
    return int(first.split(" ")[1]), dict(line.split(": ", 1) for line in lines), body


def without_id(body: bytes):
    """Return an answer without the id that each way makes of its own."""
    try:
        told = json.loads(body)
    except ValueError:
        return body
    text = json.dumps(told)
    made = told.get("id") if isinstance(told, dict) else None
    return text.replace(made, "ID") if isinstance(made, str) and len(made) == 24 else text


@pytest.fixture
def asked(tmp_path):
    return Asked(tmp_path)


def tensors(**columns):
    return [
        {"name": name, "shape": [len(values)], "datatype": "FP64", "data": values}
        for name, values in columns.items()
    ]


def infer(inputs, **more):
    return json.dumps({"id": "one", "inputs": inputs, **more}).encode()


MATRIX = {"name": "input", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6.5]}
GOOD = {
    "tensors": (INFER, infer(tensors(a=[1.0], b=[None], c=[2]))),
    "matrix": (INFER, infer([MATRIX])),
    "rows of a matrix": (INFER, infer([{**MATRIX, "data": [[1, 2, 3], [4, None, 6]]}])),
    "numbers beyond single precision": (INFER, infer([{**MATRIX, "data": [1e39, 2, 3, 4, 5, -1e308]}])),
    "outputs": (
        INFER,
        infer(
            [MATRIX], outputs=[{"name": "key"}, {"name": "probability", "parameters": {"classification": 1}}]
        ),
    ),
    "binary answer": (INFER, infer([MATRIX], parameters={"binary_data_output": True})),
    "text of its own": (
        INFER,
        infer(
            [
                *tensors(a=[1.0], b=[1.0], c=[1.0]),
                {"name": "note", "shape": [1], "datatype": "BYTES", "data": ["ö"]},
            ]
        ),
    ),
    "typed": (TYPED, b'{"rows":[{"a":1,"b":2,"c":3},{"a":1,"b":null,"c":3.5,"note":"x"}],"id":"t"}'),
    "instances": (KSERVE, b'{"instances":[{"a":1,"b":2,"c":3}]}'),
    "instances without names": (KSERVE, b'{"instances":[[1,2,3],[4,5,6.5]]}'),
    "inputs": (MLFLOW, b'{"inputs":{"a":[1,2],"b":[1,2],"c":[1,2]}}'),
    "split": (MLFLOW, b'{"dataframe_split":{"columns":["c","a","b"],"data":[[1,2,3]]}}'),
    "split without names": (MLFLOW, b'{"dataframe_split":{"data":[[1,2,3]]}}'),
    "records": (MLFLOW, b'{"dataframe_records":[{"a":1,"b":2,"c":3}]}'),
}


@pytest.mark.parametrize("name", GOOD)
def test_every_form_is_answered_alike(asked, name):
    target, body = GOOD[name]
    status, headers, _ = asked.same(target, [JSON], body)
    assert (status, headers["x-varv-version"], headers["x-varv-captured"]) == (200, "1", "true")
    for inference in (asked.hot_inference, asked.inference):
        told = inference.statistics[ModelName("wide")].described()
        assert (told["inference_stats"]["success"]["count"], told["execution_count"]) == (1, 1)


def test_tensors_as_bytes_are_answered_alike(asked):
    matrix = np.arange(6, dtype="<f4").reshape(2, 3)
    matrix[1, 1] = np.nan
    tensor = {key: MATRIX[key] for key in ("name", "shape", "datatype")} | {
        "parameters": {"binary_data_size": 24}
    }
    head = infer([tensor])
    headers = [
        (b"inference-header-content-length", str(len(head)).encode()),
        (b"content-type", b"application/octet-stream"),
    ]
    status, _, _ = asked.same(INFER, headers, head + matrix.tobytes())
    assert status == 200


BAD = {
    "no json": (INFER, [JSON], b"{"),
    "another type": (INFER, [(b"content-type", b"text/plain")], b"{}"),
    "no inputs": (INFER, [JSON], infer([])),
    "a column that is missing": (INFER, [JSON], infer(tensors(a=[1.0]))),
    "an unknown column": (INFER, [JSON], infer(tensors(a=[1.0], b=[1.0], c=[1.0], d=[1.0]))),
    "null where there is none": (INFER, [JSON], infer([{**MATRIX, "data": [None, 2, 3, 4, 5, 6]}])),
    "a matrix of another width": (INFER, [JSON], infer([{**MATRIX, "shape": [3, 2]}])),
    "a matrix with too little": (INFER, [JSON], infer([{**MATRIX, "data": [1, 2]}])),
    "a matrix of texts": (INFER, [JSON], infer([{**MATRIX, "data": ["x"] * 6}])),
    "a matrix of lists": (INFER, [JSON], infer([{**MATRIX, "data": [[1, 2], [3, 4], [5, 6]]}])),
    "too many rows": (INFER, [JSON], infer([{**MATRIX, "shape": [501, 3], "data": [1.0] * 1503}])),
    "no rows": (INFER, [JSON], infer([{**MATRIX, "shape": [0, 3], "data": []}])),
    "rows of several lengths": (KSERVE, [JSON], b'{"instances":[[1,2,3],[4,5]]}'),
    "rows of texts": (KSERVE, [JSON], b'{"instances":[["x",2,3]]}'),
    "another site": (INFER, [JSON, (b"origin", b"https://example.org")], infer([MATRIX])),
    "another charset": (MLFLOW, [(b"content-type", b"application/json; charset=latin-1")], b"{}"),
    "no model of that name": (MLFLOW, [JSON, (b"x-varv-model", b"none")], b'{"instances":[[1,2,3]]}'),
    "no type said": (TYPED, [], b"{}"),
    "a long id": (INFER, [JSON], json.dumps({"id": "x" * 2000, "inputs": [MATRIX]}).encode()),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_is_refused_alike(asked, name):
    status, headers, body = asked.same(*BAD[name])
    told = json.loads(body)
    assert 400 <= status < 500
    assert told["error"]
    assert told["hint"]
    assert headers["content-type"] == "application/json"


def test_another_name_of_the_server_is_refused(asked):
    found = []
    asked.hot.calls[INFER].submit(
        [(b"host", b"evil.example"), JSON], infer([MATRIX]), lambda *one: found.append(one)
    )
    status, _, body = parsed(*found[0])
    assert status == 403
    assert json.loads(body)["error"]["kind"] == "host"


def test_requests_of_one_moment_are_scored_in_one_call_and_answered_each(asked):
    several = [(INFER, [JSON], infer(tensors(a=[float(n)], b=[1.0], c=[1.0]), id=f"r{n}")) for n in range(40)]
    several[7:7] = [
        (INFER, [JSON], infer(tensors(a=[1.0]))),
        (TYPED, [JSON], b'{"rows":[{"a":1,"b":2,"c":3}],"id":"t"}'),
    ]
    replies = asked.replies(*several)
    assert [status for status, _, _ in replies] == [200] * 7 + [400] + [200] * 34
    ids = [json.loads(body).get("id") for _, _, body in replies]
    assert ids == [*(f"r{n}" for n in range(7)), None, "t", *(f"r{n}" for n in range(7, 40))]
    told = asked.hot_inference.statistics[ModelName("wide")].described()
    assert (told["inference_count"], told["execution_count"]) == (41, 1)
    assert (told["inference_stats"]["success"]["count"], told["inference_stats"]["fail"]["count"]) == (41, 1)
    [path] = asked.hot_inference.models["wide"]._log.seal()
    captures = read_captures(path)
    [layout] = [one.layout for one in captures if one.layout is not None]
    [block] = [one.block for one in captures if one.block is not None]
    names = [*(f"r{n}" for n in range(7)), "t", *(f"r{n}" for n in range(7, 40))]
    assert block.texts[layout.texts.index("id")] == names


def test_so_many_rows_are_scored_together_and_no_more(asked):
    rows = [[1.0, 2.0, 3.0]] * 100
    body = json.dumps({"instances": rows}).encode()
    replies = asked.replies(*[(KSERVE, [JSON], body)] * 5)
    assert [len(json.loads(body)["predictions"]) for _, _, body in replies] == [100] * 5
    told = asked.hot_inference.statistics[ModelName("wide")].described()
    assert (told["execution_count"], MOST_ROWS) == (3, 256)


def test_what_cannot_be_captured_is_told_to_each(asked, monkeypatch):
    model = asked.hot_inference.models["wide"]

    def refuse(*_):
        raise StorageFull("capture file", "1.jsonl")

    monkeypatch.setattr(model._log, "write_lines", refuse)
    replies = asked.replies(*[(INFER, [JSON], infer([MATRIX]))] * 3)
    assert [headers["x-varv-captured"] for _, headers, _ in replies] == ["false"] * 3
    assert model.take_uncaptured() == 6
    monkeypatch.setattr(model, "_capture_required", True)
    replies = asked.replies(*[(INFER, [JSON], infer([MATRIX]))] * 3)
    assert [status for status, _, _ in replies] == [507] * 3


def test_a_fault_is_told_and_not_kept_from_the_log(asked, monkeypatch):
    model = asked.hot_inference.models["wide"]
    monkeypatch.setattr(model, "answer_together", lambda _: 1 / 0)
    found = []

    async def ask():
        faults = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: faults.append(context["exception"])
        )
        for _ in range(2):
            asked.hot.calls[INFER].submit(
                [HOST, JSON], infer([MATRIX]), lambda *one: found.append(parsed(*one))
            )
        await asyncio.sleep(0.01)
        return faults

    [fault] = asyncio.run(ask())
    assert isinstance(fault, ZeroDivisionError)
    assert [status for status, _, _ in found] == [500, 500]


def test_a_large_request_that_no_plan_takes_is_answered_in_a_thread(asked, monkeypatch):
    model = asked.hot_inference.models["wide"]
    monkeypatch.setattr(model, "ready", lambda *_: None)
    body = json.dumps({"instances": [[1.0, 2.0, 3.0]] * 200, "signature_name": "x" * 20_000}).encode()
    [(status, _, answer)] = asked.replies((KSERVE, [JSON], body))
    assert status == 200
    assert json.loads(answer)["predictions"] == [0.25] * 200


def test_long_answers_are_compressed_for_those_who_take_it(asked):
    body = json.dumps({"rows": [{"a": 1, "b": 2, "c": 3}] * 400, "id": "t"}).encode()
    [(_, plain, whole)] = asked.replies((TYPED, [JSON], body))
    [(_, headers, short)] = asked.replies((TYPED, [JSON, (b"accept-encoding", b"br, gzip")], body))
    assert "content-encoding" not in plain
    assert (headers["content-encoding"], headers["content-length"]) == ("gzip", str(len(short)))
    assert gzip.decompress(short) == whole


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60)
    | st.sampled_from([body for _, body in GOOD.values()]).flatmap(
        lambda body: st.integers(0, len(body)).map(lambda cut: body[:cut])
    )
)
def test_no_body_brings_anything_but_an_answer_or_a_refusal(shared, body):
    replies = shared.replies(
        (INFER, [JSON], body), (TYPED, [JSON], body), (KSERVE, [JSON], body), (MLFLOW, [JSON], body)
    )
    assert all(status in (200, 400, 413, 415) for status, _, _ in replies)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return Asked(tmp_path_factory.mktemp("shared"))

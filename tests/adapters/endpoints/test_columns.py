"""Another server makes columns of columns; what it answers is not believed."""

from __future__ import annotations

import json

import pytest
from tests.adapters.endpoints.failing import failing, hang

from varv.adapters.endpoints import ColumnTensor, EndpointColumns
from varv.kernel.errors import Corrupt, DeadlineExceeded
from varv.registry.endpoint import Endpoint

MILES, NOTE, KM = ColumnTensor("miles", "FP64"), ColumnTensor("note", "BYTES"), ColumnTensor("km", "FP64")
COLUMNS = {"miles": [2.0, None], "note": ["a", "b"]}


@pytest.fixture
def server():
    with failing() as made:
        yield made


def columns_of(server, timeout_s=60.0):
    return EndpointColumns(Endpoint(endpoint=server.url, timeout_s=timeout_s), {}, [MILES, NOTE], [KM])


def answered(**output):
    whole = {"name": "km", "datatype": "FP64", "shape": [2], "data": [3.0, None], **output}
    return lambda asked: asked.reply(json.dumps({"outputs": [whole]}).encode())


def test_columns_go_as_tensors_and_come_as_tensors(server):
    server.acts = [answered()]
    assert columns_of(server).call(COLUMNS) == {"km": [3.0, None]}
    [asked] = server.asked
    assert asked.target.endswith("/infer")
    assert json.loads(asked.body) == {
        "inputs": [
            {"name": "miles", "datatype": "FP64", "shape": [2], "data": [2.0, None]},
            {"name": "note", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
        ],
        "outputs": [{"name": "km"}],
    }


@pytest.mark.parametrize(
    "act",
    [
        answered(name="miles"),
        answered(shape=[1, 2]),
        answered(data=[3.0]),
        lambda asked: asked.reply(b"[" * 100_000),
        lambda asked: asked.reply(b"{}"),
        lambda asked: asked.reply(b"x" * (4 << 20)),
        lambda asked: asked.reply(b"no", status="500 Internal Server Error"),
    ],
)
def test_what_is_no_answer_is_one_error(act, server):
    server.acts = [act]
    with pytest.raises(Corrupt):
        columns_of(server).call(COLUMNS)


def test_one_that_hangs_is_waited_for_as_long_as_declared(server):
    server.acts = [hang]
    with pytest.raises(DeadlineExceeded):
        columns_of(server, timeout_s=0.5).call(COLUMNS)

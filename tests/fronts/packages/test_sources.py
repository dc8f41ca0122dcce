"""What goes into folders as it is answers as varv does, and refuses what the model does not read."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import os
import socket
import subprocess
import sys
import tarfile
import time

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from tests.fronts.packages.made import CODED, RUNTIMES, SOURCES, TEXTS
from tests.fronts.packages.test_graph import ROWS, SCHEMA

from varv.fronts.packages import TARGETS, Cluster, write_folder
from varv.tasks import task_of
from varv.training.imported import ImportInput, import_model, read_foreign

MODULES = ("varv_scoring", "inference")


def written(folder, target, name="coded"):
    write_folder(TARGETS[target](SOURCES[name], Cluster())[1], folder, target)
    if target == "sagemaker":
        with tarfile.open(folder / "model.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return folder


@contextlib.contextmanager
def modules_of(folder):
    """Import the modules of a folder as a process that serves it would."""
    sys.path.insert(0, str(folder))
    for name in MODULES:
        sys.modules.pop(name, None)
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def scorers(tmp_path_factory):
    found = {}
    for name in SOURCES:
        folder = written(tmp_path_factory.mktemp(name), "vertex", name)
        with modules_of(folder):
            found[name] = importlib.import_module("varv_scoring").Scorer(folder)
    return found


def columns_of(source):
    """Return the probe rows by column, as JSON would hold them."""
    exported, _ = TARGETS["vertex"](source, Cluster())
    return pl.DataFrame(exported.probe_records(), infer_schema_length=None).to_dict(as_series=False)


@pytest.mark.parametrize("name", SOURCES)
def test_probe_rows_are_answered_as_they_were(scorers, name):
    found = scorers[name].predict(columns_of(SOURCES[name]))
    np.testing.assert_array_equal(found, np.array(SOURCES[name].package.probe_scores, np.float32))
    assert found.dtype == np.float32


@settings(max_examples=25)
@given(ROWS)
def test_rows_are_answered_as_varv_answers_them(scorers, rows):
    frame = pl.DataFrame(rows, schema=SCHEMA)
    expected = RUNTIMES.load(CODED.package).predict(CODED.package.signature.feed(frame))
    found = scorers["coded"].predict({name: [row[name] for row in rows] for name in SCHEMA})
    np.testing.assert_array_equal(found, expected)


def test_missing_values_are_what_any_library_writes_for_them(scorers):
    plain = {"origin": [None], "wind": [None], "heat": [1.0]}
    expected = scorers["coded"].predict(plain)
    for missing in (math.nan, np.float32("nan"), pd.NA, pd.NaT):
        found = scorers["coded"].predict({"origin": [missing], "wind": [missing], "heat": [1]})
        np.testing.assert_array_equal(found, expected)


GOOD = {"origin": ["EWR"], "wind": [1.0], "heat": [2.0]}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"origin": ["EWR"], "wind": [1.0]}, "column 'heat' is missing; the model reads origin, wind, heat"),
        (GOOD | {"wind": ["1"]}, "column 'wind' holds str, where the model reads a number"),
        (GOOD | {"origin": [1]}, "column 'origin' holds int, where the model reads a text"),
        (GOOD | {"wind": [[1.0]]}, "column 'wind' holds list"),
        (GOOD | {"wind": [1.0, 2.0]}, "different lengths"),
    ],
)
def test_what_the_model_does_not_read_is_refused(scorers, given, problem):
    with pytest.raises(ValueError, match=problem):
        scorers["coded"].predict(given)


@pytest.mark.parametrize("seat", [None, 0.5, math.inf, 2**63, math.nan])
def test_a_whole_number_is_one(scorers, seat):
    with pytest.raises(ValueError, match="no whole number"):
        scorers["texts"].predict({"tail": ["N1"], "seat": [seat], "wind": [1.0]})


def test_records_name_the_numbers_of_a_prediction(scorers):
    [found] = scorers["coded"].records([{"origin": "EWR", "wind": 10**400, "heat": None, "more": 1}])
    assert list(found) == ["early", "on time", "late"]
    assert sum(found.values()) == pytest.approx(1)
    assert scorers["coded"].records([]) == []
    with pytest.raises(ValueError, match="column 'heat' is missing"):
        scorers["coded"].records([GOOD, {"origin": "EWR", "wind": 1.0}])
    with pytest.raises(ValueError, match="not objects"):
        scorers["coded"].records([["EWR", 1.0, 2.0]])


@pytest.mark.parametrize("name", SOURCES)
def test_what_mlflow_calls_answers_dataframes(tmp_path, name):
    folder = written(tmp_path, "mlflow", name)
    with modules_of(folder / "code"):
        model = importlib.import_module("varv_scoring")._load_pyfunc(str(folder))
    frame = pd.DataFrame(columns_of(SOURCES[name]))
    frame.index = frame.index + 5
    found = model.predict(frame)
    np.testing.assert_array_equal(found.to_numpy(), np.array(SOURCES[name].package.probe_scores, np.float32))
    assert list(found.index) == list(frame.index)
    tensors = {column: np.array(values, object) for column, values in columns_of(SOURCES[name]).items()}
    np.testing.assert_array_equal(model.predict(tensors).to_numpy(), found.to_numpy())
    with pytest.raises(ValueError, match="has no columns"):
        model.predict([1, 2])


@pytest.mark.parametrize("name", SOURCES)
def test_a_folder_of_mlflow_can_be_registered_again(tmp_path, name):
    pytest.importorskip("yaml")
    source = SOURCES[name]
    columns = columns_of(source)
    texts = {one.name for one in source.package.signature.columns if one.kind != "number"}
    types = {one: pl.String if one in texts else pl.Int64 if one == "seat" else pl.Float64 for one in columns}
    # Of whole numbers that float32 holds, so that the column is fed as the graph reads it, only great ones.
    rows = pl.DataFrame(columns, schema=types)
    given = ImportInput.of(read_foreign(written(tmp_path, "mlflow", name)), rows, tuple(columns))
    from varv.registry import open_package

    package = open_package(import_model(given, task=task_of(source.package.task), runtimes=RUNTIMES))
    assert package.signature.names == source.package.signature.names
    found = RUNTIMES.load(package).predict(package.signature.feed(rows))
    np.testing.assert_array_equal(found, np.array(source.package.probe_scores, np.float32))


def test_sagemakers_handlers_answer_json_and_csv(tmp_path):
    folder = written(tmp_path, "sagemaker")
    with modules_of(folder / "code"):
        handlers = importlib.import_module("inference")
    model = handlers.model_fn(str(folder))
    records = [{"origin": "EWR", "wind": 0.5, "heat": None}, {"origin": "", "wind": -3.0, "heat": 2.0}]
    rows = handlers.input_fn(json.dumps({"instances": records}), "application/json; charset=utf-8")
    assert handlers.input_fn(json.dumps(records).encode(), "application/json") == rows
    answers = handlers.predict_fn(rows, model)
    assert answers == model.records(records)
    assert answers != model.records([{**one, "origin": None} for one in records])
    body, kind = handlers.output_fn(answers, "*/*")
    assert (json.loads(body), kind) == ({"predictions": answers}, "application/json")
    # CSV has no word for the empty text, so there it is a missing one.
    records[1]["origin"] = None
    answers = model.records(records)
    text = "origin,wind,heat\nEWR,0.5,\n,-3.0,2.0\n"
    answers_of_csv = handlers.predict_fn(handlers.input_fn(text, "text/csv"), model)
    assert answers_of_csv == answers
    body, kind = handlers.output_fn(answers, "text/csv")
    assert (pd.read_csv(io.StringIO(body)).shape, kind) == ((2, 3), "text/csv")
    for body, kind in (("{}", "application/json"), ("[]", "application/x-npy"), ("3", "application/json")):
        with pytest.raises(ValueError, match="send"):
            handlers.input_fn(body, kind)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An address at which the server of a folder answers, as Vertex AI would start it."""
    folder, port = written(tmp_path_factory.mktemp("served"), "vertex"), free_port()
    routes = {"AIP_HTTP_PORT": str(port), "AIP_HEALTH_ROUTE": "/health", "AIP_PREDICT_ROUTE": "/predict"}
    running = subprocess.Popen([sys.executable, "server.py"], cwd=folder, env=dict(os.environ) | routes)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10.0) as client:
            for _ in range(200):
                with contextlib.suppress(httpx.TransportError):
                    client.get("/health")
                    break
                time.sleep(0.05)
            yield client
    finally:
        running.terminate()
        assert running.wait(10) == 0


def test_the_server_answers_by_vertexs_contract(server):
    assert server.get("/health").json() == {"model": "late_parcel", "version": 3}
    columns = columns_of(CODED)
    rows = pl.DataFrame(columns).to_dicts()
    found = server.post("/predict", json={"instances": rows, "parameters": {}}).json()["predictions"]
    scores = np.array([list(one.values()) for one in found], np.float32)
    np.testing.assert_array_equal(scores, np.array(CODED.package.probe_scores, np.float32))


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/predict", b"[1]", 400),
        ("/predict", b"{", 400),
        ("/predict", b"\xff", 400),
        ("/predict", b'{"instances": [1]}', 400),
        ("/predict", b'{"instances": [{"origin": 1, "wind": 1, "heat": 1}]}', 400),
        ("/predict", b"[" * 100_000, 400),
        ("/elsewhere", b"{}", 404),
    ],
)
def test_the_server_refuses_what_is_no_request(server, path, content, status):
    found = server.post(path, content=content)
    assert (found.status_code, list(found.json())) == (status, ["error"])
    assert server.get("/health").status_code == 200


def test_the_server_reads_no_body_of_unknown_or_great_length(server):
    assert server.post("/predict", content=iter([b"{}"])).status_code == 411
    host = server.base_url
    with socket.create_connection((host.host, host.port), 5) as stranger:
        stranger.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
        assert stranger.recv(100).startswith(b"HTTP/1.1 413")
    assert server.get("/nowhere").status_code == 404


def test_texts_and_great_whole_numbers_survive(scorers):
    [found] = scorers["texts"].records([{"tail": "N2", "seat": 2**40, "wind": 0.5}])
    assert list(found) == ["prediction"]
    assert found["prediction"] == pytest.approx(TEXTS.package.probe_scores[0][0])

"""A running server, reached over HTTP: it is read like its home, and acts."""

from __future__ import annotations

import datetime as dt
import json

import pandas as pd
import polars as pl
import pytest
from tests.app.serving import Server, eventually
from tests.app.serving import varv as command

import varv
from varv.app.client.connecting import _beside
from varv.app.client.inferring import inferred
from varv.app.client.rows import in_parts, plain_rows, sendable
from varv.fronts.client import Client
from varv.kernel.errors import (
    Corrupt,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Unavailable,
)

PARCEL = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}
MODEL = "late-parcel"
TOKEN = "open-sesame"


@pytest.fixture(scope="module")
def running(served_project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    found = Server(folder / "home", served_project(folder), token=TOKEN, training_nice=0)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def url(running) -> str:
    return str(running.control.base_url).rstrip("/")


@pytest.fixture(scope="module")
def server(url):
    with varv.connect(url, TOKEN) as found:
        yield found


@pytest.mark.slow
def test_a_server_is_read_as_its_home_is(server, running):
    asked = pl.DataFrame([{**PARCEL, "delivery_id": f"both-{number}"} for number in range(20)])
    server.predict(MODEL, asked)
    keys = eventually(lambda: _taken_in(server, "both-19"))
    with varv.open(running.home) as home:
        assert home.model().predictions(limit=500).equals(server.model().predictions(limit=500))
        assert home.model().versions.equals(server.model().versions)
        read = {"since": dt.date.today() - dt.timedelta(days=20)}
        assert home.dataset().read(**read).equals(server.dataset().read(**read))
        assert home.why(MODEL) == server.why(MODEL)
        assert home.why("both-3") == server.why("both-3")
        assert home.verify().ok
        assert server.verify().ok
        assert "running, pid" in home.status().state
        assert home.model().status == server.model().status
        assert json.loads(command(running.home, "why", MODEL, "--json"))["answer"] == home.why(MODEL).answer
    assert set(keys) >= {f"both-{number}" for number in range(20)}


def _taken_in(server, key: str) -> list[str] | None:
    recent = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    keys = server.model().predictions(recent)["key"].to_list()
    return keys if key in keys else None


@pytest.mark.slow
def test_predictions_come_as_a_frame_in_the_order_of_the_rows(server):
    rows = [{**PARCEL, "delivery_id": f"row-{n}", "distance_km": n / 10} for n in range(1100)]
    found = server.predict(MODEL, rows)
    assert found["key"].to_list() == [row["delivery_id"] for row in rows]
    assert found.columns == ["key", "probability", "version", "arm", "captured"]
    assert found["probability"].is_between(0, 1).all()
    assert found["captured"].all()
    assert found["probability"][0] < found["probability"][-1]


@pytest.mark.slow
def test_rows_may_be_of_polars_of_pandas_or_dicts(server):
    one = {**PARCEL, "delivery_id": "same"}
    found = [
        server.predict(MODEL, rows)["probability"].to_list()
        for rows in ([one], pl.DataFrame([one]), pd.DataFrame([one]))
    ]
    assert found[0] == found[1] == found[2]
    with pytest.raises(InvalidInput, match="'weight_kg' is null"):
        server.predict(MODEL, [{**one, "weight_kg": None}])


@pytest.mark.slow
def test_outcomes_are_recorded_and_the_refused_are_named_by_their_row(server):
    rows = [{"delivery_id": f"row-{n}", "late": n % 2} for n in range(1100)]
    rows[1050]["late"] = 7
    found = server.record(MODEL, rows)
    assert (found.n_rows, found.n_refused) == (1099, 1)
    assert (found.refused[0].row, found.refused[0].column) == (1050, "late")
    assert server.record(MODEL, pd.DataFrame(rows[:5])).n_rows == 5
    with pytest.raises(InvalidInput, match="late"):
        server.record(MODEL, [rows[1050]])
    known = eventually(lambda: _labelled(server))
    assert known["outcome"].to_list() == [1]


def _labelled(server) -> pl.DataFrame | None:
    recent = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    rows = server.model().predictions(recent, labelled=True)
    rows = rows.filter(pl.col("key") == "row-7").head(1)
    return rows if rows.height else None


@pytest.mark.slow
def test_verbs_act_and_errors_are_those_that_the_server_raised(server, url):
    with pytest.raises(FailedPrecondition, match="nothing to go back to"):
        server.model.rollback(MODEL, reason="test")
    with pytest.raises(NotFound, match="is not registered"):
        server.model.retrain("none")
    with pytest.raises(NotFound, match="is not served here"):
        server.predict("none", [PARCEL])
    with pytest.raises(InvalidInput, match="the columns are"):
        server.predict(MODEL, [{"wrong": 1}])
    with varv.connect(url) as stranger, pytest.raises(PermissionDenied, match="token"):
        stranger.model.retrain(MODEL)
    ordered = server.model.retrain(MODEL, reason="new labels")
    assert ordered.model == MODEL
    assert "<dt>Model</dt>" in ordered._repr_html_()
    assert server.call("model.status").models[0].model == MODEL
    assert "model.retrain" in server.verbs()
    assert server.health["state"] == "serving"
    assert "late-parcel" in server._repr_html_()


@pytest.mark.slow
def test_another_port_of_the_machine_is_no_server(running):
    with pytest.raises(Corrupt, match="is it the control port"):
        varv.connect(str(running.inference.base_url))


def test_a_server_that_is_not_there_or_no_address_is_said(tmp_path):
    with pytest.raises(Unavailable, match="is varv up running"):
        varv.connect("http://127.0.0.1:1", timeout=2)
    with pytest.raises(InvalidInput, match="not the address of a server"):
        varv.connect("varv")
    for timeout in (0, -1, True, "5", float("nan")):
        with pytest.raises(InvalidInput, match="no time to wait"):
            varv.connect("http://127.0.0.1:1", timeout=timeout)


def test_the_other_port_is_of_the_same_machine():
    assert _beside("https://models.example.org:8400", 8480) == "https://models.example.org:8480"
    assert _beside("http://[::1]:8400", 1) == "http://[::1]:1"


def test_rows_become_what_json_holds():
    at = dt.datetime(2026, 2, 1, 5, tzinfo=dt.UTC)
    frame = pl.DataFrame({"at": [at], "x": [float("nan")], "s": [None]})
    assert plain_rows(frame) == [{"at": "2026-02-01T05:00:00.000000Z", "x": None, "s": None}]
    assert plain_rows(pd.DataFrame({"x": [float("nan"), 1.0]}))[0]["x"] is None
    assert sendable(frame["x"]).to_list() == [None]
    assert sendable(pl.Series("d", [dt.date(2026, 2, 1)])).to_list() == ["2026-02-01T00:00:00Z"]
    for rows in ([], pl.DataFrame(), "text", 5, [1], {"a": 1}):
        with pytest.raises(InvalidInput, match=r"^rows"):
            plain_rows(rows)


def test_many_rows_are_sent_in_parts_that_a_request_holds():
    rows = [{"key": "k" * 1000, "n": n} for n in range(2500)]
    parts = in_parts(rows)
    assert [row for part in parts for row in part] == rows
    assert len(parts) == 4
    assert in_parts([{"key": "k" * (1 << 21)}, {"key": ""}])[1] == [{"key": ""}]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"outputs": 5},
        {"outputs": [{"name": "p", "datatype": "FP64", "shape": [2], "data": [0.5]}]},
        {"outputs": [{"name": "p", "datatype": "FP64", "shape": [1, 3], "data": [0.5]}]},
        {"outputs": [{"name": "p", "datatype": "FP64", "shape": [1, -1], "data": [0.5]}]},
        {"outputs": [{"name": "p", "datatype": "FP64", "shape": [1], "data": [[1], "x"][:1]}] * 2},
    ],
)
def test_an_answer_of_another_shape_is_no_answer(said, monkeypatch):
    client = Client("http://server")
    monkeypatch.setattr(client, "post", lambda path, body: said)
    with pytest.raises(Corrupt, match="does not answer as varv does"):
        inferred(client, MODEL, pl.DataFrame([PARCEL]))


def test_several_numbers_a_row_come_as_an_array(monkeypatch):
    client = Client("http://server")
    outputs = [
        {"name": "probabilities", "datatype": "FP64", "shape": [1, 2], "data": [0.25, 0.75]},
        {"name": "key", "datatype": "BYTES", "shape": [1], "data": ["a"]},
    ]
    monkeypatch.setattr(client, "post", lambda path, body: {"outputs": outputs})
    found = inferred(client, MODEL, pl.DataFrame([PARCEL]))
    assert found["probabilities"].to_list() == [[0.25, 0.75]]
    assert found.columns == ["key", "probabilities", "captured"]

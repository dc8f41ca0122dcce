"""Dataframes in every form in which scoring clients send them."""

from __future__ import annotations

import pytest
from tests.home.live_home import REQUEST

RECORD = {name: values[0] for name, values in REQUEST.items()}
ROWS = [{**RECORD, "load": float(n)} for n in range(3)]


@pytest.fixture(scope="module")
def client(of_live):
    return of_live


@pytest.fixture(scope="module")
def expected(client):
    return client.post("/invocations", json={"dataframe_records": ROWS}).json()["predictions"]


FORMS = {
    "split": {"dataframe_split": {"columns": list(RECORD), "data": [list(row.values()) for row in ROWS]}},
    "instances": {"instances": ROWS},
    "inputs by row": {"inputs": ROWS},
    "inputs by column": {"inputs": {name: [row[name] for row in ROWS] for name in RECORD}},
    "inputs as columns of one": {"inputs": {name: [[row[name]] for row in ROWS] for name in RECORD}},
    "with parameters": {"dataframe_records": ROWS, "params": {"k": 1}},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(client, expected, form):
    assert client.post("/invocations", json=FORMS[form]).json() == {"predictions": expected}


def csv_of(rows):
    lines = [
        ",".join(rows[0]),
        *(",".join("" if v is None else str(v) for v in row.values()) for row in rows),
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("given", ["text/csv", "text/csv; charset=utf-8", 'text/csv;charset="UTF-8"'])
def test_a_csv_text_says_the_same(client, expected, given, ending):
    body = csv_of(ROWS).replace("\n", ending).encode()
    answer = client.post("/invocations", content=body, headers={"content-type": given})
    assert answer.json() == {"predictions": expected}


@pytest.mark.parametrize("empty", ["", "nan", "NaN"])
def test_an_empty_field_of_a_csv_text_is_null(client, empty):
    body = csv_of([{**RECORD, "heat": empty}]).encode()
    answer = client.post("/invocations", content=body, headers={"content-type": "text/csv"})
    null = client.post("/invocations", json={"dataframe_records": [{**RECORD, "heat": None}]})
    assert answer.json() == null.json()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is not CSV"),
        (b"load,heat,route\n", "has no rows"),
        (b"load,load\n1,2\n", "names a column twice"),
        (b"load,heat,route\nmuch,1,north\n", "holds a text that is no number"),
        (b"load,heat,route\n1,2,north,south\n", "is not CSV"),
        (b"load,heat,route\n1e999,2,north\n", "too large"),
        (b"\xff\xfe,\n1,2\n", "is not CSV"),
        (b"load,heat,colour\n1,2,north\n", "does not exist"),
    ],
)
def test_a_csv_text_that_is_none_is_refused(client, body, problem):
    answer = client.post("/invocations", content=body, headers={"content-type": "text/csv"})
    assert answer.status_code == 400
    assert problem in answer.json()["error"]


def test_too_many_rows_are_too_large_in_every_form(client):
    many = [RECORD] * 101
    for form in ({"instances": many}, {"inputs": {name: [v] * 101 for name, v in RECORD.items()}}):
        assert client.post("/invocations", json=form).status_code == 413
    answer = client.post("/invocations", content=csv_of(many).encode(), headers={"content-type": "text/csv"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        {"instances": ROWS, "inputs": ROWS},
        {"instances": [1.0, 2.0]},
        {"instances": [RECORD, 1.0]},
        {"instances": []},
        {"inputs": {}},
        {"inputs": {"load": [1.0, 2.0], "heat": [1.0]}},
        {"inputs": "text"},
        {"instances": {"load": 1.0}},
    ],
)
def test_what_is_no_dataframe_is_refused(client, body):
    answer = client.post("/invocations", json=body)
    assert answer.status_code == 400
    assert answer.json()["hint"]


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0], [2.0]]])
@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_a_model_of_tasks_takes_plain_values(of_tasks, form, values):
    answer = of_tasks.post("/invocations/binary", json={form: values})
    assert answer.json() == {"predictions": [0.25, 0.25]}


def test_the_first_protocol_of_kserve_is_spoken(client, expected):
    assert client.get("/v1/models").json() == {"models": ["late-parcel"]}
    assert client.get("/v1/models/late-parcel").json() == {"name": "late-parcel", "ready": True}
    place = "/v1/models/late-parcel:predict"
    for body in ({"instances": ROWS}, {"inputs": FORMS["inputs by column"]["inputs"], "signature_name": "x"}):
        assert client.post(place, json=body).json() == {"predictions": expected}
    refused = client.post(place, json={"dataframe_records": ROWS})
    assert (refused.status_code, "instances" in refused.json()["hint"]) == (400, True)
    assert client.post("/v1/models/other:predict", json={"instances": ROWS}).status_code == 404
    assert "error" in client.get("/v1/models/other").json()

"""A model's own form, its OpenAPI document, and the pages on which a person asks."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from tests.fronts.browsing import Tree
from tests.home.live_home import REQUEST
from tests.serving.said import CLASSES, SAID

RECORD = {name: values[0] for name, values in REQUEST.items()}
PREDICT = "/models/late-parcel/predict"


@pytest.fixture(scope="module")
def client(of_live):
    return of_live


def schema_of(client, path, part):
    described = client.get("/openapi.json").json()["paths"][path]["post"]
    where = described["requestBody"] if part == "asked" else described["responses"]["200"]
    return Draft202012Validator(where["content"]["application/json"]["schema"])


def test_rows_come_as_objects_and_answers_too(client):
    asked = {"id": "mine", "rows": [RECORD, {**RECORD, "load": 0.9}]}
    answer = client.post(PREDICT, json=asked).json()
    tensors = [
        {"name": name, "shape": [1], "datatype": "BYTES" if name == "route" else "FP64", "data": [value]}
        for name, value in RECORD.items()
    ]
    said = client.post("/v2/models/late-parcel/infer", json={"inputs": tensors}).json()
    assert (answer["id"], answer["model"], answer["captured"]) == ("mine", "late-parcel", True)
    assert [row["key"] for row in answer["rows"]] == ["mine-0", "mine-1"]
    assert answer["rows"][0]["probability"] == said["outputs"][0]["data"][0]
    schema_of(client, PREDICT, "asked").validate(asked)
    schema_of(client, PREDICT, "answered").validate(answer)


@pytest.mark.parametrize("name", SAID)
def test_every_task_answers_as_its_schema_says(of_tasks, name):
    asked = {"rows": [{"x": 1.0, "query": "q7"}] * 2}
    answer = of_tasks.post(f"/models/{name}/predict", json=asked).json()
    schema_of(of_tasks, f"/models/{name}/predict", "asked").validate(asked)
    schema_of(of_tasks, f"/models/{name}/predict", "answered").validate(answer)
    if name == "multiclass":
        assert answer["rows"][0]["probabilities"] == [0.5, 0.25, 0.25]
        assert answer["rows"][0]["label"] == CLASSES[0]


def test_a_row_may_leave_out_what_others_have(of_tasks):
    rows = [{"x": 1.0}, {"x": 2.0, "id": "mine", "query": None}, {"x": 3.0, "query": "q7"}]
    answer = of_tasks.post("/models/binary/predict", json={"id": "r", "rows": rows})
    assert [row["key"] for row in answer.json()["rows"]] == ["r-0", "mine", "r-2"]
    refused = of_tasks.post("/models/binary/predict", json={"rows": [*rows, {"query": "q7"}]})
    assert (refused.status_code, "row=3" in refused.json()["error"]) == (400, True)


BAD = {
    "no rows": {"rows": []},
    "rows that are none": {"rows": [1.0]},
    "nothing": {},
    "something else": {"rows": [RECORD], "outputs": []},
    "a missing column": {"rows": [{"load": 1.0}]},
    "an unknown column": {"rows": [{**RECORD, "colour": 1}]},
    "a null": {"rows": [{**RECORD, "load": None}]},
    "a text for a number": {"rows": [{**RECORD, "load": "much"}]},
    "too many rows": {"rows": [RECORD] * 101},
    "a long text": {"rows": [{**RECORD, "route": "x" * 5000}]},
    "a long id": {"rows": [RECORD], "id": "x" * 2000},
}


@pytest.mark.parametrize("kind", BAD)
def test_what_the_schema_refuses_the_server_refuses(client, kind):
    assert not schema_of(client, PREDICT, "asked").is_valid(BAD[kind])
    answer = client.post(PREDICT, json=BAD[kind])
    assert answer.status_code in (400, 413)
    assert answer.json()["error"]


def test_the_example_of_the_document_is_answered(client):
    [example] = schema_of(client, PREDICT, "asked").schema["examples"]
    assert client.post(PREDICT, json=example).status_code == 200


def test_the_document_is_one(client, of_tasks):
    validate(client.get("/openapi.json").json())
    validate(of_tasks.get("/openapi.json").json())


def test_the_document_describes_paths_that_there_are(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path, acts in paths.items():
        for method in acts.keys() - {"parameters"}:
            place = path.replace("{model}", "late-parcel").replace("{version}", "1")
            assert client.request(method, place).status_code not in (404, 405), path


def test_a_person_asks_on_a_page(client):
    overview = client.get("/docs")
    assert "/docs/late-parcel" in {link.get("href") for link in Tree(overview.text).all("a")}
    assert client.get("/").headers["location"] == "/docs"
    page = Tree(client.get("/docs/late-parcel").text)
    assert not page.faults
    fields = {one["name"]: one for one in page.all("input")}
    assert set(fields) == {"parcel", "load", "heat", "route"}
    assert "required" in fields["load"]
    assert "required" not in fields["heat"]
    answered = client.post(
        "/docs/late-parcel", data={"load": "0.5", "heat": "", "route": "north", "parcel": ""}
    )
    assert answered.status_code == 200
    assert "probability" in Tree(answered.text).text
    assert "default-src 'none'" in answered.headers["content-security-policy"]
    assert client.get("/static/varv.css").status_code == 200
    assert client.get("/static/other").status_code == 404


def test_what_a_person_asks_is_counted_like_any_other_request(client):
    def counted():
        [told] = client.get("/v2/models/late-parcel/stats").json()["model_stats"]
        return told["execution_count"]

    before = counted()
    client.post("/docs/late-parcel", data={"load": "0.5", "route": "north"})
    assert counted() == before + 1


def test_what_a_person_gets_wrong_is_told_beside_what_they_typed(client):
    answered = client.post("/docs/late-parcel", data={"load": "<b>much", "route": "north"})
    page = Tree(answered.text)
    assert answered.status_code == 400
    assert "holds a text that is no number" in page.text
    assert {one["name"]: one["value"] for one in page.all("input")}["load"] == "<b>much"
    assert not page.all("b")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/docs/other", b"", {}, 404),
        ("/docs/late-parcel", b"\xff=1", {}, 400),
        ("/docs/late-parcel", b"x" * 70_000, {}, 413),
        ("/docs/late-parcel", b"load=1", {"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_what_is_no_form_of_ours_is_refused(client, path, body, headers, status):
    answer = client.post(path, content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert client.get("/docs/other").status_code == 404

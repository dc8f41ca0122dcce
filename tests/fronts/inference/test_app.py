from __future__ import annotations

import msgspec
import pytest
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.types import InferenceRequest, RequestInput
from tests.fronts.asking import asking
from tests.home.live_home import NOW, REQUEST

from varv.fronts.inference import Inference, create_inference
from varv.kernel.ids import ModelName

MODEL = "/v2/models/late-parcel"
JSON = {"content-type": "application/json"}
RECORD = {name: values[0] for name, values in REQUEST.items()}


@pytest.fixture(scope="module")
def served(lived, tmp_path_factory):
    found = lived(tmp_path_factory.mktemp("home"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def client(served):
    inference = Inference()
    inference.models = dict(served.answering_of)
    with asking(create_inference(inference)) as made:
        yield made


def tensor(name, data, datatype="FP64", shape=None):
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def tensors(n=1, **changed):
    given = {"load": [0.5] * n, "heat": [0.0] * n, "route": ["north"] * n, **changed}
    kinds = {"route": "BYTES", "parcel": "BYTES"}
    return [tensor(name, data, kinds.get(name, "FP64")) for name, data in given.items() if data is not None]


def infer(client, **body):
    return client.post(f"{MODEL}/infer", json=body)


def invoke(client, body):
    return client.post("/invocations", json=body)


def test_the_model_says_which_columns_a_request_brings(client):
    told = client.get(MODEL).json()
    columns = {column["name"]: column for column in told["inputs"]}
    assert set(columns) == {"parcel", "load", "heat", "route"}
    assert columns["load"]["datatype"] == "FP64"
    assert columns["load"]["parameters"] == {"required": True, "may_be_null": False}
    assert columns["heat"]["parameters"]["may_be_null"]
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get(f"{MODEL}/ready").status_code == 200
    assert client.get("/v2").json()["name"] == "varv"


def test_an_answer_carries_its_request_id_version_arm_and_epoch(client):
    said = infer(client, id="abc", inputs=tensors()).json()
    outputs = {output["name"]: output for output in said["outputs"]}
    assert said["id"] == "abc"
    assert said["model_version"] == "1"
    assert said["parameters"]["epoch"] == 1
    assert outputs["arm"]["data"] == ["champion"]
    assert outputs["key"]["data"] == ["abc"]
    assert outputs["probability"]["datatype"] == "FP32"
    assert 0 < outputs["probability"]["data"][0] < 1


def test_only_the_outputs_asked_for_are_given(client):
    said = infer(client, inputs=tensors(), outputs=[{"name": "probability"}]).json()
    assert [output["name"] for output in said["outputs"]] == ["probability"]


def test_both_protocols_and_both_dataframes_give_the_same_numbers(client):
    rows = [{"load": float(n), "heat": 1.0, "route": "south"} for n in range(5)]
    columns = list(rows[0])
    split = {"columns": columns, "data": [list(row.values()) for row in rows]}
    records = invoke(client, {"dataframe_records": rows})
    assert invoke(client, {"dataframe_split": split}).json() == records.json()
    body = tensors(5, load=[float(n) for n in range(5)], heat=[1.0] * 5, route=["south"] * 5)
    outputs = infer(client, inputs=body).json()["outputs"]
    assert outputs[0]["data"] == records.json()["predictions"]
    assert records.headers["x-varv-version"] == "1"
    assert records.headers["x-varv-epoch"] == "1"


def test_rows_without_a_key_are_named_after_the_request(client):
    said = infer(client, id="batch", inputs=tensors(2)).json()
    assert said["outputs"][3]["data"] == ["batch-0", "batch-1"]


def test_every_answer_is_captured_before_it_goes_out(client, served):
    served.ingest()
    infer(client, id="caught", inputs=tensors())
    served.ingest()
    requests = served.home.datasets.read(served.parts.schema.requests)
    assert requests.filter(parcel="caught").height == 1


def test_a_number_that_is_sometimes_missing_may_be_null_and_a_whole_number_may_come_as_a_float(client):
    assert invoke(client, {"dataframe_records": [{**RECORD, "heat": None}]}).status_code == 200
    assert invoke(client, {"dataframe_records": [{**RECORD, "load": 1}]}).status_code == 200


def test_a_column_of_shape_n_by_1_is_a_column(client):
    body = [tensor("load", [[0.5], [0.6]], shape=[2, 1]), *tensors(2, load=None)]
    assert infer(client, inputs=body).status_code == 200


BAD = {
    "no inputs": ({"inputs": []}, "inputs"),
    "missing column": ({"inputs": tensors(load=None)}, "load"),
    "unknown column": ({"inputs": [*tensors(), tensor("colour", [1.0])]}, "colour"),
    "column known only later": ({"inputs": [*tensors(), tensor("late", [True], "BOOL")]}, "late"),
    "time of the request": (
        {"inputs": [*tensors(), tensor("asked_at", ["2024-01-01"], "BYTES")]},
        "asked_at",
    ),
    "wrong type": ({"inputs": tensors(load=["much"])}, "load"),
    "truth value for a number": ({"inputs": tensors(load=[True])}, "load"),
    "number for a text": ({"inputs": tensors(route=[3])}, "route"),
    "null where none ever was": ({"inputs": tensors(load=[None])}, "load"),
    "null key": ({"inputs": tensors(parcel=[None])}, "parcel"),
    "infinite number": ({"inputs": tensors(load=[10**400])}, "load"),
    "long text": ({"inputs": tensors(route=["x" * 5000])}, "route"),
    "column twice": ({"inputs": [*tensors(), tensor("load", [1.0])]}, "load"),
    "unknown datatype": ({"inputs": [tensor("load", [1.0], "FLOAT"), *tensors(load=None)]}, "load"),
    "shape and data disagree": (
        {"inputs": [tensor("load", [1.0], shape=[2]), *tensors(2, load=None)]},
        "load",
    ),
    "columns of different length": ({"inputs": [*tensors(2, load=None), tensor("load", [1.0])]}, "load"),
    "shape of three": ({"inputs": [tensor("load", [1.0], shape=[1, 1, 1])]}, "load"),
    "empty tensors": ({"inputs": [tensor("load", [], shape=[0])]}, "load"),
    "nested values": ({"inputs": tensors(load=[[1.0, 2.0]])}, "load"),
    "unknown output": ({"inputs": tensors(), "outputs": [{"name": "logits"}]}, "outputs"),
    "id that is no text": ({"id": 7, "inputs": tensors()}, "id"),
    "id that is too long": ({"id": "x" * 2000, "inputs": tensors()}, "id"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_request_is_refused_with_code_field_and_hint(client, kind):
    body, field = BAD[kind]
    answer = client.post(f"{MODEL}/infer", content=msgspec.json.encode(body), headers=JSON)
    said = answer.json()
    assert answer.status_code == 400, said
    assert said["code"] == "invalid_input"
    assert said["field"] == field
    assert said["hint"]
    assert said["error"] == said["message"]


BAD_FRAMES = {
    "no dataframe": {},
    "both dataframes": {"dataframe_records": [RECORD], "dataframe_split": {"columns": [], "data": []}},
    "no rows": {"dataframe_records": []},
    "records that differ": {"dataframe_records": [RECORD, {"load": 1.0}]},
    "rows of another width": {"dataframe_split": {"columns": ["load"], "data": [[1.0, 2.0]]}},
    "a column twice": {"dataframe_split": {"columns": ["load", "load"], "data": [[1.0, 2.0]]}},
    "another format": {"rows": [RECORD]},
}


@pytest.mark.parametrize("kind", BAD_FRAMES)
def test_a_bad_dataframe_is_refused(client, kind):
    answer = invoke(client, BAD_FRAMES[kind])
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "INVALID_INPUT"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inputs": NaN}', b"\xff\xfe", b'{"inputs":' * 2000])
def test_what_is_not_json_is_refused(client, body):
    assert client.post(f"{MODEL}/infer", content=body, headers=JSON).status_code == 400


def test_the_reference_client_of_the_protocol_is_answered(client):
    made = OpenInferenceClient(base_url="http://testserver", httpx_client=client)
    assert made.read_server_metadata().name == "varv"
    made.check_server_liveness()
    made.check_server_readiness()
    made.check_model_readiness("late-parcel")
    told = made.read_model_metadata("late-parcel")
    assert {tensor.name for tensor in told.inputs} == {"parcel", "load", "heat", "route"}
    inputs = [
        RequestInput(name=name, shape=[1], datatype="FP64" if name != "route" else "BYTES", data=values)
        for name, values in REQUEST.items()
    ]
    answer = made.model_infer("late-parcel", request=InferenceRequest(id="from-afar", inputs=inputs))
    assert (answer.id, answer.model_version) == ("from-afar", "1")
    assert (
        answer.outputs[0].data.__root__
        == invoke(client, {"dataframe_records": [RECORD]}).json()["predictions"]
    )
    assert made.read_model_version_metadata("late-parcel", "1").versions == ["1"]
    named = made.model_version_infer("late-parcel", "1", request=InferenceRequest(inputs=inputs))
    assert named.outputs[0].data == answer.outputs[0].data
    with pytest.raises(ApiError, match="is not served"):
        made.model_version_infer("late-parcel", "9", request=InferenceRequest(inputs=inputs))


def test_a_body_that_does_not_say_what_it_is_is_taken_for_json(client):
    body = msgspec.json.encode({"inputs": tensors()})
    assert client.post(f"{MODEL}/infer", content=body).status_code == 200
    cross = {"sec-fetch-site": "cross-site"}
    assert client.post(f"{MODEL}/infer", content=body, headers=cross).status_code == 403


@pytest.mark.parametrize("given", ["a b", " outside ", "line\nbreak", "ünï", "\x00", "x" * 1024])
def test_any_text_may_be_an_id_and_comes_back_as_it_was(client, given):
    answer = infer(client, id=given, inputs=tensors())
    assert answer.status_code == 200
    assert answer.json()["id"] == given
    assert answer.headers["x-request-id"].isprintable()
    assert answer.json()["outputs"][3]["data"] == [given]


def test_a_request_without_an_id_gets_one(client):
    first, second = (infer(client, inputs=tensors()).json()["id"] for _ in range(2))
    assert first
    assert first != second


@pytest.mark.parametrize(
    ("datatype", "data"),
    [("INT64", [1]), ("INT8", [-1]), ("UINT64", [2**53]), ("FP32", [1]), ("INT64", [1.0])],
)
def test_a_number_may_be_sent_as_another_datatype_that_the_column_holds_exactly(client, datatype, data):
    sent = [tensor("load", data, datatype), *tensors(load=None)]
    assert infer(client, inputs=sent).status_code == 200


@pytest.mark.parametrize(
    ("name", "datatype", "data", "said"),
    [
        ("load", "BYTES", ["0.5"], "is of the datatype FP64, not BYTES"),
        ("load", "BOOL", [True], "is of the datatype FP64, not BOOL"),
        ("route", "INT64", [3], "is of the datatype BYTES, not INT64"),
        ("load", "INT64", [0.5], "holds a value that is not INT64"),
        ("load", "INT8", [200], "holds a number that is not INT8"),
        ("load", "UINT8", [-1], "holds a number that is not UINT8"),
        ("load", "INT64", [2**53 + 1], "holds a number that is not INT64"),
        ("load", "FP16", [0.5], "has the datatype 'FP16'"),
    ],
)
def test_a_datatype_that_does_not_agree_is_refused(client, name, datatype, data, said):
    sent = [tensor(name, data, datatype), *tensors(**{name: None})]
    answer = infer(client, inputs=sent)
    assert (answer.status_code, answer.json()["field"]) == (400, name)
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    "given", ["text/html", "application/x-ndjson", "text/csv; charset=latin-1", "application/json; v=2"]
)
def test_a_body_of_another_type_or_charset_is_refused(client, given):
    answer = client.post("/invocations", content=b"{}", headers={"content-type": given})
    assert answer.status_code == 415
    assert answer.json()["hint"]
    told = client.post(f"{MODEL}/infer", content=b"{}", headers={"content-type": "text/csv"})
    assert told.status_code == 400
    assert "content-type: application/json" in told.json()["hint"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v3", 404), ("GET", f"{MODEL}/infer", 405)])
def test_what_goes_nowhere_is_told_in_the_form_of_the_protocol(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert path in answer.json()["error"]


def test_the_list_the_configuration_and_the_statistics_of_models(client):
    assert client.post("/v2/repository/index").json() == [
        {"name": "late-parcel", "version": "1", "state": "READY", "reason": ""}
    ]
    config = client.get(f"{MODEL}/config").json()
    assert {"name": "route", "data_type": "TYPE_STRING", "dims": [-1]} in config["input"]
    assert config["version_policy"] == {"specific": {"versions": [1]}}
    [before] = client.get(f"{MODEL}/stats").json()["model_stats"]
    infer(client, inputs=tensors(3))
    infer(client, inputs=[])
    [after] = client.get("/v2/models/stats").json()["model_stats"]
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    stages, earlier = after["inference_stats"], before["inference_stats"]
    assert stages["success"]["count"] - earlier["success"]["count"] == 1
    assert stages["fail"]["count"] - earlier["fail"]["count"] == 1
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert 0 < stages["success"]["ns"] <= sum(stages[name]["ns"] + 1 for name in parts)
    assert client.get(f"{MODEL}/versions/9/stats").status_code == 404


def test_which_models_are_loaded_is_not_the_callers_to_say(client):
    place = "/v2/repository/models"
    assert client.post(f"{place}/late-parcel/load").status_code == 200
    assert client.post(f"{place}/other/load").status_code == 404
    config = {"parameters": {"config": "{}"}}
    assert client.post(f"{place}/late-parcel/load", json=config).status_code == 403
    answer = client.post(f"{place}/late-parcel/unload")
    assert (answer.status_code, "--retire" in answer.json()["hint"]) == (403, True)


def test_too_many_rows_are_too_large(client):
    assert infer(client, inputs=tensors(101)).status_code == 413
    assert invoke(client, {"dataframe_records": [RECORD] * 101}).status_code == 413


@pytest.mark.parametrize("said", [True, False])
def test_a_body_beyond_the_limit_is_refused_by_what_it_says_or_while_it_arrives(served, monkeypatch, said):
    monkeypatch.setattr("varv.fronts.inference.app.MOST_BYTES", 1000)
    inference = Inference()
    inference.models = dict(served.answering_of)
    with asking(create_inference(inference)) as client:
        body = b"x" * 5000 if said else iter([b"x" * 500] * 10)
        answer = client.post(f"{MODEL}/infer", content=body, headers=JSON)
    assert answer.status_code == 413


def test_another_model_is_not_found(client):
    answer = client.post("/v2/models/other/infer", json={"inputs": tensors()})
    assert answer.status_code == 404
    assert "late-parcel" in answer.json()["hint"]


def test_before_there_is_a_model_nothing_is_ready_and_clients_are_told_to_come_back():
    client = asking(create_inference(Inference()))
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503
    answer = client.post(f"{MODEL}/infer", json={"inputs": tensors()})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_after_all_bad_requests_the_next_good_one_is_answered(client):
    assert infer(client, inputs=tensors()).status_code == 200


def test_a_model_that_was_retired_is_not_found_and_the_day_is_said(served):
    inference = Inference()
    inference.models = dict(served.answering_of)
    inference.retired = {ModelName("late-letter"): NOW}
    with asking(create_inference(inference)) as client:
        answer = client.post("/v2/models/late-letter/infer", json={"inputs": []})
    assert answer.status_code == 404
    assert "was retired on 2024-05-02" in answer.text


@pytest.mark.parametrize(("default", "status"), [("late-parcel", 200), (None, 400)])
def test_whoever_names_no_model_means_the_one_that_the_home_began_with(served, default, status):
    inference = Inference()
    answering = served.answering_of["late-parcel"]
    inference.models = {ModelName("late-parcel"): answering, ModelName("another"): answering}
    inference.default = default
    with asking(create_inference(inference)) as client:
        assert invoke(client, {"dataframe_records": [RECORD]}).status_code == status

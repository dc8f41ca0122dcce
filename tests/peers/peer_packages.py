"""What `varv package` writes is served by those servers, which answer the probe rows as varv does."""

from __future__ import annotations

import json
import math
import subprocess

import numpy as np
import pytest
import yaml
from tests.fronts.packages.made import SOURCES

from varv.fronts.packages import TARGETS, Cluster, write_folder

LOADED = """
import json, sys
import mlflow, numpy, pandas
rows, folder = json.load(open(sys.argv[1])), sys.argv[2]
model = mlflow.pyfunc.load_model(folder)
frame = pandas.DataFrame(rows["data"], columns=rows["columns"])
found = model.predict(frame)
example = model.input_example
graph = mlflow.onnx.load_model(folder)
told = {
    "scores": found.to_numpy().tolist(),
    "columns": list(found.columns),
    "inputs": model.metadata.get_input_schema().input_names(),
    "outputs": model.metadata.get_output_schema().input_names(),
    "example": list(example.columns),
    "graph": [one.name for one in graph.graph.input],
    "metadata": model.metadata.metadata,
}
print(json.dumps(told))
"""


def written(folder, target, name):
    given, files = TARGETS[target](SOURCES[name], Cluster())
    write_folder(files, folder, target)
    return given


def scores(name):
    return np.array(SOURCES[name].package.probe_scores, np.float32)


@pytest.mark.parametrize("name", SOURCES)
def test_mlflow_loads_the_folder_and_answers_the_probe_rows(program, tmp_path, name):
    python = program("mlflow")
    given = written(tmp_path / "model", "mlflow", name)
    rows = given.probe_records()
    held = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
    (tmp_path / "rows.json").write_text(json.dumps(held))
    command = [python, "-c", LOADED, str(tmp_path / "rows.json"), str(tmp_path / "model")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)})
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    np.testing.assert_array_equal(np.array(found["scores"], np.float32), scores(name))
    names = list(SOURCES[name].package.signature.names)
    assert found["inputs"] == found["example"] == found["graph"] == names
    assert found["columns"] == found["outputs"] == list(given.numbers)
    assert found["metadata"]["version"] == 3


@pytest.mark.parametrize("name", SOURCES)
def test_mlflows_server_answers_the_probe_rows(program, serving, ports, tmp_path, name):
    mlflow = program("mlflow", "mlflow")
    given = written(tmp_path / "model", "mlflow", name)
    [port] = ports(1)
    command = [mlflow, "models", "serve", "-m", ".", "-p", str(port), "--env-manager", "local"]
    client = serving(command, tmp_path / "model", "/ping", port)
    rows = given.probe_records()
    held = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
    found = client.post("/invocations", json={"dataframe_split": held})
    assert found.status_code == 200, found.text
    answered = [list(one.values()) for one in found.json()["predictions"]]
    np.testing.assert_array_equal(np.array(answered, np.float32), scores(name))
    example = json.loads((tmp_path / "model" / "serving_input_example.json").read_text())
    assert client.post("/invocations", json=example).status_code == 200
    del rows[0][next(iter(rows[0]))]
    refused = client.post("/invocations", json={"dataframe_records": rows[:1]})
    assert refused.status_code == 400


@pytest.mark.parametrize("name", SOURCES)
def test_mlserver_answers_the_probe_rows(program, serving, ports, tmp_path, name):
    mlserver = program("mlserver", "mlserver")
    given = written(tmp_path / "model", "mlserver", name)
    http, grpc, metrics = ports(3)
    variables = {
        "MLSERVER_HTTP_PORT": str(http),
        "MLSERVER_GRPC_PORT": str(grpc),
        "MLSERVER_HOST": "127.0.0.1",
    }
    variables |= {"MLSERVER_METRICS_PORT": str(metrics), "MLSERVER_PARALLEL_WORKERS": "0"}
    ready = "/v2/models/late_parcel/ready"
    client = serving([mlserver, "start", "."], tmp_path / "model", ready, http, **variables)
    about = client.get("/v2/models/late_parcel/versions/3").json()
    assert [(one["name"], one["datatype"]) for one in about["inputs"]] == [one[:2] for one in given.inputs]
    rows = given.probe_records()
    tensors = [
        {
            "name": column,
            "datatype": kind,
            "shape": [len(rows), 1],
            "data": [shown(row[column]) for row in rows],
        }
        for column, kind, _ in given.inputs
    ]
    found = client.post("/v2/models/late_parcel/infer", json={"id": "a", "inputs": tensors})
    assert found.status_code == 200, found.text
    [output] = found.json()["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == (
        given.output,
        "FP32",
        list(scores(name).shape),
    )
    answered = np.array(output["data"], np.float32).reshape(output["shape"])
    np.testing.assert_array_equal(answered, scores(name))
    refused = client.post("/v2/models/late_parcel/infer", json={"inputs": tensors[1:]})
    assert (refused.status_code, "is missing" in refused.text) == (400, True)
    assert_grpc(f"127.0.0.1:{grpc}", given, scores(name))


def shown(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def assert_grpc(address, given, expected):
    """Ask by the reference client, as bytes."""
    from tritonclient import grpc

    tensors = []
    for (name, kind, _), values in zip(given.inputs, given.probe_columns().values(), strict=True):
        tensor = grpc.InferInput(name, list(values.shape), kind)
        tensor.set_data_from_numpy(values)
        tensors.append(tensor)
    with grpc.InferenceServerClient(address) as client:
        found = client.infer("late_parcel", tensors, model_version="3")
    np.testing.assert_array_equal(found.as_numpy(given.output), expected)


@pytest.mark.parametrize("name", SOURCES)
def test_bentoml_answers_the_probe_rows(program, serving, ports, tmp_path, name):
    bentoml = program("bentoml", "bentoml")
    given = written(tmp_path / "project", "bentoml", name)
    [port] = ports(1)
    variables = {"BENTOML_HOME": str(tmp_path / "bentoml"), "BENTOML_DO_NOT_TRACK": "1"}
    command = [bentoml, "serve", "--host", "127.0.0.1", "--port", str(port)]
    client = serving(command, tmp_path / "project", "/readyz", port, **variables)
    rows = given.probe_records()
    found = client.post("/predict", json={"instances": rows})
    assert found.status_code == 200, found.text
    answered = np.array([list(one.values()) for one in found.json()], np.float32)
    np.testing.assert_array_equal(answered, scores(name))
    assert list(found.json()[0]) == list(given.numbers)
    refused = client.post("/predict", json={"instances": [{}]})
    assert (refused.status_code, "is missing" in refused.text) == (400, True)


def test_bentoml_builds_a_bento(program, tmp_path):
    bentoml = program("bentoml", "bentoml")
    written(tmp_path / "project", "bentoml", "coded")
    variables = {
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "1",
        "HOME": str(tmp_path),
    }
    ended = subprocess.run(
        [bentoml, "build", "--output", "tag"],
        cwd=tmp_path / "project",
        capture_output=True,
        text=True,
        check=False,
        env=variables | {"PATH": "/usr/bin:/bin"},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    [bento] = (tmp_path / "bentoml" / "bentos" / "late_parcel").glob("*/bento.yaml")
    assert yaml.safe_load(bento.read_text())["labels"]["version"] == "3"
    assert {path.name for path in (bento.parent / "src").iterdir()} >= {"model.onnx", "service.py"}

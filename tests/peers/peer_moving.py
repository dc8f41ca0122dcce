"""A home takes over what MLflow's own server holds, asked over its protocol and from its database."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.adapters.moving.moved_home import MovedHome
from tests.peers.conftest import PEERS
from tests.peers.mlflow_server import tracking_server

FILLED = """
import sys
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric


class Same(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[str]) -> list[str]:
        return model_input


mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()
experiment = client.create_experiment("delays", tags={"team": "ops"})
for number in range(4):
    run = client.create_run(experiment, run_name=f"fit {number}", start_time=1700000000000).info.run_id
    points = [Metric("loss", 1 / (step + 1), 1700000000000 + step, step) for step in range(300)]
    client.log_batch(run, metrics=[*points, Metric("odd", float("nan"), 1, 0)])
    client.log_param(run, "lr", str(number))
    client.log_text(run, f"text {number}", "notes/a b.txt")
    client.set_terminated(run, end_time=1700000100000)
client.delete_run(run)
mlflow.set_experiment("delays")
with mlflow.start_run(run_name="models"):
    info = mlflow.pyfunc.log_model(name="model", python_model=Same())
    mlflow.log_metric("acc", 0.9, model_id=info.model_id)
for _ in range(3):
    mlflow.register_model(info.model_uri, "delay")
client.delete_model_version("delay", "2")
client.set_registered_model_alias("delay", "champion", "3")
mlflow.genai.register_prompt("greet", "Hello {{name}}")
@mlflow.trace
def inner(x):
    return [x, {"y": None}]
@mlflow.trace(attributes={"k": 1.5})
def outer(x):
    return inner(x)
outer(1)
mlflow.flush_trace_async_logging()
trace = mlflow.get_last_active_trace_id()
mlflow.log_feedback(trace_id=trace, name="good", value=True, rationale="because")
mlflow.log_expectation(trace_id=trace, name="expected", value={"x": [1]})
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    peer = PEERS / "mlflow"
    if not (peer / "bin" / "mlflow").exists():
        pytest.skip(f"mlflow is not installed in {PEERS.name}: make packages")
    folder = tmp_path_factory.mktemp("server")
    with tracking_server(peer, folder) as url:
        (folder / "fill.py").write_text(FILLED)
        asked = [peer / "bin" / "python", "fill.py", url]
        kept = {"HOME": str(folder), "PATH": os.environ["PATH"]}
        ended = subprocess.run(asked, capture_output=True, text=True, cwd=folder, env=kept, check=False)
        assert ended.returncode == 0, ended.stderr[-3000:]
        yield url, folder


@pytest.mark.parametrize("way", ["server", "database"])
def test_what_mlflow_holds_comes_whole(filled, tmp_path, way):
    url, folder = filled
    home = MovedHome(tmp_path / "home")
    uri = url if way == "server" else f"sqlite:///{Path(folder, 'mlflow.db')}"
    report = home.take_mlflow(uri, Path(folder, "artifacts"))
    assert (report.runs.new, report.n_points, report.n_versions) == (5, 4 * 301 + 1, 3)
    assert (report.n_compared, report.differences.n, report.left_out.n) == (5, 0, 0)
    assert (report.traces.new, report.n_spans, report.n_traces_compared) == (1, 2, 1)
    runs = home.runs()
    assert [len(home.history(runs[f"fit {number}"].id, "loss")) for number in range(4)] == [300] * 4
    assert home.files(f"runs/{runs['fit 2'].id}") == {"notes/a b.txt": b"text 2"}
    assert home.logged_model(runs["models"].outputs[0].model_id).metrics[0].value == 0.9
    assert list(home.versions("delay")) == [1, 3]
    assert home.take_mlflow(uri, Path(folder, "artifacts")).runs.same == 5
    home.close()

"""An unmodified MLflow client, of today and of a year ago, sees on our server what it sees on its own.

`make tracking` runs it. VARV_TRACKING_URL names our server; without it the workflows are held against a
second server of MLflow's, which shows that a difference is ours and not of the comparison.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.fronts.mlflow.normalising import Names, normal
from tests.fronts.mlflow.playing import unequal
from tests.peers.conftest import PEERS
from tests.peers.mlflow_server import tracking_server

SCRIPTS = Path(__file__).parent / "clients"
SERVER = "mlflow-now"
CLIENTS = ("mlflow-now", "mlflow-year-ago")
# What everyday work needs comes first; `prompts` and `traces` are what it can do without for a time.
MUST = (
    "fluent",
    "artifacts",
    "in_parts",
    "datasets",
    "tracking_client",
    "registry",
    "logged_model",
    "sklearn_autolog",
    "boosters",
    "torch_steps",
    "asynchronous",
)
SHOULD = ("prompts", "traces")
WITHIN_S = 300


@pytest.fixture(scope="session")
def theirs(program, tmp_path_factory):
    program(SERVER, "mlflow")
    with tracking_server(PEERS / SERVER, tmp_path_factory.mktemp("theirs")) as url:
        yield url


@pytest.fixture(scope="session")
def ours(program, tmp_path_factory):
    url = os.environ.get("VARV_TRACKING_URL")
    if url:
        yield url
        return
    program(SERVER, "mlflow")
    with tracking_server(PEERS / SERVER, tmp_path_factory.mktemp("ours")) as url:
        yield url


def told(python, workflow, url, folder):
    """Return what a client of a server tells, without ids and names that chance made."""
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own = {
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "HOME": str(folder),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_TRACKING_URI": url,
        "OMP_NUM_THREADS": "1",
    }
    command = [python, str(SCRIPTS), workflow]
    ended = subprocess.run(
        command, cwd=folder, env=kept | own, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert ended.returncode == 0, f"{workflow} at {url}: {ended.stderr[-4000:]}"
    said = json.loads(ended.stdout.splitlines()[-1])
    names = Names(url, said["unique"])
    names.meet(said["told"])
    return normal(said["told"], names)


@pytest.mark.parametrize("workflow", MUST + SHOULD)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_sees_here_what_it_sees_there(program, theirs, ours, tmp_path, client, workflow):
    if workflow == "torch_steps" and client != CLIENTS[0]:
        pytest.skip("two hundred megabytes, once")
    python = program(client)
    expected = told(python, workflow, theirs, tmp_path / "theirs")
    found = told(python, workflow, ours, tmp_path / "ours")
    differences = list(unequal(expected, found, ""))
    assert not differences, "\n".join(differences)

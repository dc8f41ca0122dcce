"""A move that is killed at any point goes on where it was, and everything is there in the end."""

from __future__ import annotations

import json
import subprocess

import pytest
from tests.adapters.moving import recorded
from tests.app.serving import command_of, environment


def run(home, fault, *arguments):
    return subprocess.run(
        command_of(home, *arguments),
        env={**environment(), "VARV_FAULT": fault},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        "recorder.before_commit:6:kill",
        "recorder.between:6:kill",
        "recorder.between:9:kill",
        "recorder.after_commit:7:kill",
        "blobs.before_rename:5:kill",
    ],
)
def test_a_killed_import_goes_on(tmp_path, fault):
    uri, home = recorded.store(tmp_path), tmp_path / "home"
    assert run(home, fault, "import", "mlflow", uri).returncode == 137
    again = run(home, "", "import", "mlflow", uri, "--json")
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    runs = report["runs"]
    assert (sum(runs.values()), report["n_compared"], report["differences"]["n"]) == (5, 5, 0)
    verified = run(home, "", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    last = json.loads(run(home, "", "import", "mlflow", uri, "--json").stdout)
    assert (last["runs"]["same"], last["n_files"], last["registered_models"]["same"]) == (5, 0, 3)

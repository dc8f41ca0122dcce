"""What another package brings, from its installation to an answer: the example of counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.app.serving import Server, eventually

from varv.home.model import Comparisons
from varv.kernel.codec import decode_json

COUNTS = Path(__file__).resolve().parents[2] / "examples" / "counts"
DESK = COUNTS / "desk.py"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package, built and installed from its folder into one of its own."""
    folder = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder))
    built = folder.parent / "source"
    _copied(COUNTS, built)
    # Its builder stands beside the interpreter, and needs no network.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(built)],
        check=True,
        env={**os.environ, "PATH": path},
    )
    return folder


@pytest.fixture(scope="module")
def home(installed, tmp_path_factory):
    """A home in which the example was replayed."""
    folder = tmp_path_factory.mktemp("desk") / "home"
    _varv(installed, folder, "replay", str(DESK))
    return folder


def test_a_replay_lives_through_the_change_with_all_parts_of_the_package(installed, home):
    [comparison] = decode_json((home / "comparison.json").read_bytes(), Comparisons).models
    declared = comparison.policies[0]
    assert declared.n_retrains >= 1
    never = next(one for one in comparison.policies if one.name == "never")
    assert declared.loss < never.loss
    said = _varv(installed, home, "why", "people")
    assert "dispersion" in _varv(installed, home, "ledger", "--kind", "AlarmRaised") + said


def test_its_parts_answer_live(installed, home, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(installed))
    server = Server(home.parent / "live", DESK)
    try:
        answer = server.inference.post(
            "/invocations", json={"dataframe_records": [{"hour": "now", "warmth": 1.0, "staff": 0.0}]}
        )
        assert answer.status_code == 200
        assert 1 < answer.json()["predictions"][0] < 12
        listed = eventually(lambda: server.act("counts.list").json()["models"] or None)
        assert listed == [{"model": "people", "champion": 1, "most": 40}]
    finally:
        server.stop()


def test_without_the_package_its_absence_is_said(tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "varv.app.cli", "--home", str(tmp_path), "--json", "replay", str(DESK)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    assert "varv_counts" in json.loads(found.stdout)["error"]["problem"]


def _varv(installed: Path, home: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "varv.app.cli", "--home", str(home), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _copied(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            to = target / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())

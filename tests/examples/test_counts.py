"""What another package brings, from its installation to an answer: the example of counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.app.serving import Server, eventually

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
def replayed(installed, tmp_path_factory):
    """A home in which the example was replayed, and what that printed."""
    home = tmp_path_factory.mktemp("desk") / "home"
    return home, _varv(installed, home, "replay", str(DESK))


def test_a_replay_lives_through_the_change_with_all_parts_of_the_package(installed, replayed):
    home, printed = replayed
    assert "critical dispersion alarm on dispersion of v1: dispersion of counts" in printed
    [comparison] = json.loads((home / "comparison.json").read_text())["models"]
    scores = {one["name"]: one for one in comparison["policies"]}
    assert scores["declared"]["n_retrains"] >= 1
    assert scores["declared"]["loss"] < scores["never"]["loss"]
    assert scores["monthly"]["n_retrains"] == 1
    assert "total within bounds" in _varv(installed, home, "why", "people@v2")


def test_its_parts_answer_live(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(installed))
    server = Server(tmp_path / "home", DESK)
    try:
        answer = server.inference.post(
            "/invocations", json={"dataframe_records": [{"hour": "now", "warmth": 1.0, "staff": 0.0}]}
        )
        assert answer.status_code == 200
        assert 1 < answer.json()["predictions"][0] < 12
        listed = eventually(lambda: server.act("counts.list").json()["models"] or None)
        assert listed == [{"model": "people", "champion": 1, "most": 40}]
        noted = server.act("counts.expect", model="people", reason="a school trip", by="ana").json()
        # Another process reads it, which has imported nothing of the package before.
        told = _varv(installed, tmp_path / "home", "why", str(noted["seq"]))
        assert "more than usual is to come, says ana: a school trip" in told
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
    return done.stdout + done.stderr


def _copied(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            to = target / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())

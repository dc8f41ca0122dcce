"""Whatever a training function does to its process, `varv up` answers, stays small, and trains again."""

from __future__ import annotations

import json
import time

import psutil
import pytest
from tests.app.hostile_project import PARCEL, hostile_project, say
from tests.app.serving import Server, eventually, varv

pytestmark = pytest.mark.slow

ENDS = {
    "loops": "did not return within 60 s",
    "leaks": "used more than",
    "crashes": "was ended by SIGSEGV (segmentation fault)",
    "exits": "ended its process with status 3 before it returned",
    "prints": "raised RuntimeError: printed a gigabyte",
    "forks": "raised RuntimeError: left daemons behind",
}
MOST_GROWTH = 150 << 20
"""Bytes that a server may grow by beside a fit: encoding its rows, and reading what it printed."""


def status(server):
    [model] = server.act("model.status", model="late-parcel").json()["models"]
    return model


def n_versions(server):
    return len(server.control.get("/models/late-parcel.json").json()["versions"])


def attempt(server):
    """Return the latest attempt, as the console shows it."""
    return server.control.get("/models/late-parcel.json").json()["versions"][0]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    say(folder, "good")
    server = Server(
        folder / "home", hostile_project(folder), training_time_s=60, training_nice=0, training_memory="700MB"
    )
    eventually(lambda: True if status(server)["champion"] == 1 else None)
    yield folder, server
    assert server.stop() == 0


def watched(server, before):
    """Predict until the training has ended; return the most memory of the server, and the slowest answer."""
    process = psutil.Process(server.process.pid)
    most, slowest, until = 0, 0.0, time.monotonic() + 400
    number = 0
    while time.monotonic() < until:
        began = time.monotonic()
        assert server.predict(f"w-{before}-{number}", **PARCEL).status_code == 200
        slowest = max(slowest, time.monotonic() - began)
        most = max(most, process.memory_info().rss)
        number += 1
        if number % 10 == 0 and n_versions(server) > before and attempt(server)["ended_at"] is not None:
            return most, slowest
        time.sleep(0.02)
    raise AssertionError("the training has not ended")


@pytest.mark.parametrize(
    "act", [pytest.param(act, marks=pytest.mark.soak if act == "prints" else ()) for act in ENDS]
)
def test_a_hostile_fit_fails_alone_and_predictions_go_on(served, act):
    folder, server = served
    before, small = n_versions(server), psutil.Process(server.process.pid).memory_info().rss
    say(folder, act)
    ordered = server.act("model.retrain", model="late-parcel", reason=act)
    assert ordered.status_code == 200, ordered.text
    most, slowest = watched(server, before)
    failed = attempt(server)
    assert ENDS[act] in failed["reason"]
    assert most - small < MOST_GROWTH, f"{(most - small) >> 20} MB"
    assert slowest < 3.0
    assert status(server)["champion"] == 1
    for file in folder.glob("daemon-*"):
        assert not psutil.pid_exists(int(file.name.removeprefix("daemon-")))
    printed = json.loads(varv(folder / "home", "logs", "late-parcel", "--json"))
    assert printed["n_bytes"] <= 300 << 10
    assert not printed["running"]


def test_the_loop_goes_on_once_the_fit_is_repaired(served):
    folder, server = served
    before = n_versions(server)
    say(folder, "good")
    server.act("model.retrain", model="late-parcel", reason="repaired")
    eventually(lambda: True if n_versions(server) > before and attempt(server)["n_rows"] else None)
    assert "fitting as ever" in varv(folder / "home", "logs", "late-parcel")
    assert json.loads(varv(folder / "home", "verify", "--json"))["ok"]

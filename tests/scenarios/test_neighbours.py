"""Two models in one home: what one's author and callers do to it changes nothing for the other."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
from tests.app.hostile_project import PARCEL, hostile_project, say
from tests.app.serving import Server

from varv.app.compose import open_ledger
from varv.loop.model import RowsMatured

pytestmark = pytest.mark.slow

CALM = """calm = varv.Model(
    "calm-parcel",
    requests=deliveries,
    features=["district", "courier", "distance_km", "weight_kg", "hour", district_lately],
    outcome=varv.Outcome("late", known_at="delivered_at", mature="12h"),
    train=varv.Train(fit, window="60d", validate="5d", params={"max_iter": 20}),
    gates=[varv.gate.calibrated(max_ece=0.2)],
    monitors=[varv.monitor.performance("log_loss")],
    retrain=varv.Retrain(on=[]),
)

replay = varv.Replay(
    late,
    calm,"""
ROWS = [{"delivery_id": f"c-{n}", **PARCEL, "hour": n % 24, "distance_km": n / 10} for n in range(60)]
FLOOD = {"dataframe_records": [{"delivery_id": f"f-{n}", **PARCEL} for n in range(800)]}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("neighbours")
    say(folder, "good")
    file = hostile_project(folder)
    before = "replay = varv.Replay(\n    late,"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, CALM))
    server = Server(folder / "home", file, training_time_s=60, training_nice=0, training_memory="700MB")
    yield folder, server
    assert server.stop() == 0


def asked_of(server, model, body):
    return server.inference.post(f"/invocations/{model}", json=body)


def calm_answers(server):
    answer = asked_of(server, "calm-parcel", {"dataframe_records": ROWS})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def decisions(folder):
    """Return all that was decided about the calm model."""
    ledger = open_ledger(folder / "home", read_only=True)
    entries = ledger.read(limit=1_000_000)
    ledger.close()
    ours = [one for one in entries if one.stream.split("/")[1:2] == ["calm-parcel"]]
    decided = [one for one in ours if one.stream.partition("/")[0] in ("loop", "model", "rollout")]
    # Midnight may pass, and outcomes are counted then.
    return [(one.stream, one.event) for one in decided if not isinstance(one.event, RowsMatured)]


class Flood:
    """Threads that ask the other model for as much as they can."""

    def __init__(self, server, n=6):
        self.stopped, self.n_answered = threading.Event(), 0
        self.url = f"{server.inference.base_url}/invocations/late-parcel"
        self.threads = [threading.Thread(target=self.pour) for _ in range(n)]

    def pour(self):
        with httpx.Client(timeout=60) as client:
            while not self.stopped.is_set():
                self.n_answered += client.post(self.url, json=FLOOD).status_code == 200

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


SOAK = [pytest.param(act, marks=pytest.mark.soak) for act in ("forks", "exits")]


@pytest.mark.parametrize("act", ["crashes", *SOAK])
def test_a_neighbour_that_breaks_and_is_flooded_changes_no_answer_and_no_decision(served, act):
    folder, server = served
    answers, decided = calm_answers(server), decisions(folder)
    assert len({round(one, 6) for one in answers}) > 5
    assert any("rollout" in stream for stream, _ in decided)
    n_before = len(server.control.get("/models/late-parcel.json").json()["versions"])
    say(folder, act)
    server.act("model.retrain", model="late-parcel", reason=act).raise_for_status()
    slowest = 0.0
    with Flood(server) as flood:
        until = time.monotonic() + 120
        while flood.n_answered < 20 or not failed(server, n_before):
            assert time.monotonic() < until
            began = time.monotonic()
            assert calm_answers(server) == answers
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 5.0
    assert decisions(folder) == decided
    assert asked_of(server, "late-parcel", {"dataframe_records": ROWS}).status_code == 200


def failed(server, n_before):
    versions = server.control.get("/models/late-parcel.json").json()["versions"]
    return len(versions) > n_before and versions[0]["ended_at"] is not None

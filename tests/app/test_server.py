from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from pathlib import Path

import msgspec
import pytest
from tests.app.serving import Server, eventually, varv

from varv.features.skew import FeatureSkew
from varv.kernel.clock import HOUR, SystemClock, iso

PARCEL = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}
MODEL = "late-parcel"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    varv(folder / ".varv", "init", str(folder))
    return folder


@pytest.fixture(scope="module")
def server(project, tmp_path_factory):
    found = Server(tmp_path_factory.mktemp("fresh") / "home", project / "deliveries.py")
    yield found
    found.stop()


def status(home: Path) -> dict:
    return json.loads(varv(home, "status", "--json"))["models"][0]


def explained(home: Path, key: str, *, n_sources: int = 1) -> dict | None:
    """Return why a prediction is as it is, once it has been taken in with so many rows."""
    found = json.loads(varv(home, "why", key, "--json", check=False))
    return found if len(found.get("sources", ())) >= n_sources else None


def test_the_first_start_trains_and_serves_and_the_console_shows_it(server):
    found = status(server.home)
    assert (found["champion"], found["shares"]) == (1, [{"version": 1, "share": 1.0}])
    page = server.control.get("/")
    assert page.status_code == 200
    assert MODEL in page.text
    health = server.control.get("/health").json()
    assert (health["state"], len(health["workers"])) == ("serving", 1)


def test_the_training_is_a_run_that_says_what_it_was_made_from(server):
    told = server.control.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": MODEL})
    experiment = told.json()["experiment"]["experiment_id"]

    def captured() -> dict | None:
        asked = {"experiment_ids": [experiment], "filter": "tags.varv.version = '1'"}
        run = server.control.post("/api/2.0/mlflow/runs/search", json=asked).json()["runs"][0]
        tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
        return run if "varv.capture" in tags else None

    run = eventually(captured)
    assert run["info"]["status"] == "FINISHED"
    assert {"log_loss", "auc"} <= {metric["key"] for metric in run["data"]["metrics"]}
    place = run["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    capture = server.control.get(f"/api/2.0/mlflow-artifacts/artifacts/{place}/varv/capture.json").json()
    assert capture["file"] == "deliveries.py"
    assert capture["machine"]["processor"]


def test_both_protocols_answer_and_say_who_did(server):
    invoked = server.predict("both-1", **PARCEL)
    kinds = {"district": "BYTES", "courier": "BYTES", "hour": "INT64"}
    inputs = [
        {"name": name, "shape": [1], "datatype": kinds.get(name, "FP64"), "data": [value]}
        for name, value in PARCEL.items()
    ]
    inferred = server.inference.post(
        f"/v2/models/{MODEL}/infer", json={"id": "both-2", "inputs": inputs}
    ).json()
    assert inferred["outputs"][0]["data"] == invoked.json()["predictions"]
    assert invoked.headers["x-varv-version"] == inferred["model_version"] == "1"


def scraped(server) -> dict[str, float]:
    """Return every sample of the metrics by its name and labels."""
    answer = server.control.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def test_metrics_count_what_was_asked_also_by_workers_that_are_gone(server):
    before = scraped(server)
    server.predict("measured-1", **PARCEL)
    server.inference.post("/invocations", json={"instances": []})
    after = scraped(server)

    def more(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert more(f'varv_requests_total{{model="{MODEL}",outcome="answered"}}') == 1
    assert more(f'varv_requests_total{{model="{MODEL}",outcome="refused"}}') == 1
    assert more(f'varv_predictions_total{{model="{MODEL}",version="1",arm="champion"}}') == 1
    seconds = "varv_request_duration_seconds"
    for stage in ("read", "queue", "answer", "write", "total"):
        assert more(f'{seconds}_count{{model="{MODEL}",stage="{stage}"}}') == 1
        assert more(f'{seconds}_bucket{{model="{MODEL}",stage="{stage}",le="+Inf"}}') == 1
    assert after[f'varv_routing_share{{model="{MODEL}",version="1"}}'] == 1
    assert after['varv_process_resident_memory_bytes{process="worker-0"}'] > 1e7
    [pid] = server.control.get("/health").json()["workers"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.control.get("/health").json()["workers"] not in ([], [pid]) or None)
    server.predict("measured-2", **PARCEL)
    answered = f'varv_requests_total{{model="{MODEL}",outcome="answered"}}'
    assert scraped(server)[answered] == after[answered] + 1


def test_top_shows_what_is_answered_at_this_moment(server):
    enough = threading.Event()

    def ask():
        for number in itertools.count():
            if enough.wait(0.02):
                return
            server.predict(f"top-{number}", **PARCEL)

    asking = threading.Thread(target=ask)
    asking.start()
    [found] = json.loads(varv(server.home, "top", "--json"))
    enough.set()
    asking.join()
    assert found["model"] == MODEL
    assert found["requests_per_s"] > 0
    assert found["requests_per_s"] == found["rows_per_s"]
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert found["shares"] == {"1/champion": 1.0}
    shown = varv(server.home, "top", "--once", "--every", "0.1")
    assert "1 worker" in shown
    assert MODEL in shown
    assert "requests/s" in shown


def test_a_prediction_and_its_outcome_can_be_explained_within_seconds(server):
    server.predict("told-1", **PARCEL)
    answer = server.act("outcome.record", model=MODEL, rows=[{"delivery_id": "told-1", "late": 1}])
    assert (answer.status_code, answer.json()["n_rows"]) == (200, 1)

    found = eventually(lambda: explained(server.home, "told-1", n_sources=2))
    assert found["prediction"]["version"] == 1
    # The outcome may be taken in before its request: each comes in a file of its own.
    assert [one["row"]["late"] for one in found["sources"] if "late" in one["row"]] == [1]


def test_a_bad_outcome_is_refused_alone_and_nothing_of_the_others_is_lost(server):
    rows = [{"delivery_id": f"part-{n}", "late": 1} for n in range(5)]
    bad = [{"delivery_id": "part-x", "late": 7}, {"late": 1}]
    far = {"delivery_id": "part-y", "late": 1, "delivered_at": "9999-01-01T00:00:00Z"}
    answer = server.act("outcome.record", model=MODEL, rows=[*rows, *bad, far])
    assert answer.status_code == 207
    found = answer.json()
    assert (found["n_rows"], found["n_refused"]) == (5, 3)
    assert [(one["row"], one["column"]) for one in found["refused"]] == [
        (5, "late"),
        (6, "delivery_id"),
        (7, "delivered_at"),
    ]
    alone = server.act("outcome.record", model=MODEL, rows=bad)
    assert alone.status_code == 400
    assert alone.json()["error"]["facts"]["n_refused"] == 2
    assert server.act("quarantine.list").json()["n_rows"] == 0


def test_outcomes_become_features_of_the_next_request(server):
    def lately(key):
        server.predict(key, **{**PARCEL, "district": "centre"})
        found = eventually(lambda: explained(server.home, key))
        return found["prediction"]["features"]["district_lately.late_mean_7d"]

    before = lately("before")
    rows = []
    for number in range(5):
        server.predict(f"new-{number}", **{**PARCEL, "district": "centre"})
        rows.append({"delivery_id": f"new-{number}", "late": 1})
    server.act("outcome.record", model=MODEL, rows=rows)
    numbers = itertools.count()
    assert before < 1
    assert eventually(lambda: True if lately(f"probe-{next(numbers)}") > before else None)


def test_what_workers_served_is_right_or_was_late_value_by_value(server):
    server.predict("compared", **{**PARCEL, "district": "centre"})
    eventually(lambda: explained(server.home, "compared"))
    now = SystemClock().now()
    window = {"since": iso(now - HOUR), "until": iso(now + HOUR), "share": 1.0}
    found = server.act("features.compare", model=MODEL, **window).json()
    features = [msgspec.convert(one, FeatureSkew) for one in found["features"]]
    assert found["n_compared"] > 0
    assert {one.name for one in features} >= {"district_lately.late_mean_7d"}
    assert [(one.name, one.wrong) for one in features if one.wrong] == []
    assert all(one.equal for one in features)


def test_a_second_owner_of_the_home_is_refused(server, project):
    said = json.loads(varv(server.home, "up", str(project / "deliveries.py"), "--json", check=False))
    assert said["error"]["code"] == "failed_precondition"
    assert said["error"]["facts"]["pid"] == str(server.process.pid)


def test_a_port_that_is_taken_is_refused(server, project, tmp_path):
    port = str(server.control.base_url.port)
    said = json.loads(
        varv(tmp_path / "h", "up", str(project / "deliveries.py"), "--port", port, "--json", check=False)
    )
    assert "choose another with --port" in said["error"]["hint"]


def test_a_rollback_without_a_former_champion_is_refused_by_the_server(server):
    answer = server.act("model.rollback", model=MODEL)
    assert answer.status_code == 409
    assert "nothing to go back to" in answer.json()["error"]["problem"]
    said = json.loads(varv(server.home, "rollback", MODEL, "--json", check=False))
    assert said["error"]["code"] == "failed_precondition"


def killed_worker(server) -> None:
    """Kill the only worker, and wait until there is another."""
    (pid,) = server.control.get("/health").json()["workers"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: True if server.control.get("/health").json()["workers"] not in ([], [pid]) else None)


def ready(server) -> bool | None:
    return True if server.inference.get("/v2/health/ready").status_code == 200 else None


def test_a_worker_that_dies_is_replaced_and_answers_as_before(server):
    before = server.predict("w-1", **PARCEL).json()
    killed_worker(server)
    eventually(lambda: ready(server))
    assert server.predict("w-2", **PARCEL).json() == before


def test_a_version_that_failed_to_load_as_its_worker_began_loads_later(server, tmp_path):
    before = server.predict("w-3", **PARCEL).json()
    blobs = server.home / "blobs"
    blobs.rename(tmp_path / "away")
    killed_worker(server)
    eventually(lambda: True if server.predict("w-4", **PARCEL).status_code == 503 else None)
    (tmp_path / "away").rename(blobs)
    eventually(lambda: ready(server))
    assert server.predict("w-5", **PARCEL).json() == before


def test_verify_holds_while_the_server_writes_and_a_signal_ends_it_in_order(served_project, tmp_path):
    server = Server(tmp_path / "home", served_project(tmp_path))
    server.predict("last-1", **PARCEL)
    assert json.loads(varv(server.home, "verify", "--json"))["ok"]
    assert server.stop() == 0
    assert not (server.home / "server.json").exists()
    found = json.loads(varv(server.home, "verify", "--json"))
    assert found["ok"]
    assert found["signed_up_to"] == found["n_entries"]
    assert json.loads(varv(server.home, "why", "last-1", "--json"))["kind"] == "prediction"


def test_a_broken_declaration_ends_the_server_with_its_line(tmp_path):
    (tmp_path / "broken.py").write_text("import varv\nvarv.Outcome('y')\n")
    said = json.loads(varv(tmp_path / "h", "up", str(tmp_path / "broken.py"), *PORTS, "--json", check=False))
    assert said["error"]["facts"]["line"] == "broken.py:2"


PORTS = ("--port", "0", "--inference-port", "0")


def test_a_replayed_home_goes_live_and_rolls_back(project, tmp_path):
    home = tmp_path / "home"
    file = project / "deliveries.py"
    varv(home, "replay", str(file), "--declared-only")
    replayed = status(home)
    with_former = replayed["champion"], replayed["former"]
    assert None not in with_former
    server = Server(home, file)
    assert server.predict("live-1", **PARCEL).status_code == 200
    if replayed["rollout"] is not None:
        said = varv(home, "rollback", MODEL)
        candidate, champion = replayed["rollout"]["version"], replayed["champion"]
        assert f"gave up version {candidate}; the champion of {MODEL} stays v{champion} (entry" in said
    found = json.loads(varv(home, "rollback", MODEL, "--reason", "test", "--json"))
    former, champion = with_former[::-1]
    assert (found["returned_to"], found["champion"], found["replaced"]) == (former, former, champion)
    assert (found["gave_up"], found["settled"]) == (None, True)
    assert server.predict("live-2", **PARCEL).headers["x-varv-version"] == str(found["champion"])
    assert server.stop() == 0

    again = Server(home, file)
    assert again.predict("live-3", **PARCEL).headers["x-varv-version"] == str(found["champion"])
    assert again.stop() == 0
    assert json.loads(varv(home, "verify", "--json"))["ok"]

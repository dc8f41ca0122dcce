"""A tracking server that is killed at any point has lost nothing that it answered."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading

import httpx
import pytest
from tests.app.serving import command_of, environment, eventually

API = "/api/2.0/mlflow/"
TRACES = "/api/3.0/mlflow/traces"


class Tracker:
    """`varv track` in a process of its own."""

    def __init__(self, home, fault=""):
        self.home = home
        self.process = subprocess.Popen(
            command_of(home, "track", "--port", "0"),
            env={**environment(), "VARV_FAULT": fault},
            stderr=subprocess.DEVNULL,
        )
        self.url = f"http://127.0.0.1:{eventually(self._port)}"

    def _port(self):
        if self.process.poll() is not None:
            return 1  # killed before it served
        try:
            said = json.loads((self.home / "server.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return said["port"] if said["pid"] == self.process.pid else None

    def ended(self):
        return self.process.wait(60)


class Logger:
    """A client that logs one thing after the other, and remembers what was acknowledged."""

    def __init__(self, name):
        self.name = name
        self.runs, self.points, self.params, self.files = [], [], [], []
        self.traces, self.judged = [], []

    def log(self, url):
        with httpx.Client(base_url=url, timeout=30) as client:
            try:
                for n in itertools.count():
                    self._log_one(client, n)
            except httpx.TransportError:
                return

    def _log_one(self, client, n):
        answer = client.post(f"{API}runs/create", json={"experiment_id": "0", "run_name": f"{self.name}-{n}"})
        run = answer.json()["run"]["info"]["run_id"]
        self.runs.append(run)
        for step in range(3):
            self._told(client, "runs/log-metric", run_id=run, key="loss", value=step, timestamp=1, step=step)
            self.points.append((run, step))
        long = f"{n} " + "x" * 400
        self._told(client, "runs/log-batch", run_id=run, params=[{"key": "text", "value": long}])
        self.params.append((run, long))
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model/{n}.txt"
        if client.put(path, content=long.encode()).status_code == 200:
            self.files.append((path, long))
        self._trace(client, run)
        self._told(client, "runs/update", run_id=run, status="FINISHED", end_time=5)

    def _trace(self, client, run):
        # The id of a run is one of a trace too.
        span = {"traceId": run, "spanId": "0" * 15 + "1", "name": "step"}
        export = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
        headers = {"x-mlflow-experiment-id": "0", "x-mlflow-run-id": run}
        assert client.post("/v1/traces", json=export, headers=headers).status_code == 200
        self.traces.append(run)
        said = {"assessment": {"assessment_name": "ok", "feedback": {"value": True}}}
        answer = client.post(f"{TRACES}/tr-{run}/assessments", json=said)
        self.judged.append((run, answer.json()["assessment"]["assessment_id"]))

    def _told(self, client, path, **fields):
        answer = client.post(API + path, json=fields)
        assert answer.status_code == 200, answer.text


def check(url, logger):
    with httpx.Client(base_url=url, timeout=30) as client:
        found = {
            run: client.get(f"{API}runs/get", params={"run_id": run}).json()["run"] for run in logger.runs
        }
        for run, step in logger.points:
            metrics = {one["key"]: one for one in found[run]["data"]["metrics"]}
            assert metrics["loss"]["step"] >= step
        for run, text in logger.params:
            assert {"key": "text", "value": text} in found[run]["data"]["params"]
        for trace in logger.traces:
            whole = client.get(f"{TRACES}/get", params={"trace_id": f"tr-{trace}"}).json()["trace"]
            assert [span["name"] for span in whole["spans"]] == ["step"]
        for trace, judged in logger.judged:
            assert client.get(f"{TRACES}/tr-{trace}/assessments/{judged}").status_code == 200
        for path, text in logger.files:
            assert client.get(path).text == text


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        "recorder.before_commit:40:kill",
        "recorder.between:23:kill",
        "recorder.after_commit:41:kill",
        "ledger.before_commit:22:kill",
        "ledger.after_commit:24:kill",
        "blobs.before_rename:9:kill",
    ],
)
def test_what_was_answered_is_there_after_a_kill(tmp_path, fault):
    tracker = Tracker(tmp_path, fault)
    loggers = [Logger(f"c{number}") for number in range(3)]
    threads = [threading.Thread(target=one.log, args=(tracker.url,)) for one in loggers]
    for thread in threads:
        thread.start()
    assert tracker.ended() == 137
    for thread in threads:
        thread.join(30)
    assert sum(len(one.points) for one in loggers)
    again = Tracker(tmp_path)
    try:
        for one in loggers:
            check(again.url, one)
    finally:
        again.process.terminate()
        again.ended()
    verified = subprocess.run(
        command_of(tmp_path, "verify"), env=environment(), capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr

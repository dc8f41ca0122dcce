"""`varv plan`, `varv up` on a changed file, and `varv apply` beside a running server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading

import httpx
import pytest
from tests.app.changed_project import CHANGED, NEW, PARCEL, done, edited
from tests.app.serving import Server, command_of, environment, eventually, varv


@pytest.fixture
def project(served_project, tmp_path):
    return served_project(tmp_path)


def ran(home, *arguments):
    """Run a command; return its exit status and what it wrote."""
    found = subprocess.run(
        command_of(home, *arguments), capture_output=True, text=True, env=environment(), check=False
    )
    return found.returncode, found.stdout + found.stderr


@pytest.mark.slow
def test_a_plan_says_what_will_be_done_and_does_nothing(project):
    home = project.parent / "home"
    status, text = ran(project.parent / "new", "plan", str(project))
    assert status == 2
    assert "new model, first trained from" in text
    assert ran(home, "plan", str(project)) == (0, "nothing to do: the declaration is what is on record\n")
    edited(project, *CHANGED, ('cooldown="4d"', 'cooldown="3d"'))
    status, text = ran(home, "plan", str(project))
    assert status == 2
    for line in (
        "new feature rush, computed for 18,000 stored requests",
        "feature weight_kg goes once v1 is not in force any more",
        "retrain cooldown: 4d -> 3d",
    ):
        assert line in text
    status, text = ran(home, "plan", str(project), "--json")
    found = json.loads(text)
    assert (status, found["outcome"]) == (2, "changes")
    assert found["plan"]["models"][0]["added"] == NEW
    assert ran(home, "apply")[0] == 1
    edited(
        project, ('over=["12h", "7d"]', 'over=["13h", "7d"]'), ("> 16", "> 17"), ('"late-parcel"', '"later"')
    )
    status, text = ran(home, "plan", str(project))
    assert status == 1
    assert "is not declared any more" in text
    assert "--retire late-parcel" in text


class Asking:
    """Callers that ask for predictions at a steady pace, each on a connection that it keeps."""

    def __init__(self, server, n_callers=4, every_s=0.02):
        self.failed, self.n_asked = [], 0
        self._stop, self._lock, self._every_s = threading.Event(), threading.Lock(), every_s
        self._url = str(server.inference.base_url)
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(n_callers)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number):
        with httpx.Client(base_url=self._url, timeout=60) as client:
            n = 0
            while not self._stop.wait(self._every_s):
                n += 1
                body = {"dataframe_records": [{"delivery_id": f"a-{number}-{n}", **PARCEL}]}
                try:
                    answer = client.post("/invocations", json=body)
                    problem = "" if answer.status_code == 200 else answer.text
                except httpx.HTTPError as error:
                    problem = repr(error)
                with self._lock:
                    self.n_asked += 1
                    if problem:
                        self.failed.append(problem)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.slow
def test_a_change_is_applied_beside_a_running_server_without_a_failed_request(project):
    home = project.parent / "home"
    server = Server(home, project, workers=2, training_nice=0)
    asking = Asking(server)
    eventually(lambda: True if asking.n_asked > 50 else None)
    edited(project, *CHANGED)
    status, text = ran(home, "apply")
    assert status == 0, text
    assert "new feature rush" in text
    assert "change 1 is in force" in text
    before = asking.n_asked
    eventually(lambda: True if asking.n_asked > before + 100 else None)
    change = eventually(lambda: done(home))
    assert change["phase"] == "done"
    loop = eventually(lambda: _trained(home, 2))
    assert loop["versions"][1]["outcome"] in ("rolling", "promoted", "rejected")
    asking.stop()
    assert asking.failed == []
    assert server.predict("b-1", **{k: v for k, v in PARCEL.items() if k != "weight_kg"}).status_code == 400
    server.stop()
    assert json.loads(varv(home, "verify", "--json"))["ok"]


def _trained(home, version):
    [model] = json.loads(varv(home, "status", "--json"))["models"]
    outcomes = {one["version"]: one["outcome"] for one in model["versions"]}
    return model if outcomes.get(version) not in (None, "training") else None


@pytest.mark.slow
def test_a_worker_that_dies_while_the_file_is_edited_goes_by_what_is_on_record(project):
    server = Server(project.parent / "home", project, training_nice=0)
    [before] = server.control.get("/health").json()["workers"]
    project.write_text("this is no declaration yet (")
    os.kill(before, signal.SIGKILL)
    server.inference.close()
    server.inference = httpx.Client(base_url=server.inference.base_url, timeout=120)
    answer = eventually(lambda: _answered(server))
    assert answer.json()["predictions"]
    assert server.control.get("/health").json()["workers"] != [before]
    assert server.stop() == 0


def _answered(server):
    try:
        answer = server.predict("a-1", **PARCEL)
    except httpx.HTTPError:
        return None
    return answer if answer.status_code == 200 else None

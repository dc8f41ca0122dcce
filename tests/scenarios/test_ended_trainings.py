"""Trainings that are ended from outside: by a person, by a server that stops, by a power cut."""

from __future__ import annotations

import json
import shutil
import time

import psutil
import pytest
from tests.app.hostile_project import hostile_project, n_begun, say
from tests.app.serving import Server, eventually, varv

from varv.app.compose import open_ledger
from varv.kernel.sagas import CommandFailed
from varv.loop.model import OutputKept, RetrainTriggered
from varv.registry import VersionRegistered
from varv.training.output_log import output_path

pytestmark = pytest.mark.slow


class Trained:
    """A project with a server whose first model is trained."""

    def __init__(self, folder):
        self.folder, self.home, self.file = folder, folder / "home", folder / "deliveries.py"
        self.server = Server(self.home, self.file, training_nice=0)

    def begin(self, act):
        """Ask for a training that does something, and wait until its first fit has begun."""
        before = n_begun(self.folder)
        say(self.folder, act)
        assert self.server.act("model.retrain", model="late-parcel", reason=act).status_code == 200
        eventually(lambda: True if n_begun(self.folder) > before else None)

    def attempt(self):
        return self.server.control.get("/models/late-parcel.json").json()["versions"][0]

    def entries(self, kind):
        ledger = open_ledger(self.home, read_only=True)
        found = [entry.event for entry in ledger.read(limit=1_000_000) if isinstance(entry.event, kind)]
        ledger.close()
        return found

    def registered(self, version):
        return eventually(
            lambda: next((one for one in self.entries(VersionRegistered) if one.version == version), None)
        )

    def jobs(self):
        return [one for one in psutil.process_iter(["cmdline"]) if self._is_job(one.info["cmdline"] or [])]

    def _is_job(self, command):
        return any(str(self.home / "jobs") in word for word in command)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A project that was served once, until its first model was trained."""
    folder = tmp_path_factory.mktemp("once")
    say(folder, "good")
    assert Server(folder / "home", hostile_project(folder), training_nice=0).stop() == 0
    return folder


@pytest.fixture
def trained(once, tmp_path):
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    made = Trained(tmp_path)
    yield made
    if made.server.process.poll() is None:
        assert made.server.stop() == 0


def test_a_person_cancels_a_training_and_it_is_not_tried_again(trained):
    trained.begin("waits")
    eventually(lambda: True if "waiting" in varv(trained.home, "logs", "late-parcel") else None)
    page = trained.server.control.get("/models/late-parcel/versions/2/output").text
    assert "waiting" in page
    assert 'http-equiv="refresh"' in page
    assert json.loads(varv(trained.home, "logs", "late-parcel", "v2", "--json"))["running"]
    said = varv(trained.home, "cancel", "late-parcel", "--reason", "wrong data")
    assert said.startswith("the training of late-parcel v2 is being ended")
    failed = eventually(lambda: trained.attempt() if trained.attempt()["ended_at"] else None)
    assert "training 'late-parcel v2' was cancelled by operator: wrong data" in failed["reason"]
    begun = n_begun(trained.folder)
    time.sleep(3)
    assert n_begun(trained.folder) == begun
    assert [one.attempts for one in trained.entries(CommandFailed)] == [1]
    assert "waiting" in varv(trained.home, "logs", "late-parcel", "v2", "--follow")
    assert "varv logs late-parcel 2" in varv(trained.home, "why", "late-parcel v2")
    again = trained.server.act("model.cancel", model="late-parcel")
    assert again.status_code == 409
    assert "is not being trained" in again.text


def test_a_server_that_stops_ends_a_training_and_goes_on_with_it(trained):
    trained.begin("waits")
    began = time.monotonic()
    assert trained.server.stop() == 0
    assert time.monotonic() - began < 25
    assert not trained.jobs()
    assert trained.entries(CommandFailed) == []
    say(trained.folder, "good")
    trained.server = Server(trained.home, trained.file, training_nice=0)
    trained.registered(2)
    assert trained.entries(CommandFailed) == []
    assert [one.version for one in trained.entries(RetrainTriggered)] == [1, 2]


def test_a_training_that_a_power_cut_ends_fits_nothing_twice(trained):
    n_before = n_begun(trained.folder)
    trained.begin("waits_second")
    file = output_path(trained.home, "late-parcel", 2)
    eventually(lambda: True if file.exists() and "waiting" in file.read_text() else None)
    assert n_begun(trained.folder) == n_before + 2
    trained.server.kill()
    eventually(lambda: True if not trained.jobs() else None)
    say(trained.folder, "good")
    trained.server = Server(trained.home, trained.file, training_nice=0)
    trained.registered(2)
    # The first fit is found again; the second and the refit are made.
    assert n_begun(trained.folder) == n_before + 4
    [kept] = [one for one in trained.entries(OutputKept) if one.version == 2]
    text = varv(trained.home, "logs", "late-parcel", "2")
    assert text.index("[fit-1]") < text.index("waiting") < text.index("[train]")
    assert kept.n_bytes == len(text.rstrip("\n").encode()) + 1
    assert json.loads(varv(trained.home, "verify", "--json"))["ok"]

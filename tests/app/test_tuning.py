"""`varv tune`: studies on record as runs, in processes, through kills."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
from tests.app.serving import command_of, environment, eventually

from varv.app.books import open_book
from varv.app.cli.parser import main
from varv.app.server.server_file import running_server
from varv.app.settings import Settings
from varv.tuning.running import ASKED, STUDY, TOLD, TRIAL

FILE = """
import pathlib, time
import varv

HERE = str(pathlib.Path(__file__).parent)

@varv.step
def base() -> float:
    with open(HERE + "/based", "a") as file:
        file.write("x")
    return 1.0

@varv.step
def scored(start: float, x: int, kind: str, report: varv.Report) -> float:
    for epoch in range(3):
        report(epoch, start + x + 3 - epoch)
    while x == 3 and pathlib.Path(HERE, "wait").exists():
        time.sleep(0.05)
    if kind == "broken" and x > 5:
        raise ValueError("broken")
    return start + x

study = varv.Tune(
    "counts",
    scored.bind(base.bind(), x=3, kind="a"),
    space={"x": (0, 9), "kind": ["a", "b"]},
    trials=12,
    seed=3,
)
"""


class Folder:
    def __init__(self, path, capsys):
        self.path, self.home, self._capsys = path, path / "home", capsys
        self.file = path / "counts.py"
        self.file.write_text(FILE)

    def varv(self, *arguments):
        status = main(["--home", str(self.home), "tune", *arguments, "--json"])
        return status, json.loads(self._capsys.readouterr().out)

    def run(self, *options, jobs=1):
        status, found = self.varv("run", str(self.file), "--in-process", "--jobs", str(jobs), *options)
        assert status == 0, found
        return found

    def runs(self, tag):
        with open_book(Settings(home=self.home)) as book:
            return book.tagged(book.experiment("counts"), tag)


@pytest.fixture
def folder(tmp_path, capsys):
    return Folder(tmp_path, capsys)


def values(found):
    return [(trial["params"], trial["value"]) for trial in found["trials"]]


def test_every_trial_is_a_run_below_the_study(folder):
    found = folder.run()
    [whole] = folder.runs(STUDY)
    trials = folder.runs(TRIAL)
    assert (whole.run, whole.status, len(trials)) == (found["run"], "FINISHED", 12)
    assert {one.tags["mlflow.parentRunId"] for one in trials} == {whole.run}
    assert {one.status for one in trials} == {"FINISHED"}
    assert found["trials"][0]["params"] == {"scored.x": 3, "scored.kind": "a"}
    best = min(value for _, value in values(found))
    assert found["best"]["value"] == found["history"][-1] == best
    assert (folder.path / "based").read_text() == "x"  # what all trials share was made once


def test_a_trial_that_was_tried_before_is_a_hit(folder):
    found = folder.run("--trials", "30")
    tried = set()
    for trial in found["trials"]:
        asked = json.dumps(trial["params"], sort_keys=True)
        assert trial["cached"] == (asked in tried)
        tried.add(asked)
    assert len(tried) < 30


def test_a_study_ends_once_nothing_new_is_asked(folder):
    folder.file.write_text(FILE.replace('"x": (0, 9), "kind": ["a", "b"]', '"x": (3, 4)'))
    found = folder.run("--trials", "200")
    assert 50 < len(found["trials"]) < 80
    assert all(trial["cached"] for trial in found["trials"][-50:])


def test_equal_seeds_and_equal_numbers_at_a_time_try_the_same(folder, tmp_path_factory, capsys):
    other = Folder(tmp_path_factory.mktemp("other"), capsys)
    assert values(folder.run(jobs=3)) == values(other.run(jobs=3))


def test_a_study_can_have_more_trials_and_another_study_begins_anew(folder):
    first = folder.run()
    more = folder.run("--trials", "15")
    assert more["run"] == first["run"]
    assert values(more)[:12] == values(first)
    assert folder.varv("show", str(folder.file))[1] == more
    folder.file.write_text(FILE.replace("seed=3", "seed=4"))
    status, found = folder.varv("show", str(folder.file))
    assert (status, found["error"]["problem"]) == (1, "has not run yet")
    assert folder.run()["run"] != first["run"]


def test_a_failing_trial_is_told_and_several_end_the_study(folder):
    folder.file.write_text(FILE.replace('["a", "b"]', '["a", "broken"]').replace("trials=12", "trials=40"))
    states = [trial["state"] for trial in folder.run()["trials"]]
    assert {"COMPLETE", "FAIL"} == set(states)
    folder.file.write_text(FILE.replace('kind == "broken" and x > 5', "True"))
    status, found = folder.varv("run", str(folder.file), "--in-process", "--jobs", "1")
    assert (status, found["error"]["problem"]) == (1, "raised ValueError: broken")
    assert len([one for one in folder.runs(TRIAL) if one.status == "FAILED"]) == states.count("FAIL") + 5
    assert "raised ValueError: broken" in folder.runs(TRIAL)[-1].tags["varv.error"]


def test_a_page_shows_the_values(folder):
    place = folder.path / "study.html"
    folder.run("--to", str(place))
    assert "Study counts" in place.read_text()
    assert place.read_text().count("<circle") >= 12


@pytest.mark.slow
def test_a_killed_study_goes_on_and_asks_again_what_was_cut_short(folder, tmp_path_factory, capsys):
    (folder.path / "wait").touch()
    folder.file.write_text(FILE.replace("x=3, kind", "x=5, kind"))
    asked = command_of(folder.home, "tune", "run", str(folder.file), "--jobs", "1")
    running = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, env=environment())
    n_told = sum(1 for _ in zip(running.stdout, range(2), strict=False))
    running.send_signal(signal.SIGKILL)
    running.wait(30)
    running.stdout.close()
    (folder.path / "wait").unlink()
    assert n_told == 2
    found = folder.run()
    lost = [trial for trial in found["trials"] if trial["lost"]]
    others = [trial for trial in found["trials"] if not trial["lost"]]
    assert (len(lost) <= 1, len(others)) == (True, 12)
    assert all(one.tags.get(TOLD) and one.tags[ASKED] for one in folder.runs(TRIAL))
    whole = Folder(tmp_path_factory.mktemp("whole"), capsys)
    whole.file.write_text(folder.file.read_text())
    assert [one["params"] for one in others] == [one["params"] for one in whole.run()["trials"]]


@pytest.mark.slow
def test_a_study_beside_a_server_goes_on_from_what_that_has(folder):
    serving = subprocess.Popen(command_of(folder.home, "track", "--port", "0"), env=environment())
    try:
        eventually(lambda: running_server(Settings(home=folder.home)))
        first = folder.run("--trials", "6")
        assert {one.status for one in folder.runs(TRIAL)} == {"FINISHED"}
        more = folder.run("--trials", "9")
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0
    assert (more["run"], values(more)[:6]) == (first["run"], values(first))
    assert folder.varv("show", str(folder.file))[1] == more


@pytest.mark.slow
def test_trials_in_processes_are_stopped_by_what_they_report(folder):
    folder.file.write_text(FILE.replace("seed=3,", 'seed=3, pruner="median",'))
    status, found = folder.varv("run", str(folder.file), "--jobs", "2")
    assert status == 0
    pruned = [trial for trial in found["trials"] if trial["state"] == "PRUNED"]
    assert pruned
    assert all(trial["points"] and trial["value"] is None for trial in pruned)

"""`varv pipeline`: runs on record, in processes of their own, through kills and beside a server."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager

import pytest
from tests.app.serving import command_of, environment, eventually

from varv.app.cli.parser import main
from varv.app.compose import open_ledger, open_tracking
from varv.app.server.server_file import running_server
from varv.app.settings import Settings
from varv.kernel.clock import SystemClock
from varv.runs import artifacts, reading

FILE = """
import pathlib, time
import varv

HERE = str(pathlib.Path(__file__).parent)
SCALE = 2

@varv.step
def numbers(n: int) -> list[int]:
    print("counting to", n)
    return list(range(n))

@varv.step
def doubled(values: list[int]) -> list[int]:
    return [value * SCALE for value in values]

@varv.step
def waits(values: list[int], seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return sum(values)

@varv.step(retries=1, backoff="1ms")
def flaky(values: list[int], fails: int = 0) -> int:
    seen = pathlib.Path(HERE, "attempts")
    n = len(seen.read_text()) if seen.exists() else 0
    seen.write_text("x" * (n + 1))
    if n < fails:
        raise RuntimeError(f"attempt {n + 1}")
    return n

@varv.step
def few(total: int, most: int = 1000) -> varv.Stop | None:
    return varv.Stop(f"{total} is more than {most}") if total > most else None

rows = doubled.bind(numbers.bind(n=4))
total = waits.bind(rows)
sums = varv.Pipeline("sums", flaky.bind(rows).after(few.bind(total)))
"""


class Folder:
    def __init__(self, path, capsys):
        self.path, self.home, self._capsys = path, path / "home", capsys
        self.file = path / "sums.py"
        self.file.write_text(FILE)

    def varv(self, *arguments):
        status = main(["--home", str(self.home), "pipeline", *arguments])
        found = self._capsys.readouterr()
        return status, found.out, found.err

    def run(self, *options, file=None):
        status, out, err = self.varv("run", str(file or self.file), "--in-process", "--json", *options)
        assert status == 0, err + out
        done = json.loads(out)
        return {line["step"]: line for line in done["steps"]}, done["run"]

    def runs(self):
        """Return what is on record, the latest run last."""
        with self.reading() as (db, _):
            numbers = [no for (no,) in db.execute("SELECT no FROM run ORDER BY no")]
            return reading.runs(db, numbers)

    def artifact(self, run, path):
        with self.reading() as (db, blobs):
            return blobs.get(artifacts.find(db, f"runs/{run}", path).digest)

    @contextmanager
    def reading(self):
        ledger = open_ledger(self.home)
        desk = open_tracking(self.home, ledger, SystemClock())
        try:
            with desk.recorder.reading() as db:
                yield db, desk.runs.blobs
        finally:
            desk.close()
            ledger.close()


@pytest.fixture
def folder(tmp_path, capsys):
    return Folder(tmp_path, capsys)


def hows(lines):
    return {name: line["how"] for name, line in lines.items()}


def test_a_run_is_on_record_with_a_run_below_it_for_each_step(folder):
    _, run = folder.run()
    whole, *below = folder.runs()
    assert (whole.id, whole.status, whole.params["numbers.n"]) == (run, "FINISHED", "4")
    assert {one.name for one in below} == {"numbers", "doubled", "waits", "few", "flaky"}
    assert {one.tags["mlflow.parentRunId"] for one in below} == {run}
    assert {one.tags["varv.missed_for"] for one in below} == {"first run"}
    assert whole.tags["varv.step.few"] == "ran"


def test_a_second_run_finds_everything_and_a_change_says_what_changed(folder):
    folder.run()
    assert set(hows(folder.run()[0]).values()) == {"hit"}
    folder.file.write_text(FILE.replace("SCALE = 2", "SCALE = 3"))
    status, out, _ = folder.varv("why", str(folder.file))
    assert (status, out.splitlines()[:4]) == (
        0,
        ["numbers: hit", "doubled: runs", "  code sums:SCALE", "waits: runs"],
    )
    lines, _ = folder.run()
    assert lines["doubled"]["why"] == ["code sums:SCALE"]
    assert lines["numbers"]["how"] == "hit"


def test_a_run_that_fails_says_why_and_goes_on_from_there(folder):
    status, out, _ = folder.varv("run", str(folder.file), "--in-process", "--json", "--set", "flaky.fails=5")
    error = json.loads(out)["error"]
    assert (status, error["problem"]) == (1, "raised RuntimeError: attempt 2")
    last = folder.runs()[-1]
    assert (last.name, last.status) == ("flaky", "FAILED")
    assert "attempt 1" in last.tags["varv.attempt.1"]
    assert "attempt 2" in last.tags["varv.error"]
    assert hows(folder.run()[0])["waits"] == "hit"


def test_a_shut_gate_is_no_failure_and_says_its_reason(folder):
    lines, _ = folder.run("--set", "few.most=3")
    assert lines["flaky"] == {
        **lines["flaky"],
        "how": "skipped",
        "why": ["gate few is shut: 12 is more than 3"],
    }
    assert folder.runs()[0].tags["varv.step.flaky"] == "skipped: gate few is shut: 12 is more than 3"


def test_a_scheduler_runs_steps_one_by_one_and_is_told_of_gates(folder):
    def step(name, *options):
        return folder.varv("step", str(folder.file), name, "--run", "monday", *options)

    status, _, err = step("doubled")
    assert (status, "step 'numbers' has no result for 'doubled' to go on from" in err) == (1, True)
    assert [step(name)[0] for name in ("numbers", "doubled", "waits")] == [0, 0, 0]
    assert step("few")[0] == 0
    folder.file.write_text(FILE.replace("most: int = 1000", "most: int = 3"))
    status, out, _ = step("few")
    assert (status, out) == (99, "few: a gate is shut: 12 is more than 3\n")
    assert step("flaky")[0] == 99
    place = folder.path / "outputs" / "open"
    assert step("few", "--open-to", str(place))[0] == 0
    assert place.read_text() == "false"
    status, _, err = step("numbers", "--expect", "0" * 64)
    assert (status, "has changed since it was exported" in err) == (1, True)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(folder):
    asked = command_of(folder.home, "pipeline", "run", str(folder.file), "--set", "waits.seconds=600")
    running = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, env=environment())
    for line in running.stdout:
        if line.startswith("doubled: ran"):
            break
    running.send_signal(signal.SIGKILL)
    running.wait(30)
    running.stdout.close()
    lines, _ = folder.run()
    assert hows(lines) | {"waits": ""} == {
        "numbers": "hit",
        "doubled": "hit",
        "waits": "",
        "few": "ran",
        "flaky": "ran",
    }
    killed = [one for one in folder.runs() if one.status == "KILLED"]
    assert killed[0].tags["varv.step.doubled"] == "ran"
    assert all(one.status in ("KILLED", "FINISHED") for one in folder.runs())


@pytest.mark.slow
def test_runs_beside_a_server_go_to_that_server(folder):
    serving = subprocess.Popen(command_of(folder.home, "track", "--port", "0"), env=environment())
    try:
        eventually(lambda: running_server(Settings(home=folder.home)))
        lines, run = folder.run()
        assert set(hows(lines).values()) == {"ran"}
        assert set(hows(folder.run()[0]).values()) == {"hit"}
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0
    whole = next(one for one in folder.runs() if one.id == run)
    assert (whole.status, whole.params["numbers.n"]) == ("FINISHED", "4")
    below = [one for one in folder.runs() if one.tags.get("mlflow.parentRunId") == run]
    assert {one.name for one in below} == {"numbers", "doubled", "waits", "few", "flaky"}
    assert folder.artifact(run, "waits.json") == b"12"


@pytest.mark.slow
def test_steps_run_in_processes_whose_output_is_kept(folder):
    status, out, err = folder.varv("run", str(folder.file), "--jobs", "2", "--json")
    assert status == 0, err + out
    step = next(one for one in folder.runs() if one.name == "numbers")
    assert folder.artifact(step.id, "output.txt") == b"counting to 4\n"

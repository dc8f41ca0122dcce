"""`varv run`, `reproduce` and `runs stop` as they are typed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest
from tests.app.serving import command_of, environment, eventually, varv

from varv.app.cli.parser import main, parsed


def test_what_follows_two_dashes_is_for_the_script():
    line = ["run", "train.py", "--tag", "a=b", "--", "--name", "x", "--json", "depth=2"]
    options = parsed(line)
    assert (options.script, options.tag, options.name, options.json) == ("train.py", ["a=b"], "", False)
    assert options.arguments == ["--name", "x", "--json", "depth=2"]
    assert parsed(["run", "train.py", "depth=2", "--", "--x"]).arguments == ["depth=2", "--x"]
    assert parsed(["run", "train.py"]).arguments == []


def test_two_dashes_mean_what_they_did_elsewhere():
    assert parsed(["cancel", "--reason", "x", "--", "late"]).model == "late"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["run", "none.py"], "script 'none.py' is not there"),
        (["run", __file__, "--tag", "x"], "option '--tag' has no value"),
        (["runs", "stop", "abc"], "is served by nobody"),
        (["reproduce", "abc", "--relative", "-1"], "tolerance 'relative' is out of range"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(line, said, tmp_path, capsys):
    assert main(["--home", str(tmp_path / "home"), *line]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_a_script_is_run_made_again_and_stopped_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    (tmp_path / "train.py").write_text("import pathlib, sys\npathlib.Path('o.txt').write_text(sys.argv[1])\n")
    ended = json.loads(varv(home, "run", "train.py", "--output", "o.txt", "--json", "--", "--x"))
    assert ended["status"] == "FINISHED"
    found = json.loads(varv(home, "reproduce", ended["run"], "--json"))
    assert (found["verdict"], found["components"]) == ("bit-identical", [])

    (tmp_path / "long.py").write_text("import time\nprint('begun')\ntime.sleep(100)\n")
    running = subprocess.Popen(
        command_of(home, "run", "long.py"), env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert running.stdout.readline() == "begun\n"
    run = eventually(lambda: _run_under_way(home))
    assert "asked run" in varv(home, "runs", "stop", run)
    assert running.wait(60) == 128 + signal.SIGTERM
    assert "KILLED" in running.stdout.read()
    running.stdout.close()
    varv(home, "verify")


def _run_under_way(home):
    with closing(sqlite3.connect(f"file:{home / 'tracking.db'}?mode=ro", uri=True)) as db:
        row = db.execute("SELECT id FROM run WHERE status = 0").fetchone()
    return row and row[0]

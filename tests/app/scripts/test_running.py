"""Scripts as runs: real ones, of a real repository, in a home that is served."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import msgspec
import pytest
from tests.app.scripts.conftest import ScriptHome
from tests.app.serving import eventually
from tests.runs.repositories import variables

from varv.app.scripts import running
from varv.app.scripts.homes import tracked_home
from varv.app.scripts.running import EXIT_STATUS, LAST_LINES, NOT_WRITTEN, Script
from varv.app.scripts.sweeping import sweep
from varv.app.settings import Settings
from varv.fronts.mlflow.client import TrackingClient
from varv.kernel.codec import digest
from varv.kernel.errors import InvalidInput, Unauthenticated, Unavailable
from varv.runs.capture import CAPTURE, CONFIG, OUTPUT, PATCH, TAG
from varv.runs.model import STATUSES
from varv.runs.verbs import StopRequest

FAILED = STATUSES.index("FAILED")

CONFIGURED = """
import varv

@varv.config
class Training:
    depth: int = 3
    password: str = ""

print("depth", varv.load_config(Training).depth)
"""


def test_a_run_holds_what_its_script_was_made_from_and_did(home, project):
    made = project("from logs import log\nlog('auc', 0.75)\nprint('fitted')\n")
    made.write(**{"train.py": "from logs import log\nlog('auc', 0.5)\nprint('fitted')\n"})
    ended = home.run(made, "--fast", name="first", experiment="flights", tags={"team": "ops"})
    found = home.outcome(ended.run)
    assert (found.status, found.name, found.experiment) == ("FINISHED", "first", "flights")
    assert found.metrics == {"auc": 0.5}
    assert found.tags["mlflow.source.git.commit"] == made.git("rev-parse", "HEAD").strip()
    assert found.tags["team"] == "ops"
    assert found.tags[TAG] == ended.capture == found.artifacts[CAPTURE]
    assert b"log('auc', 0.5)" in home.artifact(ended.run, PATCH)
    assert home.artifact(ended.run, OUTPUT) == b"fitted\n"


def test_a_script_that_fails_leaves_its_status_and_last_lines(home, project):
    ended = home.run(project("print('begun')\nraise SystemExit('no rows')\n"))
    found = home.outcome(ended.run)
    assert (ended.status, ended.exit_status, found.status) == ("FAILED", 1, "FAILED")
    assert found.tags[EXIT_STATUS] == "1"
    assert found.tags[LAST_LINES] == "begun\nno rows"


def test_what_a_script_was_configured_with_becomes_parameters(home, project):
    ended = home.run(project(CONFIGURED), "depth=7", "password=s3cret")
    found = home.outcome(ended.run)
    assert found.params["depth"] == "7"
    assert msgspec.json.decode(home.artifact(ended.run, CONFIG))["origins"]["depth"] == "command line"
    for path in found.artifacts:
        assert b"s3cret" not in home.artifact(ended.run, path)


def test_arguments_that_give_names_values_become_parameters(home, project):
    found = home.outcome(home.run(project("print(1)\n"), "--depth=7", "model.rate=.1", "--fast", "x").run)
    assert found.params == {"depth": "7", "model.rate": ".1"}


LOGS_PARAM = """
import json, os, urllib.request
body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "depth", "value": "7.0"}
urllib.request.urlopen(urllib.request.Request(
    os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-parameter",
    json.dumps(body).encode(), {"content-type": "application/json"})).read()
"""


def test_what_a_script_says_of_its_parameters_itself_counts(home, project):
    ended = home.run(project(LOGS_PARAM), "--depth=7", "--rate=1")
    assert ended.status == "FINISHED"
    assert home.outcome(ended.run).params == {"depth": "7.0", "rate": "1"}
    ended = home.run(project(CONFIGURED + LOGS_PARAM), "depth=7")
    assert ended.status == "FINISHED"
    assert home.outcome(ended.run).params["depth"] == "7.0"


def test_an_output_that_cannot_be_kept_is_named(home, project):
    code = "import pathlib\npathlib.Path('out').mkdir()\n"
    code += "for name in ('a.txt', 'b#c.txt'): pathlib.Path('out', name).write_text(name)\n"
    ended = home.run(project(code), outputs=("out",))
    assert (ended.status, ended.not_written) == ("FINISHED", ("out/b#c.txt",))
    assert home.artifact(ended.run, "outputs/out/a.txt") == b"a.txt"


def test_a_run_that_cannot_go_on_has_failed(home, project, monkeypatch):
    def none(*_, **__):
        raise Unavailable("script", "train.py", "cannot be started")

    monkeypatch.setattr(running, "run_script", none)
    with pytest.raises(Unavailable, match="cannot be started"):
        home.run(project("print(1)\n"), name="never")
    place = f"file:{home.settings.home / 'tracking.db'}?mode=ro"
    with closing(sqlite3.connect(place, uri=True)) as db:
        assert db.execute("SELECT status FROM run WHERE name = 'never'").fetchall() == [(FAILED,)]


def test_a_server_that_was_started_anew_still_learns_of_the_end(home, project, monkeypatch):
    end, failures = home.tracked.runs.end, iter([Unavailable("server", "", "cannot be reached")])

    def late(*said):
        for failure in failures:
            raise failure
        end(*said)

    monkeypatch.setattr(home.tracked.runs, "end", late)
    ended = home.run(project("print(1)\n"))
    assert home.outcome(ended.run).status == "FINISHED"


def test_where_clients_are_declared_a_script_still_reaches_its_home(project, tmp_path):
    clients = tmp_path / "varv.toml"
    clients.write_text(f'[clients.shop]\ntoken = "{digest(b"secret")}"\n')
    settings = Settings(home=tmp_path / "home")
    with tracked_home(settings, clients) as tracked:
        other = ScriptHome(settings, tracked)
        assert other.run(project("print(1)\n")).status == "FINISHED"
        assert tracked.variables["MLFLOW_TRACKING_TOKEN"]
        with TrackingClient(tracked.runs.url) as nobody, pytest.raises(Unauthenticated):
            nobody.experiment("Default")


def test_the_machine_is_measured_while_a_script_runs(home, project, monkeypatch):
    monkeypatch.setattr(running, "_LOOKS_EVERY_S", 0.0)
    monkeypatch.setattr(running, "_MEASURES_EVERY_S", 0.0)
    found = home.outcome(home.run(project("import time; time.sleep(0.5)\n")).run)
    assert found.metrics["system/system_memory_usage_megabytes"] > 0


def test_declared_outputs_and_data_are_kept(home, project):
    code = "import pathlib\npathlib.Path('out').mkdir(exist_ok=True)\n"
    made = project(code + "pathlib.Path('out/model.bin').write_bytes(b'model')\n")
    made.write(**{"day.csv": "a\n1\n", "old.txt": "from an earlier run"})
    ended = home.run(made, data=("day.csv",), outputs=("out", "old.txt", "none.txt"))
    found = home.outcome(ended.run)
    assert home.artifact(ended.run, "outputs/out/model.bin") == b"model"
    assert ended.not_written == ("old.txt", "none.txt")
    assert found.tags[NOT_WRITTEN] == "old.txt, none.txt"


def test_a_run_is_stopped_from_elsewhere(home, project):
    code = (
        "import signal, sys, time\nfrom logs import log\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
        "log('begun', 1)\ntime.sleep(100)\n"
    )
    made, ends = project(code), []
    thread = threading.Thread(target=lambda: ends.append(home.run(made, name="long", tags={"own": "x"})))
    thread.start()
    run = eventually(lambda: _run_that_began(home))
    home.tracked.ask("runs.stop", StopRequest(run=run, by="ana"))
    thread.join(60)
    assert (ends[0].status, ends[0].exit_status) == ("KILLED", 0)
    assert home.outcome(run).tags["varv.stop"] == "ana"
    assert home.artifact(run, OUTPUT) == b"saved\n"


def _run_that_began(home):
    """Return the id of the run named "long" once its script has logged something."""
    place = f"file:{home.settings.home / 'tracking.db'}?mode=ro"
    with closing(sqlite3.connect(place, uri=True)) as db:
        row = db.execute("SELECT id FROM run WHERE name = 'long'").fetchone()
    return row[0] if row and "begun" in home.outcome(row[0]).metrics else None


def test_what_is_not_there_is_refused_before_a_run_begins(home, project):
    made = project("print(1)\n")
    with pytest.raises(InvalidInput, match=r"script 'none\.py' is not there"):
        home.run(made, file="none.py")
    with pytest.raises(InvalidInput, match=r"data 'none\.csv' cannot be read"):
        home.run(made, data=("none.csv",))
    with pytest.raises(InvalidInput, match=r"write .csv, .npy, .jsonl"):
        home.run(made, predictions="p.pickle")
    with pytest.raises(InvalidInput, match="is not allowed"):
        home.run(made, outputs=("../other.txt",))


def test_a_second_process_reaches_the_same_home_over_http(home, project):
    with tracked_home(home.settings) as other:
        assert other.variables["MLFLOW_TRACKING_URI"] == home.tracked.runs.url
        assert other.runs.experiment("Default") == "0"


def test_a_sweep_is_a_parent_with_a_child_for_each_combination(home, project):

    made = project("import sys\nfrom logs import log\nlog('x', float(sys.argv[1].partition('=')[2]))\n")
    script = Script(file="train.py", arguments=("x=1,2,none",), folder=made.folder, variables=variables())
    lines = []
    swept = sweep(script, home.tracked, jobs=2, stop=threading.Event(), on_line=lines.append)
    assert [(child.name, child.status) for child in swept.children] == [
        ("x=1", "FINISHED"),
        ("x=2", "FINISHED"),
        ("x=none", "FAILED"),
    ]
    assert "could not convert" in swept.children[2].why
    assert any(line.startswith(b"[x=none] ValueError") for line in lines)
    assert home.outcome(swept.run).status == "FAILED"
    child = home.outcome(swept.children[1].run)
    assert (child.metrics, child.params) == ({"x": 2.0}, {"x": "2"})
    assert child.tags["mlflow.parentRunId"] == swept.run


def test_a_sweep_that_is_ended_begins_no_others(home, project):

    script = Script(file="train.py", arguments=("x=1,2",), folder=project("").folder, variables=variables())
    stop = threading.Event()
    stop.set()
    swept = sweep(script, home.tracked, jobs=1, stop=stop)
    assert [child.status for child in swept.children] == [None, None]
    assert swept.status == "KILLED"

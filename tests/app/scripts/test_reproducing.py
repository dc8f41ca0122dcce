"""Runs made again: what equal, random, changed and missing parts lead to."""

from __future__ import annotations

import shutil
import zipfile

import msgspec
import pytest
from tests.app.scripts.test_environments import wheel_of
from tests.kernel.test_environment import install
from tests.runs.repositories import Repository, variables

from varv.app.compose import open_ledger
from varv.kernel.codec import canonical
from varv.kernel.environment import Environment
from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.runs.capture import CAPTURE, OUTPUT, TAG, Lock, captured
from varv.runs.source import Source

FIT = """
import numpy as np
from logs import log
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 3))
y = x @ [1.0, -1.0, 0.5] + rng.normal(size=200) > 0
fitted = LogisticRegression().fit(x, y)
scores = fitted.predict_proba(x)[:, 1]
log("auc", float(np.mean(scores[y]) - np.mean(scores[~y])))
np.save("scores.npy", scores)
"""


def events(home, run):
    ledger = open_ledger(home.settings.home, read_only=True)
    entries = ledger.read(0, limit=100_000)
    ledger.close()
    return [entry.event for entry in entries if entry.name == "runs.reproduced" and entry.event.run == run]


@pytest.mark.slow
def test_a_fit_that_is_repeatable_is_bit_identical(home, project):
    made = project(FIT, **{".gitignore": "*.npy\n"})
    made.write(**{"note.txt": "not committed"})
    run = home.run(made, predictions="scores.npy").run
    made.write(**{"train.py": "raise SystemExit('another script by now')"})
    found = home.reproduce(run, made)
    assert (found.verdict, found.repeats) == ("bit-identical", "bit-identical")
    assert found.components == ()
    assert len(found.reruns) == 2
    assert home.outcome(run).tags["varv.reproduced"] == "bit-identical"
    (stated,) = events(home, run)
    assert stated.verdict == "bit-identical"
    assert stated.captures == tuple(home.outcome(one).tags["varv.capture"] for one in (run, found.reruns[0]))
    assert home.outcome(found.reruns[0]).tags["mlflow.parentRunId"] == run


def test_a_script_that_draws_from_nowhere_is_found_out(home, project):
    code = "import os\nfrom logs import log\nlog('x', float(int.from_bytes(os.urandom(4))))\n"
    made = project(code)
    found = home.reproduce(home.run(made).run, made)
    assert (found.verdict, found.repeats) == ("differs", "differs")
    assert found.differing[0].startswith("metric x: ")
    assert found.components == ()


def test_a_time_in_a_file_beside_equal_predictions_is_prediction_identical(home, project):
    code = (
        "import time, pathlib\npathlib.Path('scores.csv').write_text('p\\n0.5\\n')\n"
        "pathlib.Path('model.txt').write_text(str(time.time_ns()))\n"
    )
    made = project(code)
    run = home.run(made, outputs=("model.txt",), predictions="scores.csv").run
    found = home.reproduce(run, made)
    assert (found.verdict, found.differing) == ("prediction-identical", ("artifact outputs/model.txt",))
    assert home.reproduce(run, made, ignored=("*model.txt",)).verdict == "bit-identical"


def test_data_that_changed_is_named_and_data_that_is_gone_stops_it(home, project):
    code = "from logs import log\nlog('rows', len(open('day.csv').readlines()))\n"
    made = project(code, **{".gitignore": "*.csv\n"})
    made.write(**{"day.csv": "a\n1\n"})
    run = home.run(made, data=("day.csv",)).run
    assert home.reproduce(run, made).verdict == "bit-identical"
    made.write(**{"day.csv": "a\n1\n2\n"})
    found = home.reproduce(run, made)
    assert (found.verdict, found.repeats) == ("differs", "bit-identical")
    assert found.differing == ("metric rows: 2.0, then 3.0",)
    assert [one.component for one in found.components] == ["data day.csv"]
    (made.folder / "day.csv").unlink()
    found = home.reproduce(run, made)
    assert found.verdict == "cannot run"
    assert "data 'day.csv' is not there any more" in found.because


def test_recorded_variables_are_those_of_the_rerun(home, project):
    code = "import os\nfrom logs import log\nlog('threads', float(os.environ.get('OMP_NUM_THREADS', 0)))\n"
    made = project(code)
    run = home.run(made, variables={"OMP_NUM_THREADS": "3"}).run
    assert home.reproduce(run, made, OMP_NUM_THREADS="1").verdict == "bit-identical"


def test_a_script_without_repository_is_made_again(home, tmp_path):
    class Folder:
        folder = tmp_path / "loose"

    Folder.folder.mkdir()
    (Folder.folder / "train.py").write_text(
        "import steps, pathlib\npathlib.Path('o.txt').write_text(steps.X)\n"
    )
    (Folder.folder / "steps.py").write_text("X = 'one'\n")
    run = home.run(Folder, outputs=("o.txt",)).run
    (Folder.folder / "steps.py").write_text("X = 'two'\n")
    assert home.reproduce(run, Folder).verdict == "bit-identical"


def test_a_script_that_fails_now_cannot_run(home, project, tmp_path):
    code = (
        f"import pathlib, sys\nsys.exit('no rows' if pathlib.Path({str(tmp_path)!r}, 'gone').exists() else 0)"
    )
    made = project(code)
    run = home.run(made).run
    (tmp_path / "gone").touch()
    found = home.reproduce(run, made)
    assert found.verdict == "cannot run"
    assert "no rows" in found.because
    assert len(found.reruns) == 1


def test_a_run_without_its_commit_cannot_run(home, project, tmp_path):
    run = home.run(project("print(1)\n")).run
    found = home.reproduce(run, Repository(tmp_path / "other", **{"x.py": "other"}))
    assert found.verdict == "cannot run"
    assert "is not in this repository" in found.because
    assert events(home, run)[0].because == found.because


def test_a_dependency_that_changed_is_named(home, project, tmp_path):
    made = project("import tiny\nfrom logs import log\nlog('x', tiny.X)\n")
    install(tmp_path / "site", "tiny", "1.0")
    (tmp_path / "site/tiny.py").write_text("X = 1.0\n")
    run = home.run(made, variables={"PYTHONPATH": str(tmp_path / "site")}).run
    install(tmp_path / "site2", "tiny", "1.1")
    (tmp_path / "site2/tiny.py").write_text("X = 2.0\n")
    (tmp_path / "site").rename(tmp_path / "before")
    (tmp_path / "site2").rename(tmp_path / "site")
    found = home.reproduce(run, made, environment="present")
    assert (found.verdict, found.repeats) == ("differs", "bit-identical")
    assert [(one.component, one.before, one.after) for one in found.components] == [
        ("distribution tiny", "1.0", "1.1")
    ]


@pytest.mark.slow
def test_a_locked_environment_is_made_again(home, project, tmp_path):
    wheel, digest = wheel_of(tmp_path / "wheels", "tiny", "1.0", "X = 1.0\n")
    lock = f"tiny==1.0 --hash=sha256:{digest}\n"
    made = project("import tiny\nfrom logs import log\nlog('x', tiny.X)\n", **{"requirements.lock": lock})
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    run = home.run(made, variables={"PYTHONPATH": str(tmp_path / "site")}).run
    shutil.rmtree(tmp_path / "site")
    offline = {"UV_FIND_LINKS": str(wheel.parent), "UV_NO_INDEX": "1", "UV_OFFLINE": "1"}
    found = home.reproduce(run, made, **offline)
    assert (found.verdict, found.because) == ("bit-identical", "")
    named = [one.component for one in found.components]
    assert "distribution numpy" in named  # the lock has it not
    assert "distribution tiny" not in named
    assert "files of tiny" not in named
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    found = home.reproduce(run, made, **offline, UV_CACHE_DIR=str(tmp_path / "cache"))
    assert found.verdict == "cannot run"
    assert "environment 'recorded' cannot be made" in found.because


def forged(home, project, **changes):
    """Return a run with a capture that somebody else has written."""
    made = project("import os\nprint(os.environ.get('LD_PRELOAD'))\n")
    capture = captured(made.folder, "train.py", (), variables()).capture
    capture = msgspec.structs.replace(capture, **changes)
    runs = home.tracked.runs
    run, _, _, place = runs.begin("0", name="", user="eve", at_ms=1, tags={TAG: capture.digest})
    runs.put(place, CAPTURE, canonical(capture))
    runs.end(run, "FINISHED", 2)
    return home.reproduce(run, made)


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "../../evil.py"},
        {"file": "/etc/hostname"},
        {"source": Source(commit="--upload-pack=touch x")},
        {"source": Source(folder="../..")},
        {"data": {"../../evil": "0" * 64}},
        {"outputs": ("../evil",)},
        {"environment": Environment("3.11.0", "", {"--index-url": "x"}), "lock": None},
        {"environment": Environment("3.11.0", "", {}), "lock": Lock("../../etc/passwd", "0" * 64)},
    ],
    ids=str,
)
def test_a_capture_that_leads_elsewhere_cannot_run(home, project, changes):
    found = forged(home, project, **changes)
    assert (found.verdict, found.reruns) == ("cannot run", ())


def test_variables_of_a_capture_that_bear_on_nothing_are_not_set(home, project):
    found = forged(home, project, variables={"LD_PRELOAD": "evil.so", "OMP_NUM_THREADS": "1"})
    assert home.artifact(found.reruns[0], OUTPUT) == b"None\n"


def test_what_was_not_captured_or_was_altered_is_refused(home, project):
    made = project("print(1)\n")
    experiment = home.tracked.runs.experiment("Default")
    other = home.tracked.runs.begin(experiment, name="", user="ana", at_ms=1, tags={}).run
    with pytest.raises(FailedPrecondition, match="has not ended"):
        home.reproduce(other, made)
    home.tracked.runs.end(other, "FINISHED", 2)
    with pytest.raises(FailedPrecondition, match="was not captured"):
        home.reproduce(other, made)
    run = home.run(made).run
    place = home.tracked.runs.place(run)
    altered = home.artifact(run, CAPTURE).replace(b'"train.py"', b'"other.py"')
    home.tracked.runs.put(place, CAPTURE, altered)
    with pytest.raises(Corrupt, match="is not what was captured"):
        home.reproduce(run, made)

"""Tasks are found by the name in their spec, ours and those that a package brings."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from varv import task
from varv.kernel.errors import FailedPrecondition, InvalidDeclaration
from varv.tasks import TaskSpec, loading, task_names, task_of

ROOT = Path(__file__).parents[2]
COUNTS = """
from varv.tasks.score import Score

class Counts(Score):
    name = "counts"
"""


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """A package that brings a task, two things that are none, and one under a name of ours."""
    (tmp_path / "counting.py").write_text(COUNTS)
    info = tmp_path / "counting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    entries = [
        "counts = counting:Counts",
        "gone = counting:Gone",
        "odd = json:dumps",
        "binary = counting:Counts",
    ]
    (info / "entry_points.txt").write_text("[varv.tasks]\n" + "\n".join(entries))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    loading._TASKS._loaded.clear()


def test_what_is_installed_is_what_a_checkout_has():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared["varv.tasks"] == loading.BUILT_IN


def test_every_task_is_listed_under_the_name_that_its_class_has():
    for name in loading.BUILT_IN:
        assert loading._TASKS.load(name).name == name


def test_a_name_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(
        InvalidDeclaration, match="task 'bandit' does not exist; the tasks are binary, multiclass"
    ):
        task_of("bandit")


def test_options_that_a_task_does_not_take_are_refused():
    with pytest.raises(InvalidDeclaration, match="unexpected keyword argument 'at'; it takes no options"):
        task_of(TaskSpec("binary", {"at": 3}))
    with pytest.raises(InvalidDeclaration, match="missing a required argument: 'group'; it takes group, at"):
        task_of("ranking")


def test_a_ledger_that_names_no_task_means_binary():
    assert task_of(TaskSpec()) == task.binary()


def test_a_package_brings_a_task_of_its_own(other_package):
    assert "counts" in task_names()
    assert task_of("counts").name == "counts"
    assert task_of("binary") == task.binary()


@pytest.mark.parametrize(("name", "problem"), [("gone", "cannot be loaded"), ("odd", "is no task")])
def test_what_a_package_brings_wrongly_is_refused(other_package, name, problem):
    with pytest.raises(FailedPrecondition, match=problem):
        task_of(name)


def test_tasks_differ_by_their_options():
    one, other = task.regression(range=(0, 1)), task.regression(range=(0, 2))
    assert one == task.regression(range=(0.0, 1.0)) != other
    assert len({one, other, task.regression(range=(0, 1))}) == 2
    assert repr(one) == "varv.task.regression(range=[0.0, 1.0], loss='absolute')"


@pytest.mark.parametrize("name", ["binary", "score"])
def test_no_rows_determine_no_number(name):
    made = task_of(name)
    assert set(made.validation(np.empty(0), np.empty((0, 1))).values()) <= {None}


def test_only_the_task_that_is_asked_for_is_loaded():
    code = "import sys; from varv import task; task.binary(); print('varv.tasks.ranking' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"

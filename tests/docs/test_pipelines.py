"""The pipeline and the study on the pages run as they stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from varv.app.cli.parser import main

PAGES = Path(__file__).parents[2] / "docs" / "how-to"


@pytest.fixture
def told(tmp_path, capsys):
    def run(page, *arguments):
        text = (PAGES / page).read_text()
        file = tmp_path / "page.py"
        file.write_text(text.split("```python\n")[1].split("```")[0])
        (tmp_path / "delays.csv").write_text("late\n1\n0\n")
        command, act, *options = arguments
        given = [command, act, str(file), "--in-process", "--jobs", "1", "--json", *options]
        status = main(["--home", str(tmp_path / "home"), *given])
        found = json.loads(capsys.readouterr().out)
        assert status == 0, found
        return found

    return run


def test_the_pipeline_of_the_page_runs(told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = told("pipelines.md", "pipeline", "run")
    assert [step["how"] for step in found["steps"]] == ["ran"] * 6
    shut = told("pipelines.md", "pipeline", "run", "--set", "good_enough.most=0.001")
    assert shut["steps"][-1]["why"] == ["gate good_enough is shut: a loss of 0.040 is above 0.001"]


def test_the_study_of_the_page_runs(told):
    found = told("tuning.md", "tune", "run", "--trials", "8")
    assert len(found["trials"]) == 8

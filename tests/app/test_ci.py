"""`varv ci` and `varv hooks` as one uses them."""

from __future__ import annotations

import json
import subprocess

import pytest
from tests.runs.conftest import TrackedHome

from varv.app.cli.ci import status_of
from varv.app.cli.parser import main
from varv.home.candidate import CandidateReport


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".varv"
    folder.mkdir()
    TrackedHome(folder).close()
    return tmp_path


def test_where_nothing_is_declared_nothing_can_be_judged(home, capsys):
    assert main(["ci", "report", "--to", "report.md", "--junit", "report.xml"]) == 2
    assert "No model" in (home / "report.md").read_text()
    assert (home / "report.xml").read_text().startswith("<?xml")
    assert main(["ci", "report", "--version", "3"]) == 1
    assert "name the model" in capsys.readouterr().err


def test_the_status_says_what_the_worst_candidate_is():
    def reports(*standings):
        return [CandidateReport(model=str(place), standing=one) for place, one in enumerate(standings)]

    assert status_of(reports("passed", "passed")) == 0
    assert status_of(reports("passed", "unjudged", "failed")) == 1
    assert status_of(reports("passed", "unjudged")) == 2


def test_workflows_are_not_written_over_others(home, capsys):
    asked = ["ci", "template", "github", "--project", "a b.py", "--to", "."]
    assert main(asked) == main(asked) == 0
    workflow = home / ".github" / "workflows" / "varv.yml"
    assert "varv replay 'a b.py'" in workflow.read_text()
    workflow.write_text("theirs")
    assert main(asked) == 1
    assert workflow.read_text() == "theirs"


def test_a_stamp_says_what_the_home_was(home, capsys, monkeypatch):
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "ana")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "ana@example.org")
    (home / "uv.lock").write_text("locked")
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *arguments], check=True)
    assert main(["hooks", "stamp", "--json"]) == 0
    stamped = json.loads(capsys.readouterr().out)
    assert main(["hooks", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == stamped
    assert (stamped["seq"], list(stamped["files"])) == (1, ["uv.lock"])
    assert main(["hooks", "uninstall"]) == 1

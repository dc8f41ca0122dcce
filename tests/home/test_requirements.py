"""The matrix of a version: what is proved of it, by which entry; and what holds a candidate back."""

from __future__ import annotations

import pytest
from tests.home.live_home import LiveHome
from tests.loop.synthetic import declared

import varv
from varv.app.cli import main
from varv.fronts.web.page import reading
from varv.fronts.web.pages.models import version_page
from varv.home.requirements import requirements_of
from varv.kernel.errors import FailedPrecondition, NotFound
from varv.loop.model import CandidateRejected, GatesJudged

MODEL = "late-parcel"
GOOD, HIGH = varv.gate.at_least("auc", 0.6), varv.gate.at_least("auc", 0.999)


def home_of(folder, *requirements, gates=(GOOD,)):
    model = declared().models[0]
    model.gates, model.requirements = gates, requirements
    model.check()
    made = LiveHome(folder, model)
    made.home.engine.settle()
    return made


def events(here, kind):
    return [entry for entry in here.home.ledger.read(limit=100_000) if isinstance(entry.event, kind)]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    dataset = declared().models[0].requests.name
    made = home_of(
        tmp_path_factory.mktemp("home"),
        varv.Requirement("R1", "It ranks well.", "performance", proved_by=GOOD, required=True),
        varv.Requirement("R2", "Rows are what was agreed.", "data", proved_by=f"contract:{dataset}"),
        varv.Requirement("R3", "Drift is seen | at once.", "regulatory", proved_by=["monitor:drift", GOOD]),
        varv.Requirement("R4", "It was tried beside the one before.", "ethics", proved_by="report:rollout"),
        varv.Requirement("R5", "It can be explained.", "explainability"),
    )
    yield made
    made.close()


def test_each_requirement_has_a_state_and_the_entry_that_says_so(here):
    found = requirements_of(here.home.views, MODEL)
    states = {one.id: one.state for one in found.requirements}
    assert states["R1"] == "proved"
    assert states["R2"] == "proved"
    assert states["R3"] in ("not yet", "proved")
    assert states["R4"] == "not proved"
    assert states["R5"] == "not proved"
    assert found.n_proved == sum(state == "proved" for state in states.values())
    [judged] = events(here, GatesJudged)
    assert found.requirements[0].proofs[0].seq == judged.seq
    assert [one.gate for one in judged.event.results] == ["at_least auc", "requirement R1"]
    assert judged.event.results[1].passed


def test_the_matrix_is_on_the_page_in_the_terminal_and_in_markdown(here, capsys):
    with reading(here.home.views, home=here.home.folder) as now:
        shown = version_page(now, MODEL, 1).data["requirements"]
    assert shown == requirements_of(here.home.views, MODEL, 1)
    assert main(["requirements", MODEL, "v1", "--home", str(here.home.folder)]) == 0
    assert "R1 (performance, required): proved" in capsys.readouterr().out
    assert main(["requirements", MODEL, "--markdown", "--home", str(here.home.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# Requirements of late-parcel v1"
    first = "| **R1** (required) It ranks well. | performance | proved |"
    assert any(line.startswith(first) for line in lines)
    assert any("Drift is seen \\| at once." in line for line in lines)
    assert all(line.count("|") - line.count("\\|") == 6 for line in lines if line.startswith("|"))


def test_what_is_not_there_is_not_found(here):
    with pytest.raises(NotFound, match="version 'late-parcel v9'"):
        requirements_of(here.home.views, MODEL, 9)
    with pytest.raises(NotFound, match="model 'other' is not declared"):
        requirements_of(here.home.views, "other")


def test_a_required_one_without_proof_holds_every_candidate_back(tmp_path):
    here = home_of(
        tmp_path / "home", varv.Requirement("R9", "Somebody signed it.", "regulatory", required=True)
    )
    assert {one.event.reason for one in events(here, CandidateRejected)} == {"failed requirement R9"}
    assert here.home.loop_state(MODEL).champion is None
    here.close()


def test_a_model_of_which_nothing_is_required_has_no_matrix(tmp_path):
    here = home_of(tmp_path / "home")
    with pytest.raises(FailedPrecondition, match="has nothing that is required of it; declare it"):
        requirements_of(here.home.views, MODEL)
    here.close()

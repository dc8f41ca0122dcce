"""A report is one comment that data cannot turn into markup, and test results that parsers read."""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec
import pytest
import yaml

from varv.fronts.ci import MARKER, WORKFLOWS, junit, markdown
from varv.fronts.ci.markdown import LONGEST
from varv.home.candidate import Beside, CandidateReport, JudgedGate

HOSTILE = "<img src=x> @ana | `x` [a](http://b) \x00 #1"
GATES = (
    JudgedGate(
        gate="beats_champion log_loss",
        passed=True,
        verdict="better",
        question="Is it?",
        answer="Yes.",
        n=5812,
        champion=0.47,
        candidate=0.45,
        gain=0.02,
        interval=(0.01, 0.03),
    ),
    JudgedGate(
        gate="beats_champion log_loss",
        group=f"carrier {HOSTILE}",
        passed=False,
        verdict="worse",
        question="Is it?",
        answer="Shown worse.",
        n=800,
        champion=0.4,
        candidate=0.6,
        gain=-0.2,
        interval=(-0.3, -0.1),
        examples=(HOSTILE,),
    ),
)
REPORT = CandidateReport(
    model="late",
    standing="failed",
    candidate=7,
    champion=6,
    gates=GATES,
    metrics=(Beside(name="AUC", champion=0.7, candidate=0.72),),
    data=(Beside(name="rows", champion=1000.0, candidate=1200.0, digits=0),),
    leaks=(HOSTILE,),
)


def test_differences_come_with_intervals_and_groups_by_themselves():
    text = markdown([REPORT])
    assert text.startswith(f"{MARKER}\n### ❌ late: v7 does not pass, beside champion v6")
    assert "| 0.4700 | 0.4500 | +0.0200 [+0.0100, +0.0300] | 5,812 | better |" in text
    assert "−0.2000 [−0.3000, −0.1000]" in text
    assert text.index("metric |") < text.index("metric by group")
    assert "| rows | 1,000 | 1,200 |" in text


def test_what_comes_from_data_makes_no_markup():
    text = markdown([REPORT])
    assert not any(sign in text for sign in ("<img", "@ana", "](http", "`x`", "\x00"))


def test_a_report_fits_into_a_comment():
    gates = tuple(
        msgspec.structs.replace(GATES[1], group=f"carrier {n}", answer="x" * 400) for n in range(400)
    )
    text = markdown([msgspec.structs.replace(REPORT, gates=gates)])
    assert len(text) <= LONGEST
    assert text.startswith(MARKER)
    assert "left out" in text


@pytest.mark.parametrize(
    ("standing", "gates", "counts"),
    [
        ("failed", GATES, "2 1 0"),
        ("unjudged", (), "1 0 1"),
        ("failed", (), "1 1 0"),
        ("passed", GATES[:1], "1 0 0"),
    ],
)
def test_gates_are_test_results(standing, gates, counts):
    found = msgspec.structs.replace(REPORT, standing=standing, gates=gates, reason=HOSTILE)
    [suite] = ElementTree.fromstring(junit([found]))
    assert " ".join(suite.attrib[name] for name in ("tests", "failures", "errors")) == counts
    assert len(suite) == int(suite.attrib["tests"])


def test_no_model_is_said():
    assert "No model" in markdown([])
    assert len(ElementTree.fromstring(junit([]))) == 0


@pytest.mark.parametrize("host", WORKFLOWS)
def test_workflows_are_yaml_with_the_project_in_it(host):
    files = WORKFLOWS[host]("late.py", MARKER)
    for text in files.values():
        assert isinstance(yaml.safe_load(text), dict)
    whole = "".join(files.values())
    assert "varv replay late.py" in whole
    assert MARKER in whole
    assert "{{{" not in whole


def test_the_workflow_that_may_write_runs_nothing_of_the_change():
    comment = yaml.safe_load(WORKFLOWS["github"]("late.py", MARKER)[".github/workflows/varv-comment.yml"])
    uses = [step["uses"].partition("@")[0] for step in comment["jobs"]["comment"]["steps"]]
    assert uses == ["actions/download-artifact", "actions/github-script"]

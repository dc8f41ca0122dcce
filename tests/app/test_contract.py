"""`varv contract`: what is declared is shown and exported, and files of other tools become Python."""

from __future__ import annotations

import json

import polars as pl
import pytest
import yaml
from tests.data.contracts.rows import TYPES

from varv import expect
from varv.app.cli import main
from varv.app.compose import open_ledger
from varv.data import Dataset, Frame
from varv.data.model import BatchWarned, ExpectationsDeclared, Violation
from varv.data.shape import shape_of
from varv.kernel.clock import instant
from varv.kernel.ledger import Append, Change

SUITE = {
    "expectations": [{"expectation_type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}}]
}
SCHEMA = {"columns": {"x": {"nullable": True, "checks": {"less_than": 5, "mine": None}}}}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rules = (expect.between("x", 0, 1), expect.fresh("at", within="2h"))
    data = Dataset("d", source=Frame(pl.DataFrame(schema=TYPES)), key="id", event_time="at", expect=rules)
    warned = Violation(rule="freshness", column="at", n_rows=7, n_allowed=0, expected="rows of the last 2h")
    events = (
        shape_of(data),
        ExpectationsDeclared(dataset=data.name, expectations=rules),
        BatchWarned(dataset=data.name, part="at", segment="s", n_rows=7, warnings=(warned,)),
    )
    (tmp_path / ".varv").mkdir()
    ledger = open_ledger(tmp_path / ".varv")
    facts = tuple(Append("dataset/d", event) for event in events)
    ledger.commit(Change(at=instant("2013-01-01"), facts=facts))
    ledger.close()
    return tmp_path


def told(capsys, *arguments):
    assert main(["contract", *arguments]) == 0
    return capsys.readouterr().out


def test_what_is_declared_is_shown_with_its_warnings(home, capsys):
    shown = json.loads(told(capsys, "show", "d", "--json"))
    rules = [(one["part"], one["rule"], one["severity"], one["n_warned"]) for one in shown["rules"]]
    assert rules == [("at", "declared range of x", "error", 0), ("at", "freshness of at", "warn", 7)]
    assert "declared range of x" in told(capsys, "show", "d")


@pytest.mark.parametrize(
    ("tool", "suffix", "read"), [("gx", "json", json.loads), ("pandera", "yaml", yaml.safe_load)]
)
def test_what_is_declared_is_written_for_another_tool(home, capsys, tool, suffix, read):
    text = told(capsys, "export", "d", "--to", tool, "--file", f"out.{suffix}")
    assert "freshness of at" in text
    again = told(capsys, "import", f"out.{suffix}", "--dataset", "d")
    assert 'varv.expect.between("x", low=0, high=1),' in again
    assert read((home / f"out.{suffix}").read_text())


@pytest.mark.parametrize(
    ("document", "rule"),
    [(SUITE, 'varv.expect.present("x"),'), (SCHEMA, 'varv.expect.between("x", high=5, closed="none"),')],
)
def test_a_file_becomes_python_and_what_is_left_out_is_said(tmp_path, capsys, document, rule):
    (tmp_path / "contract.json").write_text(json.dumps(document))
    text = told(capsys, "import", str(tmp_path / "contract.json"))
    assert rule in text
    assert ("x: mine" in text) == (document is SCHEMA)


def test_a_file_that_is_none_of_both_is_refused(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("a: 1")
    assert main(["contract", "import", str(tmp_path / "a.yaml")]) == 1
    assert "is no contract that is known" in capsys.readouterr().err

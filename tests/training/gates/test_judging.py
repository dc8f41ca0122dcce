"""Every gate is asked; gates of other packages enter as ours do, and what no ledger can hold is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.training.gates.judgements import judgement, one

import varv
from varv.kernel.errors import InvalidDeclaration, UserCodeFailed
from varv.training.gates import GateResult, Judgement, identity_of, installed_gates, is_gate, judge
from varv.training.gates.judging import GROUP, OURS

ROOT = Path(__file__).parents[3]
SPREADING = """
import msgspec
import numpy as np
from varv.training.gates import GateResult

class Spread(msgspec.Struct, frozen=True):
    at_least: float

    def judge(self, judgement):
        spread = float(np.std(judgement.candidate))
        passed = spread >= self.at_least
        verdict = "within bounds" if passed else "beyond bounds"
        return GateResult("spread", passed, verdict, {"spread": spread}, "Do scores differ?", "So so.")
"""


class Broken(msgspec.Struct, frozen=True):
    result: object

    def judge(self, judgement: Judgement) -> GateResult:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result  # type: ignore[return-value]


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """A package that brings a gate."""
    (tmp_path / "spreading.py").write_text(SPREADING)
    info = tmp_path / "spreading-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spreading\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[varv.gates]\nspread = spreading:Spread\nodd = json:dumps\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_what_is_installed_is_what_a_checkout_has():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared[GROUP] == OURS
    for name in OURS:
        assert installed_gates().load(name)


def test_every_gate_is_judged_even_if_another_fails():
    gates = (varv.gate.beats_champion(), varv.gate.calibrated(max_ece=0.01), varv.gate.at_least("auc", 0.9))
    found = judge(gates, judgement("binary", spoiled=1.0, champion=0.0))
    assert [one.passed for one in found] == [False, False, False]


def test_a_gate_of_another_package_is_called_by_its_name(other_package):
    spread = varv.gate.spread(at_least=0.01)
    assert is_gate(spread)
    assert one_of(spread).passed
    assert identity_of(spread) == ["spreading:Spread", {"at_least": 0.01}]
    with pytest.raises(AttributeError, match=r"the gates are .*spread"):
        varv.gate.sprawl  # noqa: B018


def one_of(gate):
    [found] = judge((gate,), judgement("binary"))
    return found


@pytest.mark.parametrize("thing", [GateResult, Broken, "log_loss", None, len, np.zeros(2)])
def test_what_cannot_judge_is_no_gate(thing):
    assert not is_gate(thing)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (ValueError("no"), "gate 'Broken' raised ValueError: no"),
        (None, "returned no result that can be kept"),
        (GateResult("x", True, "splendid", {}), "returned no result .*splendid"),  # type: ignore[arg-type]
        (GateResult("x", True, "better", {"a": "b"}), "returned no result"),  # type: ignore[dict-item]
        (GateResult("x", True, "better", {}, interval=(0.0, float("inf"))), "returned no result"),
    ],
)
def test_a_gate_that_fails_or_says_what_no_ledger_holds_is_named(result, says):
    with pytest.raises(UserCodeFailed, match=says):
        one_of(Broken(result))


def test_an_argument_that_cannot_be_written_is_refused_when_declared():
    with pytest.raises(InvalidDeclaration, match="gate 'Broken' has an argument that cannot be written"):
        identity_of(Broken(object()))


def test_a_gate_is_judged_alike_twice():
    gate = varv.gate.beats_champion("auc")
    assert one(gate, judgement("binary", champion=0.2)) == one(gate, judgement("binary", champion=0.2))

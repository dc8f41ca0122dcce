"""What proves a requirement of a version: every proof has to, and what shows nothing proves nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.loop.requirements import (
    Proof,
    RequirementSpec,
    contract_proof,
    gate_proof,
    leaks_proof,
    required_of,
    verdict_on,
)
from varv.training.gates import GateResult

SPEC = RequirementSpec(id="R1", text="It is right often enough.", kind="performance", required=True)
STATES = ("proved", "not proved", "failed", "not yet")


def result(verdict, *, passed=True):
    return GateResult("at_least auc", passed, verdict, {}, "Is it?", "It is.", 100)


@pytest.mark.parametrize(
    ("verdict", "passed", "state"),
    [
        ("within bounds", True, "proved"),
        ("better", True, "proved"),
        ("beyond bounds", False, "failed"),
        ("worse", False, "failed"),
        ("not shown", True, "not proved"),
        ("not shown", False, "not proved"),
        ("nothing shown", True, "not proved"),
        ("not measured", True, "not proved"),
        ("no champion", True, "not proved"),
    ],
)
def test_a_gate_that_passes_for_want_of_evidence_proves_nothing(verdict, passed, state):
    found = gate_proof("gate:at_least auc", [result(verdict, passed=passed)], 41)
    assert (found.state, found.seq) == (state, 41)
    assert verdict in found.why


def test_a_version_that_was_judged_without_the_gate_has_no_proof_and_one_to_be_judged_not_yet():
    assert gate_proof("gate:size", [result("better")]).state == "not proved"
    assert gate_proof("gate:size", []).state == "not yet"


def test_contracts_and_leaks_prove_once_they_are_on_record():
    assert contract_proof("contract:flights", {("weather", "base"): 3}).state == "not yet"
    found = contract_proof("contract:flights", {("flights", "base"): 3, ("flights", "arrival"): 7})
    assert (found.state, found.seq) == ("proved", 7)
    assert leaks_proof([], [], None).state == "not yet"
    assert leaks_proof(["a"], ["a predicts alone"], 9).state == "failed"
    assert leaks_proof(["a"], [], 9).state == "proved"


@given(st.lists(st.sampled_from(STATES)))
def test_a_requirement_is_proved_if_it_has_proofs_and_all_of_them_prove_it(states):
    found = required_of(SPEC, [Proof(reference="gate:x", state=state, why="") for state in states])
    assert (found.state == "proved") == (bool(states) and set(states) == {"proved"})
    assert (found.state == "failed") == ("failed" in states)
    assert verdict_on(found).passed == (found.state == "proved")
    assert verdict_on(found).gate == "requirement R1"

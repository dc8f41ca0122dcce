"""A candidate that does not mean what it says is refused, unless by chance or beside a worse champion."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tests.training.gates.judgements import case, judgement, one
from tests.training.gates.test_comparison import DAYS, TRUTH, binary

import varv
from varv.kernel.errors import InvalidDeclaration
from varv.training import gate
from varv.training.gates import GateResult

GATE = gate.calibrated(max_ece=0.05)
SPOILED = {
    "binary": lambda p: np.clip(p + 0.2, 0, 1),
    "multiclass": lambda p: 0.5 * p + 0.5 * np.eye(3)[p.argmax(axis=1)],
    "quantiles": lambda q: q + 5.0,
}


def test_bad_calibration_passes_only_beside_a_worse_champion():
    shifted, worse = np.clip(TRUTH + 0.1, 0, 1), np.clip(TRUTH + 0.3, 0, 1)
    assert one(GATE, binary(shifted)).evidence["champion_beyond_chance"] is None
    alone = one(GATE, binary(shifted, TRUTH))
    assert (alone.passed, alone.verdict) == (False, "worse")
    beside = one(GATE, binary(shifted, worse))
    assert (beside.passed, beside.verdict) == (True, "not worse")
    assert beside.evidence["ece"] > beside.evidence["max_ece"]


def test_a_calibration_error_that_chance_explains_is_no_reason_to_refuse():
    few = np.isin(np.arange(4000), np.arange(0, 4000, 20))
    found = one(gate.calibrated(max_ece=0.02), binary(TRUTH).only(few))
    assert found.evidence["ece"] > 0.02 > found.evidence["beyond_chance"]
    assert (found.passed, found.verdict) == (True, "within bounds")


def test_one_day_of_rows_has_no_interval():
    assert one(GATE, binary(TRUTH, days=np.zeros(4000))).interval is None
    low, high = one(GATE, binary(TRUTH, days=DAYS)).interval
    assert 0 <= low < high < 0.1


@pytest.mark.parametrize("name", SPOILED)
def test_every_task_that_promises_something_is_held_to_it(name):
    assert one(GATE, judgement(name)).verdict == "within bounds"
    whole = judgement(name)
    wrong = SPOILED[name](whole.candidate)
    assert one(GATE, replace(whole, candidate=wrong)).verdict == "worse"


@pytest.mark.parametrize("name", ["regression", "ranking", "score"])
def test_a_task_that_promises_nothing_has_no_calibration_gate(name):
    with pytest.raises(InvalidDeclaration, match=f"gate 'calibrated' needs .* task '{case(name).task.name}'"):
        GATE.require_task(case(name).task)


def test_a_slice_is_judged_by_its_own_rows():
    whole = judgement("binary")
    left = (whole.rows["side"] == "left").to_numpy()
    shifted = np.where(left[:, None], np.clip(whole.candidate + 0.2, 0, 1), whole.candidate)
    mixed = replace(whole, candidate=shifted)
    part = gate.calibrated(max_ece=0.05, slice=varv.slice("side", "left"))
    assert not one(part, mixed).passed
    assert one(gate.calibrated(max_ece=0.05, slice=varv.slice("side", "right")), mixed).passed


def test_a_slice_without_rows_shows_nothing():
    found = one(gate.calibrated(max_ece=0.05, slice=varv.slice("side", "top")), judgement("binary"))
    assert (found.passed, found.verdict) == (True, "nothing shown")


def test_a_verdict_that_an_earlier_release_stored_can_still_be_read():
    stored = {"gate": "calibrated", "passed": False, "verdict": "failed", "evidence": {"ece": 0.1}}
    found = msgspec.convert(stored, GateResult)
    assert (found.verdict, found.question, found.interval, found.examples) == ("failed", "", None, ())
    assert found.line().startswith("ECE 0.100")

"""Gates judge on held-out rows, and each verdict carries its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from varv.loop import gates
from varv.loop.gates import judge

RNG = np.random.default_rng(4)
TRUTH = RNG.random(4000)
OUTCOME = (RNG.random(4000) < TRUTH).astype(np.int8)
DAYS = np.arange(4000) // 500
CONSTANT = np.full(4000, OUTCOME.mean())
BOTH = (gates.beats_champion(), gates.calibrated(max_ece=0.05))


def verdicts(*args, **kwargs):
    return {result.gate: result for result in judge(*args, **kwargs)}


def test_without_a_champion_there_is_nothing_to_beat_and_that_is_said():
    found = verdicts(BOTH, OUTCOME, TRUTH, None, DAYS)
    assert found["beats_champion log_loss"].passed
    assert found["beats_champion log_loss"].verdict == "no champion"
    assert found["calibrated"].evidence["champion_ece"] is None


def test_a_better_candidate_passes_with_its_gain_and_interval():
    found = verdicts(BOTH, OUTCOME, TRUTH, CONSTANT, DAYS)["beats_champion log_loss"]
    assert found.passed
    evidence = found.evidence
    assert 0 < evidence["gain_low"] < evidence["gain"] < evidence["gain_high"]
    assert evidence["gain"] == pytest.approx(evidence["champion"] - evidence["candidate"])
    assert evidence["n"] == 4000


def test_a_worse_candidate_fails_and_every_gate_is_judged_all_the_same():
    found = verdicts(BOTH, OUTCOME, 1 - TRUTH, CONSTANT, DAYS)
    assert {gate: result.verdict for gate, result in found.items()} == {
        "beats_champion log_loss": "failed",
        "calibrated": "failed",
    }


def test_the_same_scores_do_not_beat_the_champion():
    assert not verdicts(BOTH, OUTCOME, TRUTH, TRUTH, DAYS)["beats_champion log_loss"].passed


@pytest.mark.parametrize(("margin", "passed"), [(0.0, True), (0.1, True), (0.4, False)])
def test_the_gain_must_exceed_the_margin(margin, passed):
    [found] = judge((gates.beats_champion(margin=margin),), OUTCOME, TRUTH, CONSTANT, DAYS)
    assert found.passed == passed


def test_brier_is_judged_by_squares():
    [found] = judge((gates.beats_champion("brier"),), OUTCOME, TRUTH, CONSTANT, DAYS)
    assert found.evidence["candidate"] == pytest.approx(((TRUTH - OUTCOME) ** 2).mean())


def test_a_badly_calibrated_candidate_passes_only_where_the_champion_is_worse():
    shifted, worse = np.clip(TRUTH + 0.1, 0, 1), np.clip(TRUTH + 0.3, 0, 1)
    [alone] = judge(BOTH[1:], OUTCOME, shifted, TRUTH, DAYS)
    assert not alone.passed
    [beside] = judge(BOTH[1:], OUTCOME, shifted, worse, DAYS)
    assert beside.passed
    assert beside.evidence["ece"] > beside.evidence["max_ece"]


def test_one_day_of_rows_has_no_interval_and_says_so_by_none():
    [found] = judge(BOTH[:1], OUTCOME, TRUTH, CONSTANT, np.zeros(4000))
    assert found.passed
    assert found.evidence["gain_low"] is None

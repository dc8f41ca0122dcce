"""A gate refuses what is shown worse on held-out rows and passes the rest on, and says which of the two."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from varv.kernel.clock import DAY
from varv.training import gates
from varv.training.gates import GateResult, HeldOut, judge

RNG = np.random.default_rng(4)
TRUTH = RNG.random(4000)
OUTCOME = (RNG.random(4000) < TRUTH).astype(np.int8)
DAYS = np.arange(4000) // 500
CONSTANT = np.full(4000, OUTCOME.mean())
BOTH = (gates.beats_champion(), gates.calibrated(max_ece=0.05))


def rows(candidate, champion=None, *, days=DAYS, unseen=None):
    return HeldOut(OUTCOME, candidate, (days * DAY).astype(np.int64), champion, unseen)


def results(candidate, champion=None, **given):
    return {result.gate: result for result in judge(BOTH, rows(candidate, champion, **given))}


def blurred(by: float):
    """Return the truth with noise, so that it is a little worse than the truth by chance."""
    noise = np.random.default_rng(1).normal(0, by, 4000)
    return np.clip(TRUTH + noise, 0.001, 0.999)


def test_without_a_champion_there_is_nothing_to_beat_and_that_is_said():
    found = results(TRUTH)
    assert found["beats_champion log_loss"].passed
    assert found["beats_champion log_loss"].verdict == "no champion"
    assert found["calibrated"].evidence["champion_beyond_chance"] is None


def test_a_better_candidate_passes_with_its_gain_and_interval():
    found = results(TRUTH, CONSTANT)["beats_champion log_loss"]
    assert (found.passed, found.verdict) == (True, "better")
    evidence = found.evidence
    assert 0 < evidence["gain_low"] < evidence["gain"] < evidence["gain_high"]
    assert evidence["gain"] == pytest.approx(evidence["champion"] - evidence["candidate"])
    assert (found.n, found.interval) == (4000, (evidence["gain_low"], evidence["gain_high"]))


def test_a_worse_candidate_is_refused_and_every_gate_is_judged_all_the_same():
    found = results(1 - TRUTH, CONSTANT)
    assert {gate: (one.verdict, one.passed) for gate, one in found.items()} == {
        "beats_champion log_loss": ("worse", False),
        "calibrated": ("worse", False),
    }


def test_a_candidate_that_is_worse_by_no_more_than_chance_is_for_the_rollout():
    found = results(blurred(0.01), TRUTH)["beats_champion log_loss"]
    assert found.evidence["gain"] < 0 < found.evidence["gain_high"]
    assert (found.passed, found.verdict) == (True, "not worse")
    assert "the rollout decides" in found.answer


def test_every_result_has_its_question_and_its_answer_in_words():
    for found in (results(TRUTH), results(TRUTH, CONSTANT), results(1 - TRUTH, CONSTANT)):
        assert all(one.question.endswith("?") and one.answer.endswith(".") for one in found.values())


@pytest.mark.parametrize(("margin", "passed"), [(0.0, True), (0.1, True), (0.4, False)])
def test_a_gain_that_is_shown_to_miss_the_margin_is_refused(margin, passed):
    [found] = judge((gates.beats_champion(margin=margin),), rows(TRUTH, CONSTANT))
    assert found.passed == passed


def test_brier_is_judged_by_squares():
    [found] = judge((gates.beats_champion("brier"),), rows(TRUTH, CONSTANT))
    assert found.evidence["candidate"] == pytest.approx(((TRUTH - OUTCOME) ** 2).mean())


def test_rows_that_the_champion_was_fitted_on_do_not_judge():
    # By heart on the first half, useless on the second.
    champion = np.where(DAYS < 4, OUTCOME * 0.98 + 0.01, CONSTANT)
    assert results(TRUTH, champion)["beats_champion log_loss"].evidence["gain"] < 0
    fair = results(TRUTH, champion, unseen=DAYS >= 4)["beats_champion log_loss"]
    assert (fair.verdict, fair.n, fair.evidence["n_seen"]) == ("better", 2000, 2000)


def test_where_the_champion_has_seen_nearly_all_rows_nothing_can_be_shown():
    found = results(1 - TRUTH, TRUTH, unseen=DAYS >= 6)["beats_champion log_loss"]
    assert (found.passed, found.verdict, found.interval) == (True, "nothing shown", None)
    assert "3,000 of the 4,000 held-out rows" in found.answer


def test_a_badly_calibrated_candidate_passes_only_where_the_champion_is_worse():
    shifted, worse = np.clip(TRUTH + 0.1, 0, 1), np.clip(TRUTH + 0.3, 0, 1)
    [alone] = judge(BOTH[1:], rows(shifted, TRUTH))
    assert not alone.passed
    [beside] = judge(BOTH[1:], rows(shifted, worse))
    assert (beside.passed, beside.verdict) == (True, "not worse")
    assert beside.evidence["ece"] > beside.evidence["max_ece"]


def test_a_calibration_error_that_chance_explains_is_no_reason_to_refuse():
    few = np.arange(0, 4000, 20)
    small = HeldOut(OUTCOME[few], TRUTH[few], DAYS[few])
    [found] = judge((gates.calibrated(max_ece=0.02),), small)
    assert found.evidence["ece"] > 0.02 > found.evidence["beyond_chance"]
    assert (found.passed, found.verdict) == (True, "within bounds")


def test_a_verdict_that_an_earlier_release_stored_can_still_be_read():
    stored = {"gate": "calibrated", "passed": False, "verdict": "failed", "evidence": {"ece": 0.1}}
    found = msgspec.convert(stored, GateResult)
    assert (found.verdict, found.question, found.interval) == ("failed", "", None)


def test_one_day_of_rows_shows_nothing():
    found = results(TRUTH, CONSTANT, days=np.zeros(4000))
    assert found["beats_champion log_loss"].verdict == "nothing shown"
    assert found["calibrated"].interval is None

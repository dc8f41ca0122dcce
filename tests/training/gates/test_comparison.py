"""A candidate is refused if it is shown worse than the champion by any loss or metric, and only then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.training.gates.judgements import WITH_OUTCOME, case, judgement, one

import varv
from varv.kernel.clock import DAY
from varv.kernel.errors import InvalidDeclaration
from varv.tasks import Loss, task_of
from varv.training import gate
from varv.training.gates import Judgement

RNG = np.random.default_rng(4)
TRUTH = RNG.random(4000)
OUTCOME = (RNG.random(4000) < TRUTH).astype(np.int8)
DAYS = np.arange(4000) // 500
CONSTANT = np.full(4000, OUTCOME.mean())
MEASURES = [
    (name, measure.name)
    for name in WITH_OUTCOME
    for measure in [*case(name).task.losses.values(), *case(name).task.metrics.values()]
    if isinstance(measure, Loss) or measure.higher_is_better is not None
    # Quantiles that are in order do not cross, whatever rows they are given to.
    if measure.name != "crossing"
]


def binary(candidate, champion=None, *, days=DAYS, unseen=None):
    return Judgement(
        task=task_of("binary"),
        outcome=OUTCOME,
        candidate=candidate[:, None],
        at=(days * DAY).astype(np.int64),
        champion=None if champion is None else champion[:, None],
        unseen=unseen,
    )


def found(candidate, champion=None, *, by=None, **given):
    return one(by or gate.beats_champion(), binary(candidate, champion, **given))


def blurred(by: float):
    """Return the truth with noise, so that it is a little worse than the truth by chance."""
    noise = np.random.default_rng(1).normal(0, by, 4000)
    return np.clip(TRUTH + noise, 0.001, 0.999)


def test_without_a_champion_there_is_nothing_to_beat_and_that_is_said():
    said = found(TRUTH)
    assert (said.gate, said.passed, said.verdict) == ("beats_champion log_loss", True, "no champion")


def test_a_better_candidate_passes_with_its_gain_and_interval():
    said = found(TRUTH, CONSTANT)
    assert (said.passed, said.verdict) == (True, "better")
    evidence = said.evidence
    assert 0 < evidence["gain_low"] < evidence["gain"] < evidence["gain_high"]
    assert evidence["gain"] == pytest.approx(evidence["champion"] - evidence["candidate"])
    assert (said.n, said.interval) == (4000, (evidence["gain_low"], evidence["gain_high"]))


def test_a_candidate_worse_by_no_more_than_chance_is_for_the_rollout():
    said = found(blurred(0.01), TRUTH)
    assert said.evidence["gain"] < 0 < said.evidence["gain_high"]
    assert (said.passed, said.verdict) == (True, "not worse")
    assert "Not shown better" in said.answer
    assert "the interval contains no difference; the rollout decides" in said.answer


@pytest.mark.parametrize(("margin", "passed"), [(0.0, True), (0.1, True), (0.4, False)])
def test_a_gain_that_is_shown_to_miss_the_margin_is_refused(margin, passed):
    assert found(TRUTH, CONSTANT, by=gate.beats_champion(margin=margin)).passed == passed


def test_brier_is_judged_by_squares():
    said = found(TRUTH, CONSTANT, by=gate.beats_champion("brier"))
    assert said.evidence["candidate"] == pytest.approx(((TRUTH - OUTCOME) ** 2).mean())


def test_rows_that_the_champion_was_fitted_on_do_not_judge():
    # By heart on the first half, useless on the second.
    champion = np.where(DAYS < 4, OUTCOME * 0.98 + 0.01, CONSTANT)
    assert found(TRUTH, champion).evidence["gain"] < 0
    fair = found(TRUTH, champion, unseen=DAYS >= 4)
    assert (fair.verdict, fair.n, fair.evidence["n_seen"]) == ("better", 2000, 2000)


def test_where_the_champion_has_seen_nearly_all_rows_nothing_can_be_shown():
    said = found(1 - TRUTH, TRUTH, unseen=DAYS >= 6)
    assert (said.passed, said.verdict, said.interval) == (True, "nothing shown", None)
    assert "3,000 of the 4,000 held-out rows" in said.answer


def test_one_day_of_rows_shows_nothing():
    assert found(TRUTH, CONSTANT, days=np.zeros(4000)).verdict == "nothing shown"


def test_a_metric_of_one_class_only_shows_nothing():
    [ones] = np.nonzero(OUTCOME == 1)
    said = one(gate.beats_champion("auc"), binary(TRUTH, CONSTANT).only(np.isin(np.arange(4000), ones)))
    assert (said.passed, said.verdict, said.interval) == (True, "nothing shown", None)


@pytest.mark.parametrize(("name", "measure"), MEASURES)
def test_each_measure_of_each_task_knows_which_way_is_better(name, measure):
    worse = one(gate.beats_champion(measure), judgement(name, spoiled=0.6, champion=0.0))
    assert (worse.passed, worse.verdict) == (False, "worse"), worse
    better = one(gate.beats_champion(measure), judgement(name, spoiled=0.0, champion=0.6))
    assert (better.passed, better.verdict) == (True, "better"), better
    assert better.evidence["gain"] == pytest.approx(-worse.evidence["gain"])


@pytest.mark.parametrize("name", WITH_OUTCOME)
def test_without_a_name_the_default_loss_of_the_task_is_compared(name):
    said = one(gate.beats_champion(), judgement(name, champion=0.3))
    assert said.gate == f"beats_champion {case(name).task.default_loss}"
    assert case(name).task.loss.label in said.question


def test_a_slice_that_became_worse_is_refused_though_the_whole_is_better():
    half = judgement("binary", spoiled=0.0, champion=0.3)
    right = (half.rows["side"] == "right").to_numpy()
    candidate = half.candidate.copy()
    candidate[right] = 1 - candidate[right]
    mixed = replace(half, candidate=candidate)
    part = varv.slice("side", "right")
    said = one(gate.beats_champion(slice=part), mixed)
    assert (said.gate, said.passed, said.n) == ("beats_champion log_loss, side right", False, 1500)
    assert "where side right" in said.question
    assert one(gate.beats_champion(slice=varv.slice("side", "left")), mixed).verdict == "better"


def test_a_slice_of_lists_keeps_lists_whole():
    ranked = judgement("ranking", champion=0.3)
    _, first = np.unique(ranked.groups, return_index=True)
    sides = np.full(len(ranked), "left", dtype=object)
    sides[first] = "right"
    first = ranked.rows.with_columns(side=pl.Series(sides.tolist()))
    whole = replace(ranked, rows=first).within(varv.slice("side", "right"))
    assert len(whole) == len(ranked)


@pytest.mark.parametrize(
    ("name", "metric", "hint"),
    [
        ("binary", "rmse", "use log_loss or brier or auc or ece or base_rate"),
        ("binary", "base_rate", "neither more nor less is better; use log_loss or brier or auc or ece"),
        ("regression", "log_loss", "use absolute or squared or rmse or r2 or bias"),
        ("score", None, "needs outcomes, which task 'score' does not have"),
    ],
)
def test_a_metric_that_the_task_cannot_compare_is_refused_with_its_own(name, metric, hint):
    with pytest.raises(InvalidDeclaration, match="gate 'beats_champion' ") as error:
        gate.beats_champion(metric).require_task(case(name).task)
    assert hint in str(error.value)

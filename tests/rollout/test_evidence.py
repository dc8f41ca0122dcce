"""From requests to increments."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from varv.kernel.clock import DAY, HOUR, Instant
from varv.kernel.errors import InvalidInput
from varv.rollout import Rollout, bad_loss_of, evidence
from varv.rollout.evidence import WORST_LOSS
from varv.stats.sequential import arm_increments, betting_increments, log_e_value

from .samples import BAD_LOSS, START, requests

PLAN = Rollout().plan


DAY_END = Instant(START + DAY)


def told(rows, *, through=DAY_END, since=START, plan=PLAN):
    return evidence(rows, plan, since=since, through=through, bad_loss=BAD_LOSS)


@pytest.fixture
def day():
    return requests(np.random.default_rng(1), START, share=0.25)


def test_the_numbers_are_those_of_a_plain_computation(day):
    found = told(day)

    def loss(column):
        p = day[column].to_numpy()
        return -np.log(np.where(day["outcome"] == 1, p, 1 - p))

    champion, candidate = loss("champion_score"), loss("candidate_score")
    block = day["requested_at"].to_physical().to_numpy() // PLAN.block
    means = np.array([(candidate - champion)[block == b].mean() for b in np.unique(block)])
    means = np.clip(means, -PLAN.bound, PLAN.bound)
    assert (found.n_requests, found.n_labels, found.n_missing, found.n_blocks) == (400, 400, 0, 4)
    assert found.total == pytest.approx(means.sum(), abs=1e-8)
    assert found.squares == pytest.approx((means**2).sum(), abs=1e-8)
    harm = betting_increments(means, bound=PLAN.bound, side="harm")
    assert found.paired_harm == pytest.approx(tuple(harm), abs=1e-7)
    chosen = (day["arm"] == "candidate").to_numpy()
    x, y = (candidate[chosen] > BAD_LOSS).sum(), (champion[~chosen] > BAD_LOSS).sum()
    assert found.arm_harm == pytest.approx(tuple(arm_increments([x], [y], [0.25])), abs=1e-7)
    (arm,) = found.arms
    assert (arm.n_candidate, arm.n_champion, arm.n_labels) == (chosen.sum(), (~chosen).sum(), 400)


def test_the_order_of_rows_changes_no_bit(day):
    assert told(day.sample(fraction=1.0, shuffle=True, seed=3)) == told(day)


def test_only_whole_blocks_count_and_the_rest_is_for_next_time(day):
    first = told(day, through=Instant(START + 10 * HOUR))
    assert first.through == START + 6 * HOUR
    second = told(day, since=first.through)
    assert first.n_labels + second.n_labels == 400
    assert told(day, through=Instant(START + 5 * HOUR)) is None


def test_evidence_of_two_ticks_adds_up_to_that_of_both(day):
    first = told(day, through=Instant(START + 12 * HOUR))
    second = told(day, since=first.through)
    both = told(day)
    added = np.add(first.paired_safety, second.paired_safety)
    assert added == pytest.approx(both.paired_safety, abs=1e-7)


def test_an_answer_that_is_missing_is_the_worst_and_not_nothing():
    broken = requests(np.random.default_rng(2), START, missing=0.05)
    found = told(broken)
    assert found.n_missing == broken["candidate_score"].null_count()
    assert found.total > 0.15
    nonsense = broken.with_columns(candidate_score=pl.col("candidate_score").fill_null(float("nan")))
    assert told(nonsense) == found


def test_lost_answers_are_bad_events_even_without_an_outcome():
    rows = requests(np.random.default_rng(3), START, share=0.25, missing=1.0)
    silent = rows.with_columns(outcome=pl.lit(None, pl.Int8))
    found = told(silent)
    (arm,) = found.arms
    assert found.n_labels == 0
    assert arm.bad_candidate == arm.n_candidate
    assert log_e_value(found.arm_harm) > np.log(20)
    assert log_e_value(found.paired_harm) == 0.0


def test_requests_without_outcome_are_no_evidence_for_either_side():
    rows = requests(np.random.default_rng(4), START).with_columns(outcome=pl.lit(None, pl.Int8))
    found = told(rows)
    assert (found.n_requests, found.n_labels, found.n_blocks, found.weight) == (400, 0, 0, 0.0)
    assert set(found.paired_safety) == set(found.paired_harm) == {0.0}


def test_a_block_of_few_labels_bets_little():
    rows = requests(np.random.default_rng(5), START, n=8)
    assert told(rows).weight == pytest.approx(8 / 50)


def test_an_empty_day_is_evidence_of_nothing():
    found = told(requests(np.random.default_rng(6), START).clear())
    assert (found.n_requests, found.n_blocks, found.arms) == (0, 0, ())


def test_the_bad_loss_comes_from_the_champions_past():
    assert bad_loss_of(pl.Series([], dtype=pl.Int8), pl.Series([], dtype=pl.Float64)) == WORST_LOSS
    assert bad_loss_of(pl.Series([0, 1, None]), pl.Series([0.5, None, 0.5])) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("broken", "match"),
    [
        (pl.col("outcome") * 2, "outcome"),
        (pl.lit("both").alias("arm"), "arm"),
        (pl.lit(1.5).alias("share"), "share"),
        (pl.lit(None, pl.Float64).alias("share"), "share"),
        (pl.col("requested_at").dt.replace_time_zone(None), "requested_at"),
    ],
)
def test_impossible_rows_are_refused(day, broken, match):
    with pytest.raises(InvalidInput, match=match):
        told(day.with_columns(broken))
    with pytest.raises(InvalidInput, match="arm"):
        told(day.drop("arm"))

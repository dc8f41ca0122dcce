"""From requests to hours of paired losses, and to counts of answers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from varv.kernel.clock import DAY, HOUR, Instant
from varv.kernel.errors import InvalidInput
from varv.rollout import Rollout, answers, evidence

from .samples import BINARY, START, requests

GUARDS = Rollout().plan_for(BINARY).guarded
DAY_END = Instant(START + DAY)


def told(rows, *, through=DAY_END, since=START):
    return evidence(rows, task=BINARY, guards=GUARDS, since=since, through=through)


@pytest.fixture
def day():
    return requests(np.random.default_rng(1), START, share=0.25)


def test_the_hours_are_those_of_a_plain_computation(day):
    found = told(day)

    def loss(column):
        p = day[column].to_numpy()
        return -np.log(np.where(day["outcome"] == 1, p, 1 - p))

    difference = loss("candidate_score") - loss("champion_score")
    hour = day["requested_at"].to_physical().to_numpy() // HOUR * HOUR
    assert (found.n_requests, found.n_labels, found.n_missing) == (400, 400, 0)
    assert [one.at for one in found.hours] == np.unique(hour).tolist()
    for one in found.hours:
        here = difference[hour == one.at]
        assert (one.n, one.total) == (here.size, pytest.approx(here.sum(), abs=1e-7))


def test_the_order_of_rows_changes_no_bit(day):
    assert told(day.sample(fraction=1.0, shuffle=True, seed=3)) == told(day)


def test_only_whole_hours_count_and_the_rest_is_for_next_time(day):
    first = told(day, through=Instant(START + 10 * HOUR + 1800 * 10**6))
    assert first.through == START + 10 * HOUR
    second = told(day, since=first.through)
    assert first.n_labels + second.n_labels == 400
    assert (*first.hours, *second.hours) == told(day).hours
    assert told(day, through=Instant(START + HOUR - 1)) is None


def test_an_answer_that_is_missing_is_the_worst_and_not_nothing():
    broken = requests(np.random.default_rng(2), START, missing=0.05)
    found = told(broken)
    assert found.n_missing == broken["candidate_score"].null_count()
    assert sum(hour.total for hour in found.hours) > 0.15 * 400
    nonsense = broken.with_columns(candidate_score=pl.col("candidate_score").fill_null(float("nan")))
    assert told(nonsense) == found


def test_requests_without_outcome_are_no_evidence_for_either_side():
    rows = requests(np.random.default_rng(4), START).with_columns(outcome=pl.lit(None, pl.Int8))
    found = told(rows)
    assert (found.n_requests, found.n_labels, found.hours) == (400, 0, ())


def test_an_empty_day_is_evidence_of_nothing():
    found = told(requests(np.random.default_rng(6), START).clear())
    assert (found.n_requests, found.hours) == (0, ())


@pytest.mark.parametrize(
    ("broken", "match"),
    [
        (pl.col("outcome") * 2, "outcome"),
        (pl.col("requested_at").dt.replace_time_zone(None), "requested_at"),
    ],
)
def test_impossible_rows_are_refused(day, broken, match):
    with pytest.raises(InvalidInput, match=match):
        told(day.with_columns(broken))
    with pytest.raises(InvalidInput, match="champion_score"):
        told(day.drop("champion_score"))


def counted(rows):
    return answers(rows, task=BINARY, epoch=4, through=DAY_END)


def test_answers_are_counted_before_any_outcome(day):
    found = counted(day.drop("outcome"))
    assert (found.n_requests, found.n_missing, found.n_against) == (400, 0, 0)
    assert found.n_candidate == (day["coin"] < 0.25).sum()
    assert found.n_candidate + found.n_champion == 400


def test_a_unit_counts_once_however_often_it_asks(day):
    heavy = pl.concat([day, *[day.head(1)] * 1000])
    assert counted(heavy).n_candidate == counted(day).n_candidate
    assert counted(heavy).n_requests == 1400


def test_requests_without_a_coin_are_units_of_their_own(day):
    assert counted(day.with_columns(coin=pl.lit(None, pl.Float64))).n_champion > 200


def test_a_unit_without_an_answer_is_one_case_against_the_candidate(day):
    silent = day.head(5).with_columns(candidate_score=pl.lit(None, pl.Float64))
    found = counted(pl.concat([day.tail(300), silent, silent, silent]))
    assert (found.n_missing, found.n_against, found.n_in_favour) == (15, 5, 0)


def test_a_call_in_which_one_version_takes_much_longer_counts_against_it(day):
    slow = day.with_columns(candidate_ms=pl.lit(9.0))
    assert (counted(slow).n_slower, counted(slow).n_faster) == (400, 0)
    fast = day.with_columns(champion_ms=pl.lit(9.0))
    assert (counted(fast).n_slower, counted(fast).n_faster) == (0, 400)
    for alike in (2.9, None):
        assert counted(day.with_columns(candidate_ms=pl.lit(alike, pl.Float64))).n_slower == 0


def test_scores_are_described_beside_those_of_the_champion(day):
    gap = (day["candidate_score"] - day["champion_score"]).to_numpy()
    scores = counted(day).scores
    assert (scores.n, scores.gap, scores.gap_sd) == (
        400,
        pytest.approx(gap.mean(), abs=1e-6),
        pytest.approx(gap.std(), abs=1e-6),
    )
    nothing = day.with_columns(candidate_score=pl.lit(None, pl.Float64))
    assert counted(nothing).scores.n == 0

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from varv.stats.ranking import (
    N_CELLS,
    auc,
    auc_interval,
    auc_of_counts,
    macro_auc,
    macro_auc_interval,
    score_cells,
)


def brute_force(outcomes, scores):
    pairs = [(a > b) + (a == b) / 2 for a in scores[outcomes == 1] for b in scores[outcomes == 0]]
    return np.mean(pairs)


@pytest.mark.parametrize("levels", [2, 7, 1000])
def test_auc_equals_the_share_of_won_pairs_with_ties_as_half(levels):
    rng = np.random.default_rng(levels)
    outcomes, scores = rng.integers(0, 2, 120), rng.integers(0, levels, 120) / levels
    assert auc(outcomes, scores) == pytest.approx(brute_force(outcomes, scores))


def test_the_interval_covers_the_true_area():
    rng = np.random.default_rng(5)
    true = 0.760249938906524  # Phi(1 / sqrt 2): normal scores one standard deviation apart
    covered = 0
    for _ in range(300):
        outcomes = rng.uniform(size=200) < 0.25
        found = auc_interval(outcomes, rng.normal(size=200) + outcomes)
        covered += found.low < true < found.high
    assert 0.92 <= covered / 300 <= 0.98


def days_of_their_own(rng, n_days=60, rows=60):
    """Return outcomes, scores that know the day's effect, and days."""
    day = np.repeat(np.arange(n_days), rows)
    log_odds = -1.0 + rng.normal(size=day.size) + rng.normal(0, 1.5, size=n_days)[day]
    return rng.uniform(size=day.size) < expit(log_odds), expit(log_odds), day


def test_days_that_share_their_luck_widen_the_interval():
    outcomes, scores, day = days_of_their_own(np.random.default_rng(6))
    alone, clustered = auc_interval(outcomes, scores), auc_interval(outcomes, scores, day)
    assert alone.value == clustered.value
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)


def test_rows_of_their_own_make_the_interval_of_rows():
    rng = np.random.default_rng(7)
    outcomes = rng.uniform(size=4000) < 0.3
    scores = rng.normal(size=4000) + outcomes
    alone, clustered = auc_interval(outcomes, scores), auc_interval(outcomes, scores, np.arange(4000) // 40)
    assert clustered.high - clustered.low == pytest.approx(alone.high - alone.low, rel=0.3)


def test_counted_scores_rank_as_the_rows_do():
    outcomes, scores, day = days_of_their_own(np.random.default_rng(8))
    counts = np.zeros((2, 60, N_CELLS))
    np.add.at(counts, (1 - outcomes.astype(int), day, score_cells(scores)), 1)
    counted, exact = auc_of_counts(*counts), auc_interval(outcomes, scores, day)
    assert counted.value == pytest.approx(exact.value, abs=0.001)
    assert counted.low == pytest.approx(exact.low, abs=0.002)
    assert counted.n == exact.n == 3600


def test_one_cluster_says_nothing_of_the_spread():
    assert auc_interval([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], [5] * 4)[1:3] == (0.0, 1.0)


def test_a_perfect_ranking_keeps_an_open_interval():
    found = auc_interval([0] * 10 + [1] * 10, np.arange(20.0))
    assert found.value == 1.0
    assert found.low < 0.999
    assert found.high == 1.0


def test_one_class_has_no_area():
    assert np.isnan(auc([1, 1], [0.2, 0.3]))
    assert auc_interval([0, 0], [0.2, 0.3])[1:] == (0.0, 1.0, 2)
    assert auc_interval([0, 0, 1], [0.2, 0.3, 0.4])[1:3] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("outcomes", "scores"), [([0, 2], [0.1, 0.2]), ([0, 1], [0.1, np.nan]), ([0, 1], [0.1])]
)
def test_what_cannot_be_ranked_is_refused(outcomes, scores):
    with pytest.raises(ValueError, match="outcomes"):
        auc(outcomes, scores)


def test_the_macro_area_is_that_of_scikit_learn():
    rng = np.random.default_rng(9)
    p = rng.dirichlet([1.0, 1.0, 1.0], 800)
    y = (rng.random((800, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
    expected = roc_auc_score(y, p, multi_class="ovr", average="macro")
    assert macro_auc(y, p) == pytest.approx(expected)
    assert macro_auc_interval(y, p, np.arange(800) // 40).value == pytest.approx(expected)


def test_two_classes_have_the_interval_of_one_area():
    outcomes, scores, day = days_of_their_own(np.random.default_rng(10))
    both = macro_auc_interval(outcomes.astype(int), np.column_stack([1 - scores, scores]), day)
    assert both == pytest.approx(auc_interval(outcomes, scores, day))

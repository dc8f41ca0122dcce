import numpy as np
import pytest

from varv.stats.ranking import auc, auc_interval


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

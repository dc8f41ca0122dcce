"""Pinball losses are least at the true quantiles, and shares below are compared with chance."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import mean_pinball_loss

from varv.stats.quantiles import coverage_error, crossings, pinball_losses, worst_pinball_loss

LEVELS = [0.1, 0.25, 0.5, 0.9]
TRUE = norm.ppf(LEVELS)


def test_the_mean_loss_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    y, q = rng.normal(size=500), rng.normal(size=(500, 4))
    wanted = np.mean([mean_pinball_loss(y, q[:, k], alpha=level) for k, level in enumerate(LEVELS)])
    assert pinball_losses(y, q, LEVELS).mean() == pytest.approx(wanted)


@pytest.mark.parametrize("shift", [-0.3, 0.3])
def test_the_loss_is_least_at_the_true_quantiles(shift):
    y = np.random.default_rng(1).normal(size=20_000)
    right, wrong = (pinball_losses(y, np.tile(q, (y.size, 1)), LEVELS) for q in (TRUE, TRUE + shift))
    assert right.mean() < wrong.mean()


def test_no_numbers_of_a_range_cost_more_than_the_worst():
    ends = np.array(np.meshgrid(*[[0.0, 0.5, 1.0]] * 5)).reshape(5, -1)
    found = pinball_losses(ends[0], ends[1:].T, LEVELS)
    assert found.max() == pytest.approx(worst_pinball_loss(LEVELS, 1.0))


def test_right_quantiles_miss_their_levels_as_far_as_chance_says():
    rng = np.random.default_rng(2)
    errors = [coverage_error(rng.normal(size=400), np.tile(TRUE, (400, 1)), LEVELS) for _ in range(200)]
    assert np.mean([error.value for error in errors]) == pytest.approx(errors[0].by_chance, rel=0.1)


def test_equal_quantiles_do_not_cross():
    assert crossings([[1.0, 1.0], [2.0, 1.0]]).tolist() == [False, True]
    assert crossings([[1.0]]).tolist() == [False]

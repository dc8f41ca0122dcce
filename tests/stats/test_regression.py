"""Ratios, R² and observed means: against scikit-learn, and within what is possible."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import r2_score, root_mean_squared_error

from varv.stats.intervals import clustered_mean
from varv.stats.regression import (
    clustered_ratio,
    observed_by_predicted,
    r_squared,
    r_squared_interval,
    root_mean_square,
)

RNG = np.random.default_rng(5)
PREDICTED = RNG.uniform(0, 10, 1200)
OBSERVED = PREDICTED + RNG.normal(0, 2, 1200)
DAYS = np.arange(1200) // 40


def test_values_are_those_of_scikit_learn():
    assert r_squared(OBSERVED, PREDICTED) == pytest.approx(r2_score(OBSERVED, PREDICTED))
    found = root_mean_square(OBSERVED - PREDICTED, DAYS)
    assert found.value == pytest.approx(root_mean_squared_error(OBSERVED, PREDICTED))


def test_a_ratio_over_ones_has_about_the_interval_of_a_mean():
    x = RNG.gamma(4, 1, 1200)
    ratio, mean = clustered_ratio(x, np.ones(1200), DAYS), clustered_mean(x, DAYS)
    assert ratio.value == pytest.approx(mean.value)
    assert ratio.high - ratio.low == pytest.approx(mean.high - mean.low, rel=0.02)


@given(hnp.arrays(np.float64, 12, elements=st.floats(0, 1e3)))
@example(np.array([2.8e-154] + [0.0] * 11))
def test_limits_stay_within_what_is_possible(x):
    found = clustered_ratio(x, np.ones(12), np.arange(12) // 3)
    assert 0 <= found.low <= found.value <= found.high
    explained = r_squared_interval(x, np.full(12, 5.0), np.arange(12) // 3)
    assert np.isnan(explained.value) or explained.low <= explained.value <= explained.high <= 1


def test_perfect_predictions_explain_everything():
    found = r_squared_interval(OBSERVED, OBSERVED, DAYS)
    assert found[:3] == (1.0, 1.0, 1.0)


def test_a_constant_has_no_variance_to_explain():
    assert np.isnan(r_squared(np.full(9, 0.1), np.zeros(9)))


def test_equal_predictions_stay_in_one_group():
    table = observed_by_predicted(OBSERVED, np.round(PREDICTED / 5), bins=10)
    assert [row.mean_predicted for row in table] == [0.0, 1.0, 2.0]
    assert sum(row.n for row in table) == 1200


def test_a_group_of_one_row_has_no_interval():
    [only] = observed_by_predicted([3.0], [2.0])
    assert (only.mean_observed, only.low, only.high) == (3.0, -np.inf, np.inf)

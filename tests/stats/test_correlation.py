from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from varv.stats import correlation
from varv.stats.correlation import correlation_shifts


def days(rng, n_days, weight, n=120):
    found = []
    for _ in range(n_days):
        common = rng.normal(size=n)
        # A day of its own: rows of one day are not independent.
        strength = weight + rng.normal(scale=0.1)
        found.append(np.column_stack([common, strength * common + rng.normal(size=n), rng.normal(size=n)]))
    return found


def test_days_that_differ_as_days_do_are_seldom_a_change():
    rng = np.random.default_rng(1)
    least = [correlation_shifts(days(rng, 20, 0.8), days(rng, 7, 0.8))[0].p_value for _ in range(60)]
    assert np.mean(np.array(least) < 0.05) <= 0.1


def test_a_pair_that_stops_going_together_comes_first():
    rng = np.random.default_rng(2)
    first, *_ = correlation_shifts(days(rng, 20, 0.8), days(rng, 7, 0.0))
    assert (first.one, first.other) == (0, 1)
    assert first.before > 0.5 > 0.2 > abs(first.after)
    assert first.p_value < 1e-3


def test_missing_values_and_columns_that_do_not_vary_are_left_out():
    rng = np.random.default_rng(3)
    flat = [np.column_stack([day, np.ones(len(day))]) for day in days(rng, 5, 0.5)]
    for day in flat:
        day[:60, 2] = np.nan
    found = correlation_shifts(flat[:3], flat[2:])
    assert {(one.one, one.other) for one in found} == {(0, 1), (0, 2), (1, 2)}
    assert correlation_shifts(flat[:2], flat[2:]) == []


def test_the_test_of_two_sides_is_welchs():
    rng = np.random.default_rng(3)
    for n, m in ((3, 9), (5, 5), (12, 4)):
        first, second = rng.normal(size=n), rng.normal(0.7, 3.0, size=m)
        expected = scipy_stats.ttest_ind(first, second, equal_var=False).pvalue
        assert correlation._welch(first, second) == pytest.approx(expected, rel=1e-9)

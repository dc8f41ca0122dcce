"""Means of a whole population from members that had known chances, and rows far apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.stats.sampling import (
    clipped_weights,
    effective_sample_size,
    farthest_first,
    inverse_probability_mean,
)


def test_the_mean_over_draws_is_the_population_mean_and_intervals_cover_it():
    rng = np.random.default_rng(7)
    population = rng.gamma(1.0, 1.0, 2000)
    certain = np.argsort(-population)[:100]
    rest = np.setdiff1d(np.arange(2000), certain)
    found = []
    for _ in range(400):
        drawn = rng.choice(rest, 60, replace=False)
        rows = np.concatenate([certain, drawn])
        chances = np.concatenate([np.ones(100), np.full(60, 60 / len(rest))])
        found.append(inverse_probability_mean(population[rows], chances))
    values = np.array([one.value for one in found])
    truth, error = population.mean(), values.std() / 20
    assert abs(values.mean() - truth) < 3 * error
    assert population[certain].mean() > 2 * truth
    assert 0.9 < np.mean([one.low <= truth <= one.high for one in found]) <= 1.0


def test_one_drawn_member_tells_nothing_of_the_others():
    found = inverse_probability_mean([1.0, 0.0], [1.0, 0.1])
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert inverse_probability_mean([1.0, 0.0], [1.0, 1.0]).high == 0.5


@pytest.mark.parametrize(
    ("values", "chances"), [([], []), ([1.0], [0.0]), ([np.nan], [0.5]), ([1.0], [0.5, 0.5]), ([1.0], [1.5])]
)
def test_what_is_no_sample_is_refused(values, chances):
    with pytest.raises(ValueError, match="must"):
        inverse_probability_mean(values, chances)


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=50))
def test_clipped_weights_count_for_one_row_to_all_of_them(chances):
    weights = clipped_weights(chances)
    assert weights.min() >= 1
    assert weights.max() <= 20
    assert 1 - 1e-9 <= effective_sample_size(weights) <= len(chances) + 1e-9


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=4, max_size=30), st.data())
def test_no_row_lies_farther_off_than_twice_the_best_choice(points, data):
    given_points = np.array(points, float)
    n = data.draw(st.integers(1, 3))
    picked = farthest_first(given_points, n)
    assert len(set(picked)) == n

    def radius(rows):
        return np.sqrt(((given_points[:, None] - given_points[rows][None]) ** 2).sum(2)).min(1).max()

    if n == 1:
        best = min(radius([row]) for row in range(len(points)))
        assert radius(picked) <= 2 * best + 1e-9

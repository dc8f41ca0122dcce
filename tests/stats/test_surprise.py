"""Evidence that a new value is unlike earlier ones."""

from __future__ import annotations

import numpy as np
import pytest

from varv.stats.surprise import FEWEST, distances, e_values, gathered


@pytest.mark.parametrize("shape", ["normal", "laplace", "student", "lognormal"])
def test_e_values_are_one_on_average_at_most(shape):
    rng = np.random.default_rng(5)
    draws = {
        "normal": rng.normal,
        "laplace": rng.laplace,
        "student": lambda size: rng.standard_t(4, size),
        "lognormal": lambda size: rng.lognormal(0, 0.5, size),
    }
    values = draws[shape](size=(FEWEST + 1, 20_000))
    found = e_values(distances(values[-1], values[:-1]))
    assert found.mean() < 1


def test_evidence_reaches_a_limit_no_sooner_than_stated_on_average():
    rng = np.random.default_rng(7)
    limit, evidence, n_steps = 25.0, np.zeros(2_000), np.zeros(2_000)
    running = np.ones(2_000, np.bool_)
    while running.any() and n_steps.max() < 400:
        n_steps[running] += 1
        evidence[running] = gathered(evidence, e_values(rng.normal(size=2_000)))[running]
        running &= evidence < limit
    assert n_steps.mean() >= limit


def test_a_value_far_off_outweighs_several_that_are_a_little():
    far, little = e_values([30.0]), e_values([2.0])
    assert gathered([0.0], far) > gathered(gathered([0.0], little), little) * 100


def test_a_number_that_never_moved_may_move_as_much_as_its_rows_explain():
    still = np.full((40, 1), 5.0)
    assert distances([5.0], still).tolist() == [0.0]
    assert distances([5.5], still, [1.0]).tolist() == [0.5]
    assert distances([5.5], still).tolist() == [100.0]


def test_columns_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        distances([1.0, 2.0], np.zeros((40, 3)))

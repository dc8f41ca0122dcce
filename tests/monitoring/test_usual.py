"""Usual losses of bins: known where there are rows, drawn to the mean where there are few."""

import numpy as np
import pytest

from varv.monitoring.usual import usual_losses


def test_a_bin_of_many_rows_has_its_own_loss_and_an_empty_one_the_mean():
    rng = np.random.default_rng(1)
    code, days = np.repeat([0, 1], 1000), np.tile(np.arange(40), 50)
    losses = np.where(code == 0, 1.0, 3.0) + rng.normal(0, 0.5, 2000)
    found = usual_losses(losses, code, 3, days)
    assert found.mean == pytest.approx((1.0, 3.0, 2.0), abs=0.1)
    assert found.error[0] < 0.06
    assert found.error[2] == pytest.approx(1.0, abs=0.1)  # as far as bins are from each other


def test_days_that_share_their_luck_make_a_bin_less_certain():
    rng = np.random.default_rng(2)
    code, days = np.zeros(2000, dtype=np.int64), np.repeat(np.arange(20), 100)
    rows = rng.normal(0, 1, 2000)
    alone = usual_losses(5 + rows, code, 1, days).error[0]
    together = usual_losses(5 + rows + rng.normal(0, 1, 20)[days], code, 1, days).error[0]
    assert together > 3 * alone


def test_the_error_of_a_bin_is_how_much_its_mean_scatters():
    def once(seed):
        rng = np.random.default_rng(seed)
        days = np.repeat(np.arange(15), 60)
        code = rng.integers(0, 4, 900)
        losses = rng.exponential(1.0, 900) * (1 + code) + rng.normal(0, 0.3, 15)[days]
        found = usual_losses(losses, code, 4, days)
        return found.mean[3], found.error[3]

    means, errors = np.array([once(seed) for seed in range(200)]).T
    assert means.std() == pytest.approx(errors.mean(), rel=0.35)


def test_rows_are_held_against_the_loss_of_their_own_bin():
    code, days = np.repeat([0, 1], 500), np.tile(np.arange(20), 50)
    found = usual_losses(np.where(code == 0, 1.0, 3.0), code, 2, days)
    usual, error = found.at(np.array([1, 0, 1]))
    assert usual == pytest.approx([3, 1, 3], abs=0.1)
    assert error < 0.2

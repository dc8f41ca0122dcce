import numpy as np
import pytest

from varv.stats.calibration import (
    calibration_error,
    calibration_error_interval,
    excess_losses,
    log_losses,
    promised_losses,
    reliability,
)
from varv.stats.intervals import clustered_jackknife


def test_excess_loss_is_the_loss_less_what_the_score_promised():
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=500)
    outcomes = rng.integers(0, 2, 500)
    assert np.allclose(
        excess_losses(outcomes, scores), log_losses(outcomes, scores) - promised_losses(scores)
    )


@pytest.mark.parametrize("mix", [(1, 1), (2, 8), (8, 2)])
def test_a_calibrated_model_has_no_excess_loss_whatever_the_mix(mix):
    rng = np.random.default_rng(1)
    scores = rng.beta(*mix, size=200_000)
    excess = excess_losses(rng.uniform(size=scores.size) < scores, scores)
    assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(excess.size)


def test_a_model_that_is_too_sure_has_excess_loss():
    rng = np.random.default_rng(2)
    truth = rng.uniform(0.2, 0.8, size=20_000)
    sure = np.where(truth > 0.5, 0.95, 0.05)
    assert excess_losses(rng.uniform(size=truth.size) < truth, sure).mean() > 0.3


def test_certain_and_wrong_costs_a_bounded_loss():
    assert log_losses([1, 0], [0.0, 1.0]).max() == pytest.approx(13.8, abs=0.1)


def test_calibration_error_by_chance_is_what_calibrated_models_show():
    rng = np.random.default_rng(3)
    seen = []
    for _ in range(60):
        scores = rng.beta(2, 6, size=900)
        seen.append(calibration_error(rng.uniform(size=900) < scores, scores))
    assert np.mean([one.value for one in seen]) == pytest.approx(
        np.mean([one.by_chance for one in seen]), rel=0.1
    )


def test_calibration_error_sees_a_shift_of_five_points():
    rng = np.random.default_rng(4)
    scores = rng.uniform(0.1, 0.9, size=50_000)
    assert calibration_error(rng.uniform(size=scores.size) < scores + 0.05, scores).value == pytest.approx(
        0.05, abs=0.01
    )


def test_equal_scores_share_one_bin_of_the_reliability_table():
    table = reliability([0, 1, 1, 0], [0.3, 0.3, 0.3, 0.3], bins=4)
    assert [(row.mean_score, row.rate, row.n) for row in table] == [(0.3, 0.5, 4)]
    assert table[0].low < 0.5 < table[0].high


@pytest.mark.parametrize(
    ("outcomes", "scores"), [([0, 1], [0.2, 1.2]), ([3], [0.2]), ([0, 1], [0.2]), ([1], [np.nan])]
)
def test_rows_that_are_no_probabilities_are_refused(outcomes, scores):
    with pytest.raises(ValueError, match="must"):
        log_losses(outcomes, scores)


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="one row"):
        reliability([], [])


def test_the_interval_of_the_calibration_error_is_the_jackknife_of_the_error_itself():
    rng = np.random.default_rng(3)
    p = np.round(rng.beta(2, 5, 900), 2)
    y, days = rng.random(p.size) < p, np.sort(rng.integers(0, 9, p.size))
    direct = clustered_jackknife(
        lambda kept: calibration_error(y[kept], p[kept]).value, days, limits=(0.0, 1.0)
    )
    assert calibration_error_interval(y, p, days) == pytest.approx(direct, abs=1e-12)

import numpy as np
import pytest

from varv.stats.change import (
    ALLOWANCE,
    LARGEST_DAY,
    Baseline,
    average_run_length,
    cusum_step,
    cusum_threshold,
    daily_baseline,
)


def run_lengths(days, baselines, threshold):
    """Days until each of many charts first alarms; charts run side by side, shape (days, charts)."""
    z = np.clip((days - baselines[0]) / baselines[1], -LARGEST_DAY, LARGEST_DAY)
    total, first = np.zeros(days.shape[1]), np.full(days.shape[1], len(days))
    for t, row in enumerate(z):
        total = np.maximum(0.0, total + row - ALLOWANCE)
        first = np.where((total >= threshold) & (first == len(days)), t + 1, first)
    return first


def correlated(rng, shape, correlation):
    values = rng.normal(size=shape)
    for t in range(1, len(values)):
        values[t] = correlation * values[t - 1] + np.sqrt(1 - correlation**2) * values[t]
    return values


@pytest.mark.parametrize("target", [50, 200, 500])
def test_the_stated_run_length_holds_on_independent_days(target):
    days = np.random.default_rng(target).normal(size=(target * 8, 800))
    seen = run_lengths(days, (0.0, 1.0), cusum_threshold(target)).mean()
    assert 0.85 * target < seen < 1.2 * target


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("n_reference", [7, 31])
def test_false_alarms_are_rarer_than_stated_when_the_baseline_is_estimated(correlation, n_reference):
    rng = np.random.default_rng(21)
    days = correlated(rng, (n_reference + 1600, 300), correlation)
    baselines = [daily_baseline(column) for column in days[:n_reference].T]
    means = np.array([max(0.0, one.mean) for one in baselines])
    seen = run_lengths(
        days[n_reference:], (means, np.array([one.sd for one in baselines])), cusum_threshold(200)
    )
    assert seen.mean() > 200


def test_a_shift_of_two_deviations_is_found_within_a_week():
    days = np.random.default_rng(22).normal(2.0, 1.0, size=(60, 500))
    assert run_lengths(days, (0.0, 1.0), cusum_threshold(200)).mean() < 7


def test_one_extreme_day_is_not_a_changed_world():
    calm = Baseline(0.0, 1.0, 60)
    assert cusum_step(0.0, 1e9, calm) == LARGEST_DAY - ALLOWANCE < cusum_threshold(200)
    assert cusum_step(1.0, -1e9, calm) == 0.0


def test_the_threshold_inverts_the_run_length():
    for target in (20.0, 200.0, 10_000.0):
        assert average_run_length(cusum_threshold(target)) == pytest.approx(target)
    with pytest.raises(ValueError, match="between 20"):
        cusum_threshold(5)


def test_a_baseline_of_few_days_is_wider_than_one_of_many():
    rng = np.random.default_rng(23)
    few = np.mean([daily_baseline(rng.normal(size=7)).sd for _ in range(200)])
    many = np.mean([daily_baseline(rng.normal(size=90)).sd for _ in range(200)])
    assert few > 1.3 * many > 1.3


def test_a_baseline_needs_five_finite_days():
    with pytest.raises(ValueError, match="5 finite"):
        daily_baseline([0.1] * 4)
    with pytest.raises(ValueError, match="5 finite"):
        daily_baseline([0.1] * 4 + [np.nan])
    assert daily_baseline([0.1] * 5).sd > 0

import numpy as np
import pytest

from varv.stats.change import (
    ALLOWANCE,
    LARGEST_DAY,
    DaySums,
    about_mean,
    average_run_length,
    cusum_step,
    cusum_threshold,
    joined,
    spread,
    widening,
    with_day,
)


def run_lengths(days, level, sd, threshold):
    """Days until each of many charts first alarms; charts run side by side, shape (days, charts)."""
    z = np.clip((days - level) / sd, -LARGEST_DAY, LARGEST_DAY)
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


def summed(values, error=0.0):
    sums, previous = DaySums(), None
    for value in values:
        sums, previous = with_day(sums, float(value), error, previous=previous), float(value)
    return sums


def judged_sd(reference, length, error=0.0):
    known = spread(summed(reference, error))
    return np.sqrt(error**2 + known.extra) * widening(length, freedom=known.freedom)


@pytest.mark.parametrize("target", [50, 200, 500])
def test_the_stated_run_length_holds_on_independent_days(target):
    days = np.random.default_rng(target).normal(size=(target * 8, 800))
    seen = run_lengths(days, 0.0, 1.0, cusum_threshold(target)).mean()
    assert 0.85 * target < seen < 1.2 * target


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("n_reference", [7, 31])
def test_false_alarms_are_rarer_than_stated_with_an_estimated_spread(correlation, n_reference):
    days = correlated(np.random.default_rng(21), (n_reference + 400, 600), correlation)
    sds = np.array([judged_sd(column, 200) for column in days[:n_reference].T])
    seen = run_lengths(days[n_reference:], 0.0, sds, cusum_threshold(200))
    assert np.mean(seen <= 60) < 60 / 200


@pytest.mark.parametrize("n_reference", [7, 31])
def test_a_level_estimated_from_few_days_does_not_alarm_more_often(n_reference):
    days = np.random.default_rng(24).normal(size=(n_reference + 400, 600))
    known = [spread(about_mean(summed(column))) for column in days[:n_reference].T]
    sds = np.array(
        [np.sqrt(one.extra) * widening(200, freedom=one.freedom, level_days=n_reference) for one in known]
    )
    level = days[:n_reference].mean(axis=0)
    seen = run_lengths(days[n_reference:], level, sds, cusum_threshold(200))
    assert np.mean(seen <= 60) < 60 / 200


def test_a_shift_of_two_deviations_is_found_within_a_week():
    days = np.random.default_rng(22).normal(2.0, 1.0, size=(60, 500))
    assert run_lengths(days, 0.0, 1.0, cusum_threshold(200)).mean() < 7


def test_one_extreme_day_is_not_a_changed_world():
    assert cusum_step(0.0, 1e9) == LARGEST_DAY - ALLOWANCE < cusum_threshold(200)
    assert cusum_step(1.0, -1e9) == 0.0


def test_the_threshold_inverts_the_run_length():
    for target in (20.0, 200.0, 10_000.0):
        assert average_run_length(cusum_threshold(target)) == pytest.approx(target)
    with pytest.raises(ValueError, match="between 20"):
        cusum_threshold(5)


def test_what_rows_explain_is_not_taken_for_a_spread_of_days():
    rng = np.random.default_rng(23)
    calm = [spread(summed(rng.normal(0, 0.02, size=60), 0.02)) for _ in range(100)]
    stormy = [spread(summed(rng.normal(0, 0.06, size=60), 0.02)) for _ in range(100)]
    assert np.mean([one.extra for one in calm]) < 0.3 * 0.02**2
    assert np.mean([one.extra for one in stormy]) == pytest.approx(0.06**2 - 0.02**2, rel=0.3)


def test_correlated_days_spread_wider_in_the_long_run():
    rng = np.random.default_rng(25)
    series = correlated(rng, (90, 60), 0.5).T
    seen = [spread(summed(column)) for column in series]
    assert np.mean([one.correlation for one in seen]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([one.extra for one in seen]) == pytest.approx(3.0, rel=0.25)


def test_a_shifted_run_spreads_about_its_own_mean_only():
    values = np.random.default_rng(26).normal(5.0, 0.1, size=30)
    found = spread(about_mean(summed(values)))
    assert 0.05**2 < found.extra < 0.2**2
    assert spread(summed(values)).extra > 20


def test_fewer_known_days_widen_more():
    few, many = widening(200, freedom=5), widening(200, freedom=200)
    assert few > 1.3 > many >= 1.0
    assert widening(200, freedom=200, level_days=7) > widening(200, freedom=200, level_days=60) > many


def test_older_days_fade():
    old = joined(DaySums(n_days=100, square=100.0), DaySums(n_days=180, square=0.0))
    assert old.square == pytest.approx(100 / np.e)
    assert old.n_days == pytest.approx(180 + 100 / np.e)

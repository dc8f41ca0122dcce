import numpy as np
import pytest

from varv.stats.intervals import (
    block_bootstrap_mean,
    clustered_jackknife,
    clustered_mean,
    effective_size,
    exceedance_p_value,
    lag_one_correlation,
    wilson,
)


def autoregression(rng, n, correlation):
    noise = rng.normal(size=n) * np.sqrt(1 - correlation**2)
    values = np.empty(n)
    values[0] = rng.normal()
    for t in range(1, n):
        values[t] = correlation * values[t - 1] + noise[t]
    return values


def test_wilson_agrees_with_published_limits():
    # Newcombe (1998), table I, method 3: 81 of 263, and 0 of 20.
    assert [round(x, 4) for x in wilson(81, 263)[1:3]] == [0.2553, 0.3662]
    assert [round(x, 4) for x in wilson(0, 20)[1:3]] == [0.0, 0.1611]


def test_no_observation_gives_the_whole_range_and_more_hits_than_rows_are_refused():
    assert wilson(0, 0)[1:] == (0.0, 1.0, 0)
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


def test_clustered_intervals_cover_where_rows_share_their_day():
    rng = np.random.default_rng(7)
    days = np.repeat(np.arange(14), 60)
    covered = naive = 0
    for _ in range(400):
        values = rng.normal(size=14)[days] * 0.3 + rng.normal(size=days.size)
        found = clustered_mean(values, days)
        covered += found.low < 0 < found.high
        naive += abs(values.mean()) < 1.96 * values.std() / np.sqrt(values.size)
    assert 0.92 <= covered / 400 <= 0.98
    assert naive / 400 < 0.75


def test_one_cluster_says_nothing_about_the_mean():
    assert clustered_mean([1.0, 2.0], [5, 5])[1:3] == (-np.inf, np.inf)
    assert exceedance_p_value([1.0, 2.0], [5, 5]) == 1.0


def test_values_without_clusters_of_the_same_shape_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        clustered_mean([1.0, 2.0], [1])
    with pytest.raises(ValueError, match="one shape"):
        clustered_mean([], [])


def test_exceedance_errs_at_most_at_its_level_when_days_are_correlated():
    rng = np.random.default_rng(8)
    days = np.repeat(np.arange(14), 20)
    below = [
        exceedance_p_value(autoregression(rng, 14, 0.3)[days], days, correlation=0.3) < 0.05
        for _ in range(600)
    ]
    assert np.mean(below) < 0.075


def test_block_bootstrap_covers_the_mean_of_correlated_days_and_day_resampling_does_not():
    rng = np.random.default_rng(9)
    covered = {1: 0, 10: 0}
    for _ in range(400):
        daily = autoregression(rng, 330, 0.5)
        for block in covered:
            found = block_bootstrap_mean(daily, np.ones(330), block=block, rng=rng, n_resamples=300)
            covered[block] += found.low < 0 < found.high
    assert 0.88 < covered[10] / 400 < 0.96
    assert covered[1] / 400 < 0.82


def test_the_bootstrap_is_the_same_for_the_same_seed_and_refuses_blocks_that_do_not_fit():
    values = np.arange(30.0)
    first, second = (
        block_bootstrap_mean(values, np.ones(30), block=5, rng=np.random.default_rng(1)) for _ in range(2)
    )
    assert first == second
    with pytest.raises(ValueError, match="between 1 and 30"):
        block_bootstrap_mean(values, np.ones(30), block=31, rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match="with rows"):
        block_bootstrap_mean(values, np.zeros(30), block=5, rng=np.random.default_rng(1))


def test_the_estimated_correlation_is_close_on_long_series_and_zero_for_constants():
    rng = np.random.default_rng(2)
    assert abs(lag_one_correlation(autoregression(rng, 3000, 0.5)) - 0.5) < 0.05
    assert lag_one_correlation(np.ones(10)) == 0.0
    assert lag_one_correlation([1.0, 2.0]) == 0.0
    assert effective_size(14, 0.0) == 14


def test_leaving_out_clusters_of_a_mean_gives_its_clustered_interval():
    rng = np.random.default_rng(11)
    day = np.repeat(np.arange(20), 15)
    x = rng.normal(size=300) + rng.normal(size=20)[day]
    left_out, mean = clustered_jackknife(lambda kept: float(x[kept].mean()), day), clustered_mean(x, day)
    assert left_out.value == mean.value
    assert left_out.high - left_out.low == pytest.approx(mean.high - mean.low, rel=0.01)


def test_many_clusters_are_left_out_in_groups():
    x, asked = np.random.default_rng(12).normal(size=5000), []
    found = clustered_jackknife(
        lambda kept: asked.append(1) or float(x[kept].mean()), np.arange(5000), most=25
    )
    assert len(asked) == 26
    assert found.high - found.low == pytest.approx(2 * 1.96 / 5000**0.5, rel=0.35)


def test_what_cannot_be_left_out_has_no_interval():
    one = clustered_jackknife(lambda kept: 0.3, [1, 1, 1], limits=(0.0, 1.0))
    assert one[:3] == (0.3, 0.0, 1.0)
    undefined = clustered_jackknife(
        lambda kept: 0.3 if kept.all() else float("nan"), [1, 2], limits=(0.0, 1.0)
    )
    assert undefined[:3] == (0.3, 0.0, 1.0)

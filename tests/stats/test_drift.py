import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from varv.stats.drift import (
    bin_codes,
    bin_edges,
    categorical_stability_index,
    day_profile,
    day_shift,
    holm,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability_index,
    wasserstein,
)

LOOKS = 52


def daily_levels(rng, n, correlation):
    level = np.empty(n)
    level[0] = rng.normal()
    for t in range(1, n):
        level[t] = correlation * level[t - 1] + np.sqrt(1 - correlation**2) * rng.normal()
    return level


def daily_table(rng, n, correlation, *, shift_from=None, shift=0.0):
    """Counts of 40 rows a day whose level wanders; bins are cut on the first 31 days."""
    level = daily_levels(rng, n, correlation)
    if shift_from is not None:
        level[shift_from:] += shift
    rows = level[:, None] + 0.5 * rng.normal(size=(n, 40))
    edges = bin_edges(rows[:31].ravel())
    return np.array([np.bincount(bin_codes(day, edges), minlength=edges.size + 2) for day in rows])


def least_p_value(table):
    """The smallest p-value of a year of weekly looks over two weeks."""
    reference = day_profile(table[:31])
    ends = range(45, len(table) + 1, 7)
    return min(day_shift(reference, day_profile(table[end - 14 : end]), looks=LOOKS) for end in ends)


@pytest.mark.slow
@pytest.mark.parametrize(("correlation", "at_most"), [(0.0, 0.05), (0.3, 0.08)])
def test_a_year_of_looks_at_a_steady_feature_rarely_finds_drift(correlation, at_most):
    rng = np.random.default_rng(11)
    alarms = [least_p_value(daily_table(rng, 31 + 365, correlation)) <= 0.05 for _ in range(60)]
    assert np.mean(alarms) <= at_most


def test_a_daily_stability_index_alone_is_a_false_alarm_machine():
    # Why day_shift exists: the usual threshold of 0.2 on one day, inside the reference period itself.
    table = daily_table(np.random.default_rng(12), 31, 0.3)
    shares = (table + 0.5) / (table + 0.5).sum(axis=1, keepdims=True)
    whole = (table.sum(axis=0) + 0.5) / (table + 0.5).sum()
    assert np.mean(((shares - whole) * np.log(shares / whole)).sum(axis=1) > 0.2) > 0.9


def test_a_shift_of_three_day_deviations_is_found_within_two_weeks():
    rng = np.random.default_rng(13)
    found = [least_p_value(daily_table(rng, 45, 0.3, shift_from=31, shift=3.0)) <= 0.05 for _ in range(60)]
    assert np.mean(found) > 0.85


def test_days_of_one_value_do_not_drift_and_a_new_value_does():
    steady = day_profile(np.tile([50, 0, 0], (20, 1)))
    assert day_shift(steady, day_profile(np.tile([50, 0, 0], (14, 1))), looks=LOOKS) == 1.0
    assert day_shift(steady, day_profile(np.tile([0, 50, 0], (14, 1))), looks=LOOKS) < 1e-9


def test_profiles_need_three_days_with_rows():
    with pytest.raises(ValueError, match="3 days"):
        day_profile([[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="3 days"):
        day_profile([[1, 2], [3, 4], [0, 0]])


def test_missing_values_are_a_bin_of_their_own():
    whole = np.arange(1000.0)
    holes = np.where(whole % 2 == 0, np.nan, whole)
    assert population_stability_index(whole, holes) > 2
    assert population_stability_index(holes, holes) == 0.0
    assert bin_edges([np.nan, np.nan]).size == 0
    assert bin_codes([1.0, np.nan], np.empty(0)).tolist() == [0, 1]


def test_the_index_of_independent_rows_has_the_stated_mean():
    rng = np.random.default_rng(14)
    seen = [population_stability_index(rng.normal(size=2000), rng.normal(size=500)) for _ in range(200)]
    assert np.mean(seen) == pytest.approx(9 * (1 / 2000 + 1 / 500), rel=0.15)


def test_unseen_and_missing_categories_raise_the_categorical_index():
    reference = ["a"] * 80 + ["b"] * 20
    assert categorical_stability_index(reference, reference[::-1]) == 0.0
    assert categorical_stability_index(reference, ["c"] * 100) > 5
    assert categorical_stability_index(reference, [None] * 100) > 5
    assert categorical_stability_index(["", None], [None, ""]) == 0.0


def test_distances_agree_with_scipy():
    rng = np.random.default_rng(15)
    a, b = rng.normal(size=300), rng.normal(0.3, 2, size=170).round(1)
    assert kolmogorov_smirnov(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b) / a.std())
    p, q = rng.dirichlet(np.ones(5), size=2)
    middle = (p + q) / 2
    assert jensen_shannon(p, q) == pytest.approx((stats.entropy(p, middle) + stats.entropy(q, middle)) / 2)


def test_a_constant_reference_has_no_scale():
    assert wasserstein([1.0, 1.0], [1.0]) == 0.0
    assert wasserstein([1.0, 1.0], [2.0]) == float("inf")


@pytest.mark.parametrize("sample", [[], [np.inf], [[1.0]]])
def test_samples_that_are_not_numbers_are_refused(sample):
    with pytest.raises(ValueError, match="sample"):
        population_stability_index([1.0, 2.0], sample)
    with pytest.raises(ValueError, match="sample"):
        kolmogorov_smirnov(sample, [1.0])
    with pytest.raises(ValueError, match="two bins"):
        bin_edges([1.0], bins=1)


def test_holm_keeps_order_and_never_exceeds_one():
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.04, 0.04])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(2, 80))
def test_bins_are_those_of_the_quantiles_however_many_there_are(values, bins):
    edges = bin_edges([*values, np.nan, np.inf], bins=bins)
    assert edges.tolist() == np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])).tolist()
    looked_up = [*np.searchsorted(edges, [*values, np.inf]).tolist(), edges.size + 1]
    assert bin_codes([*values, np.inf, np.nan], edges).tolist() == looked_up

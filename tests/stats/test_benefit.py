import numpy as np
import pytest

from varv.stats.benefit import growth_curve, pair_sums, predicted, price_of_budget, terms
from varv.stats.regret import LossMatrix, by_benefit

N = 6000.0


def weeks(n_weeks, grow, *, seed=1, noise=0.003, season=0.05):
    """A matrix of weekly versions whose excess over a fresh one is `grow(n_known of v, n_known now, age)`."""
    rng = np.random.default_rng(seed)
    known = 20_000 + N * np.arange(n_weeks)
    mean = np.full((n_weeks, n_weeks), np.nan)
    hard = 0.45 + season * rng.normal(size=n_weeks)
    for v in range(n_weeks):
        for t in range(v, n_weeks):
            mean[v, t] = hard[t] + grow(known[v], known[t], t - v) + noise * rng.normal()
    return LossMatrix(mean * N, np.full(n_weeks, N), np.arange(n_weeks), known, lag=0)


def sums_of(matrix, versions):
    n_weeks = matrix.n.size
    return [
        pair_sums(
            [matrix.losses[v, t] / N for v in versions if v <= t],
            [matrix.n_known[v] for v in versions if v <= t],
            [v for v in versions if v <= t],
            N,
        )
        for t in range(n_weeks)
    ]


def test_the_curve_of_pairs_is_found_whatever_the_season():
    matrix = weeks(50, lambda old, new, age: 0.004 * np.log(new / old) + 0.0002 * age, noise=1e-5, season=0.3)
    curve = growth_curve(sums_of(matrix, range(0, 50, 5)), np.random.default_rng(2))
    assert curve.coefficients[[0, 2]] == pytest.approx([0.004, 0.0002], rel=0.1)


def test_no_coefficient_is_negative_and_terms_that_never_differ_get_none():
    better_with_age = weeks(20, lambda old, new, age: -0.001 * age)
    curve = growth_curve(sums_of(better_with_age, range(0, 20, 4)), np.random.default_rng(2))
    assert np.all(curve.coefficients >= 0)
    assert np.all(curve.draws >= 0)
    same_rows = better_with_age._replace(n_known=np.full(20, 1000.0))
    alike = growth_curve(sums_of(same_rows, range(0, 20, 4)), np.random.default_rng(2))
    assert alike.coefficients[:2].tolist() == [0.0, 0.0]


def test_nothing_is_learned_before_three_periods_have_pairs():
    sums = sums_of(weeks(4, lambda *_: 0.0), [0, 1])
    assert [one.n_pairs for one in sums] == [0, 1, 1, 1]
    assert growth_curve(sums[:3], np.random.default_rng(0)) is None
    assert growth_curve(sums, np.random.default_rng(0)) is not None


def test_the_sums_of_pairs_are_those_of_a_regression_on_all_pairs():
    losses, known, at = [0.5, 0.48, 0.47], [100.0, 300.0, 400.0], [0, 2, 3]
    x = np.array([terms(known[a], known[b], at[b] - at[a]) for a in range(3) for b in range(a + 1, 3)])
    y = np.array([losses[a] - losses[b] for a in range(3) for b in range(a + 1, 3)])
    found = pair_sums(losses, known, at, 7.0)
    assert found.gram == pytest.approx(7 * x.T @ x)
    assert found.moment == pytest.approx(7 * x.T @ y)
    assert found.n_pairs == 3
    with pytest.raises(ValueError, match="one shape"):
        pair_sums(losses, known[:2], at, 7.0)
    with pytest.raises(ValueError, match="finite"):
        pair_sums([0.5, np.nan, 0.4], known, at, 7.0)


def test_a_certain_prediction_asks_for_more_than_the_expected_one():
    matrix = weeks(30, lambda old, new, age: 0.0002 * age)
    curve = growth_curve(sums_of(matrix, range(0, 30, 3)), np.random.default_rng(3))
    exposure = [0.0, 0.0, N * 10]
    sure, likely = (predicted(curve, exposure, certainty=one) for one in (0.95, 0.6))
    assert 0 < sure.low < likely.low < likely.high < sure.high
    assert sure.value == likely.value
    with pytest.raises(ValueError, match="between 0 and 1"):
        predicted(curve, exposure, certainty=1.0)


@pytest.mark.parametrize("seed", range(6))
def test_where_nothing_ages_it_trains_only_to_learn_that(seed):
    matrix = weeks(52, lambda *_: 0.0, seed=seed, noise=0.002)
    schedule = by_benefit(matrix, 30.0, certainty=0.9, rng=np.random.default_rng(seed))
    assert len(schedule) - 1 <= 4


def test_linear_growth_leads_to_the_period_of_least_cost():
    rate, price = 0.0004, 100.0
    matrix = weeks(80, lambda old, new, age: rate * age, noise=5e-4)
    schedule = by_benefit(matrix, price, certainty=0.6, rng=np.random.default_rng(5))
    best = np.sqrt(2 * price / (rate * N))
    periods = np.diff(schedule)[4:]
    assert best == pytest.approx(9.1, abs=0.1)
    assert np.mean(periods) == pytest.approx(best, rel=0.15)


def test_a_budget_becomes_the_price_that_gives_so_many_on_the_past():
    # Ages alone: after k periods k (k + 1) / 2 * rate * n is lost, so 100 is reached after 9.
    n_weeks, rate = 60, 0.0004
    known, n = np.full(n_weeks, 1000.0), np.full(n_weeks, N)
    price = price_of_budget([0.0, 0.0, rate], known, n, 5)
    lost = [rate * N * k * (k + 1) / 2 for k in range(n_weeks)]
    trained_every = next(k for k, sum_so_far in enumerate(lost) if sum_so_far >= price) + 1
    assert (n_weeks - 1) // trained_every == 5
    # At any lower price it would have been more.
    assert (n_weeks - 1) // (next(k for k, one in enumerate(lost) if one >= price * (1 - 1e-9)) + 1) > 5
    assert price_of_budget([0.0, 0.0, rate], known, n, n_weeks) == 0.0


def test_a_regime_that_none_of_the_versions_has_seen_is_found_by_a_fresh_one():
    # From week 10 on a version that has not seen that week is far behind, and all that have not are alike.
    matrix = weeks(40, lambda *_: 0.0, noise=5e-4)
    unseen = (np.arange(40)[:, None] <= 10) & (np.arange(40) >= 10)
    matrix = matrix._replace(losses=matrix.losses + np.where(unseen, 0.05 * N, 0.0))
    schedule = by_benefit(matrix, 300.0, certainty=0.9, rng=np.random.default_rng(1))
    assert schedule[:5] == (0, 1, 2, 3, 11)

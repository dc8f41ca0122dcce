"""Error rates and power of sequential evidence under constant looking."""

from __future__ import annotations

import numpy as np
import pytest

from varv.stats.sequential import (
    BETS,
    HARM_RATIOS,
    SAFETY_RATIOS,
    arm_increments,
    betting_increments,
    log_e_value,
    mean_interval,
    share_log_e_value,
)

RUNS = 400
TOLERATED = 0.05 + 3 * np.sqrt(0.05 * 0.95 / RUNS)


def running_log_e(increments):
    """Log e-values after each tick from increments of shape (runs, ticks, alternatives)."""
    logs = np.cumsum(increments, axis=1)
    top = logs.max(axis=2)
    return top + np.log(np.exp(logs - top[..., None]).mean(axis=2))


def ever(log_e, alpha=0.05):
    return float((log_e.max(axis=1) >= np.log(1 / alpha)).mean())


def arm_runs(rng, ratio, *, null_ratio=1.0, alternatives=HARM_RATIOS, ticks=120):
    """Runs whose base rate jumps in common incidents and whose share is raised half way."""
    share = np.repeat([0.05, 0.25], ticks // 2)
    rate = np.where(rng.random((RUNS, ticks)) < 0.05, 0.5, 0.1)
    n_candidate = rng.binomial(200, share, (RUNS, ticks))
    x = rng.binomial(n_candidate, np.minimum(1, rate * ratio))
    y = rng.binomial(200 - n_candidate, rate)
    r = null_ratio * np.asarray(alternatives)
    shift = np.log(
        (1 - share[:, None] + r * share[:, None]) / (1 - share[:, None] + null_ratio * share[:, None])
    )
    return x[..., None] * np.log(r / null_ratio) - (x + y)[..., None] * shift


def test_increments_of_two_ticks_add_up_to_those_of_both():
    both = arm_increments([3, 9], [40, 20], [0.05, 0.25])
    apart = arm_increments([3], [40], [0.05]) + arm_increments([9], [20], [0.25])
    assert both == pytest.approx(apart)


def test_the_likelihood_ratio_is_that_of_the_formula():
    x, y, s, r = 7, 31, 0.2, 1.5
    known = x * np.log(r) - (x + y) * np.log((1 - s + r * s) / 1)
    assert arm_increments([x], [y], [s])[HARM_RATIOS.index(r)] == pytest.approx(known)


def test_a_harmless_candidate_seldom_looks_harmful_in_incidents_and_changing_shares():
    assert ever(running_log_e(arm_runs(np.random.default_rng(1), 1.0))) <= TOLERATED


def test_twice_as_many_bad_events_are_noticed():
    assert ever(running_log_e(arm_runs(np.random.default_rng(2), 2.0))) >= 0.95


def test_a_candidate_at_the_margin_is_seldom_called_safe_and_an_equal_one_is():
    at_margin = arm_runs(np.random.default_rng(3), 2.0, null_ratio=2.0, alternatives=SAFETY_RATIOS)
    equal = arm_runs(np.random.default_rng(3), 1.0, null_ratio=2.0, alternatives=SAFETY_RATIOS)
    assert ever(running_log_e(at_margin)) <= TOLERATED
    assert ever(running_log_e(equal)) >= 0.9


def test_a_better_candidate_is_never_evidence_of_harm_on_average():
    wealth = np.exp(running_log_e(arm_runs(np.random.default_rng(4), 0.8)))
    assert wealth[:, -1].mean() <= 1


def bet_runs(rng, mean, *, side, margin, ticks=120, bound=0.05):
    """Skewed differences of blocks: mostly a little better, sometimes much worse."""
    jump = rng.random((RUNS, ticks)) < 0.1
    centred = np.where(jump, 0.027, -0.003)
    blocks = centred + mean
    profit = blocks - margin if side == "harm" else margin - blocks
    stakes = BETS / (bound + margin if side == "harm" else bound - margin)
    return np.log1p(stakes * profit[..., None])


def test_bets_on_a_mean_difference_keep_their_error_rate():
    harmless = bet_runs(np.random.default_rng(5), 0.0, side="harm", margin=0.0)
    at_margin = bet_runs(np.random.default_rng(6), 0.01, side="safety", margin=0.01)
    assert ever(running_log_e(harmless)) <= TOLERATED
    assert ever(running_log_e(at_margin)) <= TOLERATED


def test_bets_find_a_worse_candidate_and_prove_an_equal_one():
    assert ever(running_log_e(bet_runs(np.random.default_rng(7), 0.01, side="harm", margin=0.0))) >= 0.9
    assert ever(running_log_e(bet_runs(np.random.default_rng(8), 0.0, side="safety", margin=0.01))) >= 0.9


def test_the_simulated_bets_are_those_of_the_function():
    x = np.random.default_rng(9).uniform(-0.05, 0.05, 30)
    here = np.log1p(BETS / 0.04 * (0.01 - x)[:, None]).sum(axis=0)
    assert betting_increments(x, bound=0.05, side="safety", margin=0.01) == pytest.approx(here)


def test_blocks_without_weight_are_no_evidence():
    silent = betting_increments([-0.05] * 50, bound=0.05, side="safety", margin=0.01, weights=[0.0] * 50)
    assert log_e_value(silent) == 0.0


def test_the_interval_covers_the_mean_at_all_times():
    rng = np.random.default_rng(10)
    missed = 0
    for _ in range(200):
        x = 0.004 + np.where(rng.random(150) < 0.1, 0.027, -0.003)
        total, squares = np.cumsum(x), np.cumsum(x**2)
        bands = (mean_interval(n, total[n - 1], squares[n - 1], bound=0.05) for n in range(5, 151, 5))
        missed += any(not low <= 0.004 <= high for low, high in bands)
    assert missed <= 20


def test_the_interval_narrows_with_data_and_is_everything_without():
    assert mean_interval(0, 0, 0, bound=0.05) == (-0.05, 0.05)
    widths = [np.diff(mean_interval(n, 0.0, n * 0.0001, bound=0.05))[0] for n in (20, 200, 2000)]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.003


def test_a_sound_router_is_seldom_blamed_and_a_lossy_one_is():
    rng = np.random.default_rng(11)
    blamed = dict.fromkeys((0.05, 0.04), 0)
    for share in blamed:
        for _ in range(200):
            x = np.cumsum(rng.binomial(1000, share, 60))
            logs = [share_log_e_value(x[i], 1000 * (i + 1) - x[i], 0.05) for i in range(0, 60, 3)]
            blamed[share] += max(logs) >= np.log(1000)
    assert blamed[0.05] <= 2
    assert blamed[0.04] >= 190


@pytest.mark.parametrize(
    ("x", "y", "share", "options"),
    [
        ([1], [1, 2], [0.5], {}),
        ([-1], [1], [0.5], {}),
        ([1], [1], [1.5], {}),
        ([1], [1], [0.0], {}),
        ([1], [1], [1.0], {}),
        ([1], [1], [float("nan")], {}),
        ([1], [1], [0.5], {"alternatives": [0.5, 2.0]}),
        ([1], [1], [0.5], {"null_ratio": 0.0}),
    ],
)
def test_impossible_counts_are_refused(x, y, share, options):
    with pytest.raises(ValueError, match=r"must|cannot"):
        arm_increments(x, y, share, **options)


@pytest.mark.parametrize("options", [{"bound": 0.0}, {"bound": 0.1, "margin": 0.1}, {"bound": float("nan")}])
def test_impossible_bets_are_refused(options):
    with pytest.raises(ValueError, match="margin"):
        betting_increments([0.0], side="harm", **options)


def test_differences_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        betting_increments([float("nan")], bound=0.1, side="harm")
    with pytest.raises(ValueError, match="no such sums"):
        mean_interval(1, 5.0, 1.0, bound=0.1)
    with pytest.raises(ValueError, match="no such split"):
        share_log_e_value(1, 1, 0.0)

"""Error rates and power of sequential evidence under constant looking."""

from __future__ import annotations

import numpy as np
import pytest

from varv.stats.sequential import (
    LARGEST,
    STAKES,
    discordance_log_e_value,
    log_e_value,
    mean_log_e_value,
    mixture_half_width,
    share_log_e_value,
)

RUNS = 400
TOLERATED = 0.05 + 3 * np.sqrt(0.05 * 0.95 / RUNS)


def ever(log_e, alpha=0.05):
    return float(np.mean([max(run) >= np.log(1 / alpha) for run in log_e]))


def block_runs(rng, mean, *, n=60):
    """Running e-values of standardised blocks."""
    blocks = np.clip(rng.normal(mean, 1.0, (RUNS, n)), -LARGEST, LARGEST)
    return [[mean_log_e_value(total, i) for i, total in enumerate(np.cumsum(run), 1)] for run in blocks]


def test_the_e_value_of_a_mean_is_that_of_the_formula():
    total, n = 7.5, 9
    wealth = np.mean([np.exp(stake * total - stake**2 * n / 2) for stake in STAKES])
    assert mean_log_e_value(total, n) == pytest.approx(np.log(wealth))
    assert mean_log_e_value(0.0, 0) == 0.0


def test_blocks_without_a_mean_seldom_look_like_one_however_often_one_looks():
    assert ever(block_runs(np.random.default_rng(5), 0.0)) <= TOLERATED


def test_a_mean_of_half_a_standard_deviation_is_found():
    assert ever(block_runs(np.random.default_rng(7), 0.5, n=90)) >= 0.95


def test_an_average_of_e_values_weighs_as_told():
    assert log_e_value([np.log(8.0), np.log(2.0)]) == pytest.approx(np.log(5.0))
    assert log_e_value([np.log(8.0), np.log(2.0)], (0.75, 0.25)) == pytest.approx(np.log(6.5))


def test_the_interval_covers_the_mean_at_all_times():
    rng, missed = np.random.default_rng(10), 0
    halves = np.array([mixture_half_width(n) for n in range(1, 201)])
    for _ in range(RUNS):
        means = np.cumsum(rng.normal(0.0, 1.0, 200)) / np.arange(1, 201)
        missed += bool(np.any(np.abs(means) > halves))
    assert missed / RUNS <= TOLERATED


def test_the_interval_narrows_with_blocks():
    assert mixture_half_width(4) > mixture_half_width(40) > mixture_half_width(400)


def test_answers_lost_by_either_alike_are_seldom_evidence():
    rng = np.random.default_rng(3)
    against = np.cumsum(rng.random((RUNS, 200)) < 0.5, axis=1)
    runs = [[discordance_log_e_value(int(x), i - int(x)) for i, x in enumerate(run, 1)] for run in against]
    assert ever(runs) <= TOLERATED


def test_ten_answers_that_only_the_candidate_lost_are_proof():
    assert discordance_log_e_value(10, 0) > np.log(100)
    assert discordance_log_e_value(0, 10) < 0


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


@pytest.mark.parametrize(("total", "n"), [(1.0, 0), (5.0, 2), (0.0, -1), (float("nan"), 3)])
def test_sums_that_cannot_be_are_refused(total, n):
    with pytest.raises(ValueError, match="cannot sum"):
        mean_log_e_value(total, n)


@pytest.mark.parametrize(("n", "alpha"), [(0, 0.05), (3, 0.0), (3, 1.0)])
def test_an_interval_of_nothing_is_refused(n, alpha):
    with pytest.raises(ValueError, match="no such interval"):
        mixture_half_width(n, alpha=alpha)


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="no such counts"):
        discordance_log_e_value(-1, 0)
    with pytest.raises(ValueError, match="no such split"):
        share_log_e_value(1, 1, 0.0)

"""Every public function of `varv.stats` refuses what it cannot answer; none invents "no drift"."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import varv.stats
from varv.stats.benefit import Curve, PairSums
from varv.stats.change import DaySums
from varv.stats.drift import DayProfile
from varv.stats.regret import LossMatrix

NAN, INF, HUGE = float("nan"), float("inf"), 1e308
DAYS = DayProfile((0.5, 0.5), 9, 0.01, 1.0, 0.0)
WRONG_DAYS = DayProfile((NAN, 0.5), 9, 0.01, 1.0, 0.0)
NO_DAYS = DayProfile((), 0, 0.0, 1.0, 0.0)

MATRIX = LossMatrix(np.ones((2, 4)), np.ones(4), np.array([0, 2]), np.ones(2))
NO_MATRIX = MATRIX._replace(losses=np.full((2, 4), NAN))
NO_SUMS = PairSums(np.full((3, 3), NAN), np.zeros(3), 1)
RNG = np.random.default_rng(0)

REFUSED = {
    "shapley": {
        "shapley_values": [
            (lambda inside: np.ones((len(inside), 1)), 0, RNG),
            (lambda inside: np.ones((len(inside), 1)), 2, RNG, {"n_pairs": 1}),
            (lambda inside: np.full((len(inside), 1), NAN), 2, RNG),
            (lambda inside: np.full((len(inside), 1), INF), 12, RNG),
        ],
    },
    "benefit": {
        "terms": [(NAN, 1.0, 1.0), (1.0, 2.0, INF)],
        "pair_sums": [([0.5], [1.0, 2.0], [0.0], 1.0), ([NAN], [1.0], [0.0], 1.0)],
        "is_beyond": [([0.0, NAN], 3.0), ([2.0, 1.0], 3.0)],
        "growth_curve": [([NO_SUMS] * 3, RNG)],
        "predicted": [
            (Curve(np.zeros(3), np.zeros((9, 3))), [0.0, 0.0, 1.0], {"certainty": 1.0}),
            (Curve(np.zeros(3), np.zeros((9, 3))), [0.0, NAN, 1.0], {"certainty": 0.9}),
        ],
        "price_of_budget": [
            ([0.0, 0.0, 1.0], [], [], 1),
            ([0.0, 0.0, 1.0], [1.0], [1.0, 2.0], 1),
            ([0.0, 0.0, NAN], [1.0], [1.0], 1),
            ([0.0, 0.0, 1.0], [1.0], [1.0], -1),
        ],
    },
    "calibration": {
        "log_losses": [([1], [NAN]), ([NAN], [0.5]), ([1], [1.5]), ([1, 0], [0.5])],
        "promised_losses": [([NAN],), ([INF],)],
        "excess_losses": [([1], [NAN]), ([2], [0.5])],
        "excess_error": [([],), ([NAN],)],
        "calibration_error": [([], []), ([1], [NAN]), ([1], [0.5], {"bins": 0})],
        "calibration_error_interval": [
            ([], [], []),
            ([1], [NAN], [0]),
            ([1], [0.5], [0, 1]),
            ([1], [0.5], [0], {"bins": 0}),
        ],
        "reliability": [([], []), ([1], [NAN]), ([1], [0.5], {"bins": 0})],
    },
    "change": {
        "average_run_length": [(NAN,), (INF,), (-1.0,), (4.0, {"allowance": NAN})],
        "cusum_threshold": [(NAN,), (5,), (200, {"allowance": 0.0})],
        "cusum_step": [(NAN, 0.0), (0.0, NAN)],
        "with_day": [(DaySums(), NAN, 0.1), (DaySums(), 0.1, NAN), (DaySums(), 0.1, -1.0)],
        "joined": [(DaySums(), DaySums(value=NAN)), (DaySums(square=INF), DaySums())],
        "about_mean": [(DaySums(n_days=3.0, value=NAN),)],
        "by_steps": [(DaySums(n_days=3.0, steps=INF),)],
        "spread": [(DaySums(),), (DaySums(n_days=3.0, square=NAN),)],
        "widening": [(200, {"freedom": NAN}), (200, {"freedom": 5, "level_days": 0}), (NAN, {"freedom": 5})],
    },
    "classes": {
        "are_distributions": [([0.5, 0.5],), ([[1.0]],)],
        "class_log_losses": [
            ([0], [[0.5, 0.4]]),
            ([2], [[0.5, 0.5]]),
            ([0], [[NAN, 1.0]]),
            ([NAN], [[0, 1]]),
        ],
        "class_brier": [([0], [[0.5, 0.4]]), ([-1], [[0.5, 0.5]]), ([0, 1], [[0.5, 0.5]])],
        "class_promised_losses": [([[0.5, 0.4]],), ([[INF, -INF]],)],
        "class_excess_error": [(np.empty((0, 2)),), ([[NAN, 1.0]],)],
        "top_labels": [([0.5], [[0.5, 0.5]]), ([0], [[-0.5, 1.5]])],
    },
    "drift": {
        "bin_edges": [([1.0], {"bins": 1}), ([-1.7e308, 1.7e308], {"bins": 2})],
        "bin_codes": [([[1.0]], np.array([0.0])), ([1.0], np.array([NAN])), ([1.0], np.array([1.0, 0.0]))],
        "smoothed_shares": [([],), ([NAN],), ([-1],), ([INF],)],
        "stability_index": [([], []), ([0, 0], [1, 1]), ([1, NAN], [1, 1]), ([1, 1], [1, 1, 1])],
        "population_stability_index": [([], [1.0]), ([1.0], []), ([1.0, INF], [1.0])],
        "categorical_stability_index": [([], ["a"]), (["a"], [])],
        "kolmogorov_smirnov": [([], [1.0]), ([1.0], [NAN]), ([INF], [1.0])],
        "wasserstein": [([], [1.0]), ([1.0], [NAN]), ([INF], [1.0])],
        "jensen_shannon": [([], []), ([NAN, 1.0], [0.5, 0.5]), ([0.2, 0.2], [0.5, 0.5])],
        "day_profile": [([],), ([[1, 1], [1, 1]],), ([[1, NAN]] * 3,), ([[2, -1]] * 3,)],
        "day_shift": [(DAYS, WRONG_DAYS), (NO_DAYS, DAYS), (DAYS, DAYS, {"looks": 0})],
        "holm": [([NAN],), ([1.5],)],
    },
    "intervals": {
        "wilson": [(3, 2), (NAN, 2), (1, 2, {"confidence": 1.0})],
        "clustered_mean": [([], []), ([NAN], [1]), ([1.0], [1, 2])],
        "mean_of_clusters": [([], []), ([NAN], [1]), ([1.0], [0]), ([1.0], [-1])],
        "exceedance_p_value": [([], []), ([NAN], [1]), ([1.0], [1], {"above": NAN})],
        "block_bootstrap_mean": [
            ([], [], {"block": 1, "rng": None}),
            ([NAN], [1], {"block": 1, "rng": None}),
            ([1.0], [1], {"block": 2, "rng": None}),
        ],
        "clustered_jackknife": [(lambda kept: 0.0, [])],
        "jackknife": [(1.0, [1.0], {"n": 3}), (NAN, [1.0, 2.0], {"n": 3}), (1.0, [NAN, 2.0], {"n": 3})],
        "lag_one_correlation": [([NAN, 1.0, 2.0],), ([INF, 1.0, 2.0],)],
        "effective_size": [(-1, 0.0), (10, 1.0), (10, NAN)],
    },
    "lists": {
        "ndcg": [([-1], [0.5], [1]), ([1], [NAN], [1]), ([1], [0.5], [1, 2]), ([1], [0.5], [1], {"at": 0})],
        "reciprocal_ranks": [([NAN], [0.5], [1]), ([1], [INF], [1])],
    },
    "quantiles": {
        "quantile_interval": [([], 0.5), ([NAN], 0.5), ([[1.0]], 0.5), ([1.0], 0.0), ([1.0], 1.0)],
        "pinball_losses": [([NAN], [[1.0]], [0.5]), ([1.0], [[1.0, 2.0]], [0.5]), ([1.0], [[1.0]], [1.0])],
        "worst_pinball_loss": [([], 1.0), ([NAN], 1.0), ([0.5], -1.0)],
        "coverage_error": [([], np.empty((0, 1)), [0.5]), ([1.0], [[INF]], [0.5])],
        "crossings": [([1.0],)],
    },
    "ranking": {
        "midranks": [(np.array([NAN, 1.0]),)],
        "macro_auc": [([], np.empty((0, 2))), ([2], [[0.5, 0.5]]), ([0], [[NAN, 0.5]]), ([0.5], [[0, 1]])],
        "macro_auc_interval": [([2], [[0.5, 0.5]], [1]), ([0], [[0.5, 0.5]], [1, 2])],
        "auc": [([], []), ([0, 1], [NAN, 0.5]), ([0, 2], [0.1, 0.2])],
        "auc_interval": [([], []), ([0, 1], [NAN, 0.5]), ([0, 1], [0.1, 0.5], [1])],
        "auc_error": [([], []), ([0, 1], [NAN, 0.5])],
        "score_cells": [([NAN],), ([1.5],)],
        "auc_of_counts": [([[0]], [[0]]), ([[NAN]], [[1]]), ([[1]], [[1, 1]]), ([[-1]], [[1]])],
    },
    "regret": {
        "require_matrix": [(NO_MATRIX,), (MATRIX._replace(starts=np.array([1, 2])),)],
        "loss_of": [(NO_MATRIX, (0,)), (MATRIX, (1,)), (MATRIX, ())],
        "best_schedule": [(NO_MATRIX, 1.0), (MATRIX, NAN)],
        "scheduled": [(NO_MATRIX, lambda *_: True)],
        "calendars": [(NO_MATRIX, 1), (MATRIX, 0)],
        "by_volume": [(NO_MATRIX, 0.5)],
        "cumulative_staleness": [(NO_MATRIX, 1.0)],
        "by_benefit": [(NO_MATRIX, 1.0, {"certainty": 0.9, "rng": RNG})],
        "luck": [(NO_MATRIX, MATRIX, 1.0), (MATRIX, MATRIX, NAN)],
        "paid": [(NO_MATRIX, (0,), 1.0)],
    },
    "agreement": {"cohen_kappa": [([1, 0], [1])]},
    "label_errors": {
        "confident_errors": [([0], [[0.5, 0.5], [0.5, 0.5]]), ([2], [[0.5, 0.5]]), ([-1], [[0.5, 0.5]])]
    },
    "recalibration": {
        "unchanged": [(1,)],
        "fitted": [([0], [0.5]), ([0, 1], [[0.5, 0.5]])],
    },
    "sampling": {
        "effective_sample_size": [([1.0, -1.0],), ([NAN],), ([INF],)],
        "farthest_first": [([[NAN]], 1), ([[INF]], 1)],
        "inverse_probability_mean": [
            ([], []),
            ([1.0], [0.0]),
            ([1.0], [NAN]),
            ([NAN], [1.0]),
            ([1.0], [1.0, 1.0]),
        ],
        "clipped_weights": [([0.0],), ([1.5],), ([NAN],), ([1.0], {"most": 0.5})],
    },
    "surprise": {
        "distances": [([1.0], np.zeros((40, 2))), ([1.0], np.zeros(40))],
        "e_values": [([INF],)],
        "gathered": [([0.0], [1.0, 1.0]), ([0.0], [-1.0]), ([0.0], [NAN])],
    },
    "correlation": {
        "correlation_shifts": [
            ([np.ones(3)], [np.ones((3, 2))]),
            ([np.ones((3, 2))], [np.ones((3, 3))]),
            ([np.full((3, 2), INF)], []),
        ],
    },
    "regression": {
        "clustered_ratio": [
            ([], [], []),
            ([-1], [1], [1]),
            ([1], [0], [1]),
            ([NAN], [1], [1]),
            ([1], [1], [1, 2]),
        ],
        "root_mean_square": [([], []), ([NAN], [1])],
        "r_squared": [([], []), ([1.0], [NAN]), ([1.0], [1.0, 2.0])],
        "r_squared_interval": [([], [], []), ([1.0, 2.0], [1.0, INF], [1, 2]), ([1.0, 2.0], [1.0, 2.0], [1])],
        "observed_by_predicted": [([], []), ([1.0], [NAN]), ([1.0], [1.0], {"bins": 0})],
    },
}


def public_functions(module):
    found = importlib.import_module(f"varv.stats.{module}")
    return {
        name: value
        for name, value in vars(found).items()
        if inspect.isfunction(value) and value.__module__ == found.__name__ and not name.startswith("_")
    }


def test_every_public_function_has_what_it_refuses():
    modules = {one.name for one in pkgutil.iter_modules(varv.stats.__path__)} - {"sequential"}
    assert {module: set(public_functions(module)) for module in modules} == {
        module: set(cases) for module, cases in REFUSED.items()
    }


@pytest.mark.parametrize(
    ("module", "name", "case"),
    [
        (module, name, case)
        for module, names in REFUSED.items()
        for name, cases in names.items()
        for case in cases
    ],
)
def test_what_cannot_be_answered_is_refused(module, name, case):
    given = [part for part in case if not isinstance(part, dict)]
    options = next((part for part in case if isinstance(part, dict)), {})
    with pytest.raises(ValueError):
        public_functions(module)[name](*given, **options)


def test_values_too_large_for_their_squares_still_drift():
    drift = importlib.import_module("varv.stats.drift")
    before, after = np.linspace(0, 1, 50) * HUGE, np.linspace(0.5, 1.5, 50) * HUGE
    assert drift.wasserstein(before, after) > 1
    assert drift.kolmogorov_smirnov(before, after) > 0.4
    assert drift.population_stability_index(before, after) > 0.25

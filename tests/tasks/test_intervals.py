"""The interval of every metric holds what it should in 95 % of samples, days being the unit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import expit, softmax

from varv import task
from varv.tasks import Task

N_SAMPLES, N_DAYS, ROWS_OF_A_DAY = 200, 30, 40


class World(NamedTuple):
    """A task, and rows whose outcomes depend on the luck of their day, which no prediction knows."""

    task: Task
    draw: Callable


def days(rng, n):
    day = np.repeat(np.arange(n), ROWS_OF_A_DAY)
    return day, rng.normal(0, 0.5, n)[day]


def late(rng, n):
    day, luck = days(rng, n)
    x = rng.normal(-0.5, 1.2, day.size)
    return (rng.random(day.size) < expit(x + luck)).astype(np.int8), expit(x)[:, None], day, None


def kinds(rng, n):
    day, luck = days(rng, n)
    x = rng.normal(0, 1, (day.size, 3))
    p = softmax(x + np.outer(luck, [1, 0, 0]), axis=1)
    y = (rng.random((day.size, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return y, softmax(x, axis=1), day, None


def delays(rng, n):
    day, luck = days(rng, n)
    mean = rng.uniform(20, 80, day.size)
    return mean + 10 * luck + rng.gamma(2, 4, day.size) - 8, mean[:, None], day, None


def delay_quantiles(rng, n):
    day, luck = days(rng, n)
    mean = rng.uniform(20, 80, day.size)
    wobbling = mean[:, None] + np.array([-6.4, 0, 6.4]) + rng.normal(0, 2, (day.size, 3))
    return mean + 4 * luck + rng.normal(0, 5, day.size), wobbling, day, None


def clicks(rng, n):
    day, luck = days(rng, n)
    clicked = (rng.random(day.size) < 0.25).astype(np.float64)
    score = clicked * (1 + luck) + rng.normal(size=day.size)
    return clicked, score[:, None], day, np.arange(day.size) // 8


WORLDS = {
    "binary": World(task.binary(), late),
    "multiclass": World(task.multiclass(classes=["A", "B", "C"]), kinds),
    "regression": World(task.regression(range=(0, 100)), delays),
    "quantiles": World(task.quantiles(levels=[0.1, 0.5, 0.9], range=(0, 100)), delay_quantiles),
    "ranking": World(task.ranking(group="query", at=5), clicks),
}
METRICS = [(name, metric) for name, world in WORLDS.items() for metric in world.task.metrics]


@cache
def estimates(name):
    """Return for each metric the estimates of many samples: value, low and high."""
    rng, world = np.random.default_rng(2), WORLDS[name]
    found = {metric: [] for metric in world.task.metrics}
    for _ in range(N_SAMPLES):
        outcome, predicted, day, groups = world.draw(rng, N_DAYS)
        for metric in world.task.metrics.values():
            found[metric.name].append(metric.estimate(outcome, predicted, day, groups)[:3])
    return {metric: np.array(rows).T for metric, rows in found.items()}


@cache
def large_sample(name):
    return WORLDS[name].draw(np.random.default_rng(1), 4000)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "metric"), METRICS)
def test_the_interval_holds_what_is_true(name, metric):
    value, low, high = estimates(name)[metric]
    outcome, predicted, _, groups = large_sample(name)
    true = WORLDS[name].task.metrics[metric].value(outcome, predicted, groups)
    if metric == "ece":
        # Of so few rows it is larger by chance; the interval is of what so many rows show.
        true = value.mean()
    assert np.mean((low <= true) & (true <= high)) >= 0.88


def test_one_cluster_says_nothing_of_an_interval():
    for name, world in WORLDS.items():
        outcome, predicted, _, groups = world.draw(np.random.default_rng(3), 1)
        for metric in world.task.metrics.values():
            found = metric.estimate(outcome, predicted, np.zeros(len(outcome)), groups)
            assert (found.low, found.high) == metric.limits or np.isinf(found.high - found.low), (
                name,
                metric,
            )


def test_days_of_their_own_make_intervals_wider_than_rows_do():
    outcome, predicted, day, _ = delays(np.random.default_rng(4), N_DAYS)
    bias = WORLDS["regression"].task.metrics["bias"]
    by_day, by_row = (
        bias.estimate(outcome, predicted, clusters) for clusters in (day, np.arange(len(outcome)))
    )
    assert by_day.high - by_day.low > 2 * (by_row.high - by_row.low)

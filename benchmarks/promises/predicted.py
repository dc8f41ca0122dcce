"""Requests of other tasks than the binary one, in the worlds of `worlds`: predictions are right on average.

Shocks that rows of an hour or a day share move the log odds of classes, or numbers by so many of their own
scales. Predictions are those of the mixture, so nothing is ever wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
from benchmarks.promises.worlds import Numbers, World
from scipy import special

from varv import task
from varv.kernel.clock import DAY, HOUR
from varv.serving.scores import score_series
from varv.tasks import Task

LEVELS = (0.1, 0.5, 0.9)
TAIL = 3
"""Degrees of freedom of Student's t: the fourth moment is infinite, the variance is not."""
RANGE = (-200.0, 240.0)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_DIRECTION = np.array([1.0, -1.0, 0.0])


class Predicted(NamedTuple):
    """A kind of model: its task, and how outcomes and predictions of rows are drawn.

    `draw` takes the source of chance, a standard normal feature and the shock of each row, and the standard
    deviation of shocks over time.
    """

    name: str
    task: Task
    draw: Callable[[np.random.Generator, Numbers, Numbers, float], tuple[Numbers, Numbers]]

    def frame(self, world: World, rng: np.random.Generator, n_days: int, rows: int) -> pl.DataFrame:
        """Return the requests of `n_days`, `rows` a day; outcomes are known within the hour."""
        shocks = world.shocks(rng, n_days)
        day = np.repeat(np.arange(n_days), rows)
        hour = np.sort(rng.integers(0, 24, size=(n_days, rows)), axis=1).ravel()
        feature = rng.normal(size=day.size)
        outcome, predicted = self.draw(rng, feature, shocks[day, hour], world.sd)
        requested = day * DAY + hour * HOUR
        found = pl.DataFrame(
            {
                "requested_at": requested,
                "known_at": requested,
                "outcome": pl.Series(outcome).cast(self.task.outcome_dtype),
            }
        ).with_columns(pl.col("requested_at", "known_at").cast(pl.Datetime("us", "UTC")))
        return found.with_columns(score_series(self.task, "score", predicted.astype(np.float32)))


def _classes(
    rng: np.random.Generator, feature: Numbers, shock: Numbers, sd: float
) -> tuple[Numbers, Numbers]:
    logits = np.stack([0.8 * feature - 0.5, -0.5 * feature, np.zeros(feature.size)], axis=1)
    truth = special.softmax(logits + shock[:, None] * _DIRECTION, axis=1)
    drawn = (rng.uniform(size=feature.size)[:, None] > truth.cumsum(axis=1)).sum(axis=1)
    mixed = sum(
        weight * special.softmax(logits + sd * node * _DIRECTION, axis=1)
        for node, weight in zip(_NODES, _WEIGHTS / _WEIGHTS.sum(), strict=True)
    )
    return np.minimum(drawn, 2), np.asarray(mixed)


def _numbers(rng: np.random.Generator, feature: Numbers, shock: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    middle, scale = 20 + 5 * feature, 3 * np.exp(0.3 * feature)
    return middle + scale * (rng.standard_t(TAIL, size=feature.size) + shock), middle, scale


def _median(rng: np.random.Generator, feature: Numbers, shock: Numbers, sd: float) -> tuple[Numbers, Numbers]:
    outcome, middle, _ = _numbers(rng, feature, shock)
    return outcome, middle[:, None]


def _quantiles(
    rng: np.random.Generator, feature: Numbers, shock: Numbers, sd: float
) -> tuple[Numbers, Numbers]:
    outcome, middle, scale = _numbers(rng, feature, shock)
    # Of the mixture there is no formula: a large sample, the same for everybody, has its quantiles.
    fixed = np.random.default_rng(0)
    sample = fixed.standard_t(TAIL, 400_000) + sd * fixed.normal(size=400_000)
    return outcome, middle[:, None] + scale[:, None] * np.quantile(sample, LEVELS)


OTHERS = (
    Predicted("three classes", task.multiclass(classes=["A", "B", "C"]), _classes),
    Predicted("numbers, absolute loss", task.regression(range=RANGE, loss="absolute"), _median),
    Predicted("numbers, squared loss", task.regression(range=RANGE, loss="squared"), _median),
    Predicted("quantiles", task.quantiles(levels=LEVELS, range=RANGE), _quantiles),
)
"""Beside the binary models of `alarms`; outcomes that are numbers have Student's t of `TAIL` degrees of
freedom."""

"""Tasks with outcomes drawn from predictions, real estimators, and what these say, worked out by hand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.special import expit, softmax
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression

from varv import task
from varv.tasks import Task
from varv.testing import TaskSample

N = 6000
NORMAL = np.array([-1.2815515655446004, 0.0, 1.2815515655446004])
"""Quantiles of the normal distribution at .1, .5 and .9."""
ROWS = np.linspace(-2, 2, 30).reshape(10, 3)
WEIGHTS = np.array([[0.5, -1.0, 0.25], [0.0, 1.0, -1.0], [0.3, 0.3, 0.3]])


class Case(NamedTuple):
    """A task and a sample of it."""

    task: Task
    sample: TaskSample


def drawn(rng, probabilities):
    """Return a class of each row, drawn from its probabilities."""
    return (rng.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)


def logistic(weights):
    """Return a fitted classifier with these weights, shape (k, columns); one row of weights is binary."""
    n_classes = max(len(weights), 2)
    outcomes = np.arange(30) % n_classes
    fitted = LogisticRegression().fit(np.random.default_rng(0).normal(size=(30, 3)), outcomes)
    fitted.coef_, fitted.intercept_ = weights, np.zeros(len(weights))
    return fitted


def linear(weights):
    """Return a fitted regressor with these weights, one row of them for each number that it predicts."""
    n = len(weights)
    fitted = LinearRegression().fit(np.eye(3), np.zeros((3, n)) if n > 1 else np.zeros(3))
    fitted.coef_, fitted.intercept_ = (weights, np.zeros(n)) if n > 1 else (weights[0], 0.0)
    return fitted


def binary(rng):
    p = rng.beta(2, 3, (N, 1))
    sample = TaskSample(
        predicted=p.astype(np.float32),
        outcome=(rng.random(N) < p[:, 0]).astype(np.int8),
        column=pl.Series("late", [0.0, 1.0] * 50),
        no_outcomes=pl.Series("late", [2.0, -1.0, 0.5, float("nan")]),
        other_type=pl.String(),
        estimator=logistic(WEIGHTS[:1]),
        rows=ROWS,
        estimates=expit(ROWS @ WEIGHTS[0])[:, None],
    )
    return Case(task.binary(), sample)


def multiclass(rng):
    p = rng.dirichlet([2.0, 1.0, 1.0], N)
    sample = TaskSample(
        predicted=p.astype(np.float32),
        outcome=drawn(rng, p).astype(np.int16),
        column=pl.Series("kind", ["B", "A", "C"] * 50),
        no_outcomes=pl.Series("kind", ["b", "", "D"]),
        other_type=pl.Float64(),
        estimator=logistic(WEIGHTS),
        rows=ROWS,
        estimates=softmax(ROWS @ WEIGHTS.T, axis=1),
    )
    return Case(task.multiclass(classes=["A", "B", "C"]), sample)


def numbered_classes(rng):
    case = multiclass(rng)
    sample = TaskSample(
        **{
            **vars(case.sample),
            "column": pl.Series("stars", [5, 1, 3] * 50, dtype=pl.Int32),
            "no_outcomes": pl.Series("stars", [0, 2, -1], dtype=pl.Int32),
            "other_type": pl.String(),
        }
    )
    return Case(task.multiclass(classes=[1, 3, 5]), sample)


def regression(rng, loss="absolute"):
    mean = rng.uniform(20, 80, (N, 1))
    sample = TaskSample(
        predicted=mean.astype(np.float32),
        outcome=mean[:, 0] + rng.normal(0, 4, N),
        column=pl.Series("delay", np.linspace(1, 99, 100)),
        no_outcomes=pl.Series("delay", [float("nan"), float("inf")]),
        other_type=pl.Boolean(),
        estimator=linear(WEIGHTS[:1]),
        rows=ROWS,
        estimates=(ROWS @ WEIGHTS[0])[:, None],
    )
    return Case(task.regression(range=(0, 100), loss=loss), sample)


def squared(rng):
    return regression(rng, "squared")


def quantiles(rng):
    mean = rng.uniform(20, 80, (N, 1))
    case = regression(rng)
    sample = TaskSample(
        **{
            **vars(case.sample),
            "predicted": mean + 4 * NORMAL,
            "outcome": mean[:, 0] + rng.normal(0, 4, N),
            "estimator": linear(WEIGHTS),
            "estimates": ROWS @ WEIGHTS.T,
        }
    )
    return Case(task.quantiles(levels=[0.1, 0.5, 0.9], range=(0, 100)), sample)


def ranking(rng):
    relevance = rng.integers(0, 4, N).astype(np.float64)
    case = regression(rng)
    sample = TaskSample(
        **{
            **vars(case.sample),
            "predicted": np.round(relevance + rng.normal(0, 1.5, N), 1)[:, None],
            "outcome": relevance,
            "groups": np.array([f"q{n // 12}" for n in range(N)], dtype=object),
            "column": pl.Series("clicks", [0, 0, 3, 1] * 25),
            "no_outcomes": pl.Series("clicks", [-1, -7]),
        }
    )
    return Case(task.ranking(group="query", at=5), sample)


def score(rng):
    case = regression(rng)
    forest = IsolationForest(n_estimators=5, random_state=0).fit(rng.normal(size=(200, 3)))
    forest.predict = forest.score_samples
    sample = TaskSample(
        **{
            **vars(case.sample),
            "outcome": np.full(N, np.nan),
            "estimator": forest,
            "estimates": forest.score_samples(ROWS)[:, None],
        }
    )
    return Case(task.score(), sample)


MAKERS = (binary, multiclass, numbered_classes, regression, squared, quantiles, ranking, score)

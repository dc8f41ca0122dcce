"""A log-linear model of counts, and what packaging has to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np

from varv.registry import Signature
from varv.tasks import Task
from varv.training.estimators import Family, NoForm

FILE = "log-linear.json"
MOST_LOG = 30.0
"""A linear predictor beyond this is cut: its exponential would be no count of this world."""


class Weights(msgspec.Struct, frozen=True):
    """All that a log-linear model is; what is missing in a row adds nothing."""

    intercept: float
    slopes: tuple[float, ...]

    def means(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean count of each row, shape (n,)."""
        linear = self.intercept + np.nan_to_num(rows.astype(np.float64)) @ np.array(self.slopes)
        return np.exp(np.minimum(linear, MOST_LOG))


class LogLinear:
    """A Poisson regression with the logarithm as its link, fitted by Newton's method.

    Parameters
    ----------
    penalty
        What a squared slope costs, in units of one row's deviance times the number of rows.
    """

    def __init__(self, penalty: float = 1e-3) -> None:
        self.penalty = penalty
        self.weights: Weights | None = None

    def fit(self, rows: np.ndarray, counts: np.ndarray) -> LogLinear:
        """Fit to rows of shape (n, d) and counts of shape (n,)."""
        known = np.column_stack([np.ones(len(rows)), np.nan_to_num(np.asarray(rows, dtype=np.float64))])
        cost = np.diag([0.0, *[self.penalty * len(rows)] * (known.shape[1] - 1)])
        weights = np.zeros(known.shape[1])
        weights[0] = np.log(max(float(np.mean(counts)), 1e-6))
        for _ in range(50):
            means = np.exp(np.minimum(known @ weights, MOST_LOG))
            slope = known.T @ (counts - means) - cost @ weights
            step = np.linalg.solve(known.T @ (known * means[:, None]) + cost, slope)
            weights += np.clip(step, -2.0, 2.0)
            if np.abs(step).max() < 1e-10:
                break
        self.weights = Weights(float(weights[0]), tuple(map(float, weights[1:])))
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean count of each row, shape (n,)."""
        if self.weights is None:
            raise ValueError("it is not fitted; call fit first")
        return self.weights.means(np.asarray(rows))


class LogLinearFamily(Family):
    """Log-linear models of this package."""

    runtime: ClassVar[str | None] = "log-linear"

    def owns(self, estimator: Any) -> bool:
        """Whether it is one."""
        return isinstance(estimator, LogLinear)

    def files(self, estimator: Any, signature: Signature, task: Task) -> Mapping[str, bytes]:
        """Return the weights as JSON."""
        if estimator.weights is None:
            raise NoForm("is not fitted")
        return {FILE: msgspec.json.encode(estimator.weights)}

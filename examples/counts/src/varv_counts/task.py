"""The task of counts: how many will come, fail, be sold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl

from varv.stats.intervals import Numbers, clustered_mean
from varv.tasks import Array, Curve, CurvePoint, Loss, Metric, OutcomeRule, OutputTensor
from varv.tasks.estimators import predictions
from varv.tasks.measures import OWN_UNIT, Mask
from varv.tasks.model import declared
from varv.tasks.numeric import NumericTask
from varv.tasks.signals import bias_signal, loss_signal, mean_error

FLOOR = 0.01
"""A mean below this counts as this: the deviance of a first event would be infinite at nought."""


def deviances(counts: Numbers, means: Numbers) -> Numbers:
    """Return the Poisson deviance of each count, shape (n,): 2 (y log(y / mean) - (y - mean)).

    Examples
    --------
    >>> deviances(np.array([0.0, 2.0]), np.array([1.5, 2.0])).tolist()
    [3.0, 0.0]
    """
    log = np.log(np.where(counts > 0, counts, 1.0) / means)
    return 2 * (np.where(counts > 0, counts * log, 0.0) - (counts - means))


class Counts(NumericTask):
    """The outcome is a count, and a prediction the mean of such counts.

    Parameters
    ----------
    most
        The largest count that matters.
    """

    name: ClassVar[str] = "counts"
    outputs = ("mean",)
    outcome_dtype = pl.Float64()
    default_loss = "deviance"
    guards = ("deviance",)

    def __init__(self, most: int) -> None:
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            hint = "give the largest count that matters: most=40"
            raise declared("counts", "most", "it is no whole number above 0", hint, given=repr(most)[:60])
        self._most = most
        bound = float(deviances(np.array([float(most)]), np.array([FLOOR]))[0])
        self.losses: Mapping[str, Loss] = {
            "deviance": Loss(
                name="deviance",
                label="mean Poisson deviance",
                unit="",
                bound=bound,
                rows=lambda y, p, _: deviances(*self._pair(y, p)),
                valid=self.valid,
            )
        }
        self.metrics: Mapping[str, Metric] = {
            "bias": Metric(
                name="bias",
                label="mean count less prediction",
                point=lambda y, p, _: float(self.residual(y, p).mean()),
                interval=lambda y, p, clusters, _: clustered_mean(self.residual(y, p), clusters),
                limits=(-float(most), float(most)),
                needs=1,
                is_mean=True,
            )
        }
        label = "mean count less prediction"
        self.signals = (loss_signal(self), bias_signal(self, label=label, unit=OWN_UNIT))

    @property
    def options(self) -> dict[str, Any]:
        """The largest count that matters."""
        return {"most": self._most}

    def rule(self) -> OutcomeRule:
        """Return that a count is never negative."""
        return OutcomeRule(lowest=0.0)

    def require_history(self, outcomes: pl.Series, column: str) -> None:
        """Check that the history holds counts."""
        known = self._known(outcomes)
        wrong = known[(known < 0) | (known != np.floor(known))]
        if wrong.size:
            hint = "choose a column of whole numbers from 0 on, or another task"
            raise declared("counts", f"outcome {column!r}", f"{wrong[0]:g} is no count", hint, n=wrong.size)

    def valid(self, predicted: Array) -> Mask:
        """Whether each row is a mean: finite, and not negative."""
        mean = self.matrix(predicted)[:, 0]
        return np.isfinite(mean) & (mean >= 0)

    def residual(self, outcome: Array, predicted: Array) -> Numbers:
        """Return counts less their means."""
        y, mean = self._pair(outcome, predicted)
        return y - mean

    def residual_error(self, outcome: Array, predicted: Array) -> float | None:
        """Return the standard error of the mean residual, from how residuals spread."""
        return mean_error(self.residual(outcome, predicted))

    def estimates(self, estimator: Any, rows: Array) -> Numbers:
        """Return what ``predict`` says."""
        return predictions(estimator, rows, 1, kind="regressor")

    def tensors(self) -> tuple[OutputTensor, ...]:
        """Return ``mean``."""
        return (OutputTensor("mean", "FP32", lambda predicted: predicted[:, 0].tolist()),)

    def said(self, row: Array) -> str:
        """Return the mean with two decimals."""
        return f"{float(row[0]):.2f}"

    def curve(self, outcome: Array, predicted: Array) -> Curve:
        """Return the mean count over tenths of like prediction."""
        y, mean = self._pair(outcome, predicted)
        points = []
        for part in np.array_split(np.argsort(mean, kind="stable"), min(10, len(y))):
            observed = clustered_mean(y[part], np.arange(len(part)))
            points.append(
                CurvePoint(float(mean[part].mean()), observed.value, observed.low, observed.high, len(part))
            )
        return Curve("mean prediction", "mean count", tuple(points), shares=False)

    def _pair(self, outcome: Array, predicted: Array) -> tuple[Numbers, Numbers]:
        y, mean = np.asarray(outcome, dtype=np.float64), self.matrix(predicted)[:, 0]
        if y.shape != mean.shape or not (np.all(np.isfinite(y)) and self.valid(predicted).all()):
            raise ValueError("counts must be finite and means not negative, one for one")
        return np.clip(y, 0.0, self._most), np.clip(mean, FLOOR, self._most)

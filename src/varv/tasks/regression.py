"""The regression task: the prediction is a number of the outcome's own kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import polars as pl

from varv.stats.intervals import Estimate, Numbers, clustered_mean
from varv.stats.regression import observed_by_predicted, r_squared, r_squared_interval, root_mean_square
from varv.tasks.estimators import predictions
from varv.tasks.measures import OWN_UNIT, OWN_UNIT_SQUARED, Array, Loss, Mask, Metric, digits_of
from varv.tasks.model import Curve, CurvePoint, OutputTensor, declared
from varv.tasks.numeric import EVERYTHING, NumericTask, range_of, require_range, spoken_number
from varv.tasks.signals import bias_signal, loss_signal, mean_error

LOSSES = ("absolute", "squared")
_BIAS = "mean outcome less prediction"


class Regression(NumericTask):
    """The outcome is a number, and so is the prediction.

    Parameters
    ----------
    range
        The lowest and the highest outcome that matter; what lies beyond counts as the edge. Needed before
        anything runs, and proposed from the history where it is left out.
    loss
        ``"absolute"``, which a median makes least, or ``"squared"``, which a mean does.

    Notes
    -----
    A single number promises no loss, so what is normal is learned from days. With squared loss a prediction
    is a mean, and outcomes lie above it as much as below; with absolute loss it is a median, of which that is
    not so, and the normal bias is learned too.
    """

    name: ClassVar[str] = "regression"
    outputs = ("prediction",)
    outcome_dtype = pl.Float64()

    def __init__(self, range: Sequence[float] | None = None, loss: str = "absolute") -> None:
        if loss not in LOSSES:
            hint = f"use {' or '.join(LOSSES)}"
            raise declared("regression", "loss", f"there is no {loss!r}", hint)
        self._range = range_of("regression", range)
        self.default_loss = loss
        self.losses: Mapping[str, Loss] = {
            "absolute": Loss(
                name="absolute",
                label="mean absolute error",
                unit=OWN_UNIT,
                bound=self._range.width,
                rows=lambda y, p, _: np.abs(self.residual(y, p)),
                valid=self.valid,
            ),
            "squared": Loss(
                name="squared",
                label="mean squared error",
                unit=OWN_UNIT_SQUARED,
                bound=self._range.width**2,
                rows=lambda y, p, _: self.residual(y, p) ** 2,
                valid=self.valid,
            ),
        }
        self.guards = () if self._range == EVERYTHING else LOSSES
        self.metrics: Mapping[str, Metric] = {metric.name: metric for metric in self._metrics()}
        bias = bias_signal(
            self,
            learns_level=loss == "absolute",
            label=_BIAS,
            unit=OWN_UNIT,
            digits=digits_of(self._range.width),
        )
        self.signals = (loss_signal(self), bias)

    @property
    def options(self) -> dict[str, Any]:
        """The range, if there is one, and the loss."""
        given = {} if self._range == EVERYTHING else {"range": list(self._range)}
        return {**given, "loss": self.default_loss}

    def require_history(self, outcomes: pl.Series, column: str) -> None:
        """Check that the range holds the history; see `numeric.require_range`."""
        require_range(self.name, self._range, self._known(outcomes), column)

    def valid(self, predicted: Array) -> Mask:
        """Whether each row is a finite number."""
        return np.isfinite(self.matrix(predicted)[:, 0])

    def residual(self, outcome: Array, predicted: Array) -> Numbers:
        """Return outcome less prediction, both within the range."""
        y, p = self._pair(outcome, predicted)
        return y - p

    def residual_error(self, outcome: Array, predicted: Array) -> float | None:
        """Return the standard error of the mean residual, from how residuals spread."""
        return mean_error(self.residual(outcome, predicted))

    def estimates(self, estimator: Any, rows: Array) -> Numbers:
        """Return what ``predict`` says."""
        return predictions(estimator, rows, 1, kind="regressor")

    def tensors(self) -> tuple[OutputTensor, ...]:
        """Return ``prediction``."""
        return (OutputTensor("prediction", "FP32", lambda predicted: predicted[:, 0].tolist()),)

    def said(self, row: Array) -> str:
        """Return the number, as fine as the range asks for."""
        return spoken_number(float(row[0]), self._range)

    def curve(self, outcome: Array, predicted: Array) -> Curve:
        """Return the observed mean over tenths of like prediction."""
        table = observed_by_predicted(*self._pair(outcome, predicted))
        points = tuple(CurvePoint(*row) for row in table)
        return Curve("mean prediction", "mean outcome", points, shares=False)

    def _pair(self, outcome: Array, predicted: Array) -> tuple[Numbers, Numbers]:
        y, p = np.asarray(outcome, dtype=np.float64), self.matrix(predicted)[:, 0]
        if y.shape != p.shape or not (np.all(np.isfinite(y)) and np.all(np.isfinite(p))):
            raise ValueError("outcomes and predictions must be finite, one for one")
        return self._range.clip(y), self._range.clip(p)

    def _metrics(self) -> tuple[Metric, ...]:
        width = self._range.width

        def rmse_interval(y: Array, p: Array, clusters: Array, groups: Array | None) -> Estimate:
            return root_mean_square(self.residual(y, p), clusters)

        return (
            Metric(
                name="rmse",
                label="root mean squared error",
                point=lambda y, p, _: float(np.sqrt(np.mean(self.residual(y, p) ** 2))),
                interval=rmse_interval,
                digits=digits_of(width),
                higher_is_better=False,
                needs=1,
                limits=(0.0, width),
            ),
            Metric(
                name="r2",
                label="R²",
                point=lambda y, p, _: r_squared(*self._pair(y, p)),
                interval=lambda y, p, clusters, _: r_squared_interval(*self._pair(y, p), clusters),
                higher_is_better=True,
                limits=(-np.inf, 1.0),
                meaning="share of the outcomes' variance that predictions explain",
            ),
            Metric(
                name="bias",
                label=_BIAS,
                point=lambda y, p, _: float(self.residual(y, p).mean()),
                interval=lambda y, p, clusters, _: clustered_mean(self.residual(y, p), clusters),
                digits=digits_of(width),
                needs=1,
                limits=(-width, width),
                is_mean=True,
            ),
        )

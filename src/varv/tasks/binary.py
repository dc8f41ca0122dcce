"""The binary task: the probability that the outcome is 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl

from varv.kernel.codec import finite
from varv.kernel.errors import InvalidDeclaration
from varv.stats.calibration import (
    CalibrationError,
    calibration_error,
    calibration_error_interval,
    excess_error,
    excess_losses,
    log_losses,
    promised_losses,
    reliability,
)
from varv.stats.intervals import Numbers, clustered_mean
from varv.stats.ranking import auc, auc_error, auc_interval
from varv.tasks.estimators import class_probabilities
from varv.tasks.measures import Array, Loss, Mask, Metric, SignalSpec
from varv.tasks.model import Curve, CurvePoint, OutcomeRule, OutputTensor, Task
from varv.tasks.signals import bias_signal, excess_signal

SURE = 0.001
"""In bets scores count as at least this far from 0 and 1, so a loss is at most 6.9 nats."""
FEWEST_OF_A_CLASS = 5
SHARE_OF_A_CLASS = 0.001
"""A value that neither so few outcomes nor so small a share of them have is a class."""

AUC_MEANING = "chance that a request with outcome 1 scored above one with outcome 0"


class Binary(Task):
    """The outcome is 0 or 1, or false or true; a prediction is the probability of 1."""

    name: ClassVar[str] = "binary"
    outcome_dtype = pl.Int8()
    default_loss = "log_loss"
    guards = ("log_loss", "brier")

    def __init__(self) -> None:
        self.losses: Mapping[str, Loss] = {
            "log_loss": Loss(
                name="log_loss",
                label="log-loss",
                unit="nats",
                bound=float(-np.log(SURE)),
                rows=lambda y, p, _: log_losses(y, self._scores(p)),
                valid=self.valid,
                towards_bound=self._sure_log_losses,
                meaning="mean of −log(predicted probability of what happened), in nats; lower is better",
            ),
            "brier": Loss(
                name="brier",
                label="Brier score",
                unit="",
                bound=1.0,
                rows=lambda y, p, _: (self._checked(p) - y) ** 2,
                valid=self.valid,
            ),
        }
        self.metrics: Mapping[str, Metric] = {metric.name: metric for metric in self._metrics()}
        self.signals = self._signals()

    def accepts(self, dtype: pl.DataType) -> str:
        """Return what is wrong with the type, unless it is of numbers or truth values."""
        return (
            ""
            if dtype.is_numeric() or dtype == pl.Boolean
            else f"is of type {dtype}; make it 0 or 1, or true or false"
        )

    def read(self, column: pl.Series) -> pl.Series:
        """Return 0 or 1, and null for anything else: a contract puts it aside before it comes here."""
        truth = column.cast(pl.Float64, strict=False).to_numpy()
        known = (truth == 0.0) | (truth == 1.0)
        values = pl.Series(column.name, (truth == 1.0).astype(np.int8))
        return values if known.all() else values.set(pl.Series(~known), None)

    def stored(self, value: Any, dtype: pl.DataType) -> Any:
        """Return 0 or 1, false or true, in the type of the column."""
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            return value
        if dtype == pl.Boolean:
            return bool(value)
        return float(value) if dtype.is_float() else int(value)

    def rule(self) -> OutcomeRule:
        """Demand 0 or 1."""
        return OutcomeRule(values=(0.0, 1.0))

    def require_history(self, outcomes: pl.Series, column: str) -> None:
        """Check that the history holds 0 and 1 only.

        A stray value is put aside with its row, when it arrives; one that is there again and again is a
        class, which a binary model does not have.

        Raises
        ------
        InvalidDeclaration
            If there is a third class.
        """
        known = outcomes.cast(pl.Float64).fill_nan(None).drop_nulls()
        counts = known.value_counts(sort=True, name="n").sort("n", outcomes.name, descending=[True, False])
        least = max(FEWEST_OF_A_CLASS, SHARE_OF_A_CLASS * known.len())
        classes = [(value, n) for value, n in counts.iter_rows() if n >= least or value in (0, 1)]
        if all(value in (0, 1) for value, _ in classes):
            return
        listed = ", ".join(f"{value:g} ({n / known.len():.2%})" for value, n in classes[:6])
        more = f" and {len(classes) - 6} more" if len(classes) > 6 else ""
        raise InvalidDeclaration(
            "outcome",
            column,
            f"holds {listed}{more}, where a binary outcome is 0 or 1",
            hint="derive a column that is 0 or 1, and null in the rows that are neither",
        )

    def valid(self, predicted: Array) -> Mask:
        """Whether each row is a probability."""
        p = self._scores(predicted)
        return (p >= 0) & (p <= 1)

    def confidence(self, predicted: Array) -> Numbers:
        """Return the probability of the likelier value, from .5 to 1."""
        p = self._scores(predicted)
        return np.maximum(p, 1.0 - p)

    def class_probabilities(self, predicted: Array) -> Numbers:
        """Return the probabilities of 0 and of 1."""
        p = self._scores(predicted)
        return np.column_stack([1.0 - p, p])

    def promised(self, predicted: Array) -> Numbers:
        """Return the entropy of each probability, in nats."""
        return promised_losses(self._scores(predicted))

    def promised_error(self, predicted: Array) -> float:
        """Return the standard error of the mean excess loss: outcomes are coins of known chance."""
        return excess_error(self._scores(predicted))

    def excess(self, outcome: Array, predicted: Array) -> Numbers:
        """Return log-loss less entropy of each row, in nats."""
        return excess_losses(outcome, self._scores(predicted))

    def residual(self, outcome: Array, predicted: Array) -> Numbers:
        """Return outcome less probability."""
        return np.asarray(outcome, dtype=np.float64) - self._checked(predicted)

    def residual_error(self, outcome: Array, predicted: Array) -> float:
        """Return the standard error of the mean residual: outcomes are coins of known chance."""
        p = self._checked(predicted)
        return float(np.sqrt(np.sum(p * (1 - p)))) / p.size

    def calibration(self, outcome: Array, predicted: Array) -> CalibrationError:
        """Return the expected calibration error over 15 groups of like score."""
        return calibration_error(outcome, self._scores(predicted))

    def estimates(self, estimator: Any, rows: Array) -> Numbers:
        """Return the probability of 1, asked of ``predict_proba``."""
        return class_probabilities(estimator, rows, (0, 1), kind="binary classifier")[:, 1:]

    def tensors(self) -> tuple[OutputTensor, ...]:
        """Return ``probability``."""
        return (OutputTensor("probability", "FP32", lambda predicted: predicted[:, 0].tolist()),)

    def said(self, row: Array) -> str:
        """Return the probability with four digits."""
        return f"{float(row[0]):.4f}"

    def curve(self, outcome: Array, predicted: Array) -> Curve:
        """Return the reliability over ten groups of like score."""
        table = reliability(outcome, self._scores(predicted))
        return Curve("predicted probability", "share of outcomes 1", tuple(CurvePoint(*row) for row in table))

    def _scores(self, predicted: Array) -> Numbers:
        return self.matrix(predicted)[:, 0]

    def _checked(self, predicted: Array) -> Numbers:
        p = self._scores(predicted)
        if not np.all((p >= 0) & (p <= 1)):
            raise ValueError("predictions must be probabilities")
        return p

    def _sure_log_losses(self, outcome: Array, predicted: Array, groups: Array | None) -> Numbers:
        p = self._scores(predicted)
        if not np.all((outcome == 0) | (outcome == 1)):
            raise ValueError("outcomes must be 0 or 1")
        return -np.log(np.clip(np.where(outcome == 1, p, 1 - p), SURE, 1 - SURE))

    def _metrics(self) -> tuple[Metric, ...]:
        return (
            Metric(
                name="auc",
                label="AUC",
                point=lambda y, p, _: auc(y, self._scores(p)),
                interval=lambda y, p, clusters, _: auc_interval(y, self._scores(p), clusters),
                digits=3,
                higher_is_better=True,
                meaning=AUC_MEANING,
            ),
            Metric(
                name="ece",
                label="ECE",
                point=lambda y, p, _: self.calibration(y, p).value,
                interval=lambda y, p, clusters, _: calibration_error_interval(y, self._scores(p), clusters),
                digits=4,
                higher_is_better=False,
                needs=1,
                meaning="expected calibration error: mean gap between score and outcome rate over 15 groups "
                "of like score",
            ),
            Metric(
                name="base_rate",
                label="base rate",
                is_mean=True,
                meaning="share of outcomes that were 1",
                point=lambda y, p, _: float(np.mean(y)),
                interval=lambda y, p, clusters, _: clustered_mean(y, clusters),
                digits=3,
                needs=1,
            ),
        )

    def _signals(self) -> tuple[SignalSpec, ...]:
        def ranking_error(y: Array, p: Array, groups: Array | None) -> float | None:
            n_ones = int(np.sum(y))
            enough = min(n_ones, len(y) - n_ones) >= FEWEST_OF_A_CLASS
            return finite(auc_error(y, self._scores(p))) if enough else None

        return (
            excess_signal(self),
            SignalSpec(
                name="auc",
                label="AUC",
                kind="performance",
                subjects=(("auc", -1),),
                learns_level=True,
                interval=lambda y, p, clusters, _: auc_interval(y, self._scores(p), clusters),
                spread=ranking_error,
                margin=1.3,
                meaning=AUC_MEANING,
            ),
            bias_signal(self, meaning="outcome rate less mean score; zero on average for a calibrated model"),
        )

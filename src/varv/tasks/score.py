"""The task of a score without a truth: how odd a request is, how urgent, how likely a cluster."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import polars as pl

from varv.stats.intervals import Numbers
from varv.tasks.estimators import predictions
from varv.tasks.measures import Array, Mask
from varv.tasks.model import OutputTensor, Task


class Score(Task):
    """There is no outcome; a prediction is a number that means what its author says.

    Nothing can be lost, so no gate or rollout compares losses, and of alarms only those of features remain.
    """

    name: ClassVar[str] = "score"
    has_outcome: ClassVar[bool] = False

    def accepts(self, dtype: pl.DataType) -> str:
        """Return that there is no outcome, whatever the type."""
        return "is not used, since a score has no outcome; declare the model without one"

    def read(self, column: pl.Series) -> pl.Series:
        """Return nulls."""
        return pl.Series(column.name, [None] * column.len(), dtype=pl.Float64)

    def stored(self, value: Any, dtype: pl.DataType) -> Any:
        """Return the value as it is."""
        return value

    def require_history(self, outcomes: pl.Series, column: str) -> None:
        """Ask nothing of the history."""

    def valid(self, predicted: Array) -> Mask:
        """Whether each row is a finite number."""
        return np.isfinite(self.matrix(predicted)[:, 0])

    def estimates(self, estimator: Any, rows: Array) -> Numbers:
        """Return what ``predict`` says."""
        return predictions(estimator, rows, 1, kind="estimator")

    def tensors(self) -> tuple[OutputTensor, ...]:
        """Return ``score``."""
        return (OutputTensor("score", "FP32", lambda predicted: predicted[:, 0].tolist()),)

    def said(self, row: Array) -> str:
        """Return the score with four digits."""
        return f"{float(row[0]):.4g}"

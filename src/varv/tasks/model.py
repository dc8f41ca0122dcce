"""What a task is: the nouns that every task speaks in, and the one interface through which they are used.

A task knows what its outcome is, what a prediction of it looks like, what being wrong costs, and what a
prediction promises of itself. Gates, rollouts, monitors, packages, fronts and the console ask the task and
never which one it is. Nothing here reads a store, a clock or a random source, and nothing is drawn.

What arrays look like is said in `measures`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
import polars as pl

from varv.kernel.codec import canonical, finite
from varv.kernel.errors import InvalidDeclaration
from varv.stats.calibration import CalibrationError
from varv.stats.intervals import Numbers
from varv.tasks.measures import Array, Loss, Mask, Metric, SignalSpec

DIGITS = 6
"""Of the numbers that a version is registered with."""


class TaskSpec(msgspec.Struct, frozen=True):
    """A task as ledgers and packages keep it: its name and its options, which JSON can hold.

    The defaults are what ledgers mean that name no task: they are from when every task was binary.
    """

    name: str = "binary"
    options: dict[str, Any] = {}


class OutcomeRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a data contract may demand of each value of the outcome's column; None demands nothing."""

    values: tuple[str | float, ...] | None = None
    """The only values that there are."""
    lowest: float | None = None
    """Below this, as above `highest`, a value is impossible."""
    highest: float | None = None


class OutputTensor(msgspec.Struct, frozen=True):
    """One tensor in which an inference protocol shows predictions."""

    name: str
    datatype: Literal["FP32", "FP64", "INT32", "INT64", "BYTES"]
    values: Callable[[Array], list[Any]]
    """From predicted to its values, row by row: as many a row as the product of `tail`."""
    tail: tuple[int, ...] = ()
    """The shape of one row's values; the whole shape is [n, *tail]."""


class CurvePoint(msgspec.Struct, frozen=True):
    """Rows with like predictions: what was predicted and what was observed, with its 95 % interval."""

    predicted: float
    observed: float
    low: float
    high: float
    n: int


class Curve(msgspec.Struct, frozen=True):
    """Predictions against outcomes, to be drawn; a right model's points lie on the diagonal."""

    predicted: str
    """What `CurvePoint.predicted` is, in words for an axis; so is `observed`."""
    observed: str
    points: tuple[CurvePoint, ...]
    shares: bool = True
    """Whether both axes are shares from 0 to 1, and not in the outcome's own unit."""


class Task(ABC):
    """What a model predicts, and everything that follows from it.

    A class of its own for each task, registered under its `name` in the entry point group ``varv.tasks``.
    It is constructed from its options as keyword arguments, and checks them. Tasks are immutable; two are
    equal if their specs are.

    Notes
    -----
    `promised` and `residual` are what makes monitoring possible without a reference: for a calibrated model
    the means of loss less promise, and of the residual, are zero whatever mix of requests arrives. A task
    whose predictions promise nothing returns None, and its loss has a level that has to be learned.
    """

    name: ClassVar[str]
    outputs: tuple[str, ...] = ("score",)
    """A name for each predicted number."""
    has_outcome: ClassVar[bool] = True
    """Whether there is a truth to compare with."""
    outcome_dtype: pl.DataType = pl.Float64()
    """In which outcomes are kept beside predictions; null throughout where there is no outcome."""
    group: str | None = None
    """The request column that names the list a row belongs to."""
    losses: Mapping[str, Loss] = {}
    default_loss: str | None = None
    guards: tuple[str, ...] = ()
    """The losses that a rollout may be guarded by: those with a bound."""
    metrics: Mapping[str, Metric] = {}
    signals: tuple[SignalSpec, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make this task again, as JSON can hold them."""
        return {}

    @property
    def spec(self) -> TaskSpec:
        """The task as ledgers and packages keep it."""
        return TaskSpec(self.name, self.options)

    @property
    def width(self) -> int:
        """How many numbers a prediction has."""
        return len(self.outputs)

    @property
    def loss(self) -> Loss | None:
        """The default loss; None where there is none."""
        return None if self.default_loss is None else self.losses[self.default_loss]

    @abstractmethod
    def accepts(self, dtype: pl.DataType) -> str:
        """Return what is wrong with an outcome column of this type: ``"is of type String"``; empty if
        nothing is.
        """

    @abstractmethod
    def read(self, column: pl.Series) -> pl.Series:
        """Return the values of a dataset's column as `outcome_dtype`, null where a value is no outcome."""

    @abstractmethod
    def stored(self, value: Any, dtype: pl.DataType) -> Any:
        """Return a JSON value of an outcome as a column of this type keeps it; as it is, if it is no outcome.

        Who sends an outcome may write 1 or true, 3 or 3.0.
        """

    def rule(self) -> OutcomeRule:
        """Return what a data contract may demand of the outcome's column."""
        return OutcomeRule()

    def target(self, outcome: pl.Series) -> Array:
        """Return outcomes as a fit is given them: int64 where they are classes, else float64; shape (n,)."""
        return outcome.to_numpy().astype(np.int64 if self.outcome_dtype.is_integer() else np.float64)

    @abstractmethod
    def require_history(self, outcomes: pl.Series, column: str) -> None:
        """Check what the history holds of the outcome, as the dataset's column keeps it.

        Parameters
        ----------
        outcomes
            All values of the history.
        column
            How the column is called in an error.

        Raises
        ------
        InvalidDeclaration
            If it cannot be what is declared.
        """

    @abstractmethod
    def valid(self, predicted: Array) -> Mask:
        """Return which rows hold a prediction that can be one, shape (n,).

        Raises
        ------
        ValueError
            If `predicted` is not of shape (n, width).
        """

    def confidence(self, predicted: Array) -> Numbers | None:
        """Return how sure each prediction is of itself, from 0 to 1, shape (n,); None if predictions of this
        task do not say.
        """
        return None

    def class_probabilities(self, predicted: Array) -> Numbers | None:
        """Return the probability of each class that an outcome can be, in the order of their codes, shape (n,
        k); None where outcomes are no classes.
        """
        return None

    def interval_width(self, predicted: Array) -> Numbers | None:
        """Return how wide the interval is that each prediction gives, shape (n,); None if it gives none."""
        return None

    def promised(self, predicted: Array) -> Numbers | None:
        """Return the default loss that each row expects of itself if the prediction is right, shape (n,)."""
        return None

    def promised_error(self, predicted: Array) -> float | None:
        """Return the standard error of the mean of loss less promise, if the predictions are right."""
        return None

    def excess(self, outcome: Array, predicted: Array) -> Numbers | None:
        """Return loss less promise of each row, shape (n,); its mean is zero for a calibrated model."""
        promised = self.promised(predicted)
        return (
            None if promised is None or self.loss is None else self.loss.exact(outcome, predicted) - promised
        )

    def residual(self, outcome: Array, predicted: Array) -> Numbers | None:
        """Return by how much each outcome lies above what was predicted, shape (n,); its mean is zero for a
        calibrated model.
        """
        return None

    def residual_error(self, outcome: Array, predicted: Array) -> float | None:
        """Return the standard error of the mean residual from the rows alone."""
        return None

    def calibration(self, outcome: Array, predicted: Array) -> CalibrationError | None:
        """Return how far predictions are from meaning what they say, and how far they would be by chance;
        None where they say nothing of themselves.

        Raises
        ------
        ValueError
            If there is no row, or a value is not allowed.
        """
        return None

    def validation(
        self, outcome: Array, predicted: Array, groups: Array | None = None
    ) -> dict[str, float | None]:
        """Return what a version is registered with: the default loss and every metric, over held-out rows;
        None where the rows do not determine a number.
        """
        found: dict[str, float | None] = {}
        if self.loss is not None:
            rows = self.loss.exact(outcome, predicted, groups)
            found[self.loss.name] = finite(round(float(rows.mean()), DIGITS)) if rows.size else None
        for metric in self.metrics.values():
            found[metric.name] = finite(round(metric.value(outcome, predicted, groups), DIGITS))
        return found

    @abstractmethod
    def estimates(self, estimator: Any, rows: Array) -> Numbers:
        """Ask a fitted estimator for predictions of encoded rows, float64 of shape (n, width).

        Raises
        ------
        InvalidInput
            If it cannot say what the task needs, or says it in another order or shape.
        UserCodeFailed
            If it raised.
        """

    @abstractmethod
    def tensors(self) -> tuple[OutputTensor, ...]:
        """Return the tensors in which an inference protocol shows predictions."""

    def plain(self, predicted: Array) -> list[Any]:
        """Return predictions as scoring clients take them, a JSON value a row: a number, or the numbers in
        the order of `outputs`.
        """
        return predicted[:, 0].tolist() if self.width == 1 else predicted.tolist()

    @abstractmethod
    def said(self, row: Array) -> str:
        """Return one prediction, shape (width,), in words: ``"0.1234"``, ``"B (0.71)"``."""

    def curve(self, outcome: Array, predicted: Array) -> Curve | None:
        """Return predictions against outcomes, to be drawn; None where the two have no common scale."""
        return None

    def matrix(self, predicted: Array) -> Numbers:
        """Return `predicted` as float64.

        Raises
        ------
        ValueError
            If it is not of shape (n, width).
        """
        numbers = np.asarray(predicted, dtype=np.float64)
        if numbers.ndim != 2 or numbers.shape[1] != self.width:
            raise ValueError(f"predictions must have the shape (n, {self.width}), not {numbers.shape}")
        return numbers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(canonical(self.spec))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"varv.task.{self.name}({given})"


def declared(task: str, argument: str, problem: str, hint: str, **facts: object) -> InvalidDeclaration:
    """Return the error of a task whose argument cannot be."""
    return InvalidDeclaration("task", task, f"has a bad {argument}: {problem}", hint=hint, **facts)

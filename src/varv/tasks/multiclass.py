"""The task of several classes: a probability for each, and the likeliest as the label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import polars as pl

from varv.kernel.errors import InvalidDeclaration
from varv.stats.calibration import (
    CalibrationError,
    calibration_error,
    calibration_error_interval,
    reliability,
)
from varv.stats.classes import (
    TopLabels,
    are_distributions,
    class_brier,
    class_excess_error,
    class_log_losses,
    class_promised_losses,
    top_labels,
)
from varv.stats.intervals import Estimate, Numbers, clustered_mean
from varv.stats.ranking import macro_auc, macro_auc_interval
from varv.tasks.binary import FEWEST_OF_A_CLASS, SHARE_OF_A_CLASS, SURE
from varv.tasks.estimators import class_probabilities
from varv.tasks.measures import Array, Loss, Mask, Metric, SignalSpec
from varv.tasks.model import Curve, CurvePoint, OutcomeRule, OutputTensor, Task, declared
from varv.tasks.signals import bias_signal, excess_signal, share_error

MOST_CLASSES = 1000
_ACCURACY = "share of requests whose likeliest class happened"
_LARGEST = 1 << 53


class Multiclass(Task):
    """The outcome is one of several classes; a prediction is the probability of each.

    Parameters
    ----------
    classes
        All of them, texts or whole numbers as the outcome's column holds them, in the order in which
        predictions name them.

    Notes
    -----
    Outcomes are kept as codes: the place of the class in `classes`, from 0.
    """

    name: ClassVar[str] = "multiclass"
    outcome_dtype = pl.Int16()
    default_loss = "log_loss"
    guards = ("log_loss", "brier", "error")

    def __init__(self, classes: Sequence[str | int]) -> None:
        self.classes = _checked_classes(classes)
        self.outputs = tuple(map(str, self.classes))
        self._are_texts = isinstance(self.classes[0], str)
        losses = (
            Loss(
                name="log_loss",
                label="log-loss",
                unit="nats",
                bound=float(-np.log(SURE)),
                rows=lambda y, p, _: class_log_losses(y, self.matrix(p)),
                valid=self.valid,
                meaning="mean of −log(predicted probability of what happened), in nats; lower is better",
            ),
            Loss(
                name="brier",
                label="Brier score",
                unit="",
                bound=2.0,
                rows=lambda y, p, _: class_brier(y, self.matrix(p)),
                valid=self.valid,
            ),
            Loss(
                name="error",
                label="error rate",
                unit="",
                bound=1.0,
                rows=lambda y, p, _: 1 - self._top(y, p).hit,
                valid=self.valid,
            ),
        )
        self.losses: Mapping[str, Loss] = {loss.name: loss for loss in losses}
        self.metrics: Mapping[str, Metric] = {metric.name: metric for metric in self._metrics()}
        bias = bias_signal(
            self,
            label="right labels less their probability",
            meaning="share of labels that were right less their mean probability; zero on average for a "
            "calibrated model",
        )
        self.signals = (excess_signal(self), self._accuracy_signal(), bias)

    @property
    def options(self) -> dict[str, Any]:
        """The classes."""
        return {"classes": list(self.classes)}

    def accepts(self, dtype: pl.DataType) -> str:
        """Return what is wrong with the type, unless it can hold the classes."""
        if self._are_texts:
            fits = dtype in (pl.String, pl.Categorical, pl.Enum)
            return "" if fits else f"is of type {dtype}, where the classes are texts"
        return "" if dtype.is_numeric() else f"is of type {dtype}, where the classes are whole numbers"

    def read(self, column: pl.Series) -> pl.Series:
        """Return the codes, and null for what is no class."""
        if not column.len():
            return pl.Series(column.name, [], dtype=pl.Int16)
        values = column.cast(pl.String if self._are_texts else pl.Float64, strict=False)
        old = pl.Series(self.classes, dtype=values.dtype, strict=False)
        codes = pl.Series(range(len(self.classes)), dtype=pl.Int16)
        return values.replace_strict(old, codes, default=None, return_dtype=pl.Int16)

    def stored(self, value: Any, dtype: pl.DataType) -> Any:
        """Return a class that is a number in the type of the column."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if self._are_texts or not is_number or value not in self.classes:
            return value
        return float(value) if dtype.is_float() else int(value)

    def rule(self) -> OutcomeRule:
        """Demand one of the classes."""
        return OutcomeRule(values=tuple(one if isinstance(one, str) else float(one) for one in self.classes))

    def require_history(self, outcomes: pl.Series, column: str) -> None:
        """Check that the history holds the declared classes, all of them and no others.

        A stray value is put aside with its row, when it arrives; one that is there again and again is a
        class. One that is never there cannot be learned.

        Raises
        ------
        InvalidDeclaration
            If there is a class that is not declared, or none of one that is.
        """
        known = outcomes.cast(pl.String if self._are_texts else pl.Float64, strict=False).drop_nulls()
        known = known if self._are_texts else known.fill_nan(None).drop_nulls()
        if not known.len():
            return
        counts = Counter(dict(known.value_counts(name="n").iter_rows()))
        least = max(FEWEST_OF_A_CLASS, SHARE_OF_A_CLASS * known.len())
        others = [(value, n) for value, n in counts.most_common() if n >= least and value not in self.classes]
        if others:
            listed = ", ".join(f"{_spoken(value)} ({n / known.len():.2%})" for value, n in others[:6])
            more = f" and {len(others) - 6} more" if len(others) > 6 else ""
            raise InvalidDeclaration(
                "outcome",
                column,
                f"holds {listed}{more}, which is none of the {len(self.classes)} classes",
                hint="add it to classes, or derive a column that is null in those rows",
            )
        missing = [one for one in self.classes if not counts[one]]
        if missing:
            hint = "leave it out of classes until there are rows of it"
            raise InvalidDeclaration(
                "outcome", column, f"never holds {_spoken(missing[0])}, one of the classes", hint=hint
            )

    def valid(self, predicted: Array) -> Mask:
        """Whether each row holds probabilities that add up to 1."""
        return are_distributions(self.matrix(predicted))

    def confidence(self, predicted: Array) -> Numbers:
        """Return the highest probability of each row."""
        return self.matrix(predicted).max(axis=1)

    def class_probabilities(self, predicted: Array) -> Numbers:
        """Return the probabilities as they are."""
        return self.matrix(predicted)

    def promised(self, predicted: Array) -> Numbers:
        """Return the entropy of each row, in nats."""
        return class_promised_losses(self.matrix(predicted))

    def promised_error(self, predicted: Array) -> float:
        """Return the standard error of the mean excess loss: classes are drawn from the probabilities."""
        return class_excess_error(self.matrix(predicted))

    def residual(self, outcome: Array, predicted: Array) -> Numbers:
        """Return whether the label was right, less its probability."""
        top = self._top(outcome, predicted)
        return top.hit - top.probability

    def residual_error(self, outcome: Array, predicted: Array) -> float:
        """Return the standard error of the mean residual: a label is right with its probability."""
        p = self._top(outcome, predicted).probability
        return float(np.sqrt(np.sum(p * (1 - p)))) / p.size

    def calibration(self, outcome: Array, predicted: Array) -> CalibrationError:
        """Return the expected calibration error of the label's probability, over 15 groups."""
        top = self._top(outcome, predicted)
        return calibration_error(top.hit, top.probability)

    def estimates(self, estimator: Any, rows: Array) -> Numbers:
        """Return the probabilities, asked of ``predict_proba``."""
        return class_probabilities(estimator, rows, self.classes, kind="classifier")

    def tensors(self) -> tuple[OutputTensor, ...]:
        """Return ``probabilities`` and ``label``."""
        return (
            OutputTensor(
                "probabilities", "FP32", lambda predicted: predicted.ravel().tolist(), (self.width,)
            ),
            OutputTensor("label", "BYTES", self._labels),
        )

    def _labels(self, predicted: Array) -> list[str]:
        """Return the likeliest class of each row, and an empty text where there is no prediction."""
        if not np.isnan(predicted).any():
            return [self.outputs[k] for k in predicted.argmax(axis=1)]
        return ["" if np.isnan(row).any() else self.outputs[int(row.argmax())] for row in predicted]

    def plain(self, predicted: Array) -> list[Any]:
        """Return the probability of each class by its name; a list would leave the order to be known."""
        return [dict(zip(self.outputs, row, strict=True)) for row in predicted.tolist()]

    def said(self, row: Array) -> str:
        """Return the label and its probability."""
        label = int(np.argmax(row))
        return f"{self.outputs[label]} ({float(row[label]):.2f})"

    def curve(self, outcome: Array, predicted: Array) -> Curve:
        """Return the reliability of the label over ten groups of like probability."""
        top = self._top(outcome, predicted)
        points = tuple(CurvePoint(*row) for row in reliability(top.hit, top.probability))
        return Curve("probability of the label", "share of labels that were right", points)

    def _top(self, outcome: Array, predicted: Array) -> TopLabels:
        return top_labels(outcome, self.matrix(predicted))

    def _accuracy(self, outcome: Array, predicted: Array) -> float:
        return float(self._top(outcome, predicted).hit.mean())

    def _accuracy_interval(self, y: Array, p: Array, clusters: Array, groups: Array | None) -> Estimate:
        found = clustered_mean(self._top(y, p).hit, clusters)
        return Estimate(found.value, max(found.low, 0.0), min(found.high, 1.0), found.n)

    def _metrics(self) -> tuple[Metric, ...]:
        def ece_interval(y: Array, p: Array, clusters: Array, groups: Array | None) -> Estimate:
            _, probability, hit = self._top(y, p)
            return calibration_error_interval(hit, probability, clusters)

        return (
            Metric(
                name="accuracy",
                label="accuracy",
                point=lambda y, p, _: self._accuracy(y, p),
                interval=self._accuracy_interval,
                higher_is_better=True,
                needs=1,
                is_mean=True,
                meaning=_ACCURACY,
            ),
            Metric(
                name="auc",
                label="AUC, one against the rest",
                point=lambda y, p, _: macro_auc(y, self.matrix(p)),
                interval=lambda y, p, clusters, _: macro_auc_interval(y, self.matrix(p), clusters),
                higher_is_better=True,
                meaning="chance that a request of a class got a higher probability of it than one of another "
                "class, averaged over classes",
            ),
            Metric(
                name="ece",
                label="ECE of the label",
                point=lambda y, p, _: self.calibration(y, p).value,
                interval=ece_interval,
                digits=4,
                higher_is_better=False,
                needs=1,
                meaning="expected calibration error: mean gap between the probability of the label and how "
                "often it was right, over 15 groups of like probability",
            ),
        )

    def _accuracy_signal(self) -> SignalSpec:
        return SignalSpec(
            name="accuracy",
            label="accuracy",
            kind="performance",
            subjects=(("accuracy", -1),),
            learns_level=True,
            interval=self._accuracy_interval,
            spread=share_error(self._accuracy),
            margin=1.3,
            meaning=_ACCURACY,
        )


def _checked_classes(given: Sequence[str | int]) -> tuple[str, ...] | tuple[int, ...]:
    hint = 'list them as the column holds them: classes=["A", "B", "C"]'
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise declared("multiclass", "classes", "it is not a list", hint, given=repr(given)[:60])
    if not 2 <= len(given) <= MOST_CLASSES:
        raise declared(
            "multiclass", "classes", f"there are {len(given)}", f"list 2 to {MOST_CLASSES} classes"
        )
    if len(set(map(str, given))) < len(given):
        twice = Counter(map(str, given)).most_common(1)[0][0]
        raise declared("multiclass", "classes", f"{twice!r} is there twice", "list each class once")
    texts = tuple(one for one in given if isinstance(one, str) and one)
    if len(texts) == len(given):
        return texts
    numbers = tuple(
        one for one in given if isinstance(one, int) and not isinstance(one, bool) and abs(one) <= _LARGEST
    )
    if len(numbers) == len(given):
        return numbers
    problem = "they are neither all texts nor all whole numbers"
    raise declared("multiclass", "classes", problem, hint, given=repr(list(given))[:60])


def _spoken(value: str | float) -> str:
    return repr(value) if isinstance(value, str) else f"{value:g}"

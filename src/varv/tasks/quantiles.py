"""The task of quantiles: numbers that the outcome stays below with stated probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import polars as pl

from varv.stats.calibration import CalibrationError
from varv.stats.intervals import Estimate, Numbers, clustered_mean, wilson
from varv.stats.quantiles import coverage_error, crossings, pinball_losses, worst_pinball_loss
from varv.tasks.estimators import predictions
from varv.tasks.measures import OWN_UNIT, Array, Loss, Mask, Metric, SignalSpec
from varv.tasks.model import Curve, CurvePoint, OutputTensor, declared
from varv.tasks.numeric import EVERYTHING, NumericTask, range_of, require_range, spoken_number
from varv.tasks.signals import bias_signal, loss_signal

MOST_LEVELS = 99


class Quantiles(NumericTask):
    """The outcome is a number; a prediction is a number for each level, which the outcome stays below with
    that probability.

    Parameters
    ----------
    levels
        Probabilities between 0 and 1, growing.
    range
        As in `regression.Regression`.

    Notes
    -----
    The residual is the middle level less whether the outcome was at or below its quantile: positive where
    outcomes come out higher than predicted. It has mean zero for outcomes that are continuous; where many are
    equal, no quantile has exactly its level below it.
    """

    name: ClassVar[str] = "quantiles"
    outcome_dtype = pl.Float64()
    default_loss = "pinball"

    def __init__(self, levels: Sequence[float], range: Sequence[float] | None = None) -> None:
        self.levels = _checked_levels(levels)
        self._range = range_of("quantiles", range)
        self.outputs = tuple(f"q{level:g}" for level in self.levels)
        self._middle = min(enumerate(self.levels), key=lambda pair: abs(pair[1] - 0.5))[0]
        self._nominal = self.levels[-1] - (self.levels[0] if len(self.levels) > 1 else 0.0)
        self.losses: Mapping[str, Loss] = {
            "pinball": Loss(
                name="pinball",
                label="pinball loss",
                unit=OWN_UNIT,
                bound=worst_pinball_loss(self.levels, self._range.width),
                rows=self._pinball,
                valid=self.valid,
                meaning="cost of a miss, averaged over levels: the level for each unit above the quantile, 1 "
                "less the level for each unit below",
            )
        }
        self.guards = () if self._range == EVERYTHING else ("pinball",)
        self.metrics: Mapping[str, Metric] = {metric.name: metric for metric in self._metrics()}
        self.signals = (loss_signal(self), self._bias_signal(), *self._coverage_signal())

    @property
    def options(self) -> dict[str, Any]:
        """The levels, and the range if there is one."""
        given = {} if self._range == EVERYTHING else {"range": list(self._range)}
        return {"levels": list(self.levels), **given}

    def require_history(self, outcomes: pl.Series, column: str) -> None:
        """Check that the range holds the history; see `numeric.require_range`."""
        require_range(self.name, self._range, self._known(outcomes), column)

    def interval_width(self, predicted: Array) -> Numbers | None:
        """Return the highest quantile less the lowest one."""
        if self.width == 1:
            return None
        quantiles = self.matrix(predicted)
        return np.abs(quantiles[:, -1] - quantiles[:, 0])

    def valid(self, predicted: Array) -> Mask:
        """Whether each row is finite numbers; crossing ones are allowed, and counted by a metric."""
        return np.all(np.isfinite(self.matrix(predicted)), axis=1)

    def residual(self, outcome: Array, predicted: Array) -> Numbers:
        """Return the middle level, less 1 where the outcome is at or below its quantile."""
        y, q = self._pair(outcome, predicted)
        at_or_below = (y <= q[:, self._middle]).astype(np.float64)
        return self.levels[self._middle] - at_or_below

    def residual_error(self, outcome: Array, predicted: Array) -> float | None:
        """Return the standard error of the mean residual: an outcome is below with the level's chance."""
        level = self.levels[self._middle]
        return float(np.sqrt(level * (1 - level) / len(predicted))) if len(predicted) else None

    def calibration(self, outcome: Array, predicted: Array) -> CalibrationError:
        """Return the distance of the share below each quantile from its level, averaged over levels."""
        return coverage_error(*self._pair(outcome, predicted), self.levels)

    def estimates(self, estimator: Any, rows: Array) -> Numbers:
        """Return what ``predict`` says, one column a level."""
        return predictions(estimator, rows, self.width, kind="regressor with a column for each level")

    def tensors(self) -> tuple[OutputTensor, ...]:
        """Return ``quantiles``."""
        return (
            OutputTensor("quantiles", "FP32", lambda predicted: predicted.ravel().tolist(), (self.width,)),
        )

    def plain(self, predicted: Array) -> list[Any]:
        """Return the quantiles of each row as a list, in the order of the levels."""
        return predicted.tolist()

    def said(self, row: Array) -> str:
        """Return the middle quantile, and the outer ones as an interval."""
        middle, low, high = (spoken_number(float(row[at]), self._range) for at in (self._middle, 0, -1))
        return f"{middle} [{low}, {high}]" if self.width > 1 else middle

    def curve(self, outcome: Array, predicted: Array) -> Curve:
        """Return of each level the share of outcomes below its quantile, with Wilson's interval."""
        y, q = self._pair(outcome, predicted)
        n_below = np.sum(y[:, None] <= q, axis=0)
        shares = [wilson(int(n), y.size) for n in n_below]
        points = tuple(CurvePoint(level, *share) for level, share in zip(self.levels, shares, strict=True))
        return Curve("level of the quantile", "share of outcomes below it", points)

    def _pair(self, outcome: Array, predicted: Array) -> tuple[Numbers, Numbers]:
        y, q = np.asarray(outcome, dtype=np.float64), self.matrix(predicted)
        if y.shape != q.shape[:1] or not (np.all(np.isfinite(y)) and np.all(np.isfinite(q))):
            raise ValueError("outcomes and quantiles must be finite, one row for each outcome")
        return y, q

    def _pinball(self, outcome: Array, predicted: Array, groups: Array | None) -> Numbers:
        y, q = self._pair(outcome, predicted)
        return pinball_losses(self._range.clip(y), self._range.clip(q), self.levels)

    def _inside(self, outcome: Array, predicted: Array) -> Numbers:
        """Whether each outcome lies between the outer quantiles, or below the only one."""
        y, q = self._pair(outcome, predicted)
        above = y >= q[:, 0] if self.width > 1 else np.ones(len(y), dtype=bool)
        return (above & (y <= q[:, -1])).astype(np.float64)

    def _metrics(self) -> tuple[Metric, ...]:
        return (
            Metric(
                name="coverage",
                label=f"share within {self._nominal:.0%}",
                point=lambda y, p, _: float(self._inside(y, p).mean()),
                interval=lambda y, p, clusters, _: _share(self._inside(y, p), clusters),
                needs=1,
                is_mean=True,
                meaning=f"share of outcomes between the outer quantiles, which promise {self._nominal:.0%}",
            ),
            Metric(
                name="crossing",
                label="share of crossing quantiles",
                point=lambda y, p, _: float(crossings(self.matrix(p)).mean()),
                interval=lambda y, p, clusters, _: _share(crossings(self.matrix(p)), clusters),
                higher_is_better=False,
                needs=1,
                is_mean=True,
                meaning="share of predictions whose quantiles do not grow with their levels",
            ),
        )

    def _bias_signal(self) -> SignalSpec:
        level = f"{self.levels[self._middle]:g}"
        return bias_signal(
            self,
            label=f"{level} less the share below that quantile",
            meaning=f"above zero where outcomes come out higher than their {level} quantile says",
        )

    def _coverage_signal(self) -> tuple[SignalSpec, ...]:
        if self.width < 2:
            return ()
        nominal = self._nominal

        def error(y: Array, p: Array, groups: Array | None) -> float | None:
            return float(np.sqrt(nominal * (1 - nominal) / len(y))) if len(y) else None

        return (
            SignalSpec(
                name="coverage_gap",
                label="coverage less what was promised",
                kind="calibration",
                subjects=(("intervals_too_wide", 1), ("intervals_too_narrow", -1)),
                learns_level=False,
                interval=lambda y, p, clusters, _: clustered_mean(self._inside(y, p) - nominal, clusters),
                spread=error,
                margin=1.1,
            ),
        )


def _share(rows: Array, clusters: Array) -> Estimate:
    found = clustered_mean(rows, clusters)
    return Estimate(found.value, max(found.low, 0.0), min(found.high, 1.0), found.n)


def _checked_levels(given: Sequence[float]) -> tuple[float, ...]:
    hint = "list probabilities that grow: levels=[0.1, 0.5, 0.9]"
    if isinstance(given, str) or not isinstance(given, Sequence) or not 1 <= len(given) <= MOST_LEVELS:
        problem = f"it is not a list of 1 to {MOST_LEVELS} levels"
        raise declared("quantiles", "levels", problem, hint, given=repr(given)[:60])
    for level in given:
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
            problem = f"{level!r:.60} is not between 0 and 1"
            raise declared("quantiles", "levels", problem, hint)
    levels = tuple(map(float, given))
    names = {f"{level:g}" for level in levels}
    if list(levels) != sorted(levels) or len(names) < len(levels):
        raise declared("quantiles", "levels", "they do not grow", hint, given=repr(list(given))[:60])
    return levels

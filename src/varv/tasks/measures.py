"""What is measured of predictions: losses of rows, metrics of many rows, signals of a day.

Tasks make them, everybody else asks them. Arrays have one form everywhere. *outcome*: numbers of shape (n,),
none missing, as `Task.read` returns them. *predicted*: shape (n, width), one column for each of
`Task.outputs`. *groups*: shape (n,), the list that each row belongs to; only tasks with a `Task.group` look
at them. *clusters*: shape (n,), the hour or day of each row, growing with time: rows of a cluster are one
observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from varv.stats.intervals import Estimate, Numbers

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
RowNumbers = Callable[[Array, Array, Array | None], Numbers]
"""From outcome, predicted and groups to one number a row, shape (n,)."""
Interval = Callable[[Array, Array, Array, Array | None], Estimate]
"""From outcome, predicted, clusters and groups to a number with its 95 % interval."""

OWN_UNIT, OWN_UNIT_SQUARED = "outcome", "outcome²"
"""Units of losses that are measured as the outcome itself is."""


def digits_of(width: float) -> int:
    """Return how many decimals a number deserves that lies between 0 and `width`: a thousandth of it shows.

    Examples
    --------
    >>> digits_of(6.9), digits_of(660.0), digits_of(float("inf"))
    (3, 1, 3)
    """
    return min(max(math.ceil(3 - math.log10(width)), 0), 9) if 0 < width < math.inf else 3


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a wrong prediction costs, row by row; less is better."""

    name: str
    label: str
    unit: str
    """``"nats"``, ``""`` for a pure number, or `OWN_UNIT`."""
    bound: float
    """The most that `of` says of a row; infinite where the task lacks a range."""
    rows: RowNumbers
    """What `exact` returns."""
    valid: Callable[[Array], Mask]
    towards_bound: RowNumbers | None = None
    """What `of` returns of valid predictions, where cutting `rows` at the bound is not the same."""
    margin: float | None = None
    """By how much usual models differ, where that is not a seven-hundredth of the bound: what a candidate may
    be worse by, if nobody says otherwise."""
    of_lists: bool = False
    """Whether the rows of a list share one loss, so that one invalid prediction spoils the list."""
    meaning: str = ""
    """What the number says, in words for a glossary; empty where the label says it."""

    @property
    def digits(self) -> int:
        """Decimals to show."""
        return digits_of(self.bound)

    def exact(self, outcome: Array, predicted: Array, groups: Array | None = None) -> Numbers:
        """Return the loss of each row as gates, comparisons and monitors state it, shape (n,).

        Raises
        ------
        ValueError
            If the shapes do not fit, a prediction is not valid or an outcome is none.
        """
        return self.rows(outcome, predicted, groups)

    def of(self, outcome: Array, predicted: Array, groups: Array | None = None) -> Numbers:
        """Return the loss of each row within [0, `bound`], shape (n,), as rollouts bet on it.

        A row without a valid prediction has the bound: a model must not look good through the requests that
        it lost.

        Raises
        ------
        ValueError
            If the shapes do not fit, or an outcome is none.
        """
        usable = self.valid(predicted)
        if self.of_lists and groups is not None and not usable.all():
            usable = ~np.isin(groups, groups[~usable])
        rows = self.rows if self.towards_bound is None else self.towards_bound
        if usable.all():
            return np.clip(rows(outcome, predicted, groups), 0.0, self.bound)
        found = np.full(len(usable), self.bound)
        part = None if groups is None else groups[usable]
        found[usable] = np.clip(rows(outcome[usable], predicted[usable], part), 0.0, self.bound)
        return found


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that says how good predictions are, over many rows."""

    name: str
    label: str
    point: Callable[[Array, Array, Array | None], float]
    """What `value` returns of enough rows."""
    interval: Interval
    """What `estimate` returns of enough rows."""
    digits: int = 3
    higher_is_better: bool | None = None
    """None where neither is: a rate, or a number that should meet a target."""
    needs: int = 2
    """Fewer rows say nothing."""
    limits: tuple[float, float] = (0.0, 1.0)
    """What the number can be."""
    is_mean: bool = False
    """Whether it is a mean over rows, so that days weighted by their rows give the number of all."""
    meaning: str = ""
    """What the number says, in words for a glossary; empty where the label says it."""

    def value(self, outcome: Array, predicted: Array, groups: Array | None = None) -> float:
        """Return the number; NaN where the rows do not determine it, or are fewer than `needs`.

        Raises
        ------
        ValueError
            If the shapes do not fit, a prediction is not valid or an outcome is none.
        """
        return self.point(outcome, predicted, groups) if len(outcome) >= self.needs else float("nan")

    def estimate(
        self, outcome: Array, predicted: Array, clusters: Array, groups: Array | None = None
    ) -> Estimate:
        """Return the number with its 95 % interval, clusters being the unit of observation.

        Fewer rows than `needs` give NaN and all that is possible.

        Raises
        ------
        ValueError
            As `value`.
        """
        if len(outcome) < self.needs:
            return Estimate(float("nan"), *self.limits, len(outcome))
        return self.interval(outcome, predicted, clusters, groups)


@dataclass(frozen=True, kw_only=True)
class SignalSpec:
    """A number of a day that a monitor can watch."""

    name: str
    """``"excess_loss"``, ``"loss"``, ``"bias"``, ``"auc"``, ..."""
    label: str
    kind: Literal["performance", "calibration"]
    subjects: tuple[tuple[str, int], ...]
    """What an alarm is called, and in which direction the number is worse: 1 upwards, -1 downwards."""
    learns_level: bool
    """Whether what is normal has to be learned from days; else it is zero."""
    interval: Interval
    """What `estimate` returns."""
    spread: Callable[[Array, Array, Array | None], float | None]
    """What `error` returns."""
    margin: float = 2.0
    """The chart aims at a run length so many times the declared one: bad days lie further out than good
    ones."""
    unit: str = ""
    """As `Loss.unit`; empty for a share or another pure number."""
    digits: int = 3
    """Decimals to show."""
    meaning: str = ""
    """What the number says, in words for a glossary; empty where the label says it."""

    def estimate(
        self, outcome: Array, predicted: Array, clusters: Array, groups: Array | None = None
    ) -> Estimate:
        """Return the day's number with its 95 % interval; NaN where the rows do not determine it.

        Raises
        ------
        ValueError
            If there is no row, the shapes do not fit, a prediction is not valid or an outcome is none.
        """
        return self.interval(outcome, predicted, clusters, groups)

    def error(self, outcome: Array, predicted: Array, groups: Array | None = None) -> float | None:
        """Return the number's standard error from the rows alone, which a day with a weather of its own
        exceeds; None where the rows are too few.

        Raises
        ------
        ValueError
            As `estimate`.
        """
        return self.spread(outcome, predicted, groups)

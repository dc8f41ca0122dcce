"""Outcomes that are numbers: what regression, quantiles and ranking share.

A number can be anything, so a difference of losses could be too, and nothing that is bet on it would hold.
So such a task declares the range of its outcomes. Outcomes and predictions beyond it count as its edge,
wherever they are compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from varv.kernel.errors import InvalidDeclaration
from varv.stats.intervals import Numbers
from varv.tasks.measures import Array
from varv.tasks.model import Task, declared

LEAST_HELD = 0.95
"""A declared range holds at least this share of the history."""
PROPOSED = (0.001, 0.999)
"""Quantiles of the history that a proposed range is rounded from."""


class NumericTask(Task):
    """A task whose outcome is a finite number."""

    def accepts(self, dtype: pl.DataType) -> str:
        """Return what is wrong with the type, unless it is of numbers."""
        return "" if dtype.is_numeric() else f"is of type {dtype}; make it a number"

    def read(self, column: pl.Series) -> pl.Series:
        """Return finite numbers, and null for anything else."""
        values = column.cast(pl.Float64, strict=False)
        outcome = values.to_numpy()
        is_none = ~self._are_outcomes(outcome)
        return values.set(pl.Series(is_none), None) if is_none.any() else values

    def stored(self, value: Any, dtype: pl.DataType) -> Any:
        """Return the number in the type of the column, if it can be kept so."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        if dtype.is_float():
            return float(value)
        return int(value) if dtype.is_integer() and float(value).is_integer() else value

    def _are_outcomes(self, outcome: Numbers) -> np.ndarray:
        return np.isfinite(outcome)

    def _known(self, outcomes: pl.Series) -> Numbers:
        """Return the finite numbers of a history."""
        found = outcomes.cast(pl.Float64, strict=False).drop_nulls().to_numpy()
        return found[np.isfinite(found)]


class Range(NamedTuple):
    """The numbers from `low` to `high` that an outcome is declared to be."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """How far its ends are apart."""
        return self.high - self.low

    def clip(self, numbers: Array) -> Numbers:
        """Return `numbers`, those beyond the range as its edge."""
        return np.clip(np.asarray(numbers, dtype=np.float64), self.low, self.high)


EVERYTHING = Range(-math.inf, math.inf)


def range_of(task: str, given: object) -> Range:
    """Return a declared range; everything, where none is given.

    Raises
    ------
    InvalidDeclaration
        If it is not two numbers in order.
    """
    if given is None:
        return EVERYTHING
    hint = "give the lowest and the highest outcome that matter: range=(0, 100)"
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != 2:
        raise declared(task, "range", "it is not two numbers", hint, given=repr(given)[:60])
    low, high = given
    if not (_is_number(low) and _is_number(high)):
        raise declared(task, "range", "it is not two numbers", hint, given=repr(given)[:60])
    if not low < high:
        raise declared(task, "range", f"{low:g} is not below {high:g}", hint)
    return Range(float(low), float(high))


def require_range(task: str, declared_range: Range, known: Numbers, column: str) -> None:
    """Check that a history lies within the range, all but a few of its outcomes.

    Raises
    ------
    InvalidDeclaration
        If no range was declared, or it holds too little; the hint proposes one.
    """
    no_range = math.isinf(declared_range.width)
    if not known.size:
        if no_range:
            hint = "add range=(low, high): what the outcome is, at least and at most"
            raise InvalidDeclaration("task", task, f"needs the range of outcome {column!r}", hint=hint)
        return
    low, high = proposed_range(known)
    held = float(np.mean((known >= low) & (known <= high)))
    hint = f"write range=({low:.12g}, {high:.12g}), which holds {held:.2%} of the history"
    if no_range:
        problem = f"needs the range of outcome {column!r}, so that losses have a bound"
        raise InvalidDeclaration("task", task, problem, hint=hint)
    share = float(np.mean((known >= declared_range.low) & (known <= declared_range.high)))
    if share < LEAST_HELD:
        problem = f"has a range that holds only {share:.2%} of the outcomes {column!r}"
        given = (declared_range.low, declared_range.high)
        raise InvalidDeclaration("task", task, problem, range=given, hint=hint)


def proposed_range(known: Numbers) -> Range:
    """Return a range of round numbers that holds all but about one in five hundred of a history.

    Examples
    --------
    >>> proposed_range(np.linspace(-43.2, 391.7, 5000))
    Range(low=-50.0, high=400.0)
    """
    low = float(np.quantile(known, PROPOSED[0], method="lower"))
    high = float(np.quantile(known, PROPOSED[1], method="higher"))
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-100):
        return Range(low - max(abs(low), 1.0), high + max(abs(high), 1.0))
    digits = 1 - math.floor(math.log10(high - low))
    step = 10.0**-digits
    lowest, highest = math.floor(low / step) * step, math.ceil(high / step) * step
    # The smallest numbers there are vanish in the division.
    lowest, highest = lowest - step * (lowest > low), highest + step * (highest < high)
    return Range(round(lowest, digits), round(highest, digits))


def spoken_number(number: float, extent: Range) -> str:
    """Return a number with as many decimals as a thousandth of the range has.

    Examples
    --------
    >>> spoken_number(12.3456, Range(0.0, 100.0)), spoken_number(0.12345, Range(0.0, 1.0))
    ('12.3', '0.123')
    """
    if math.isinf(extent.width):
        return f"{number:.4g}"
    return f"{number:.{min(max(math.ceil(3 - math.log10(extent.width)), 0), 9)}f}"


def is_whole(value: object, low: int, high: int) -> bool:
    """Whether `value` is a whole number from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

"""Bounds: a number with its interval held against what is allowed, and the gate that does so with a metric.

Refused is what lies beyond the bound as a whole, unless the gate asks for proof: then only what lies within
it as a whole passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from varv.features.kinds import Kind
from varv.features.slices import Slice
from varv.kernel.codec import finite
from varv.stats.intervals import Estimate, clustered_mean, wilson
from varv.tasks import Array, Metric, Task
from varv.training.gates.judgement import Judgement
from varv.training.gates.measured import estimate, interval_of, measure_of, too_few
from varv.training.gates.model import GateResult, Verdict
from varv.training.gates.slicing import require_slice, sliced


class Limit(msgspec.Struct, frozen=True):
    """What a number may be: from `low` to `high`, both included; None is no limit."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """Return the limit in words: ``"at least 0.7"``."""
        said = [] if self.low is None else [f"at least {self.low:g}"]
        said += [] if self.high is None else [f"at most {self.high:g}"]
        return " and ".join(said)

    def question(self, name: str, *, shown: bool, unit: str = "") -> str:
        """Return what a gate asks of a number that has this limit.

        Parameters
        ----------
        shown
            Whether the number must be shown to lie within.

        Examples
        --------
        >>> Limit(low=0.7).question("the AUC", shown=False)
        'Is the AUC shown to be below 0.7?'
        """
        if shown:
            return f"Is {name} shown to be {self}{unit}?"
        beyond = [] if self.low is None else [f"below {self.low:g}{unit}"]
        beyond += [] if self.high is None else [f"above {self.high:g}{unit}"]
        return f"Is {name} shown to be {' or '.join(beyond)}?"

    def holds(self, number: float) -> bool:
        """Whether `number` is allowed; NaN is not."""
        above = number >= (-np.inf if self.low is None else self.low)
        return bool(above and number <= (np.inf if self.high is None else self.high))

    def misses(self, found: Estimate) -> bool:
        """Whether the interval lies beyond the limit as a whole."""
        below = self.low is not None and found.high < self.low
        return below or (self.high is not None and found.low > self.high)


class Held(NamedTuple):
    """What holding a number against a limit gives."""

    passed: bool
    verdict: Verdict
    answer: str


def held_against(found: Estimate, limit: Limit, told: str, *, shown: bool) -> Held:
    """Return what an interval shows of a limit.

    Parameters
    ----------
    told
        The number with its interval in words.
    shown
        Whether what is not shown to lie within is refused.
    """
    if limit.misses(found):
        return Held(False, "beyond bounds", f"Shown beyond: {told}.")
    if limit.holds(found.low) and limit.holds(found.high):
        return Held(True, "within bounds", f"Shown within: {told}.")
    if shown:
        return Held(False, "not shown", f"Not shown within, which is asked for: {told}.")
    return Held(True, "not shown", f"Not shown beyond, so the rollout decides: {told}.")


def nothing_shown(why: str, *, shown: bool) -> Held:
    """Return what a number that cannot be known gives."""
    if shown:
        return Held(False, "nothing shown", f"Nothing can be shown, and proof is asked for: {why}.")
    return Held(True, "nothing shown", f"Nothing can be shown: {why}. The rollout decides.")


def share_of(right: Array, clusters: Array) -> Estimate:
    """Return the share of rows that are right, with an interval that no lucky sample makes too short.

    Parameters
    ----------
    right
        Truth values, shape (n,), n at least 1.
    clusters
        The cluster of each row, shape (n,).

    Notes
    -----
    The wider, at each end, of Wilson's interval and that of clusters: where every row is right clusters do
    not differ, and where some are not, Wilson's does not know that rows of a day fail together.

    Examples
    --------
    >>> found = share_of(np.ones(100, dtype=bool), np.arange(100) // 10)
    >>> found.value, round(found.low, 3), found.high
    (1.0, 0.963, 1.0)
    """
    alone = wilson(int(np.sum(right)), len(right))
    together = clustered_mean(right, clusters)
    low, high = min(alone.low, together.low), max(alone.high, together.high)
    return Estimate(alone.value, max(0.0, low), min(1.0, high), len(right))


def said_with_interval(name: str, found: Estimate, digits: int = 4) -> str:
    """Return a number with its interval in words.

    Examples
    --------
    >>> said_with_interval("AUC", Estimate(0.71, 0.68, 0.74, 900), 3)
    'the AUC is 0.710 [0.680, 0.740]'
    """
    return f"the {name} is {found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


class Bound(msgspec.Struct, frozen=True, tag="bound"):
    """A loss or metric on held-out rows is not shown to lie beyond a bound."""

    metric: str
    limit: Limit
    shown: bool = False
    """Whether it must be shown to lie within."""
    slice: Slice | None = None

    def require_task(self, task: Task) -> None:
        """Check that the task has the metric."""
        measure_of(task, self.metric, gate=self._kind)

    def require_features(self, kinds: Mapping[str, Kind]) -> None:
        """Check that the slice is of a feature."""
        require_slice(self._kind, self.slice, kinds)

    def named(self, task: Task) -> str:
        """Return the name that its results bear."""
        return sliced(f"{self._kind} {self.metric}", self.slice)

    def judge(self, judgement: Judgement) -> GateResult:
        """Hold the candidate's number against the bound."""
        measure = measure_of(judgement.task, self.metric, gate=self._kind)
        rows = judgement.within(self.slice)
        where = sliced("", self.slice, joint=" where ")
        question = self.limit.question(f"the {measure.label}{where}", shown=self.shown)
        evidence: dict[str, float | None] = {"n": float(len(rows)), "n_days": float(rows.n_days)}
        evidence |= {"at_least": self.limit.low, "at_most": self.limit.high}
        interval: tuple[float, float] | None = None
        if why := too_few(rows):
            held = nothing_shown(why, shown=self.shown)
        else:
            found = estimate(measure, rows, rows.candidate)
            evidence |= {
                "value": finite(found.value),
                "low": finite(found.low),
                "high": finite(found.high),
            }
            if evidence["value"] is None:
                held = nothing_shown("the rows do not determine it", shown=self.shown)
            else:
                interval = interval_of(found)
                digits = max(measure.digits, 3) if isinstance(measure, Metric) else 4
                told = said_with_interval(measure.label, found, digits)
                held = held_against(found, self.limit, told, shown=self.shown)
        name = self.named(judgement.task)
        return GateResult(
            name, held.passed, held.verdict, evidence, question, held.answer, len(rows), interval
        )

    @property
    def _kind(self) -> str:
        return "at_least" if self.limit.high is None else "at_most"

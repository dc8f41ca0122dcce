"""The quality of a stretch of days: a month, or the last thirty days.

Put together from what was measured day by day, so it says of past days what was measured then, in every place
that shows it. What the numbers are called, and with how many digits they are shown, the task says. Pure
functions; which days are asked for is decided by who shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec
import numpy as np

from varv.kernel.clock import DAY, Instant, as_datetime
from varv.kernel.codec import finite
from varv.kernel.wording import limits, number
from varv.monitoring.model import PerformanceMeasured
from varv.stats.intervals import Estimate, mean_of_clusters
from varv.stats.ranking import N_CELLS, auc_of_counts
from varv.tasks import Task, TaskSpec, task_of

WITHIN = " within days"
"""Behind the name of a number that compares requests of one day only."""
OF_ONE_DAY = "the same over requests of one day only, averaged over days by their requests"
_OF_ALL = (
    "over all requests of the window together (pooled), so that telling bad days from good ones counts too"
)
_POOLED = "auc"
"""Of the binary task, whose days are counted by score so that it can be had of all rows together."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One number as it is shown: its name, what people call it, and its value with 95 % limits."""

    name: str
    label: str
    value: float
    low: float | None
    high: float | None
    digits: int
    unit: str
    """As `varv.tasks.Loss.unit`."""

    def text(self) -> str:
        """Return label, value and interval on one line.

        Examples
        --------
        >>> Shown(name="rmse", label="RMSE", value=12.34, low=None, high=None, digits=1, unit="").text()
        'RMSE 12.3'
        """
        if self.low is None or self.high is None:
            return f"{self.label} {number(self.value, self.digits)}"
        return f"{self.label} {limits(self.value, self.low, self.high, self.digits)}"


class Column(NamedTuple):
    """A number that a task is shown by: how it is found in what was measured, and how it reads."""

    name: str
    label: str
    digits: int
    unit: str
    meaning: str
    is_mean: bool
    """Whether days weighted by their rows give the number of all rows together."""

    def shown(self, value: float, low: float | None, high: float | None) -> Shown:
        """Return a value of the number."""
        return Shown(
            name=self.name,
            label=self.label,
            value=value,
            low=low,
            high=high,
            digits=self.digits,
            unit=self.unit,
        )


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What champions showed over a stretch of days; limits are 95 %, clustered by the day."""

    since: Instant
    until: Instant
    n_days: int
    n_requests: int
    n: int
    """Requests with a score and an outcome."""
    numbers: tuple[Shown, ...]
    """The default loss, the task's signals and its metrics, in this order."""

    def number(self, name: str) -> Shown | None:
        """Return one of the numbers; None where the days do not determine it."""
        return next((one for one in self.numbers if one.name == name), None)


def summarised(days: Iterable[PerformanceMeasured]) -> Summary | None:
    """Return the quality over `days`; None if none of them has an outcome.

    Days of another task than the last one's are left out: they were measured in other numbers.
    """
    every = sorted(days, key=lambda one: (one.window, one.version))
    if not every:
        return None
    task = task_of(every[-1].task)
    every = [one for one in every if one.task == task.spec]
    known = [one for one in every if one.n and one.loss() is not None]
    if not known:
        return None
    return Summary(
        since=every[0].window.start,
        until=max(one.window.end for one in every),
        n_days=len({one.window for one in known}),
        n_requests=sum(one.n_requests for one in every),
        n=sum(one.n for one in known),
        numbers=tuple(_numbers(task, known)),
    )


def by_month(days: Iterable[PerformanceMeasured]) -> list[tuple[str, Summary]]:
    """Return the quality of each calendar month (UTC), such as ``2013-04``, oldest first."""
    ordered = sorted(days, key=lambda one: (one.window, one.version))
    months = groupby(ordered, key=lambda one: f"{as_datetime(one.window.start):%Y-%m}")
    found = [(month, summarised(part)) for month, part in months]
    return [(month, summary) for month, summary in found if summary is not None]


def columns_of(task: Task) -> list[Column]:
    """Return the numbers that a task is shown by: its default loss, its signals, and its other metrics.

    A signal that is the default loss again is left out.
    """
    loss = task.loss
    found = (
        [] if loss is None else [Column(loss.name, loss.label, loss.digits, loss.unit, loss.meaning, True)]
    )
    for signal in task.signals:
        if loss is None or signal.label != loss.label:
            metric = task.metrics.get(signal.name)
            is_mean = metric is None or metric.is_mean
            found.append(
                Column(signal.name, signal.label, signal.digits, signal.unit, signal.meaning, is_mean)
            )
    names = {signal.name for signal in task.signals}
    return found + [
        Column(one.name, one.label, one.digits, "", one.meaning, one.is_mean)
        for one in task.metrics.values()
        if one.name not in names
    ]


def shown(task: Task, one: PerformanceMeasured) -> list[Shown]:
    """Return the numbers of one window, in the order of `columns_of`."""
    numbers = one.numbers()
    return [
        column.shown(seen.value, seen.low, seen.high)
        for column in columns_of(task)
        if (seen := numbers.get(column.name)) is not None
    ]


def glossary(task: Task) -> dict[str, str]:
    """Return what each number of a task means, by its label, in words that every place uses."""
    found: dict[str, str] = {}
    for column in columns_of(task):
        pooled = task.spec == TaskSpec() and column.name == _POOLED
        found[column.label] = f"{column.meaning}, {_OF_ALL}" if pooled else column.meaning
        if not column.is_mean:
            found[column.label + WITHIN] = OF_ONE_DAY
    return {label: meaning for label, meaning in found.items() if meaning}


def _numbers(task: Task, known: Sequence[PerformanceMeasured]) -> Iterator[Shown]:
    for column in columns_of(task):
        pooled = _pooled(known) if column.name == _POOLED and task.spec == TaskSpec() else None
        if pooled is not None:
            yield column.shown(pooled.value, finite(pooled.low), finite(pooled.high))
        mean = _mean(known, column.name)
        if mean is not None and column.is_mean:
            yield column.shown(mean.value, finite(mean.low), finite(mean.high))
        elif mean is not None:
            within = column._replace(name=f"{column.name}_within_days", label=column.label + WITHIN)
            yield within.shown(mean.value, None, None)


def _mean(known: Sequence[PerformanceMeasured], name: str) -> Estimate | None:
    """The mean over rows; two versions that shared a day are one cluster."""
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    for one in known:
        seen = one.numbers().get(name)
        if seen is not None:
            day = one.window.start // DAY
            sums[day] = sums.get(day, 0.0) + one.n * seen.value
            counts[day] = counts.get(day, 0) + one.n
    return mean_of_clusters(list(sums.values()), list(counts.values())) if counts else None


def _pooled(known: Sequence[PerformanceMeasured]) -> Estimate | None:
    """The AUC over all rows together; None where days were not counted by score, or one outcome is
    missing.
    """
    days = sorted({one.window.start for one in known})
    row = {day: index for index, day in enumerate(days)}
    up, down = np.zeros((2, len(days), N_CELLS))
    for one in known:
        if one.scored is None:
            return None
        cells = slice(one.scored.first, one.scored.first + len(one.scored.positives))
        up[row[one.window.start], cells] += one.scored.positives
        down[row[one.window.start], cells] += one.scored.negatives
    found = auc_of_counts(up, down)
    return None if finite(found.value) is None else found

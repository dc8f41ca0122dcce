"""What gates measure: any loss or metric of the task by its name, with its interval over days.

A loss is a mean of rows, so two versions are compared row by row; a metric is a number of many rows, and the
difference of two is compared by leaving out one day after the other.
"""

from __future__ import annotations

from typing import NamedTuple

from varv.kernel.codec import finite
from varv.kernel.errors import InvalidDeclaration
from varv.stats.intervals import Estimate, clustered_jackknife, clustered_mean
from varv.tasks import Array, Loss, Metric, Task
from varv.training.gates.judgement import Judgement

LEAST_ROWS, LEAST_DAYS = 50, 3
"""With fewer rows or days nothing can be shown."""


class Gain(NamedTuple):
    """What two versions show on the same rows, and by how much the candidate is better."""

    candidate: float
    champion: float
    gain: Estimate


def measure_of(task: Task, name: str | None, *, gate: str) -> Loss | Metric:
    """Return the loss or metric of a task, its default loss for None.

    Raises
    ------
    InvalidDeclaration
        If the task has none of that name.
    """
    named = {**task.metrics, **task.losses}
    chosen = task.default_loss if name is None else name
    if chosen is None or chosen not in named:
        problem = f"has no metric {name!r} with task {task.name!r}"
        if not named:
            hint = "leave it out, or test behaviour: varv.behaviour.*"
            problem = f"needs outcomes, which task {task.name!r} does not have"
        else:
            hint = f"use {' or '.join(named_measures(task))}"
        raise InvalidDeclaration("gate", gate, problem, hint=hint)
    return named[chosen]


def named_measures(task: Task) -> tuple[str, ...]:
    """Return the names of a task's losses and metrics, the default loss first."""
    return tuple(dict.fromkeys([*task.losses, *task.metrics]))


def estimate(measure: Loss | Metric, judgement: Judgement, predicted: Array) -> Estimate:
    """Return a loss or metric of predictions with its 95 % interval, days being the unit."""
    outcome, days, groups = judgement.outcome, judgement.days, judgement.groups
    if isinstance(measure, Loss):
        return clustered_mean(measure.exact(outcome, predicted, groups), days)
    return measure.estimate(outcome, predicted, days, groups)


def gain(measure: Loss | Metric, judgement: Judgement) -> Gain:
    """Return what candidate and champion show, and the candidate's gain: positive where it is better.

    The champion must have predictions.
    """
    assert judgement.champion is not None, "without a champion nothing is gained"
    outcome, days, groups = judgement.outcome, judgement.days, judgement.groups
    if isinstance(measure, Loss):
        ours, champions = (
            measure.exact(outcome, predicted, groups)
            for predicted in (judgement.candidate, judgement.champion)
        )
        return Gain(float(ours.mean()), float(champions.mean()), clustered_mean(champions - ours, days))
    sign = 1.0 if measure.higher_is_better else -1.0
    value = measure.value
    candidate, champion = judgement.candidate, judgement.champion

    def difference(kept: Array) -> float:
        part = None if groups is None else groups[kept]
        ours, champions = (value(outcome[kept], said[kept], part) for said in (candidate, champion))
        return sign * (ours - champions)

    return Gain(
        value(outcome, candidate, groups),
        value(outcome, champion, groups),
        clustered_jackknife(difference, days),
    )


def interval_of(found: Estimate) -> tuple[float, float] | None:
    """Return the limits of an interval, None where one is infinite: a ledger has no form for that."""
    low, high = finite(found.low), finite(found.high)
    return None if low is None or high is None else (low, high)


def too_few(judgement: Judgement) -> str:
    """Return why nothing can be shown on the rows, or nothing if something can."""
    n, n_days = len(judgement), judgement.n_days
    return "" if n >= LEAST_ROWS and n_days >= LEAST_DAYS else f"there are {n:,} rows of {n_days} days"

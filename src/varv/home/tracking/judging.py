"""A logged run beside a baseline: each metric's difference, with an interval where folds or repeats allow
one, and what declared tolerances make of it.

Everything is on record already; nothing is scored here. A run of a loop is judged by its gates instead
(`home.candidate`), which see rows; of a logged run only numbers are known.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from varv.home.tracking.looking import RunDesk
from varv.kernel.errors import InvalidInput, NotFound
from varv.registry import reading as registry_reading
from varv.runs.comparing import SYSTEM, Difference, RunLine, differences, line_of
from varv.runs.goals import Goal, goal_of
from varv.runs.histories import points_of
from varv.stats.intervals import clustered_mean

Standing = Literal["passed", "failed", "unjudged"]
LEAST_FOLDS = 3
"""Of fewer, an interval says nothing."""
MOST_FOLDS = 10_000


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """By how much a metric may be worse than the baseline's, in its own unit."""

    metric: str
    most: float
    goal: Goal


class ComparedMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of both runs.

    ``gain`` is how much better the run is, in the metric's unit, or its difference where nobody says which
    way is better; ``interval`` holds it with 95 %, over ``n_folds`` folds or repeats, and is None where each
    run has one number. ``standing`` is None where no tolerance is declared.
    """

    name: str
    goal: Goal | None
    baseline: float | None
    run: float | None
    gain: float | None = None
    interval: tuple[float, float] | None = None
    n_folds: int = 0
    tolerance: float | None = None
    standing: Standing | None = None
    why: str = ""


class ComparedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """A run beside a baseline."""

    run: RunLine
    baseline: RunLine
    standing: Standing
    reason: str = ""
    metrics: tuple[ComparedMetric, ...] = ()
    differences: tuple[Difference, ...] = ()
    """In parameters, data, code and what else was captured."""


def tolerance_of(text: str) -> Tolerance:
    """Return a tolerance from ``metric=0.01``, or from ``metric:max=0.01`` where the name does not say which
    way is better.

    Raises
    ------
    InvalidInput
        If it is none.

    Examples
    --------
    >>> tolerance_of("val_loss=0.01")
    Tolerance(metric='val_loss', most=0.01, goal='min')
    """
    named, _, given = text.rpartition("=")
    metric, _, way = named.rpartition(":") if named.endswith((":min", ":max")) else (named, "", "")
    goal: Goal | None = "min" if way == "min" else "max" if way == "max" else goal_of(metric)
    try:
        most = float(given)
    except ValueError:
        most = -1.0
    if not metric or not 0 <= most < float("inf"):
        hint = "write METRIC=0.01, at least 0"
        raise InvalidInput("tolerance", text[:80], "is not understood", hint=hint)
    if goal is None:
        hint = f"write {metric}:min={given} or {metric}:max={given}"
        raise InvalidInput("metric", metric[:80], "does not say which way is better", hint=hint)
    return Tolerance(metric=metric, most=most, goal=goal)


def compared_runs(
    desk: RunDesk, run: str, baseline: str, tolerances: Sequence[Tolerance], folds: Sequence[str] = ()
) -> ComparedRuns:
    """Return a run beside a baseline.

    Parameters
    ----------
    run, baseline
        Their ids, or how these begin.
    folds
        Metrics whose points are folds or repeats, one at each step, rather than a curve.

    Raises
    ------
    NotFound
        If there is no such run.
    InvalidInput
        If a metric of `folds` has too many points.
    """
    with desk.search.reading() as db:
        compared = [desk.compared(db, one) for one in desk.chosen(db, (baseline, run))]
        before, after = (line_of(one.run) for one in compared)
        declared = {one.metric: one for one in tolerances}
        names = dict.fromkeys(
            name for line in (before, after) for name in line.metrics if not name.startswith(SYSTEM)
        )
        names |= dict.fromkeys(declared)
        metrics = tuple(
            _metric(db, name, before, after, declared.get(name), is_folded=name in folds)
            for name in sorted(names)
        )
    standing, reason = _standing(after, metrics)
    return ComparedRuns(
        run=after,
        baseline=before,
        standing=standing,
        reason=reason,
        metrics=metrics,
        differences=differences(compared),
    )


def champions_run(desk: RunDesk, model: str) -> str:
    """Return the run that made the champion of a model.

    Raises
    ------
    NotFound
        If there is no champion, or nobody says which run made it.
    """
    with desk.search.reading() as db:
        found = registry_reading.registered_model(db, model)
        number = found.aliases.get("champion")
        made = "" if number is None else registry_reading.version(db, model, number).run
    if not made:
        problem = "has no champion" if number is None else f"has champion v{number}, made by no run here"
        raise NotFound("model", model[:80], problem, hint="name a run with --baseline")
    return made


def _metric(
    db: sqlite3.Connection,
    name: str,
    before: RunLine,
    after: RunLine,
    declared: Tolerance | None,
    *,
    is_folded: bool,
) -> ComparedMetric:
    goal = goal_of(name) if declared is None else declared.goal
    sign = -1.0 if goal == "min" else 1.0
    paired = _paired(db, name, before.run, after.run) if is_folded else []
    interval: tuple[float, float] | None = None
    if len(paired) >= LEAST_FOLDS:
        mine, theirs = ([pair[place] for pair in paired] for place in (0, 1))
        mean = clustered_mean([sign * (b - a) for a, b in paired], range(len(paired)))
        old, new = sum(mine) / len(mine), sum(theirs) / len(theirs)
        gain, interval = mean.value, (mean.low, mean.high)
    else:
        old, new = (line.metrics[name].last if name in line.metrics else None for line in (before, after))
        gain = None if old is None or new is None else sign * (new - old)
    standing, why = (None, "") if declared is None else _judged(gain, interval, declared.most)
    if declared is not None and is_folded and interval is None:
        standing, why = "unjudged", f"fewer than {LEAST_FOLDS} folds are in both runs"
    return ComparedMetric(
        name=name,
        goal=goal,
        baseline=old,
        run=new,
        gain=gain,
        interval=interval,
        n_folds=len(paired) if interval is not None else 0,
        tolerance=None if declared is None else declared.most,
        standing=standing,
        why=why,
    )


def _judged(gain: float | None, interval: tuple[float, float] | None, most: float) -> tuple[Standing, str]:
    if gain is None:
        return "unjudged", "one of the runs has no such number"
    if interval is None:
        return ("failed", "worse by more than is allowed") if gain < -most else ("passed", "one number each")
    if interval[1] < -most:
        return "failed", "shown to be worse by more than is allowed"
    return "passed", "not shown to be worse by more than is allowed"


def _paired(db: sqlite3.Connection, name: str, before: str, after: str) -> list[tuple[float, float]]:
    """Return the values of a metric at the steps that both runs have, the last of each step."""
    values: list[Mapping[int, float]] = []
    for run in (before, after):
        points = points_of(db, run, name)
        if len(points) > MOST_FOLDS:
            problem, hint = "has too many points for folds", "it looks like a curve; leave it out of --folds"
            raise InvalidInput("metric", name[:80], problem, most=MOST_FOLDS, hint=hint)
        numbers = points[np.isfinite(points["value"])]
        values.append(dict(numbers[["step", "value"]].tolist()))
    first, second = values
    return [(first[step], second[step]) for step in sorted(first.keys() & second.keys())]


def _standing(run: RunLine, metrics: Sequence[ComparedMetric]) -> tuple[Standing, str]:
    if run.status != "FINISHED":
        return "unjudged", f"the run is {run.status}"
    judged = [one.standing for one in metrics if one.standing is not None]
    if not judged:
        return "unjudged", "no tolerance is declared: --tolerance METRIC=0.01"
    if "failed" in judged:
        return "failed", ""
    return ("unjudged", "a metric with a tolerance is missing") if "unjudged" in judged else ("passed", "")

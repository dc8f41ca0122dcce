"""Policies held against each other on the same requests: the declared loop, and its references.

All policies see the same data in the same order and train by the same function. Only requests that every
policy answered and that have an outcome are scored, by the losses and metrics of the model's task. Days are
the unit of all intervals, since flights of a day share its weather. A task without an outcome has no quality
to compare: what remains is how many requests were answered, and what that took.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.home.home import Home
from varv.home.model import (
    Comparison,
    Comparisons,
    Gain,
    Measure,
    Month,
    PolicyScore,
    of_every_task,
)
from varv.kernel.clock import Instant
from varv.kernel.codec import finite
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName, derived_seed
from varv.loop.leaking.model import LeakFinding
from varv.loop.views import LoopView
from varv.monitoring.views import MonitoringView
from varv.project import DECLARED
from varv.registry import RegistryView, VersionRegistered
from varv.serving.long_times import long_matured
from varv.serving.scores import GROUP, lists_of, score_columns, scores_in
from varv.stats.intervals import Numbers, block_bootstrap_mean, clustered_mean
from varv.tasks import Array, Task

COMPARISON_FILE = "comparison.json"
"""In the home folder: the last comparison, for programs."""
BLOCK_DAYS = 7
"""Days that are resampled together: weather and its backlog last for days."""

FEWEST_DAYS = 3
"""A month of fewer days, at the edge of a replay, has no interval worth showing."""
_NONE = Measure(None)


class PolicyRun(NamedTuple):
    """What is kept of a finished policy to compare it: its scored requests, and what it took."""

    model: ModelName
    task: Task
    rows: pl.DataFrame
    """``key``, or a number in its place, ``requested_at``, the columns of the score, ``outcome``, null where
    there never was one, and ``group`` if the task has one.
    """
    n_trainings: int
    n_retrains: int
    n_alarms: int
    work: int
    cpu_s: float | None
    leaks: tuple[LeakFinding, ...] = ()
    trained_at: tuple[Instant, ...] = ()
    """When its own trainings after the first were."""


class _Scored(NamedTuple):
    """What one policy said of the requests that are compared, and what turned out; rows in order of time."""

    at: pl.Series
    outcome: Array
    predicted: Array
    losses: Numbers
    days: Array
    groups: Array | None

    def at_rows(self, rows: Array) -> _Scored:
        """Return some of the rows."""
        groups = None if self.groups is None else self.groups[rows]
        return _Scored(
            self.at[rows],
            self.outcome[rows],
            self.predicted[rows],
            self.losses[rows],
            self.days[rows],
            groups,
        )


def policy_run(home: Home, name: ModelName, since: Instant, until: Instant, cpu_s: float | None) -> PolicyRun:
    """Return what a finished replay shows of a model's requests made from `since` on and mature at `until`.

    The last ones would be there only if their outcomes came early, and those are not a fair draw.
    """
    parts = home.models[name]
    task = parts.plan.outcome.task
    last = Instant(max(since, until - parts.loop.outcome.mature))
    group = () if task.group is None else (GROUP,)
    columns = (*score_columns(task), *group)
    rows = long_matured(parts.predictions, since, last, known_by=until, columns=columns)
    with home.views.reading(RegistryView) as registry:
        record = registry.models.get(name)
        versions = (
            [version.registered for version in record.versions.values()]
            if record
            else list[VersionRegistered]()
        )
    with home.views.reading(LoopView) as loops:
        n_retrains, leaks = loops.loops[name].n_retrains, tuple(loops.loops[name].leaks)
    with home.views.reading(MonitoringView) as monitoring:
        n_alarms = len(monitoring.alarms(name))
    own = [version for version in versions if not version.planted]
    work = sum(version.work for version in own)
    scored = rows.select("key", "requested_at", *score_columns(task), "outcome", *group)
    later = tuple(version.cutoff for version in own[1:])
    return PolicyRun(name, task, scored, len(own), n_retrains, n_alarms, work, cpu_s, leaks, later)


def compare(runs: Mapping[str, PolicyRun], *, since: Instant, until: Instant, seed: int) -> Comparison:
    """Return the comparison of finished policies, the declared one first.

    Raises
    ------
    FailedPrecondition
        If the requests that all policies answered are too few to compare on.
    """
    declared = runs[DECLARED]
    common = _common(runs)
    _require_enough(declared, common)
    return Comparison(
        model=declared.model,
        task=declared.task.spec,
        scored_from=since,
        scored_until=until,
        n_requests=declared.rows.height,
        n_without_outcome=int(declared.rows["outcome"].null_count()),
        policies=_scores(runs, common, seed) if declared.task.has_outcome else _answered(runs, common),
        leaks=declared.leaks,
    )


def compared_requests(runs: Mapping[str, PolicyRun]) -> pl.DataFrame:
    """Return what stands for the ``key`` of each request that finished policies are compared on."""
    return _common(runs).select("key")


def _require_enough(declared: PolicyRun, common: pl.DataFrame) -> None:
    model, task = declared.model, declared.task
    if common.is_empty():
        hint = f"see why no model was there to answer: varv why {model}"
        problem = "answered nothing that has an outcome" if task.has_outcome else "answered nothing"
        raise FailedPrecondition("replay", model, problem, hint=hint)
    if not task.has_outcome:
        return
    n_days = common["requested_at"].dt.date().n_unique()
    of_classes = task.outcome_dtype.is_integer()
    if n_days < 2 or (of_classes and common["outcome"].n_unique() < 2):
        more = ", and outcomes of both kinds" if of_classes else ""
        hint = f"end the replay later: intervals need two days{more}"
        raise FailedPrecondition(
            "replay", model, "has too little to be compared on", n_days=n_days, n=common.height, hint=hint
        )


def read_comparisons(data: bytes) -> Comparisons:
    """Return what a file of comparisons holds; earlier versions of varv wrote that of one model alone.

    Raises
    ------
    msgspec.MsgspecError
        If it holds something else.
    """
    found = msgspec.json.decode(data, type=dict[str, Any])
    models = found.get("models", [found])
    # From when every task was binary.
    lifted = [one if "task" in one else of_every_task(one) for one in models]
    return comparisons([msgspec.convert(one, type=Comparison) for one in lifted])


def comparisons(models: Sequence[Comparison]) -> Comparisons:
    """Return the comparisons of several models together."""
    warnings = dict.fromkeys(warning for one in models for warning in one.warnings)
    return Comparisons(warnings=tuple(warnings), models=tuple(models))


def without_cpu(comparison: Comparison) -> Comparison:
    """Return the comparison as the ledger keeps it: without what depends on the machine."""
    policies = tuple(msgspec.structs.replace(policy, cpu_s=None) for policy in comparison.policies)
    return msgspec.structs.replace(comparison, policies=policies)


def _common(runs: Mapping[str, PolicyRun]) -> pl.DataFrame:
    """Return the requests that every policy answered, with each one's score in columns that name it."""
    common: pl.DataFrame | None = None
    for name, run in runs.items():
        scores = [pl.col(column).alias(f"{name} {column}") for column in score_columns(run.task)]
        if common is None:
            common = run.rows.select(pl.exclude(score_columns(run.task)), *scores)
        else:
            common = common.join(
                run.rows.select("key", *scores), on="key", how="inner", maintain_order="left"
            )
    assert common is not None, "the declared policy is always there"
    task = runs[DECLARED].task
    if (lists := lists_of(common, task)) is not None:
        common = common.with_columns(pl.Series(GROUP, lists))
    return common.drop_nulls() if task.has_outcome else common.drop("outcome").drop_nulls()


def _answered(runs: Mapping[str, PolicyRun], common: pl.DataFrame) -> tuple[PolicyScore, ...]:
    return tuple(PolicyScore(name=name, n=common.height, **_spent(run)) for name, run in runs.items())


def _spent(run: PolicyRun) -> dict[str, Any]:
    return {
        "n_trainings": run.n_trainings,
        "n_retrains": run.n_retrains,
        "n_alarms": run.n_alarms,
        "work": run.work,
        "cpu_s": run.cpu_s,
    }


def _scores(runs: Mapping[str, PolicyRun], common: pl.DataFrame, seed: int) -> tuple[PolicyScore, ...]:
    task = runs[DECLARED].task
    scored = {name: _scored(common, task, name) for name in runs}
    rng = np.random.default_rng(derived_seed(seed, "comparison"))
    losses = {name: one.losses for name, one in scored.items()}
    by_day = pl.DataFrame({"day": common["requested_at"].dt.date(), **losses}).group_by(
        "day", maintain_order=True
    )
    daily = by_day.agg(pl.len().alias("n"), pl.exclude("day").sum())
    policies = []
    for name, run in runs.items():
        gains = tuple(_gain(name, other, daily, rng) for other in runs if other != name)
        policies.append(_score(name, task, scored[name], run, gains))
    return tuple(policies)


def _scored(common: pl.DataFrame, task: Task, name: str) -> _Scored:
    columns = [pl.col(f"{name} {column}").alias(column) for column in score_columns(task)]
    predicted = task.matrix(scores_in(common.select(columns), task))
    outcome = common["outcome"].to_numpy()
    groups = None if task.group is None else common[GROUP].to_numpy()
    assert task.loss is not None, "a task with an outcome has a loss"
    losses = task.loss.exact(outcome, predicted, groups)
    days = common["requested_at"].dt.date().to_physical().to_numpy()
    return _Scored(common["requested_at"], outcome, predicted, losses, days, groups)


def _gain(name: str, other: str, daily: pl.DataFrame, rng: np.random.Generator) -> Gain:
    sums, counts = (daily[other] - daily[name]).to_numpy(), daily["n"].to_numpy()
    found = block_bootstrap_mean(sums, counts, block=min(BLOCK_DAYS, len(sums)), rng=rng)
    return Gain(other, _six(found.value), _six(found.low), _six(found.high), len(sums))


def _score(name: str, task: Task, scored: _Scored, run: PolicyRun, gains: tuple[Gain, ...]) -> PolicyScore:
    loss = clustered_mean(scored.losses, scored.days)
    metrics = _metrics(task, scored)
    auc, ece = metrics.get("auc", _NONE), metrics.get("ece", _NONE)
    of_log = task.default_loss == "log_loss"
    value, low, high = map(_six, (loss.value, loss.low, loss.high))
    return PolicyScore(
        name=name,
        n=len(scored.outcome),
        log_loss=value if of_log else None,
        log_loss_low=low if of_log else None,
        log_loss_high=high if of_log else None,
        auc=auc.value,
        auc_low=auc.low,
        auc_high=auc.high,
        ece=ece.value,
        **_spent(run),
        auc_within_days=_auc_within_days(task, scored),
        gains=gains,
        months=_months(task, scored),
        loss=value,
        loss_low=low,
        loss_high=high,
        metrics=metrics,
    )


def _metrics(task: Task, scored: _Scored) -> dict[str, Measure]:
    given = scored.outcome, scored.predicted, scored.days, scored.groups
    estimates = {metric.name: metric.estimate(*given) for metric in task.metrics.values()}
    return {
        name: Measure(*(finite(_six(number)) for number in (found.value, found.low, found.high)))
        for name, found in estimates.items()
    }


def _months(task: Task, scored: _Scored) -> tuple[Month, ...]:
    found = []
    months = pl.DataFrame({"month": scored.at.dt.strftime("%Y-%m")}).with_row_index("row")
    for (month,), part in months.group_by("month", maintain_order=True):
        of_month = scored.at_rows(part["row"].to_numpy())
        if np.unique(of_month.days).size < FEWEST_DAYS:
            continue
        loss = clustered_mean(of_month.losses, of_month.days)
        metrics = _metrics(task, of_month)
        auc, rate = metrics.get("auc", _NONE), metrics.get("base_rate", _NONE)
        found.append(
            Month(
                str(month),
                len(of_month.outcome),
                rate.value,
                _six(loss.value) if task.default_loss == "log_loss" else None,
                finite(_six(loss.low)),
                finite(_six(loss.high)),
                auc=auc.value,
                auc_low=auc.low,
                auc_high=auc.high,
                auc_within_days=_auc_within_days(task, of_month),
                loss=_six(loss.value),
                metrics=metrics,
            )
        )
    return tuple(found)


def _auc_within_days(task: Task, scored: _Scored) -> float | None:
    """Return the mean AUC of the days that determine it, weighted by their rows, if the task has one."""
    metric = task.metrics.get("auc")
    if metric is None:
        return None
    starts = np.flatnonzero(np.diff(scored.days, prepend=scored.days[0] - 1))
    total, n = 0.0, 0
    for first, last in pairwise([*starts.tolist(), scored.days.size]):
        of_day = metric.value(scored.outcome[first:last], scored.predicted[first:last])
        if not math.isnan(of_day):
            total, n = total + of_day * (last - first), n + last - first
    return _six(total / n) if n else None


def _six(value: float) -> float:
    return round(float(value), 6)

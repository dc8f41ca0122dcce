"""Policies held against each other on the same requests: the declared loop, and references that follow the
calendar.

All policies see the same data in the same order and train by the same function. Only requests that every
policy answered and that have an outcome are scored. Days are the unit of all intervals, since flights of a
day share its weather.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.home.home import Home
from varv.home.model import Comparison, Comparisons, Gain, Month, PolicyScore
from varv.kernel.clock import Instant
from varv.kernel.codec import finite
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName, derived_seed
from varv.loop.model import LeakFinding
from varv.loop.views import LoopView
from varv.monitoring.views import MonitoringView
from varv.registry import RegistryView, VersionRegistered
from varv.stats.calibration import calibration_error, log_losses
from varv.stats.intervals import block_bootstrap_mean, clustered_mean
from varv.stats.ranking import auc, auc_interval

COMPARISON_FILE = "comparison.json"
"""In the home folder: the last comparison, for programs."""
DECLARED = "declared"
BLOCK_DAYS = 7
"""Days that are resampled together: weather and its backlog last for days."""

FEWEST_DAYS = 3
"""A month of fewer days, at the edge of a replay, has no interval worth showing."""


class PolicyRun(NamedTuple):
    """What is kept of a finished policy to compare it: its scored requests, and what it took."""

    model: ModelName
    rows: pl.DataFrame
    """``key``, ``requested_at``, ``score`` and ``outcome``; a null where there never was one."""
    n_trainings: int
    n_retrains: int
    n_alarms: int
    work: int
    cpu_s: float | None
    leaks: tuple[LeakFinding, ...] = ()


def policy_run(home: Home, name: ModelName, since: Instant, until: Instant, cpu_s: float | None) -> PolicyRun:
    """Return what a finished replay shows of a model's requests made from `since` on and mature at `until`.

    The last ones would be there only if their outcomes came early, and those are not a fair draw.
    """
    parts = home.models[name]
    last = Instant(max(since, until - parts.loop.outcome.mature))
    rows = parts.predictions.matured(since, last, known_by=until)
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
    scored = rows.select("key", "requested_at", "score", "outcome")
    return PolicyRun(name, scored, len(own), n_retrains, n_alarms, work, cpu_s, leaks)


def compare(runs: Mapping[str, PolicyRun], *, since: Instant, until: Instant, seed: int) -> Comparison:
    """Return the comparison of finished policies, the declared one first."""
    common = _common(runs)
    declared = runs[DECLARED]
    _require_enough(declared.model, common)
    losses = {name: log_losses(common["outcome"], common[name]) for name in runs}
    rng = np.random.default_rng(derived_seed(seed, "comparison"))
    by_day = pl.DataFrame({"day": common["requested_at"].dt.date(), **losses}).group_by(
        "day", maintain_order=True
    )
    daily = by_day.agg(pl.len().alias("n"), pl.exclude("day").sum())
    policies = []
    for name, run in runs.items():
        gains = tuple(_gain(name, other, daily, rng) for other in runs if other != name)
        policies.append(_score(name, common, losses[name], run, gains))
    return Comparison(
        model=declared.model,
        scored_from=since,
        scored_until=until,
        n_requests=declared.rows.height,
        n_without_outcome=int(declared.rows["outcome"].null_count()),
        policies=tuple(policies),
        leaks=declared.leaks,
    )


def _require_enough(model: ModelName, common: pl.DataFrame) -> None:
    if common.is_empty():
        hint = f"see why no model was there to answer: varv why {model}"
        raise FailedPrecondition("replay", model, "answered nothing that has an outcome", hint=hint)
    n_days = common["requested_at"].dt.date().n_unique()
    if n_days < 2 or common["outcome"].n_unique() < 2:
        hint = "end the replay later: intervals need two days, and outcomes of both kinds"
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
    found = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    if "models" in found:
        return msgspec.json.decode(data, type=Comparisons)
    return comparisons([msgspec.json.decode(data, type=Comparison)])


def comparisons(models: Sequence[Comparison]) -> Comparisons:
    """Return the comparisons of several models together."""
    warnings = dict.fromkeys(warning for one in models for warning in one.warnings)
    return Comparisons(warnings=tuple(warnings), models=tuple(models))


def without_cpu(comparison: Comparison) -> Comparison:
    """Return the comparison as the ledger keeps it: without what depends on the machine."""
    policies = tuple(msgspec.structs.replace(policy, cpu_s=None) for policy in comparison.policies)
    return msgspec.structs.replace(comparison, policies=policies)


def _common(runs: Mapping[str, PolicyRun]) -> pl.DataFrame:
    names = list(runs)
    first = runs[names[0]].rows.select("key", "requested_at", "outcome", pl.col("score").alias(names[0]))
    for name in names[1:]:
        other = runs[name].rows.select("key", pl.col("score").alias(name))
        first = first.join(other, on="key", how="inner", maintain_order="left")
    return first.drop_nulls()


def _gain(name: str, other: str, daily: pl.DataFrame, rng: np.random.Generator) -> Gain:
    sums, counts = (daily[other] - daily[name]).to_numpy(), daily["n"].to_numpy()
    found = block_bootstrap_mean(sums, counts, block=min(BLOCK_DAYS, len(sums)), rng=rng)
    return Gain(other, _six(found.value), _six(found.low), _six(found.high), len(sums))


def _score(
    name: str, common: pl.DataFrame, losses: np.ndarray, run: PolicyRun, gains: tuple[Gain, ...]
) -> PolicyScore:
    outcome, score = common["outcome"].to_numpy(), common[name].to_numpy()
    days = _day_numbers(common)
    loss = clustered_mean(losses, days)
    ranking = auc_interval(outcome, score, days)
    return PolicyScore(
        name=name,
        n=common.height,
        log_loss=_six(loss.value),
        log_loss_low=_six(loss.low),
        log_loss_high=_six(loss.high),
        auc=_six(ranking.value),
        auc_low=_six(ranking.low),
        auc_high=_six(ranking.high),
        ece=_six(calibration_error(outcome, score).value),
        n_trainings=run.n_trainings,
        n_retrains=run.n_retrains,
        n_alarms=run.n_alarms,
        work=run.work,
        cpu_s=run.cpu_s,
        auc_within_days=_within_days(outcome, score, days),
        gains=gains,
        months=_months(common.with_columns(score=common[name], loss=losses)),
    )


def _months(rows: pl.DataFrame) -> tuple[Month, ...]:
    found = []
    for (month,), part in rows.group_by(pl.col("requested_at").dt.strftime("%Y-%m"), maintain_order=True):
        days = _day_numbers(part)
        if np.unique(days).size < FEWEST_DAYS:
            continue
        outcome, score = part["outcome"].to_numpy(), part["score"].to_numpy()
        loss = clustered_mean(part["loss"].to_numpy(), days)
        ranking = auc_interval(outcome, score, days)
        found.append(
            Month(
                str(month),
                part.height,
                _six(outcome.mean()),
                _six(loss.value),
                finite(_six(loss.low)),
                finite(_six(loss.high)),
                auc=finite(_six(ranking.value)),
                auc_low=finite(_six(ranking.low)),
                auc_high=finite(_six(ranking.high)),
                auc_within_days=_within_days(outcome, score, days),
            )
        )
    return tuple(found)


def _within_days(outcome: np.ndarray, score: np.ndarray, days: np.ndarray) -> float | None:
    """The mean AUC of the days that have both outcomes, weighted by their rows; rows are in order of time."""
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    total, n = 0.0, 0
    for first, last in pairwise([*starts.tolist(), days.size]):
        of_day = auc(outcome[first:last], score[first:last])
        if not math.isnan(of_day):
            total, n = total + of_day * (last - first), n + last - first
    return _six(total / n) if n else None


def _day_numbers(rows: pl.DataFrame) -> np.ndarray:
    return rows["requested_at"].dt.date().to_physical().to_numpy()


def _six(value: float) -> float:
    return round(float(value), 6)

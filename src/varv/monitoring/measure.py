"""Measures a day: its quality, and on some days the drift of the trailing window against the version's
reference.

Pure functions of rows and a reference. Drift needs both an effect (PSI over the window) and evidence (days
differ by more than days do). It is harmful only when the rows of over-represented values lost more than is
usual: more than the predictions promised, or, where these promise nothing, more than rows of the same bins
lost in the reference. A warm summer drifts and harms nothing; it is noted and no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import DAY, Instant
from varv.kernel.codec import Event, finite
from varv.kernel.ids import ModelName, Version
from varv.monitoring.kinds import DriftMonitor, Monitor
from varv.monitoring.model import CANDIDATE, CHAMPION, DriftMeasured, FeatureDrift, Window
from varv.monitoring.performance import measure_performance
from varv.monitoring.plan import MonitorPlan
from varv.monitoring.reference import Codes, FeatureReference, Reference, codes, daily_counts
from varv.monitoring.rows import labelled_rows
from varv.monitoring.windows import closes, cut, day_numbers, require, trailing, within
from varv.serving.scores import answer_schema, renamed, score_columns
from varv.stats import drift, intervals
from varv.stats.intervals import Numbers
from varv.tasks import Task, task_of

NOTICE_RISK = 0.05
"""Chance that a year of looks notes drift of a feature that does not drift; alarms are held together over
all features, notices are not."""

OVER_REPRESENTED = 1.25
"""A bin is over-represented when its live share is this many times its reference share."""

_FEWEST_DRIFT_DAYS = 7
_NORMAL = 1.96


HARM_SHARE = 0.02
"""Harm from which drift is an alarm, as a share of the reference's own loss, where nothing is declared and
losses are not in nats: what .01 nats are of a usual log-loss of half a nat."""


@dataclass(frozen=True)
class _Costs:
    """What the labelled rows of a window lost, beyond what they promised if they promise something."""

    cost: Numbers
    promised: bool
    day: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    """Where the rows stand in the frame."""


def rows_of(day: Window, plan: MonitorPlan) -> Window:
    """Return the window whose rows `measure_day` looks at: the trailing drift window when drift is due, else
    the day.
    """
    drift_is_due = plan.drift is not None and closes(day, plan.drift.every)
    return trailing(day, plan.drift.window) if plan.drift and drift_is_due else day


def columns_of(day: Window, plan: MonitorPlan) -> tuple[str, ...] | None:
    """Return the columns of predictions that `measure_day` looks at on a day; None for all of them, when
    features are to be measured too.
    """
    others = any(type(one).measure is not Monitor.measure for one in plan.declared)
    if others or rows_of(day, plan) != day:
        return None
    return ("requested_at", *answer_schema(task_of(plan.task)))


class Answered(NamedTuple):
    """What one version answered: its rows, with its own score, and in which role."""

    version: Version
    role: str
    rows: pl.DataFrame


def answered(frame: pl.DataFrame, day: Window, task: Task) -> list[Answered]:
    """Return the rows of each version that answered requests of `day`, former champions first.

    Parameters
    ----------
    frame
        Predictions with their answers: ``requested_at``, ``champion`` and the columns of its score,
        ``version`` (who answered) and those of its score, and whatever else is to be measured.
    task
        What the model predicts, which says what those columns are.

    Notes
    -----
    A version that was champion on the day gets every request of its time as champion, since it scored those
    that a candidate answered too; rows of other days in `frame` come along, for drift. Another one gets the
    requests of the day that it answered. What was answered otherwise than by a version (``answered_by``) is
    nobody's.

    Raises
    ------
    InvalidInput
        If a column is missing.
    """
    scores = (*score_columns(task, "champion_score"), *score_columns(task))
    require(frame, "requested_at", "champion", "version", *scores)
    of_day = within(frame, day)
    own = of_day.filter(pl.col("answered_by").is_null()) if "answered_by" in of_day.columns else of_day
    champions = of_day["champion"].drop_nulls().unique().sort().to_list()
    others = sorted(set(of_day["version"].drop_nulls().unique().to_list()) - set(champions))
    found = [
        Answered(
            Version(version),
            CHAMPION,
            renamed(_of_champion(frame, version), task, "champion_score", "score"),
        )
        for version in champions
    ]
    return found + [
        Answered(Version(version), CANDIDATE, own.filter(pl.col("version") == version)) for version in others
    ]


def _of_champion(frame: pl.DataFrame, version: int) -> pl.DataFrame:
    champions = frame["champion"]
    if not champions.null_count() and champions.min() == champions.max() == version:
        return frame  # on most days nobody else was
    return frame.filter(pl.col("champion") == version)


def measure_answered(part: Answered, day: Window, *, model: ModelName, plan: MonitorPlan) -> Event:
    """Return the performance of a version on one mature day, without a reference.

    Raises
    ------
    InvalidInput
        If a column is missing or not of its type.
    """
    return _performance(part.rows, day, plan, model=model, version=part.version, role=part.role)


def _performance(
    frame: pl.DataFrame, day: Window, plan: MonitorPlan, *, model: ModelName, version: Version, role: str
) -> Event:
    return measure_performance(
        cut(frame, day, known_by=Instant(day.end + plan.maturity)),
        day,
        task=task_of(plan.task),
        model=model,
        version=version,
        role=role,
        monitors=plan.declared,
    )


def measure_day(frame: pl.DataFrame, day: Window, reference: Reference, plan: MonitorPlan) -> list[Event]:
    """Return what is to be stated and told to the monitor about one mature day.

    Parameters
    ----------
    frame
        Predictions of the reference's version, covering at least `rows_of` the day: ``requested_at``,
        ``known_at``, the columns of the score, ``outcome`` and the features. Rows outside the windows are
        passed over, and so are outcomes that came later than the plan's maturity after the end of `day`.
    day
        One of `windows.matured`.

    Returns
    -------
    list of Event
        `PerformanceMeasured`, followed by `DriftMeasured` on the days on which it is due and covered by a
        week of rows.

    Raises
    ------
    InvalidInput
        If a column is missing or not of its type.
    """
    model, version = reference.model, reference.version
    found = [_performance(frame, day, plan, model=model, version=version, role=CHAMPION)]
    window = rows_of(day, plan)
    if plan.drift and window != day:
        rows = cut(frame, window, known_by=Instant(day.end + plan.maturity))
        measured = measure_drift(rows, window, reference, plan.drift, task=task_of(plan.task))
        found += [measured] if measured else []
    return found


def measure_drift(
    frame: pl.DataFrame, window: Window, reference: Reference, monitor: DriftMonitor, *, task: Task
) -> DriftMeasured | None:
    """Return the drift of every feature over the rows of a window; None if fewer than 7 days have rows.

    Notes
    -----
    A feature that does not drift is noted in at most `NOTICE_RISK` of years (union bound over the looks of a
    year). An alarm needs noted drift *and* harm; noted drift depends on the features alone, so given it the
    harm tests of a look are held together by Holm at level every / false_alarm_every, whatever the features
    have in common. Without outcomes there is no harm, so drift is a notice only.

    Raises
    ------
    InvalidInput
        If a feature is missing or has changed its type.
    """
    require(frame, *(feature.name for feature in reference.features))
    days = np.asarray(day_numbers(frame), dtype=np.int64)
    costs = _costs(frame, task, reference.model)
    looks = math.ceil(365 * DAY / monitor.every)
    parts = [codes(frame[feature.name], feature) for feature in reference.features]
    tables = [daily_counts(code, n_bins, days) for code, n_bins in parts]
    n_days = max((len(table) for table in tables), default=0)
    if n_days < _FEWEST_DRIFT_DAYS:
        return None
    p_values = [
        drift.day_shift(feature.profile, drift.day_profile(table), looks=looks)
        for feature, table in zip(reference.features, tables, strict=True)
    ]
    found = []
    for feature, (code, n_bins), p_value in zip(reference.features, parts, p_values, strict=True):
        live = np.bincount(code, minlength=n_bins)
        one = _effect(feature, live, p_value)
        one = msgspec.structs.replace(one, drifted=one.psi >= monitor.psi and p_value <= NOTICE_RISK)
        over = _over_represented(feature, live)
        found.append(_harm(one, over, code[costs.places], costs, feature, reference) if costs else one)
    return DriftMeasured(
        model=reference.model,
        version=reference.version,
        window=window,
        n=frame.height,
        n_days=n_days,
        features=_harmful(found, monitor, _least_harm(monitor, reference)),
        share_drifted=sum(one.drifted for one in found) / len(found) if found else 0.0,
        judged=task.has_outcome,
    )


def _costs(frame: pl.DataFrame, task: Task, model: ModelName) -> _Costs | None:
    """Return what the labelled rows lost; None where nothing can be lost."""
    if task.loss is None:
        return None
    rows = labelled_rows(frame, task, model)
    excess = task.excess(rows.outcome, rows.predicted)
    cost = task.loss.exact(rows.outcome, rows.predicted, rows.groups) if excess is None else excess
    return _Costs(cost, excess is not None, rows.day, rows.places)


def _effect(feature: FeatureReference, live: Codes, p_value: float) -> FeatureDrift:
    ks = None
    if feature.categories is None:
        before, now = (np.array(part[:-1], dtype=np.float64) for part in (feature.counts, live))
        if before.sum() and now.sum():
            ks = float(np.max(np.abs(np.cumsum(before / before.sum() - now / now.sum()))))
    return FeatureDrift(
        name=feature.name,
        psi=drift.stability_index(feature.counts, live),
        ks=ks,
        p_value=p_value,
        missing_share=float(live[-1] / live.sum()),
        drifted=False,
    )


def _over_represented(feature: FeatureReference, live: Codes) -> npt.NDArray[np.bool_]:
    return drift.smoothed_shares(live) > OVER_REPRESENTED * drift.smoothed_shares(feature.counts)


def _harm(
    one: FeatureDrift,
    over: npt.NDArray[np.bool_],
    code: Codes,
    costs: _Costs,
    feature: FeatureReference,
    reference: Reference,
) -> FeatureDrift:
    """Return the drift with what the rows of over-represented bins lost beyond what is usual.

    Parameters
    ----------
    over
        Which bins are over-represented, shape (bins,).
    code
        The bin of each row of `costs`.
    """
    there = over[code]
    if not one.drifted or not there.any():
        return one
    cost, day = costs.cost[there], costs.day[there]
    # A version that was shown to have excess loss when it was approved is judged by what came on top.
    above, above_error = reference.shown_excess, 0.0
    if not costs.promised:
        if feature.losses is None:
            return one
        usual, above_error = feature.losses.at(code[there])
        cost, above = cost - usual, 0.0
    estimate = intervals.clustered_mean(cost, day)
    p_value = intervals.exceedance_p_value(
        cost, day, above=above, above_error=above_error, correlation=reference.excess_correlation
    )
    below = math.hypot(estimate.value - estimate.low, _NORMAL * above_error)
    return msgspec.structs.replace(
        one,
        harm=finite(estimate.value),
        harm_low=finite(estimate.value - below) if above_error else finite(estimate.low),
        harm_p_value=p_value,
        harm_share=float(there.mean()),
    )


def _least_harm(monitor: DriftMonitor, reference: Reference) -> float:
    """Return the harm from which drift is an alarm, in the unit of the default loss."""
    if monitor.harm is not None:
        return monitor.harm
    loss = reference.performance.loss()
    return math.inf if loss is None else HARM_SHARE * loss.value


def _harmful(found: list[FeatureDrift], monitor: DriftMonitor, least: float) -> tuple[FeatureDrift, ...]:
    judged = {one.name: one.harm_p_value for one in found if one.harm_p_value is not None}
    joint = dict(zip(judged, drift.holm(list(judged.values())), strict=True))
    level = monitor.every / monitor.false_alarm_every
    return tuple(
        msgspec.structs.replace(one, harmful=(one.harm or 0.0) >= least and joint.get(one.name, 1.0) <= level)
        for one in found
    )

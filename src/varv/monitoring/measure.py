"""Measures a day: its quality, and on some days the drift of the trailing window against the version's
reference.

Pure functions of rows and a reference. Drift needs both an effect (PSI over the window) and evidence (days
differ by more than days do). It is harmful only when the rows of over-represented values have excess loss:
the model promised less loss there than it made. A warm summer drifts and harms nothing; it is noted and no
more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import DAY, Duration, Instant
from varv.kernel.codec import Event, finite
from varv.kernel.ids import ModelName, Version
from varv.monitoring.model import CANDIDATE, CHAMPION, DriftMeasured, FeatureDrift, Window
from varv.monitoring.monitor import DriftMonitor, MonitorPlan
from varv.monitoring.performance import measure_performance
from varv.monitoring.reference import Codes, FeatureReference, Reference, codes, daily_counts
from varv.monitoring.windows import closes, cut, day_numbers, require, trailing
from varv.stats import drift, intervals
from varv.stats.calibration import excess_losses

NOTICE_RISK = 0.05
"""Chance that a year of looks notes drift of a feature that does not drift; alarms are held together over
all features, notices are not."""

OVER_REPRESENTED = 1.25
"""A bin is over-represented when its live share is this many times its reference share."""

_FEWEST_DRIFT_DAYS = 7


@dataclass(frozen=True)
class _Labelled:
    """Rows of the window with score and outcome: their excess loss, their day, and where they stand in the
    frame.
    """

    excess: npt.NDArray[np.float64]
    day: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


def rows_of(day: Window, plan: MonitorPlan) -> Window:
    """Return the window whose rows `measure_day` looks at: the trailing drift window when drift is due, else
    the day.
    """
    drift_is_due = plan.drift is not None and closes(day, plan.drift.every)
    return trailing(day, plan.drift.window) if plan.drift and drift_is_due else day


class Answered(NamedTuple):
    """What one version answered: its rows, with its own ``score``, and in which role."""

    version: Version
    role: str
    rows: pl.DataFrame


def answered(frame: pl.DataFrame, day: Window) -> list[Answered]:
    """Return the rows of each version that answered requests of `day`, former champions first.

    Parameters
    ----------
    frame
        Predictions with their answers: ``requested_at``, ``champion`` and ``champion_score``, ``version``
        (who answered) and ``score``, and whatever else is to be measured.

    Notes
    -----
    A version that was champion on the day gets every request of its time as champion, since it scored those
    that a candidate answered too; rows of other days in `frame` come along, for drift. Another one gets the
    requests of the day that it answered.

    Raises
    ------
    InvalidInput
        If a column is missing.
    """
    require(frame, "requested_at", "champion", "champion_score", "version", "score")
    requested = pl.col("requested_at").to_physical()
    of_day = frame.filter((requested >= day.start) & (requested < day.end))
    champions = of_day["champion"].drop_nulls().unique().sort().to_list()
    others = sorted(set(of_day["version"].drop_nulls().unique().to_list()) - set(champions))
    found = [
        Answered(
            Version(version),
            CHAMPION,
            frame.filter(pl.col("champion") == version).with_columns(score=pl.col("champion_score")),
        )
        for version in champions
    ]
    return found + [
        Answered(Version(version), CANDIDATE, of_day.filter(pl.col("version") == version))
        for version in others
    ]


def measure_answered(part: Answered, day: Window, *, model: ModelName, maturity: Duration) -> Event:
    """Return the performance of a version on one mature day, without a reference.

    Raises
    ------
    InvalidInput
        If a column is missing or not of its type.
    """
    rows = cut(part.rows, day, known_by=Instant(day.end + maturity))
    return measure_performance(rows, day, model=model, version=part.version, role=part.role)


def measure_day(frame: pl.DataFrame, day: Window, reference: Reference, plan: MonitorPlan) -> list[Event]:
    """Return what is to be stated and told to the monitor about one mature day.

    Parameters
    ----------
    frame
        Predictions of the reference's version, covering at least `rows_of` the day: ``requested_at``,
        ``known_at``, ``score``, ``outcome`` and the features. Rows outside the windows are passed over, and
        so are outcomes that came later than the plan's maturity after the end of `day`.
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
    known_by = Instant(day.end + plan.maturity)
    of_day = cut(frame, day, known_by=known_by)
    found: list[Event] = [measure_performance(of_day, day, model=reference.model, version=reference.version)]
    window = rows_of(day, plan)
    if plan.drift and window != day:
        measured = measure_drift(cut(frame, window, known_by=known_by), window, reference, plan.drift)
        found += [measured] if measured else []
    return found


def measure_drift(
    frame: pl.DataFrame, window: Window, reference: Reference, monitor: DriftMonitor
) -> DriftMeasured | None:
    """Return the drift of every feature over the rows of a window; None if fewer than 7 days have rows.

    Notes
    -----
    A feature that does not drift is noted in at most `NOTICE_RISK` of years (union bound over the looks of a
    year). An alarm needs noted drift *and* harm; noted drift depends on the features alone, so given it the
    harm tests of a look are held together by Holm at level every / false_alarm_every, whatever the features
    have in common.

    Raises
    ------
    InvalidInput
        If a feature is missing or has changed its type.
    """
    require(frame, *(feature.name for feature in reference.features))
    days = np.asarray(day_numbers(frame), dtype=np.int64)
    labelled = _labelled(frame, days)
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
        found.append(_harm(one, _over_represented(feature, live)[code], labelled, reference))
    return DriftMeasured(
        model=reference.model,
        version=reference.version,
        window=window,
        n=frame.height,
        n_days=n_days,
        features=_harmful(found, monitor),
        share_drifted=sum(one.drifted for one in found) / len(found),
    )


def _labelled(frame: pl.DataFrame, days: npt.NDArray[np.int64]) -> _Labelled:
    usable = (frame["score"].is_not_null() & frame["outcome"].is_not_null()).to_numpy()
    part = frame.filter(usable)
    excess = excess_losses(
        part["outcome"].cast(pl.Float64).to_numpy(), part["score"].cast(pl.Float64).to_numpy()
    )
    return _Labelled(excess, days[usable], np.flatnonzero(usable))


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
    one: FeatureDrift, over: npt.NDArray[np.bool_], labelled: _Labelled, reference: Reference
) -> FeatureDrift:
    there = over[labelled.rows]
    if not one.drifted or not there.any():
        return one
    excess, day = labelled.excess[there], labelled.day[there]
    estimate = intervals.clustered_mean(excess, day)
    # A version that was shown to have excess loss when it was approved is judged by what came on top.
    usual = reference.shown_excess
    p_value = intervals.exceedance_p_value(excess, day, above=usual, correlation=reference.excess_correlation)
    return msgspec.structs.replace(
        one,
        harm=finite(estimate.value),
        harm_low=finite(estimate.low),
        harm_p_value=p_value,
        harm_share=float(there.mean()),
    )


def _harmful(found: list[FeatureDrift], monitor: DriftMonitor) -> tuple[FeatureDrift, ...]:
    judged = {one.name: one.harm_p_value for one in found if one.harm_p_value is not None}
    joint = dict(zip(judged, drift.holm(list(judged.values())), strict=True))
    level = monitor.every / monitor.false_alarm_every
    return tuple(
        msgspec.structs.replace(
            one, harmful=(one.harm or 0.0) >= monitor.harm and joint.get(one.name, 1.0) <= level
        )
        for one in found
    )

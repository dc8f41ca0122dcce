"""What a user declares to be watched: ``monitor.performance("auc")``, ``monitor.calibration()``,
``monitor.drift()``.

Declarations are checked when they are written and are kept in the ledger as they stand. Each states how often
it may cry wolf: ``false_alarm_every="200d"`` is the mean time between false alarms while nothing has changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from varv.kernel.clock import DAY, Duration, duration, spoken
from varv.kernel.errors import InvalidDeclaration, InvalidInput

METRICS = ("auc", "log_loss")


class PerformanceMonitor(msgspec.Struct, frozen=True, tag="performance"):
    """Watches the daily excess loss, and the daily AUC too where `metric` is ``"auc"``. Made by
    `performance`.
    """

    metric: str
    tolerance: float
    false_alarm_every: Duration


class CalibrationMonitor(msgspec.Struct, frozen=True, tag="calibration"):
    """Watches the daily mean of outcome less score, upwards and downwards. Made by `calibration`."""

    tolerance: float
    false_alarm_every: Duration


class DriftMonitor(msgspec.Struct, frozen=True, tag="drift"):
    """Compares the features of a trailing window with the reference. Made by `drift`."""

    window: Duration
    every: Duration
    psi: float
    harm: float
    false_alarm_every: Duration


Monitor = PerformanceMonitor | CalibrationMonitor | DriftMonitor


class MonitorPlan(msgspec.Struct, frozen=True):
    """Everything watched about one model. A day is measured `maturity` after its end, whatever is still
    missing.
    """

    monitors: tuple[Monitor, ...]
    maturity: Duration = DAY

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of alarm that may be raised: ``"performance"``, ``"calibration"``, ``"drift"``."""
        return frozenset(str(one.__struct_config__.tag) for one in self.monitors)

    @property
    def drift(self) -> DriftMonitor | None:
        """The declared drift monitor, if any."""
        return next((one for one in self.monitors if isinstance(one, DriftMonitor)), None)


def performance(
    metric: str = "log_loss", *, tolerance: float = 0.0, false_alarm_every: str = "200d"
) -> PerformanceMonitor:
    """Raise an alarm when predictions get worse than the reference by more than chance explains.

    Parameters
    ----------
    metric
        ``"log_loss"`` watches the excess loss: the loss beyond what the scores themselves promise, which the
        mix of requests does not move. ``"auc"`` watches the ranking as well.
    tolerance
        Daily worsening of `metric` that is let pass before anything counts.
    false_alarm_every
        Mean time between false alarms, 20 days at least.

    Raises
    ------
    InvalidDeclaration
        If an argument is not allowed.

    Examples
    --------
    >>> performance("auc").metric
    'auc'
    """
    if metric not in METRICS:
        hint = f"choose one of {', '.join(METRICS)}"
        raise InvalidDeclaration(
            "monitor", "performance", "watches an unknown metric", metric=metric, hint=hint
        )
    return PerformanceMonitor(
        metric,
        _number("performance", "tolerance", tolerance, 0.0, 1.0),
        _every("performance", false_alarm_every),
    )


def calibration(*, tolerance: float = 0.0, false_alarm_every: str = "200d") -> CalibrationMonitor:
    """Raise an alarm when outcomes become more or less frequent than predicted.

    Parameters
    ----------
    tolerance
        Daily gap between the outcome rate and the mean score that is let pass.
    false_alarm_every
        Mean time between false alarms, 20 days at least.

    Raises
    ------
    InvalidDeclaration
        If an argument is not allowed.
    """
    return CalibrationMonitor(
        _number("calibration", "tolerance", tolerance, 0.0, 1.0), _every("calibration", false_alarm_every)
    )


def drift(
    *,
    window: str = "14d",
    every: str = "7d",
    psi: float = 0.2,
    harm: float = 0.01,
    false_alarm_every: str = "3650d",
) -> DriftMonitor:
    """Note every drifted feature, and raise an alarm for one whose drift makes predictions worse.

    Parameters
    ----------
    window
        The trailing days that are compared with the reference, 7 at least.
    every
        How often that is done, in whole days.
    psi
        Population stability index in nats from which a significant drift is noted.
    harm
        Excess loss in nats, over rows of over-represented values, from which significant harm is an alarm.
    false_alarm_every
        Mean time between false alarms over all features together, 20 days at least. Ten years unless
        declared: a season drifts for months, and harm to the predictions as a whole is seen by `performance`.

    Raises
    ------
    InvalidDeclaration
        If an argument is not allowed.
    """
    span, step = _days("window", window, least=7), _days("every", every, least=1)
    wolf = _every("drift", false_alarm_every)
    if step > wolf:
        raise InvalidDeclaration(
            "monitor", "drift", "looks more rarely than it may raise false alarms", every=every
        )
    return DriftMonitor(
        span, step, _number("drift", "psi", psi, 0.0, 100.0), _number("drift", "harm", harm, 0.0, 14.0), wolf
    )


def plan(monitors: Iterable[Monitor], *, maturity: str | Duration = DAY) -> MonitorPlan:
    """Return the plan of one model; each kind of monitor at most once.

    Parameters
    ----------
    monitors
        What `performance`, `calibration` and `drift` returned.
    maturity
        How long after its end a day waits for outcomes.

    Raises
    ------
    InvalidDeclaration
        If something is not a monitor, or is declared twice.
    """
    chosen = tuple(monitors)
    seen = set()
    for one in chosen:
        if not isinstance(one, Monitor):
            hint = "use varv.monitor.performance(), calibration() or drift()"
            raise InvalidDeclaration("monitor", repr(one)[:60], "is not a monitor", hint=hint)
        kind = type(one).__name__
        if kind in seen:
            raise InvalidDeclaration(
                "monitor", kind, "is declared twice", hint="keep one; performance('auc') covers both"
            )
        seen.add(kind)
    return MonitorPlan(chosen, _duration("maturity", maturity))


def _duration(argument: str, text: str | Duration) -> Duration:
    try:
        return duration(text)
    except InvalidInput as error:
        raise InvalidDeclaration("monitor", argument, error.problem, given=text, hint=error.hint) from None


def _every(kind: str, text: str) -> Duration:
    span = _duration("false_alarm_every", text)
    if not 20 * DAY <= span <= 36_500 * DAY:
        hint = "write 200d; a rarer false alarm means a later true one"
        raise InvalidDeclaration(
            "monitor", kind, "has false_alarm_every outside 20 days to 100 years", given=text, hint=hint
        )
    return span


def _days(argument: str, text: str, *, least: int) -> Duration:
    span = _duration(argument, text)
    if span % DAY or not least * DAY <= span <= 366 * DAY:
        problem = f"has {argument} that is not a whole number of days from {least} to 366"
        raise InvalidDeclaration("monitor", "drift", problem, given=spoken(span), hint="write 7d or 14d")
    return span


def _number(kind: str, argument: str, value: float, low: float, high: float) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not low <= value <= high:
        problem = f"has {argument} outside {low:g} to {high:g}"
        raise InvalidDeclaration("monitor", kind, problem, given=value, hint="give a number in that range")
    return float(value)

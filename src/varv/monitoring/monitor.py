"""What a user declares to be watched: ``monitor.performance("auc")``, ``monitor.calibration()``,
``monitor.drift()``.

Declarations are checked when they are written, and once more against the task when they become a plan. Each
states how often it may cry wolf: ``false_alarm_every="200d"`` is the mean time between false alarms while
nothing has changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from varv.kernel.clock import DAY, Duration, duration, spoken
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound
from varv.monitoring.kinds import (
    KINDS,
    CalibrationMonitor,
    DriftMonitor,
    Monitor,
    PerformanceMonitor,
    tag_of,
)
from varv.monitoring.plan import MonitorPlan
from varv.tasks import Task, task_of


def performance(
    metric: str = "", *, tolerance: float = 0.0, false_alarm_every: str = "200d"
) -> PerformanceMonitor:
    """Raise an alarm when predictions get worse than the reference by more than chance explains.

    Parameters
    ----------
    metric
        The task's default loss unless said otherwise. Where predictions promise a loss, as probabilities do,
        the loss beyond that promise is watched, which the mix of requests does not move. Another loss of the
        task, or a performance signal of it such as ``"auc"`` or ``"accuracy"``, is watched as well.
    tolerance
        Daily worsening of `metric` that is let pass before anything counts, in its unit.
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
    if not isinstance(metric, str):
        hint = "name a loss or a signal of the task, or leave it out"
        raise InvalidDeclaration(
            "monitor", "performance", "has a metric that is no name", metric=repr(metric)[:60], hint=hint
        )
    return PerformanceMonitor(
        metric=metric,
        tolerance=_number("performance", "tolerance", tolerance),
        false_alarm_every=_every("performance", false_alarm_every),
    )


def calibration(*, tolerance: float = 0.0, false_alarm_every: str = "200d") -> CalibrationMonitor:
    """Raise an alarm when outcomes lie above or below what was predicted for longer than chance explains.

    Parameters
    ----------
    tolerance
        Daily gap between outcomes and predictions that is let pass: a share for probabilities and quantiles,
        else in the unit of the outcome.
    false_alarm_every
        Mean time between false alarms, 20 days at least.

    Raises
    ------
    InvalidDeclaration
        If an argument is not allowed.
    """
    return CalibrationMonitor(
        tolerance=_number("calibration", "tolerance", tolerance),
        false_alarm_every=_every("calibration", false_alarm_every),
    )


def drift(
    *,
    window: str = "14d",
    every: str = "7d",
    psi: float = 0.2,
    harm: float | None = None,
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
        Loss beyond what is usual, over rows of over-represented values and in the unit of the task's default
        loss, from which significant harm is an alarm: 0.01 where that unit is nats, else a fiftieth of the
        loss that the version showed when it was approved. A task without outcomes has no harm, and its drift
        is noted and no more.
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
        problem = "has `every` longer than `false_alarm_every`"
        raise InvalidDeclaration("monitor", "drift", problem, every=every, hint="look more often")
    return DriftMonitor(
        window=span,
        every=step,
        psi=_number("drift", "psi", psi, most=100.0),
        harm=None if harm is None else _number("drift", "harm", harm),
        false_alarm_every=wolf,
    )


def standard(task: Task) -> tuple[Monitor, ...]:
    """Return what is watched of a task unless said otherwise: all that it has signals of, and drift.

    Examples
    --------
    >>> [type(one).__name__ for one in standard(task_of("score"))]
    ['DriftMonitor']
    """
    kinds = {signal.kind for signal in task.signals}
    watched: list[Monitor] = [performance()] if "performance" in kinds else []
    watched += [calibration()] if "calibration" in kinds else []
    return (*watched, drift())


def plan(
    monitors: Iterable[Monitor], *, task: Task | None = None, maturity: str | Duration = DAY
) -> MonitorPlan:
    """Return the plan of one model; each kind of monitor at most once.

    Parameters
    ----------
    monitors
        What `performance`, `calibration` and `drift` returned, or monitors of other packages.
    task
        What the model predicts; binary unless said otherwise.
    maturity
        How long after its end a day waits for outcomes.

    Raises
    ------
    InvalidDeclaration
        If something is not a monitor, is declared twice, or watches what the task does not have.
    """
    chosen = task_of("binary") if task is None else task
    fitted: dict[str, Monitor] = {}
    subjects: set[str] = set()
    for one in monitors:
        if not isinstance(one, Monitor):
            hint = "use varv.monitor.performance(), calibration() or drift()"
            raise InvalidDeclaration("monitor", repr(one)[:60], "is not a monitor", hint=hint)
        kind = tag_of(type(one))
        _require_registered(kind, one)
        if kind in fitted:
            hint = "keep one; performance('auc') covers both" if kind == "performance" else "keep one"
            raise InvalidDeclaration("monitor", kind, "is declared twice", hint=hint)
        fitted[kind] = one.fitted(chosen)
        for watch in fitted[kind].watches(chosen):
            if watch.subject in subjects:
                problem = f"raises alarms on {watch.subject!r}, as another monitor does"
                raise InvalidDeclaration("monitor", kind, problem, hint="give its subject another name")
            subjects.add(watch.subject)
    # Where no outcome ever comes, nothing has to mature.
    after = Duration(0) if maturity == 0 else _duration("maturity", maturity)
    return MonitorPlan.of(fitted.values(), maturity=after, task=chosen)


def _require_registered(kind: str, one: Monitor) -> None:
    """Check that the ledger's tag of a monitor leads back to its class."""
    try:
        registered = KINDS.load(kind)
    except NotFound:
        registered = None
    if registered is not type(one):
        name = type(one).__name__
        hint = f'register it: [project.entry-points."varv.monitors"] {kind} = "...:{name}"'
        raise InvalidDeclaration("monitor", name, f"is not registered as {kind!r}", hint=hint)


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


def _number(kind: str, argument: str, value: float, *, most: float = math.inf) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not 0 <= value <= most:
        span = "below 0 or not finite" if math.isinf(most) else f"outside 0 to {most:g}"
        problem = f"has {argument} {span}"
        raise InvalidDeclaration("monitor", kind, problem, given=value, hint="give a number in that range")
    return float(value)

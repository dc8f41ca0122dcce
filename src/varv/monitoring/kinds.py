"""The kinds of monitor: what each of them watches of a task, and the door by which other packages bring
theirs.

A kind is a struct, kept in the ledger as it was declared, under its tag. Ours are registered in the entry
point group ``varv.monitors``, where others register theirs. What a monitor watches are numbers of a day
(`Measured`); when one of them is an alarm is decided in `monitoring.signals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeGuard

import msgspec
import polars as pl

from varv.kernel.clock import Duration
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.plugins import Plugins
from varv.tasks import Loss, SignalSpec, Task

NATS = "nats"
LEAST_HARM_NATS = 0.01
"""Harm of drift from which it is an alarm, where losses are in nats and nothing else is declared."""
MOST_HARM_NATS = 14.0
MARGIN_OF_LOSSES = 2.0
"""As `SignalSpec.margin`, for a loss that is no signal of the task."""


class Measured(msgspec.Struct, frozen=True):
    """One number of a window with its 95 % interval, clustered by the hour; None is what was not computed."""

    value: float
    low: float | None = None
    high: float | None = None
    error: float | None = None
    """Standard error from the rows alone; None where the number cannot be watched, or rows are too few."""


class Watch(NamedTuple):
    """A number of a day that a monitor watches in one direction."""

    source: str
    """The number's name in what was measured."""
    subject: str
    """What an alarm of it is called; no two of a model are alike."""
    direction: int
    """1 when more is worse, -1 when less is."""
    kind: str
    """The kind of the alarm: ``"performance"``, ``"calibration"``, or one of your own."""
    learns_level: bool
    """Whether what is normal has to be learned from days; else it is zero."""
    margin: float
    """As `SignalSpec.margin`."""
    tolerance: float = 0.0
    label: str = ""
    unit: str = ""
    digits: int = 3


class Monitor(msgspec.Struct, frozen=True, kw_only=True):
    """Something declared to be watched. Every kind is a subclass with a tag, the name of its entry point."""

    false_alarm_every: Duration
    """Mean time between false alarms; what it watches shares them."""

    def fitted(self, task: Task) -> Monitor:
        """Return the monitor with what it leaves open said for `task`.

        Raises
        ------
        InvalidDeclaration
            If the task has nothing that it could watch.
        """
        return self

    def watches(self, task: Task) -> tuple[Watch, ...]:
        """Return what it watches day by day of a model of `task`."""
        return ()

    def measure(self, rows: pl.DataFrame, task: Task) -> Mapping[str, Measured]:
        """Return the numbers of a day that it watches and the task does not measure, by name.

        Parameters
        ----------
        rows
            The requests of the day that have a score and an outcome, at least one: ``requested_at``, the
            columns of the score, ``outcome`` as the task has it, and the features where they were kept.

        Notes
        -----
        A number without an `error` is shown and not watched. It must follow from the rows alone, so that a
        replay measures the same.
        """
        return {}


class PerformanceMonitor(Monitor, frozen=True, tag="performance", kw_only=True):
    """Watches what tells of the default loss, and `metric` too if that is something else. Made by
    `monitor.performance`.
    """

    metric: str
    tolerance: float

    def fitted(self, task: Task) -> PerformanceMonitor:
        """Return the monitor with the task's default loss as the metric, unless it has one."""
        signals = {one.name: one for one in task.signals if one.kind == "performance"}
        if not signals:
            hint = "leave it out of monitors; drift() is watched without outcomes"
            problem = f"has nothing to watch: a prediction of task {task.name!r} is compared with nothing"
            raise InvalidDeclaration("monitor", "performance", problem, hint=hint)
        metric = self.metric or str(task.default_loss)
        allowed = tuple(dict.fromkeys([*task.losses, *signals]))
        if metric not in allowed:
            hint = f"choose one of {', '.join(allowed)}"
            problem = f"watches {metric!r}, which task {task.name!r} does not have"
            raise InvalidDeclaration("monitor", "performance", problem, metric=metric, hint=hint)
        found = msgspec.structs.replace(self, metric=metric)
        _require_tolerance("performance", self.tolerance, found.watches(task)[-1].unit)
        return found

    def watches(self, task: Task) -> tuple[Watch, ...]:
        """Return the first performance signal of the task, and the metric beside it."""
        first, *others = [one for one in task.signals if one.kind == "performance"]
        if self.metric in (first.name, task.default_loss):
            return _of_signal(first, self.tolerance)
        for signal in others:
            if signal.name == self.metric:
                return (*_of_signal(first, 0.0), *_of_signal(signal, self.tolerance))
        return (*_of_signal(first, 0.0), _of_loss(task.losses[self.metric], self.tolerance))


class CalibrationMonitor(Monitor, frozen=True, tag="calibration", kw_only=True):
    """Watches by how much outcomes lie above what was predicted, upwards and downwards. Made by
    `monitor.calibration`.
    """

    tolerance: float

    def fitted(self, task: Task) -> CalibrationMonitor:
        """Return the monitor, if predictions of the task say something that outcomes can lie above."""
        watches = self.watches(task)
        if not watches:
            hint = "leave it out of monitors"
            problem = (
                f"has nothing to watch: a prediction of task {task.name!r} does not say what will happen"
            )
            raise InvalidDeclaration("monitor", "calibration", problem, hint=hint)
        for watch in watches:
            _require_tolerance("calibration", self.tolerance, watch.unit)
        return self

    def watches(self, task: Task) -> tuple[Watch, ...]:
        """Return the calibration signals of the task, each in both directions."""
        signals = [one for one in task.signals if one.kind == "calibration"]
        return tuple(watch for one in signals for watch in _of_signal(one, self.tolerance))


class DriftMonitor(Monitor, frozen=True, tag="drift", kw_only=True):
    """Compares the features of a trailing window with the reference. Made by `monitor.drift`."""

    window: Duration
    every: Duration
    psi: float
    harm: float | None
    """In the unit of the default loss; None is a share of the reference's own loss, where that is not in
    nats.
    """

    def fitted(self, task: Task) -> DriftMonitor:
        """Return the monitor with the harm that is an alarm, where losses are in nats."""
        if task.loss is None or task.loss.unit != NATS:
            return self
        harm = LEAST_HARM_NATS if self.harm is None else self.harm
        if harm > MOST_HARM_NATS:
            problem = f"has harm outside 0 to {MOST_HARM_NATS:g}"
            raise InvalidDeclaration(
                "monitor", "drift", problem, given=harm, hint="give a number in that range"
            )
        return msgspec.structs.replace(self, harm=harm)


def _is_kind(found: object) -> TypeGuard[type[Monitor]]:
    return isinstance(found, type) and issubclass(found, Monitor)


OURS = {
    "calibration": "varv.monitoring.kinds:CalibrationMonitor",
    "drift": "varv.monitoring.kinds:DriftMonitor",
    "performance": "varv.monitoring.kinds:PerformanceMonitor",
}
KINDS: Plugins[type[Monitor]] = Plugins("varv.monitors", "monitor", OURS, _is_kind)
"""The kinds of monitor by their tags: ours, and those that other packages bring."""


def tag_of(kind: type[Monitor]) -> str:
    """Return the tag of a kind of monitor.

    Examples
    --------
    >>> tag_of(DriftMonitor)
    'drift'
    """
    return str(kind.__struct_config__.tag)


def _of_signal(signal: SignalSpec, tolerance: float) -> tuple[Watch, ...]:
    return tuple(
        Watch(
            source=signal.name,
            subject=subject,
            direction=direction,
            kind=signal.kind,
            learns_level=signal.learns_level,
            margin=signal.margin,
            tolerance=tolerance,
            label=signal.label,
            unit=signal.unit,
            digits=signal.digits,
        )
        for subject, direction in signal.subjects
    )


def _of_loss(loss: Loss, tolerance: float) -> Watch:
    return Watch(
        source=loss.name,
        subject=loss.name,
        direction=1,
        kind="performance",
        learns_level=True,
        margin=MARGIN_OF_LOSSES,
        tolerance=tolerance,
        label=loss.label,
        unit=loss.unit,
        digits=loss.digits,
    )


def _require_tolerance(kind: str, tolerance: float, unit: str) -> None:
    if unit in ("", NATS) and tolerance > 1:
        problem = "has tolerance outside 0 to 1"
        hint = "give a number in that range"
        raise InvalidDeclaration("monitor", kind, problem, given=tolerance, hint=hint)

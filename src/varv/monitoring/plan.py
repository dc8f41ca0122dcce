"""The plan of one model's monitors: what is watched, of which task, and when a day is mature.

Compiled from a declaration by `monitor.plan`, and kept in the ledger with every reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from varv.kernel.clock import DAY, Duration
from varv.monitoring.kinds import KINDS, DriftMonitor, Monitor, Watch
from varv.tasks import Task, TaskSpec, task_of


class MonitorPlan(msgspec.Struct, frozen=True):
    """Everything watched about one model. A day is measured `maturity` after its end, whatever is still
    missing.
    """

    monitors: tuple[dict[str, Any], ...]
    """Each as JSON holds it, with its tag under ``type``: a ledger can be read without the packages that
    brought a kind."""
    maturity: Duration = DAY
    task: TaskSpec = TaskSpec()
    """What the model predicts; binary in what was written before there were others."""

    @staticmethod
    def of(monitors: Iterable[Monitor], *, maturity: Duration, task: Task) -> MonitorPlan:
        """Return the plan of monitors that fit the task."""
        return MonitorPlan(tuple(map(msgspec.to_builtins, monitors)), maturity, task.spec)

    @property
    def declared(self) -> tuple[Monitor, ...]:
        """The monitors.

        Raises
        ------
        NotFound
            If a kind of monitor is not there any more.
        """
        return tuple(msgspec.convert(one, KINDS.load(str(one.get("type", "")))) for one in self.monitors)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of alarm that may be raised: ``"performance"``, ``"calibration"``, ``"drift"``..."""
        task = task_of(self.task)
        found = {watch.kind for one in self.declared for watch in one.watches(task)}
        return frozenset(found | {"drift"} if self.drift is not None and task.has_outcome else found)

    @property
    def drift(self) -> DriftMonitor | None:
        """The declared drift monitor, if any."""
        return next((one for one in self.declared if isinstance(one, DriftMonitor)), None)

    def watches(self) -> list[tuple[Watch, float]]:
        """Return what is watched, each with the mean days between its false alarms.

        What one monitor watches shares its false alarms: two numbers have twice the run length each.
        """
        task = task_of(self.task)
        found: list[tuple[Watch, float]] = []
        for one in self.declared:
            watches = one.watches(task)
            length = len(watches) * one.false_alarm_every / DAY
            found += [(watch, length) for watch in watches]
        return found

"""The monitor of dispersion: counts that come in bunches spread more than their means explain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from varv.kernel.clock import duration
from varv.kernel.errors import InvalidDeclaration
from varv.monitoring import Measured, Monitor, Watch
from varv.serving.scores import scores_in
from varv.tasks import Task

FEWEST_ROWS = 30


class DispersionMonitor(Monitor, frozen=True, tag="dispersion", kw_only=True):
    """Watches the mean squared residual over the mean prediction, which is 1 where counts are Poisson."""

    def fitted(self, task: Task) -> DispersionMonitor:
        """Return the monitor, if the task is of counts."""
        if task.name != "counts":
            problem = f"has nothing to watch: outcomes of task {task.name!r} are no counts"
            raise InvalidDeclaration("monitor", "dispersion", problem, hint="leave it out of monitors")
        return self

    def watches(self, task: Task) -> tuple[Watch, ...]:
        """Return the dispersion, which is worse upwards; what is normal is learned."""
        return (
            Watch(
                source="dispersion",
                subject="dispersion",
                direction=1,
                kind="dispersion",
                learns_level=True,
                margin=2.0,
                label="dispersion of counts",
            ),
        )

    def measure(self, rows: pl.DataFrame, task: Task) -> Mapping[str, Measured]:
        """Return the dispersion of a day, with the standard error of its mean over rows."""
        predicted, outcome = scores_in(rows, task), rows["outcome"].to_numpy()
        residual = task.residual(outcome, predicted)
        if residual is None or len(residual) < FEWEST_ROWS:
            return {}
        mean = max(float(np.mean(predicted)), 1e-9)
        squared = residual**2 / mean
        error = float(np.std(squared, ddof=1) / np.sqrt(len(squared)))
        value = float(squared.mean())
        return {"dispersion": Measured(value, value - 1.96 * error, value + 1.96 * error, error)}


def dispersion(*, false_alarm_every: str = "200d") -> DispersionMonitor:
    """Raise an alarm when counts spread more about their predictions than they used to.

    Parameters
    ----------
    false_alarm_every
        Mean time between false alarms.
    """
    return DispersionMonitor(false_alarm_every=duration(false_alarm_every))

"""How good the matured predictions of a window are, every number with its interval.

A pure function of rows. Which of the numbers is watched, and what follows, is decided in `monitoring.rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from varv.kernel.clock import HOUR
from varv.kernel.codec import finite
from varv.kernel.errors import InvalidInput
from varv.kernel.ids import ModelName, Version
from varv.kernel.user_code import UserCode
from varv.monitoring.kinds import Measured, Monitor, tag_of
from varv.monitoring.model import CHAMPION, PerformanceMeasured, ScoreCounts, Window
from varv.monitoring.rows import Labelled, answered_rows, labelled_rows
from varv.monitoring.windows import require
from varv.serving.scores import score_columns
from varv.stats.intervals import Estimate, Numbers, clustered_mean
from varv.stats.ranking import score_cells
from varv.tasks import Task, TaskSpec
from varv.tasks.signals import mean_error


def measure_performance(
    frame: pl.DataFrame,
    window: Window,
    *,
    task: Task,
    model: ModelName,
    version: Version,
    role: str = CHAMPION,
    monitors: Sequence[Monitor] = (),
) -> PerformanceMeasured:
    """Return the quality of one version over the rows of a window.

    Parameters
    ----------
    frame
        What `windows.cut` returned: ``requested_at``, the columns of the score (null: no answer), ``outcome``
        as the task has it (null: not come in time), and ``group`` where the task ranks lists.
    window
        What the rows were cut to.
    task
        What the model predicts.
    role
        In which role the version answered them.
    monitors
        What is watched: monitors of other packages measure numbers of their own.

    Raises
    ------
    InvalidInput
        If a column is missing, or a score or outcome is not what it should be.
    UserCodeFailed
        If a monitor of another package raised.
    """
    require(frame, "requested_at", *score_columns(task), "outcome")
    rows = labelled_rows(frame, task, model)
    n = rows.day.size if task.has_outcome else int(answered_rows(frame, task).sum())
    missing = frame["outcome"].null_count() / frame.height if frame.height and task.has_outcome else None
    measured = {**_of_task(task, rows, model, version), **_of_others(monitors, rows, task)}
    of_binary = _binary_fields(task, measured, rows) if rows.day.size and task.spec == TaskSpec() else {}
    return PerformanceMeasured(
        model=model,
        version=version,
        window=window,
        n_requests=frame.height,
        n=n,
        missing_share=missing,
        role=role,
        task=task.spec,
        measured=measured,
        **of_binary,
    )


def _of_task(task: Task, rows: Labelled, model: ModelName, version: Version) -> dict[str, Measured]:
    """Return every loss, metric and signal of the task.

    Notes
    -----
    Another loss than the default one may be watched, so it has an error. Of a metric and a signal of one name
    the signal is taken: it is the same number, with an error. Other metrics have no interval of a day: that
    of an ECE alone would cost more than all else, and over several days it follows from how days differ.
    """
    if not rows.day.size:
        return {}
    y, p, groups = rows.outcome, rows.predicted, rows.groups
    hours = rows.requested_at // HOUR
    found: dict[str, Measured | None] = {}
    try:
        for loss in task.losses.values():
            costs = loss.exact(y, p, groups)
            error = None if loss.name == task.default_loss else mean_error(costs)
            found[loss.name] = _measured(clustered_mean(costs, hours), error)
        for metric in task.metrics.values():
            if metric.name not in {signal.name for signal in task.signals}:
                value = finite(metric.value(y, p, groups))
                found[metric.name] = None if value is None else Measured(value)
        for signal in task.signals:
            estimate = signal.estimate(y, p, hours, groups)
            found[signal.name] = _measured(estimate, signal.error(y, p, groups))
    except ValueError as error:
        hint = "an outcome is one of the task or null, and so is a prediction"
        raise InvalidInput(
            "predictions",
            model,
            "hold an outcome or score out of range",
            version=version,
            why=str(error)[:200],
            hint=hint,
        ) from None
    return {name: one for name, one in found.items() if one is not None}


def _of_others(monitors: Sequence[Monitor], rows: Labelled, task: Task) -> dict[str, Measured]:
    found: dict[str, Measured] = {}
    if rows.day.size:
        for one in monitors:
            with UserCode("monitor", tag_of(type(one))):
                found.update(one.measure(rows.frame, task))
    return found


def _measured(estimate: Estimate, error: float | None) -> Measured | None:
    value = finite(estimate.value)
    return None if value is None else Measured(value, finite(estimate.low), finite(estimate.high), error)


def _binary_fields(task: Task, measured: dict[str, Measured], rows: Labelled) -> dict[str, Any]:
    """Return the fields that measurements of the binary task have had since before there were others."""
    scores = rows.predicted[:, 0]
    calibration = task.calibration(rows.outcome, rows.predicted)
    found: dict[str, Any] = {}
    for name in ("log_loss", "excess_loss", "bias", "auc"):
        one = measured.get(name)
        if one is not None:
            found |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
            found |= {} if name == "log_loss" else {f"{name}_error": one.error}
    return {
        **found,
        "ece": measured["ece"].value,
        "ece_by_chance": None if calibration is None else calibration.by_chance,
        "base_rate": measured["base_rate"].value,
        "mean_score": float(scores.mean()),
        "scored": _counts(rows.outcome, scores),
    }


def _counts(y: np.ndarray, p: Numbers) -> ScoreCounts:
    cells = score_cells(p)
    first = int(cells.min())
    n_cells = int(cells.max()) - first + 1
    of_class = [np.bincount(cells[y == kind] - first, minlength=n_cells).tolist() for kind in (1, 0)]
    return ScoreCounts(first, tuple(of_class[0]), tuple(of_class[1]))

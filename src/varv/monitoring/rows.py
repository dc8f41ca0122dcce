"""The rows of a window that can be judged: predictions and outcomes as arrays, as tasks take them.

Everything here that measures reads rows through `labelled_rows`, so none of it knows how a task keeps its
predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.errors import InvalidInput
from varv.monitoring.windows import day_numbers, require
from varv.serving.scores import GROUP, lists_of, score_columns, scores_in
from varv.stats.intervals import Numbers
from varv.tasks import Array, Task


@dataclass(frozen=True)
class Labelled:
    """Rows with a score and an outcome, in the order of their frame; arrays as `tasks.measures` says."""

    frame: pl.DataFrame
    outcome: Array
    predicted: Numbers
    groups: Array | None
    requested_at: npt.NDArray[np.int64]
    day: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    """Where they stand in the frame that they were taken from."""


def answered_rows(frame: pl.DataFrame, task: Task) -> npt.NDArray[np.bool_]:
    """Return which rows have a prediction, shape (n,)."""
    return ~np.any([_is_null(frame[name]) for name in score_columns(task)], axis=0)


def labelled_rows(frame: pl.DataFrame, task: Task, model: str) -> Labelled:
    """Return the rows of a frame that have a prediction and an outcome; none where outcomes never come.

    Raises
    ------
    InvalidInput
        If a column is missing, or a prediction is not one of the task.
    """
    usable = answered_rows(frame, task) & ~_is_null(frame["outcome"])
    if task.group is not None:
        require(frame, GROUP)
    part = frame if usable.all() else frame.filter(usable)
    predicted = scores_in(part, task).astype(np.float64)
    if not task.valid(predicted).all():
        hint = "predictions are such as the task has, or null"
        raise InvalidInput("predictions", model, "hold an outcome or score out of range", hint=hint)
    return Labelled(
        frame=part,
        outcome=task.target(part["outcome"].cast(task.outcome_dtype, strict=False)),
        predicted=predicted,
        groups=lists_of(part, task),
        requested_at=part["requested_at"].cast(pl.Int64).to_numpy(),
        day=np.asarray(day_numbers(part), dtype=np.int64),
        places=np.flatnonzero(usable),
    )


def _is_null(column: pl.Series) -> npt.NDArray[np.bool_]:
    """Return which values of a column are not there, shape (n,), without the query engine where all are, or
    none.
    """
    n_nulls = column.null_count()
    if n_nulls in (0, len(column)):
        return np.full(len(column), n_nulls > 0)
    return column.is_null().to_numpy()

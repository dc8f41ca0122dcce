"""The requests of a window as those who choose from it see them: read, calibrated, and cut into slices."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from varv.kernel.clock import DAY, Duration
from varv.kernel.errors import FailedPrecondition, InvalidInput
from varv.labels.choosing import Candidates, uncertainty
from varv.labels.policy import LabellingPolicy
from varv.serving.scores import GROUP, answer_schema, scores_in
from varv.stats.recalibration import Recalibration, fitted
from varv.tasks import Task
from varv.tasks.measures import Array, Mask

HISTORY = Duration(30 * DAY)
"""Before a window: what turned out in it says how to calibrate, and which slice is worst."""
MOST_DAYS = 3660
FEWEST = 100
"""Outcomes by which probabilities are calibrated."""
_BESIDE = {"key", "requested_at", "outcome", "known_at"}


def feature_names(rows: pl.DataFrame, task: Task) -> list[str]:
    """Return the columns of predictions that are features."""
    return [name for name in rows.columns if name not in _BESIDE and name not in answer_schema(task)]


def champion_scores(rows: pl.DataFrame, task: Task) -> Array:
    """Return what the champion of the time said, shape (n, width), NaN where it said nothing."""
    return scores_in(rows, task, "champion_score").astype(np.float64)


def with_scores(rows: pl.DataFrame, task: Task) -> pl.DataFrame:
    """Return the rows for which the champion of the time said something valid."""
    if rows.is_empty():
        return rows
    predicted = champion_scores(rows, task)
    sound: Mask = np.asarray(~np.isnan(predicted).any(axis=1))
    sound[sound] = task.valid(predicted[sound])
    return rows.filter(pl.Series(sound))


def calibration(history: pl.DataFrame, task: Task) -> Recalibration | None:
    """Return what brings the champion's probabilities to what turned out; None if too little did, or if it
    says no probabilities.
    """
    if history.height < FEWEST:
        return None
    p = task.class_probabilities(champion_scores(history, task))
    return None if p is None else fitted(task.target(history["outcome"]), p)


def parts_of(rows: pl.DataFrame, policy: LabellingPolicy) -> np.ndarray:
    """Return the number of the first declared slice that each row is in, -1 for none; shape (n,)."""
    found = np.full(rows.height, -1, np.int64)
    for number, one in reversed(list(enumerate(policy.slices))):
        if rows.height and one.column in rows.columns:
            found[one.of(rows).to_numpy()] = number
    return found


def worst_first(history: pl.DataFrame, task: Task, policy: LabellingPolicy) -> list[int]:
    """Return the slices, and -1 for the rest, by what the champion lost there on average, most first; those
    of which nothing is known come before all others.
    """
    parts = parts_of(history, policy)
    lost: dict[int, float] = dict.fromkeys(range(-1, len(policy.slices)), np.inf)
    if history.height and task.loss is not None:
        groups = history[GROUP].to_numpy() if task.group else None
        losses = task.loss.exact(task.target(history["outcome"]), champion_scores(history, task), groups)
        for part in lost:
            if (parts == part).any():
                lost[part] = float(losses[parts == part].mean())
    return sorted(lost, key=lambda part: (-lost[part], part))


def candidates(
    rows: pl.DataFrame,
    history: pl.DataFrame,
    task: Task,
    policy: LabellingPolicy,
    waiting: Collection[str],
) -> Candidates:
    """Return the requests of a window that have no outcome, as they are chosen from.

    Parameters
    ----------
    rows
        All requests of the window.
    history
        Those before that have an outcome, as `Labelling.with_outcome` gives them.
    waiting
        Keys of requests that wait for a person to decide.

    Raises
    ------
    FailedPrecondition
        If predictions of this task do not say what the policy goes by.
    """
    open_ = rows.filter(pl.col("outcome").is_null()).unique("key", keep="last", maintain_order=True)
    predicted = champion_scores(open_, task) if open_.height else np.zeros((0, task.width))
    # A request of which the champion said nothing is as unsure as it gets.
    said = ~np.isnan(predicted).any(axis=1)
    unsure = np.full(len(predicted), np.inf)
    found = uncertainty(task, predicted[said], policy.by, calibration(history, task))
    if found is None:
        hint = 'write by="interval" for quantiles, by="entropy" or "margin" for classes'
        problem = f"predicts a {task.name}, which says no {policy.by}"
        raise FailedPrecondition("model", "", problem, hint=hint)
    unsure[said] = found
    return Candidates(
        keys=open_["key"].to_list(),
        requested_at=open_["requested_at"].to_physical().to_numpy(),
        unsure=unsure,
        features=open_.select(feature_names(open_, task)),
        parts=parts_of(open_, policy),
        worst=worst_first(history, task, policy),
        held_back=np.isin(open_["key"].to_numpy(), list(waiting)),
    )


def n_by_coin(rows: pl.DataFrame) -> int:
    """Return how many requests were answered by a candidate whose turn a coin decided."""
    if rows.is_empty():
        return 0
    return rows.filter(
        (pl.col("arm") == "candidate") & pl.col("share").is_between(0, 1, closed="none")
    ).height


def shown(row: dict[str, object], names: Sequence[str]) -> dict[str, str]:
    """Return the features of one request, as a labeller reads them."""
    return {name: _spoken(row[name]) for name in names}


def _spoken(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def checked_days(days: int) -> int:
    """Return how many days are looked at.

    Raises
    ------
    InvalidInput
        If it is no number of days.
    """
    if not 1 <= days <= MOST_DAYS:
        hint = f"look at 1 to {MOST_DAYS} days"
        raise InvalidInput("field", "days", "is not allowed", given=days, hint=hint)
    return days

"""Columns of scores: how the numbers that a version predicts are kept in a frame, whatever the task.

A task with one number keeps it in one column, named by the role of the version that said it: ``score`` (what
was answered), ``champion_score``, ``candidate_score``, ``former_score``. A task with several keeps a column
for each, ``champion_score.B``. Everybody who keeps or reads predictions asks here for the names.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.tasks import Task

Role = Literal["score", "champion_score", "candidate_score", "former_score"]
ROLES: tuple[Role, ...] = ("score", "champion_score", "candidate_score", "former_score")
Scores = npt.NDArray[np.float32]
Lists = npt.NDArray[np.int64]


PLAIN: dict[str, pl.DataType] = {
    "version": pl.Int32(),
    "arm": pl.String(),
    "share": pl.Float64(),
    "coin": pl.Float64(),
    "epoch": pl.Int32(),
    "champion": pl.Int32(),
    "candidate": pl.Int32(),
    "former": pl.Int32(),
    "champion_ms": pl.Float32(),
    "candidate_ms": pl.Float32(),
    "answered_by": pl.String(),
    "flagged": pl.String(),
    "logged_share": pl.Float64(),
}
"""Columns of an answer beside the scores."""
GROUP = "group"
"""The column that keeps which list a request belongs to, of tasks that judge by lists."""


def answer_schema(task: Task) -> dict[str, pl.DataType]:
    """Return the columns of an answer: who answered, and what each version that scored it said.

    Notes
    -----
    ``share`` is the probability with which the candidate was to answer; the champion's is the rest, so the
    assignment probability of every answer is on record. ``coin`` is what was tossed for the request's unit,
    null while there is no candidate: below ``share`` the candidate is to answer. ``champion_ms`` and
    ``candidate_ms`` are how long scoring took, on the first row of a call and only where it is measured.
    ``former`` is the champion before, in the probation of the present one. ``answered_by`` is null where the
    version whose turn it was answered, else how the request was answered (`policy.Mark`), with the number of
    the version that did, ``fallback:3``; ``flagged`` names the columns whose value broke a check;
    ``logged_share`` is the probability with which the request was to be kept, null for all. ``group`` is
    there only if the task has one: it is what the request's column says, and no version's answer.
    """
    found: dict[str, pl.DataType] = {}
    last = ("champion_ms", "candidate_ms", "answered_by", "flagged", "logged_share")
    for name in ("version", "arm", "share", "coin", "epoch", *ROLES, *last):
        if name in ROLES:
            version = name.removesuffix("_score")
            if version in PLAIN:
                found[version] = PLAIN[version]
            found |= dict.fromkeys(score_columns(task, name), pl.Float32())
        else:
            found[name] = PLAIN[name]
    return found if task.group is None else {**found, GROUP: pl.String()}


def score_columns(task: Task, role: str = "score") -> tuple[str, ...]:
    """Return the columns in which a role's predictions are kept, one for each of the task's outputs.

    Examples
    --------
    >>> from varv.tasks import task_of
    >>> score_columns(task_of("binary"), "champion_score")
    ('champion_score',)
    """
    return (role,) if task.width == 1 else tuple(f"{role}.{output}" for output in task.outputs)


def scores_in(frame: pl.DataFrame, task: Task, role: Role = "score") -> Scores:
    """Return a role's predictions, float32 of shape (n, width); NaN where there is none."""
    columns = [frame[name].cast(pl.Float32).to_numpy() for name in score_columns(task, role)]
    return np.column_stack(columns)


def score_series(task: Task, role: Role, predicted: Scores) -> list[pl.Series]:
    """Return predictions of shape (n, width) as columns; NaN becomes null."""
    return [
        pl.Series(name, predicted[:, number], dtype=pl.Float32, nan_to_null=True)
        for number, name in enumerate(score_columns(task, role))
    ]


def renamed(frame: pl.DataFrame, task: Task, role: Role, as_role: Role) -> pl.DataFrame:
    """Return `frame` with a role's predictions in the place of another's."""
    pairs = zip(score_columns(task, role), score_columns(task, as_role), strict=True)
    return frame.with_columns(pl.col(name).alias(to) for name, to in pairs)


def lists_of(rows: pl.DataFrame, task: Task) -> Lists | None:
    """Return the list of each row as a number, int64 of shape (n,): the rows of one group in one hour are one
    list, and a row without a group is its own; None where the task has no lists.

    Parameters
    ----------
    rows
        With the columns ``requested_at`` and ``group``.
    """
    if task.group is None:
        return None
    group, hour = pl.col(GROUP).fill_null(""), pl.col("requested_at").dt.truncate("1h")
    alone = pl.when(group == "").then(pl.int_range(pl.len()))
    numbers = rows.select(pl.struct(group, hour, alone.alias("row")).rank("dense").cast(pl.Int64))
    return numbers.to_series().to_numpy()

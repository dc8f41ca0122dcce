"""From scored requests to what one tick tells a rollout: hours of paired losses of each guard.

Pure: a frame in, an event out. Which requests have matured is for the caller to know; that hours are counted
once is for the caller and `rollout.tally`. A request that the candidate did not answer costs as much as one
can, never nothing: a model must not look healthy through the requests it lost. What answers say before any
outcome is known is counted in `rollout.answers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, log2

import msgspec
import numpy as np
import polars as pl

from varv.kernel.clock import HOUR, Instant
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput
from varv.rollout.guards import Guard
from varv.rollout.luck import GuardLuck, Hour, Luck, learned
from varv.rollout.model import EvidenceArrived, GuardHours
from varv.serving.scores import GROUP, Role, lists_of, score_columns
from varv.stats.intervals import Numbers
from varv.tasks import Task


def paired_columns(task: Task, guards: Iterable[Guard]) -> tuple[str, ...]:
    """Return the columns that `evidence` reads."""
    scores = (*score_columns(task, "champion_score"), *score_columns(task, "candidate_score"))
    sliced = [guard.slice.column for guard in guards if guard.slice is not None]
    lists = () if task.group is None else (GROUP,)
    return tuple(dict.fromkeys(("requested_at", "outcome", *scores, *lists, *sliced)))


def evidence(
    rows: pl.DataFrame, *, task: Task, guards: Sequence[Guard], since: Instant, through: Instant
) -> EvidenceArrived | None:
    """Return what the outcomes of requests in [`since`, `through`) say, in whole hours; None before the first
    is over.

    Parameters
    ----------
    rows
        Every request of that time that both versions were to score, with `paired_columns`: ``requested_at``
        (Datetime us UTC), ``outcome`` (as the task has it, null if it never came), what each version
        predicted (null if there was no answer), the ``group`` of a task with lists, and the features that
        slices look at. Rows outside are left out.
    task
        What an outcome and a prediction are.
    guards
        Whose losses are compared, the first of them on all requests; none where no outcome ever comes.
    since
        Where the last evidence ended.
    through
        The watermark before which all outcomes that will ever come have come. Outcomes taken as they arrive
        would be biased: flights that land early are not late.

    Raises
    ------
    InvalidInput
        If a column is missing or has another type, or an outcome is none of the task.

    Notes
    -----
    The returned `through` is cut to a whole hour. Give the rows after it again with the next call.

    Rows of one ``group`` in one hour are a list. Its rows share one loss and must come in one hour, as the
    task demands; a list that does not is judged as one for each hour, since an hour that waited for rows of
    the next could not be told once and for all.
    """
    end = Instant(through // HOUR * HOUR)
    if end <= since:
        return None
    inside = _inside(rows, task, guards, since, end)
    candidate = predictions_in(inside, task, "candidate_score")
    labelled = inside.filter(pl.col("outcome").is_not_null())
    hours = [_hours_of(labelled, task, guard) for guard in guards]
    return EvidenceArrived(
        since=since,
        through=end,
        n_requests=inside.height,
        n_labels=labelled.height,
        n_missing=int((~task.valid(candidate)).sum()),
        hours=hours[0] if hours else (),
        others=tuple(map(GuardHours, (guard.name for guard in guards[1:]), hours[1:])),
    )


def predictions_in(rows: pl.DataFrame, task: Task, role: Role) -> Numbers:
    """Return a role's predictions as they stand, float64 of shape (n, width); NaN where there is none.

    Held-out rows bring float64, which `serving.scores.scores_in` would round.
    """
    # Nulls become NaN on the way.
    return np.column_stack([rows[name].cast(pl.Float64).to_numpy() for name in score_columns(task, role)])


def luck_of(
    held_out: pl.DataFrame, pairs: Sequence[pl.DataFrame], *, task: Task, guards: Sequence[Guard]
) -> Luck:
    """Return what paired scores of the past say of luck by each guard.

    Parameters
    ----------
    held_out
        Held-out rows that neither of the two versions at hand was fitted on, with the columns of
        `paired_columns` but features: guards on a slice learn from `pairs` alone.
    pairs
        Requests of the past that two sound versions scored, with all of `paired_columns`.
    task, guards
        As in `evidence`.

    Raises
    ------
    InvalidInput
        If a column is missing or has another type, or an outcome is none of the task.
    """
    lucks = [
        _luck_of_guard(held_out if guard.slice is None else held_out.clear(), pairs, task, guard)
        for guard in guards
    ]
    if not lucks:
        return Luck()
    others = tuple(map(GuardLuck, (guard.name for guard in guards[1:]), lucks[1:]))
    return msgspec.structs.replace(lucks[0], others=others)


def _luck_of_guard(held_out: pl.DataFrame, pairs: Sequence[pl.DataFrame], task: Task, guard: Guard) -> Luck:
    histories = [_hours_of(rows.filter(pl.col("outcome").is_not_null()), task, guard) for rows in pairs]
    if held_out.is_empty():
        return learned(histories)
    whole = held_out.filter(pl.col("outcome").is_not_null())
    luck = learned([_hours_of(whole, task, guard), *histories])
    return msgspec.structs.replace(luck, level=_level(whole, task, guard))


def _level(rows: pl.DataFrame, task: Task, guard: Guard) -> float | None:
    """Return the champion's mean loss over rows that have an outcome; None without any."""
    losses = _losses(rows, task, guard, "champion_score")
    return float(f"{losses.mean():.9g}") if losses.size else None


def unit_of(bound: float) -> float:
    """Return the unit in which losses are summed: 2 ** -30, times as many powers of two as the bound lies
    above 8.

    Notes
    -----
    Losses are summed as integers, so that the order of the rows cannot change a bit of the ledger. A row is
    at most 2 ** 33 units, so an hour of 2 ** 30 rows, a billion, fits into 64 bits whatever the bound. Of
    log-losses, whose bound is 6.9 nats, the unit is 2 ** -30 nats, as it was before there were others.

    Examples
    --------
    >>> unit_of(6.9) == 2**-30, unit_of(660.0) == 2**-23, unit_of(1.0) == 2**-33
    (True, True, True)
    """
    return 2.0 ** (ceil(log2(bound / 8)) - 30)


def _hours_of(labelled: pl.DataFrame, task: Task, guard: Guard) -> tuple[Hour, ...]:
    """Return the hours of labelled rows by one guard.

    Losses are taken before the rows are cut to the slice: a list may lie across its edge.
    """
    difference = _losses(labelled, task, guard, "candidate_score") - _losses(
        labelled, task, guard, "champion_score"
    )
    at = labelled["requested_at"].cast(pl.Int64).to_numpy()
    if guard.slice is not None:
        inside = guard.slice.of(labelled).to_numpy()
        at, difference = at[inside], difference[inside]
    unit = unit_of(guard.bound)
    starts, position, counts = np.unique(at // HOUR * HOUR, return_inverse=True, return_counts=True)
    sums = np.zeros(starts.size, dtype=np.int64)
    np.add.at(sums, position, np.rint(difference / unit).astype(np.int64))
    return tuple(
        Hour(Instant(int(start)), int(n), float(total * unit))
        for start, n, total in zip(starts, counts, sums, strict=True)
    )


def _losses(labelled: pl.DataFrame, task: Task, guard: Guard, role: Role) -> Numbers:
    outcome, predicted = labelled["outcome"].to_numpy(), predictions_in(labelled, task, role)
    try:
        return task.losses[guard.loss].of(outcome, predicted, lists_of(labelled, task))
    except ValueError as error:
        hint = f"give outcomes as the task {task.name} reads them, or null"
        raise InvalidInput("column", "outcome", f"has impossible values: {error}", hint=hint) from None


def _inside(
    rows: pl.DataFrame, task: Task, guards: Sequence[Guard], since: Instant, end: Instant
) -> pl.DataFrame:
    require_columns(rows, paired_columns(task, guards))
    if rows.schema["requested_at"] != TIME:
        given = str(rows.schema["requested_at"])
        raise InvalidInput("column", "requested_at", "is not Datetime us UTC", given=given, hint="cast it")
    at = pl.col("requested_at").to_physical()
    return rows.filter((at >= since) & (at < end))


def require_columns(rows: pl.DataFrame, columns: Sequence[str]) -> None:
    """Check that a frame has the columns.

    Raises
    ------
    InvalidInput
        If it lacks one.
    """
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise InvalidInput(
            "evidence", "rows", "lacks columns", missing=missing, hint=f"give {', '.join(columns)}"
        )

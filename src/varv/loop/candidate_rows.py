"""The rows that a candidate is trained on, and the stretches of them that are held out to judge it.

Rows are those logged when the requests were made, so a feature in training is the very number that was
served; outcomes are as known at the cut-off, and only of requests that are mature by then, since outcomes
that come early are not a fair draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import polars as pl

from varv.data import Dataset, Datasets
from varv.data.identity import keys_of
from varv.kernel.clock import Instant
from varv.kernel.errors import FailedPrecondition
from varv.labels.counting import Counted
from varv.loop.commands import TrainCandidate
from varv.loop.fits import Held, Rows, ancestry, new_rows_only
from varv.loop.offers import offered_rows
from varv.loop.plan import LoopParts, LoopPlan
from varv.loop.row_weights import ARMS, is_by_chance, n_worth, with_counts
from varv.registry import VersionRegistered
from varv.serving.scores import GROUP

LEAST_HELD_OUT = 50
"""Fewer held-out rows judge nothing."""


def candidate_rows(
    datasets: Datasets,
    counted: Callable[[str, Instant], Counted],
    parts: LoopParts,
    command: TrainCandidate,
    champion: VersionRegistered | None = None,
) -> Rows:
    """Return the rows whose outcomes are mature at the command's cut-off, what is held out of them, and
    what the fits go on from.

    Raises
    ------
    FailedPrecondition
        If there are too few of them.
    """
    plan, cutoff = parts.loop, command.cutoff
    rows = _gathered(counted, parts, command)
    if command.offer is not None:
        return offered_rows(rows, plan, command.offer, LEAST_HELD_OUT)
    names = plan.features.names
    if command.planted is not None:
        column = command.planted.column
        rows, names = with_column(datasets, plan.outcome.requests, rows, column, cutoff), (*names, column)
    weights = plan.train.weights_column
    if weights is not None and weights not in rows.columns:
        rows = with_column(datasets, plan.outcome.requests, rows, weights, cutoff)
    # A planted column is none of the champion's, and a plant none of its successors.
    past = None if command.planted is not None else ancestry(plan.train, champion, names)
    found = Rows(rows, names, (), past, has_outcome=plan.outcome.task.has_outcome)
    end = found.end
    candidates = [_held(end, plan, cutoff, number) for number in range(plan.train.origins)]
    if past is not None and plan.train.strategy is not None:
        candidates, past = new_rows_only(candidates, past)
    found = msgspec.structs.replace(found, held=tuple(candidates), ancestry=past)
    allowed = [held for held in candidates if not _too_few(found, held, plan)]
    if candidates[0] not in allowed or n_worth(found, plan.train) < plan.train.min_rows:
        raise _too_few_to_train(found, candidates[0], plan)
    found = msgspec.structs.replace(found, held=tuple(allowed))
    return found if plan.train.search is None else _with_inner(found, plan)


def with_column(
    datasets: Datasets, requests: Dataset, rows: pl.DataFrame, column: str, cutoff: Instant
) -> pl.DataFrame:
    """Return `rows` with a column of the requests as the history holds it, even if its values came to be
    known after the request; as they are, if there is no such column.
    """
    known = datasets.read(requests, known_at=cutoff)
    if column not in known.columns:
        return rows
    values = known.select(keys_of(requests.key, known), pl.col(column).cast(pl.Float32))
    return rows.join(values, on="key", how="left", maintain_order="left")


def _gathered(
    counted: Callable[[str, Instant], Counted], parts: LoopParts, command: TrainCandidate
) -> pl.DataFrame:
    """Return the rows that a training may read, with what weighs them by probabilities, if declared."""
    train, cutoff = parts.loop.train, command.cutoff
    # A key of every row is as large as five features, and only needed to look further columns up.
    keyed = train.weights_column is not None or command.planted is not None
    if not is_by_chance(train):
        return training_rows(parts, cutoff, keyed=keyed)
    rows = training_rows(parts, cutoff, keyed=keyed, more=ARMS)
    return with_counts(rows, counted(parts.loop.model, cutoff))


def training_rows(
    parts: LoopParts, cutoff: Instant, *, keyed: bool = False, more: Sequence[str] = ()
) -> pl.DataFrame:
    """Return the rows that a training at `cutoff` may read: requests that are mature, with outcomes as known
    then, null where they never came, with their ``key`` if asked for, and `more` columns. Earlier origins
    read as far back from their own end as the last one does.
    """
    train = parts.loop.train
    reach = 0 if train.window is None else train.window + (train.origins - 1) * train.validate
    since = Instant(0 if train.window is None else cutoff - reach)
    until = Instant(cutoff - parts.loop.outcome.mature)
    return _matured(parts, since, until, cutoff, keyed=keyed, more=more)


def judgeable(parts: LoopParts, since: Instant, until: Instant, known_by: Instant) -> pl.DataFrame:
    """Return the rows that have an outcome, and all of them where the task has none."""
    rows = _matured(parts, since, until, known_by, keyed=True)
    return rows.drop_nulls("outcome") if parts.loop.outcome.task.has_outcome else rows


def _matured(
    parts: LoopParts,
    since: Instant,
    until: Instant,
    known_by: Instant,
    *,
    keyed: bool,
    more: Sequence[str] = (),
) -> pl.DataFrame:
    plan = parts.loop
    # What was answered is of no use here, and takes as much room as the features.
    lists = () if plan.outcome.task.group is None else (GROUP,)
    columns = (*(("key",) if keyed else ()), "requested_at", *lists, *more, *plan.features.names)
    return parts.predictions.matured(since, until, known_by=known_by, columns=columns).drop("known_at")


def _held(end: Instant, plan: LoopPlan, cutoff: Instant, number: int) -> Held:
    """Return the stretch that is `number` before the last, which ends with the rows."""
    train = plan.train
    back = number * train.validate
    fit_from = 0 if train.window is None else cutoff - train.window - back
    until = end - back
    return Held(Instant(fit_from), Instant(until - train.validate), Instant(until))


def _too_few(rows: Rows, held: Held, plan: LoopPlan) -> bool:
    n_fit, n_held_out = rows.counts(held)
    return n_fit < plan.train.min_rows or n_held_out < LEAST_HELD_OUT


def _too_few_to_train(rows: Rows, held: Held, plan: LoopPlan) -> FailedPrecondition:
    n_fit, n_held_out = rows.counts(held)
    hint = "wait for more outcomes, or lower min_rows or validate"
    problem = "has too few rows to train on"
    return FailedPrecondition("model", plan.model, problem, n_fit=n_fit, n_held_out=n_held_out, hint=hint)


def _with_inner(rows: Rows, plan: LoopPlan) -> Rows:
    """Return the rows with a stretch to search on, before all that judges; where there are too few rows for
    it, fewer stretches judge.
    """
    inner = [Held(held.fit_from, Instant(held.since - plan.train.validate), held.since) for held in rows.held]
    for n_held in range(len(inner), 0, -1):
        if not _too_few(rows, inner[n_held - 1], plan):
            return msgspec.structs.replace(rows, held=rows.held[:n_held], inner=inner[n_held - 1])
    raise _too_few_to_train(rows, inner[0], plan)

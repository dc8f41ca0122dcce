"""What one version a week would have lost on every later day: the matrices that regret is found on.

Versions are fitted by the model's own function through the path of its trainings, on the logged features of
a finished replay and on outcomes as they were known then. They are scored a week at a time, so memory does
not grow with the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from varv.home.home import Home, ModelParts
from varv.kernel.clock import DAY, WEEK, Instant
from varv.kernel.codec import Digest
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName, Version
from varv.loop.candidates import Candidates, Scorer
from varv.loop.commands import TrainCandidate
from varv.loop.views import LoopView
from varv.registry.signature import Rows as ModelRows
from varv.serving.scores import lists_of
from varv.serving.truths import hashes_of
from varv.stats.intervals import Numbers
from varv.stats.regret import LossMatrix
from varv.tasks import Task

PERIOD_DAYS = 7
"""Days from one version to the next."""
LEAST_VERSIONS = 3


class WeeklyLosses(NamedTuple):
    """The losses of a version a week on two halves of the requests, and from when they count."""

    since: Instant
    first: LossMatrix
    second: LossMatrix

    @property
    def both(self) -> LossMatrix:
        """The losses on all requests."""
        sums, n = self.first.losses + self.second.losses, self.first.n + self.second.n
        return self.first._replace(losses=sums, n=n)


def weekly_losses(
    parts: ModelParts,
    candidates: Candidates,
    asked: pl.DataFrame,
    *,
    train_at: Instant,
    until: Instant,
    seed: int,
    delay_days: int,
) -> WeeklyLosses:
    """Fit a version at the end of each week, score it on all that came later, and return the losses.

    Parameters
    ----------
    parts
        Of a model whose predictions and outcomes are in memory.
    candidates
        Fits, and finds fits again that it has made before.
    asked
        The hash of the ``key`` of each request that counts.
    train_at, until
        When the first version is trained, and when the replay ended.
    delay_days
        Days from a training to its service.

    Raises
    ------
    FailedPrecondition
        If there is too little for three versions.
    UserCodeFailed
        If the author's function raised.
    """
    mature = Instant(until - parts.loop.outcome.mature)
    starts = [Instant(at) for at in range(train_at, mature - DAY, WEEK)]
    versions = _fitted(parts, candidates, starts, seed)
    if len(versions) < LEAST_VERSIONS:
        hint = "replay a longer past: regret needs a version a week, and weeks to score it on"
        raise FailedPrecondition("replay", parts.name, "is too short for regret", n=len(versions), hint=hint)
    since = versions[0][0]
    n_days = -(-(mature - since) // DAY)
    sums, counts = np.zeros((2, len(versions), n_days)), np.zeros((2, n_days))
    times, scores = zip(*versions, strict=True)
    for number, (start, end) in enumerate(pairwise([*times, mature]), 1):
        rows = parts.predictions.labelled(start, end, known_by=until)
        rows = rows.filter(pl.Series(hashes_of(rows["key"])).is_in(asked["key"].implode()))
        ordered = rows.sort("requested_at", "key")
        _add(ordered, scores[:number], parts.loop.outcome.task, since, sums, counts)
    first, second = (
        LossMatrix(
            losses=sums[half],
            n=counts[half],
            starts=np.array([(at - since) // DAY for at in times]),
            n_known=_known(parts, times),
            delay=delay_days,
            lag=-(-parts.loop.outcome.mature // DAY),
        )
        for half in (0, 1)
    )
    return WeeklyLosses(since, first, second)


def _fitted(
    parts: ModelParts, candidates: Candidates, starts: list[Instant], seed: int
) -> list[tuple[Instant, Scorer]]:
    """Return the version of each start, from the first on for which there are enough rows."""
    found: list[tuple[Instant, Scorer]] = []
    for number, at in enumerate(starts, 1):
        command = TrainCandidate(model=parts.name, version=Version(number), cutoff=at, seed=seed)
        try:
            found.append((at, candidates.scorer(candidates.fitted(parts, command))))
        except FailedPrecondition:
            if found:
                raise
    return found


def _add(
    rows: pl.DataFrame, scores: Sequence[Scorer], task: Task, since: Instant, sums: Numbers, counts: Numbers
) -> None:
    """Add what each version loses on some rows to the sums of their days and halves."""
    loss = task.loss
    assert loss is not None, "a task with an outcome has a loss"
    if rows.is_empty():
        return
    lists, outcome = lists_of(rows, task), rows["outcome"].to_numpy()
    days = (rows["requested_at"].to_physical().to_numpy() - since) // DAY
    half = (np.arange(rows.height) if lists is None else lists) % 2
    n_days = counts.shape[1]
    cells = half * n_days + days
    counts += np.bincount(cells, minlength=2 * n_days).reshape(2, n_days)
    fed: dict[Digest, ModelRows] = {}
    for number, score in enumerate(scores):
        if score.reads not in fed:
            fed[score.reads] = score.feed(rows)
        costs = loss.exact(outcome, task.matrix(score.predict(fed[score.reads])), lists)
        sums[:, number] += np.bincount(cells, weights=costs, minlength=2 * n_days).reshape(2, n_days)


def _known(parts: ModelParts, starts: Sequence[Instant]) -> Numbers:
    """Return how many outcomes each start may learn from, as far back as is declared."""
    window, mature = parts.loop.train.window, parts.loop.outcome.mature

    def known(at: Instant) -> int:
        return parts.predictions.n_labelled(Instant(at - mature), known_by=at)

    older = [0 if window is None else known(Instant(at - window)) for at in starts]
    return np.array([known(at) - gone for at, gone in zip(starts, older, strict=True)], dtype=np.float64)


def delay_days(home: Home, model: ModelName) -> float | None:
    """Return the median days from a training of the policy's own to its promotion; None where no candidate
    after the first was promoted.
    """
    with home.views.reading(LoopView) as loops:
        attempts = list(loops.loops[model].attempts.values())
    took = [
        (one.ended_at - one.at) / DAY
        for one in attempts[1:]
        if one.outcome == "promoted" and one.ended_at is not None and not one.planted and not one.imported
    ]
    return float(np.median(took)) if took else None

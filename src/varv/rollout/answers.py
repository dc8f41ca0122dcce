"""From answered requests to counts: who was to answer, what is missing, what was slow, how scores lie.

All that can be known before any outcome is, so it speaks within minutes. Pure: a frame in, an event out; what
the counts weigh is in `rollout.tally`.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import polars as pl

from varv.kernel.clock import HOUR, MINUTE, Instant
from varv.rollout.evidence import predictions_in, require_columns
from varv.rollout.guards import Latency
from varv.rollout.model import AnswersCounted, Calls, Moved, Scores
from varv.serving.scores import score_columns
from varv.stats.intervals import Numbers
from varv.stats.sequential import mixture_half_width
from varv.tasks import Task
from varv.tasks.measures import Mask

SLOWER = 2.0
"""A call in which one version takes so many times as long as the other, and `SLOWER_MS` longer, speaks
against it."""
SLOWER_MS = 2.0
MOST_OUTPUTS = 20
"""Of a prediction with more numbers, so many are described."""
_DIGITS = 6
_SHARES = 3
"""Digits that a minute's share of late calls is kept with."""


def answered_columns(task: Task) -> tuple[str, ...]:
    """Return the columns that `answers` reads."""
    scores = (*score_columns(task, "champion_score"), *score_columns(task, "candidate_score"))
    return ("requested_at", *scores, "champion_ms", "candidate_ms", "arm", "coin")


def answers(
    rows: pl.DataFrame, *, task: Task, epoch: int, through: Instant, latency: Latency | None = None
) -> AnswersCounted:
    """Return what the answers under one routing table say before any outcome is known.

    Parameters
    ----------
    rows
        Every request that was answered under the table, with `answered_columns`: what each version predicted
        (null if there was no answer), ``arm`` (``"champion"`` or ``"candidate"``: who was to answer) and
        ``coin`` (what was tossed: requests of one unit have one coin, so a unit is counted once; null for
        none, and then the request is the unit).
    task
        What an answer is, and which are valid.
    epoch
        The table's.
    through
        Until when requests are among `rows`.
    latency
        How slow calls may be, where the plan says so.

    Raises
    ------
    InvalidInput
        If a column is missing.
    """
    require_columns(rows, answered_columns(task))
    champion, candidate = (predictions_in(rows, task, role) for role in ("champion_score", "candidate_score"))
    usable, champion_usable = task.valid(candidate), task.valid(champion)
    by_unit = _units(rows, ~usable, ~champion_usable, SLOWER if latency is None else latency.factor or SLOWER)
    n_candidate = int(by_unit["chosen"].sum())
    both = usable & champion_usable
    at = rows["requested_at"].cast(pl.Int64).to_numpy()
    is_score = not task.has_outcome
    return AnswersCounted(
        epoch=epoch,
        through=through,
        n_requests=rows.height,
        n_missing=int((~usable).sum()),
        n_candidate=n_candidate,
        n_champion=by_unit.height - n_candidate,
        n_against=int(by_unit["against"].sum()),
        n_in_favour=int(by_unit["in_favour"].sum()),
        n_slower=int(by_unit["slow"].sum()),
        n_faster=int(by_unit["champion_slow"].sum()),
        scores=_scores(champion, candidate),
        calls=Calls() if latency is None or latency.limit_ms is None else _calls(rows, latency.limit_ms),
        moved=_moved(at[both], champion[both, 0], candidate[both, 0]) if is_score else Moved(),
    )


def _units(rows: pl.DataFrame, lost: Mask, champion_lost: Mask, factor: float) -> pl.DataFrame:
    """Return for each unit of randomisation whether the candidate was to answer, and what went wrong."""
    units = rows.with_row_index("row").select(
        pl.coalesce(pl.col("coin"), -1.0 - pl.col("row").cast(pl.Float64)).alias("unit"),
        (pl.col("arm") == "candidate").fill_null(value=False).alias("chosen"),
        pl.Series("lost", lost),
        pl.Series("champion_lost", champion_lost),
        _much_longer("candidate_ms", "champion_ms", factor).alias("slow"),
        _much_longer("champion_ms", "candidate_ms", factor).alias("champion_slow"),
    )
    return units.group_by("unit").agg(
        pl.col("chosen").any(),
        (pl.col("lost") & ~pl.col("champion_lost")).any().alias("against"),
        (pl.col("champion_lost") & ~pl.col("lost")).any().alias("in_favour"),
        pl.col("slow", "champion_slow").any(),
    )


def _much_longer(one: str, other: str, factor: float) -> pl.Expr:
    longer = pl.col(one) > pl.max_horizontal(factor * pl.col(other), pl.col(other) + SLOWER_MS)
    return longer.fill_null(value=False)


def _calls(rows: pl.DataFrame, limit_ms: float) -> Calls:
    """Return the late ones of the calls that were timed: of a call with many rows, the first.

    A minute is one observation, since calls of a minute share what stalls the machine; and what stalls the
    champion in that minute too is not the candidate's.
    """
    timed = rows.filter(pl.col("candidate_ms").is_not_null()).select(
        pl.col("requested_at").to_physical() // MINUTE,
        (pl.col("candidate_ms") > limit_ms).alias("late"),
        (pl.col("champion_ms") > limit_ms).fill_null(value=False).alias("champion_late"),
    )
    by_minute = timed.group_by("requested_at").agg(
        (pl.col("late").mean() - pl.col("champion_late").mean()).clip(0.0, 1.0).round(_SHARES).alias("share")
    )
    counts = by_minute["share"].value_counts(name="n").sort("share")
    return Calls(
        n=timed.height,
        n_late=int(timed["late"].sum()),
        n_champion_late=int(timed["champion_late"].sum()),
        minutes=tuple(counts.iter_rows()),
    )


def _scores(champion: Numbers, candidate: Numbers) -> Scores:
    """Return how the candidate's numbers lie, and how far from the champion's, for each of a prediction's."""
    described = [
        _described(champion[:, number], candidate[:, number])
        for number in range(min(candidate.shape[1], MOST_OUTPUTS))
    ]
    first = described[0]
    return Scores(first.n, first.gap, first.gap_sd, first.sd, tuple(described[1:]))


def _described(champion: Numbers, candidate: Numbers) -> Scores:
    both = ~(np.isnan(champion) | np.isnan(candidate))
    if not both.any():
        return Scores()
    score, gap = candidate[both], candidate[both] - champion[both]
    mean, gap_sd, sd = (round(float(x), _DIGITS) for x in (gap.mean(), gap.std(), score.std()))
    return Scores(gap.size, mean, gap_sd, sd)


def _moved(at: Numbers, champion: Numbers, candidate: Numbers) -> Moved:
    """Return how far the mean of scores moved, with hours as observations: requests of an hour are alike."""
    sd = float(champion.std()) if champion.size else 0.0
    if sd == 0.0:
        return Moved(n_hours=np.unique(at // HOUR).size)
    position, n = np.unique(at // HOUR, return_inverse=True, return_counts=True)[1:]
    totals = np.bincount(position, (candidate - champion) / sd)
    shift, k = float(totals.sum() / n.sum()), n.size
    # With one hour nothing is known of how hours differ.
    squares = float(np.sum((totals - shift * n) ** 2)) * k / (k - 1) if k > 1 else float("inf")
    half = mixture_half_width(k) * sqrt(k) * sqrt(squares) / float(n.sum())
    low, high = (max(-1e6, shift - half), min(1e6, shift + half))
    numbers = (round(number, _DIGITS) for number in (shift, low, high))
    shift, low, high = numbers
    return Moved(
        n_hours=k, shift=shift, low=low, high=high, spread=round(float(candidate.std()) / sd, _DIGITS)
    )

"""From scored requests to what one tick tells a rollout: hours of paired losses, and counts of answers.

Pure: a frame in, an event out. Which requests have matured is for the caller to know; that hours are counted
once is for the caller and `rollout.tally`. A request that the candidate did not answer counts as its worst
loss, never as nothing: a model must not look healthy through the requests it lost.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import HOUR, Instant
from varv.kernel.errors import InvalidInput
from varv.rollout.luck import Hour
from varv.rollout.model import AnswersCounted, EvidenceArrived, Scores

SURE = 0.001
"""Scores count as at least this far from 0 and 1, so a loss is at most 6.9 nats."""
WORST_LOSS = float(-np.log(SURE))
PAIRED = ("requested_at", "outcome", "champion_score", "candidate_score")
ANSWERED = ("champion_score", "candidate_score", "champion_ms", "candidate_ms", "arm", "coin")
SLOWER = 2.0
"""A call in which one version takes so many times as long as the other, and `SLOWER_MS` longer, speaks
against it."""
SLOWER_MS = 2.0

# Losses are summed as integers of 2 ** -30 nats, so that the order of the rows cannot change a bit of the
# ledger.
_UNIT = float(2**30)
_DIGITS = 6

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def evidence(rows: pl.DataFrame, *, since: Instant, through: Instant) -> EvidenceArrived | None:
    """Return what the outcomes of requests in [`since`, `through`) say, in whole hours; None before the first
    is over.

    Parameters
    ----------
    rows
        Every request of that time that both versions were to score, with the columns ``requested_at``
        (Datetime us UTC), ``outcome`` (0, 1, or null if it never came), ``champion_score`` and
        ``candidate_score`` (probability, or null if there was no answer). Rows outside are left out.
    since
        Where the last evidence ended.
    through
        The watermark before which all outcomes that will ever come have come. Outcomes taken as they arrive
        would be biased: flights that land early are not late.

    Raises
    ------
    InvalidInput
        If a column is missing or has another type, or an outcome is neither 0 nor 1.

    Notes
    -----
    The returned `through` is cut to a whole hour. Give the rows after it again with the next call.
    """
    end = Instant(through // HOUR * HOUR)
    if end <= since:
        return None
    inside = _inside(rows, since, end)
    outcome = _numbers(inside, "outcome")
    labelled = np.isfinite(outcome)
    champion, _ = _losses(inside, "champion_score", outcome)
    candidate, lost = _losses(inside, "candidate_score", outcome)
    at = inside["requested_at"].to_physical().to_numpy()[labelled]
    return EvidenceArrived(
        since=since,
        through=end,
        n_requests=inside.height,
        n_labels=int(labelled.sum()),
        n_missing=int(lost.sum()),
        hours=_hours(at, (candidate - champion)[labelled]),
    )


def answers(rows: pl.DataFrame, *, epoch: int, through: Instant) -> AnswersCounted:
    """Return what the answers under one routing table say before any outcome is known.

    Parameters
    ----------
    rows
        Every request that was answered under the table: ``champion_score``, ``candidate_score`` (null if
        there was no answer), ``arm`` (``"champion"`` or ``"candidate"``: who was to answer) and ``coin``
        (what was tossed: requests of one unit have one coin, so a unit is counted once; null for none, and
        then the request is the unit).
    epoch
        The table's.
    through
        Until when requests are among `rows`.
    """
    _require(rows, ANSWERED)
    units = rows.with_row_index("row").select(
        pl.coalesce(pl.col("coin"), -1.0 - pl.col("row").cast(pl.Float64)).alias("unit"),
        (pl.col("arm") == "candidate").fill_null(value=False).alias("chosen"),
        (~pl.col("candidate_score").is_between(0, 1)).fill_null(value=True).alias("lost"),
        (~pl.col("champion_score").is_between(0, 1)).fill_null(value=True).alias("champion_lost"),
        _much_longer("candidate_ms", "champion_ms").alias("slow"),
        _much_longer("champion_ms", "candidate_ms").alias("champion_slow"),
    )
    by_unit = units.group_by("unit").agg(
        pl.col("chosen").any(),
        (pl.col("lost") & ~pl.col("champion_lost")).any().alias("against"),
        (pl.col("champion_lost") & ~pl.col("lost")).any().alias("in_favour"),
        pl.col("slow", "champion_slow").any(),
    )
    n_candidate = int(by_unit["chosen"].sum())
    return AnswersCounted(
        epoch=epoch,
        through=through,
        n_requests=rows.height,
        n_missing=int(units["lost"].sum()),
        n_candidate=n_candidate,
        n_champion=by_unit.height - n_candidate,
        n_against=int(by_unit["against"].sum()),
        n_in_favour=int(by_unit["in_favour"].sum()),
        n_slower=int(by_unit["slow"].sum()),
        n_faster=int(by_unit["champion_slow"].sum()),
        scores=_scores(rows),
    )


def _much_longer(one: str, other: str) -> pl.Expr:
    longer = pl.col(one) > pl.max_horizontal(SLOWER * pl.col(other), pl.col(other) + SLOWER_MS)
    return longer.fill_null(value=False)


def _scores(rows: pl.DataFrame) -> Scores:
    """Return how the candidate's scores lie, and how far from the champion's."""
    both = rows.select("candidate_score", "champion_score").cast(pl.Float64).drop_nulls()
    if both.is_empty():
        return Scores()
    score = both["candidate_score"].to_numpy()
    gap = score - both["champion_score"].to_numpy()
    numbers = (float(gap.mean()), float(gap.std()), float(score.std()))
    return Scores(gap.size, *(round(number, _DIGITS) for number in numbers))


def _hours(at: npt.NDArray[np.int64], difference: Numbers) -> tuple[Hour, ...]:
    starts, position, counts = np.unique(at // HOUR * HOUR, return_inverse=True, return_counts=True)
    sums = np.zeros(starts.size, dtype=np.int64)
    np.add.at(sums, position, np.rint(difference * _UNIT).astype(np.int64))
    return tuple(
        Hour(Instant(int(start)), int(n), float(total / _UNIT))
        for start, n, total in zip(starts, counts, sums, strict=True)
    )


def _inside(rows: pl.DataFrame, since: Instant, end: Instant) -> pl.DataFrame:
    _require(rows, PAIRED)
    if rows.schema["requested_at"] != pl.Datetime("us", "UTC"):
        given = str(rows.schema["requested_at"])
        raise InvalidInput("column", "requested_at", "is not Datetime us UTC", given=given, hint="cast it")
    at = pl.col("requested_at").to_physical()
    inside = rows.filter((at >= since) & (at < end))
    sound = pl.col("outcome").is_in([0, 1]) | pl.col("outcome").is_null()
    if n_wrong := int(inside.select((~sound).sum()).item()):
        raise InvalidInput(
            "column", "outcome", "has impossible values", n_rows=n_wrong, hint="write 0, 1 or null"
        )
    return inside


def _require(rows: pl.DataFrame, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise InvalidInput(
            "evidence", "rows", "lacks columns", missing=missing, hint=f"give {', '.join(columns)}"
        )


def _numbers(rows: pl.DataFrame, column: str) -> Numbers:
    return rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _losses(rows: pl.DataFrame, column: str, outcome: Numbers) -> tuple[Numbers, Mask]:
    """Return the log-loss of each row and whether its score is missing; a score that is no probability is."""
    score = _numbers(rows, column)
    lost = ~((score >= 0) & (score <= 1))
    towards = np.clip(np.where(outcome == 1, score, 1 - score), SURE, 1 - SURE)
    return np.where(lost, WORST_LOSS, -np.log(np.where(lost, SURE, towards))), lost

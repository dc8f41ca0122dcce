"""From scored requests with their outcomes to the increments of one tick of evidence.

Pure: a frame in, an event out. Which requests have matured is for the caller to know; that they are counted
once is for the caller and `rollout.tally`. A request that the candidate did not answer counts as its worst
loss, never as nothing: a model must not look healthy through the requests it lost.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import Instant
from varv.kernel.errors import InvalidInput
from varv.rollout.model import ArmCounts, EvidenceArrived
from varv.rollout.plan import RolloutPlan
from varv.stats.sequential import Side, arm_increments, betting_increments

SURE = 0.001
"""Scores count as at least this far from 0 and 1, so a loss is at most 6.9 nats."""
WORST_LOSS = float(-np.log(SURE))
FULL_BLOCK = 50
"""A block with fewer labels bets a part of the stake: means of few requests are mostly noise."""
COLUMNS = ("requested_at", "outcome", "champion_score", "candidate_score", "arm", "share")

# Losses are summed as integers of 2 ** -30 nats, so that the order of the rows cannot change a bit of the
# ledger.
_UNIT = float(2**30)
_DIGITS = 9
_HINT = f"give {', '.join(COLUMNS)}"

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def evidence(
    rows: pl.DataFrame, plan: RolloutPlan, *, since: Instant, through: Instant, bad_loss: float
) -> EvidenceArrived | None:
    """Return the evidence in the requests of whole blocks within [`since`, `through`), or None if there is
    none yet.

    Parameters
    ----------
    rows
        Every request of that time that both versions were to score, with the columns ``requested_at``
        (Datetime us UTC), ``outcome`` (0, 1, or null if it never came), ``champion_score`` and
        ``candidate_score`` (probability, or null if there was no answer), ``arm`` (``"champion"`` or
        ``"candidate"``: who answered) and ``share`` (the candidate's assignment probability at that moment; 0
        in the shadow). Rows outside are left out.
    plan
        Gives the block, the margin and the bound.
    since
        Where the last evidence ended.
    through
        The watermark before which all outcomes that will ever come have come. Outcomes taken as they arrive
        would be biased: flights that land early are not late.
    bad_loss
        An answer with a greater loss is a bad event. Take the 90 % quantile of the champion's losses *before*
        `since`: see `bad_loss_of`.

    Raises
    ------
    InvalidInput
        If a column is missing or has another type, or a value is impossible.

    Notes
    -----
    The returned `through` is `through` cut to a whole block: a block that were split would be bet on twice,
    as if its parts were independent. Give its rows again with the next call.
    """
    end = Instant(through // plan.block * plan.block)
    if end <= since:
        return None
    inside = _inside(rows, since, end)
    at = inside["requested_at"].to_physical().to_numpy()
    outcome = _numbers(inside, "outcome")
    labelled = np.isfinite(outcome)
    champion, champion_lost = _losses(inside, "champion_score", outcome)
    candidate, candidate_lost = _losses(inside, "candidate_score", outcome)
    block = (at // plan.block)[labelled]
    means, weights = _block_means(block, (candidate - champion)[labelled], plan.bound)
    share, chosen = _numbers(inside, "share"), (inside["arm"] == "candidate").to_numpy()
    loss, lost = np.where(chosen, candidate, champion), np.where(chosen, candidate_lost, champion_lost)
    arms = _arms(share, chosen, labelled, lost | (labelled & (loss > bad_loss)))
    weighted = weights * means
    return EvidenceArrived(
        since=since,
        through=end,
        n_requests=inside.height,
        n_labels=int(labelled.sum()),
        n_missing=int(candidate_lost.sum()),
        n_blocks=means.size,
        weight=round(float(weights.sum()), _DIGITS),
        total=round(float(weighted.sum()), _DIGITS),
        squares=round(float(np.square(weighted).sum()), _DIGITS),
        paired_harm=_bets(means, weights, plan, "harm"),
        paired_safety=_bets(means, weights, plan, "safety"),
        arm_harm=_bad_events(arms),
        arms=arms,
    )


def bad_loss_of(outcome: pl.Series, champion_score: pl.Series, *, quantile: float = 0.9) -> float:
    """Return the loss that the champion's answers seldom exceed, in nats; the worst loss if there are none.

    Parameters
    ----------
    outcome, champion_score
        Past requests with known outcome, shapes (n,); rows with a null are left out.
    quantile
        The share of answers that lie below.

    Examples
    --------
    >>> round(bad_loss_of(pl.Series([0, 0, 0, 1]), pl.Series([0.1, 0.1, 0.1, 0.2])), 2)
    1.61
    """
    known = pl.DataFrame({"outcome": outcome, "score": champion_score}).drop_nulls()
    if known.is_empty():
        return WORST_LOSS
    losses, _ = _losses(known, "score", _numbers(known, "outcome"))
    return round(float(np.quantile(losses, quantile, method="higher")), _DIGITS)


def _inside(rows: pl.DataFrame, since: Instant, end: Instant) -> pl.DataFrame:
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise InvalidInput("evidence", "rows", "lacks columns", missing=missing, hint=_HINT)
    if rows.schema["requested_at"] != pl.Datetime("us", "UTC"):
        given = str(rows.schema["requested_at"])
        raise InvalidInput("column", "requested_at", "is not Datetime us UTC", given=given, hint="cast it")
    at = pl.col("requested_at").to_physical()
    inside = rows.filter((at >= since) & (at < end))
    checks = {
        "outcome": (pl.col("outcome").is_in([0, 1]) | pl.col("outcome").is_null(), "write 0, 1 or null"),
        "arm": (
            pl.col("arm").is_in(["champion", "candidate"]).fill_null(False),
            "write champion or candidate",
        ),
        "share": (pl.col("share").is_between(0, 1).fill_null(False), "write the candidate's probability"),
    }
    for name, (sound, hint) in checks.items():
        n_wrong = int(inside.select((~sound).sum()).item())
        if n_wrong:
            raise InvalidInput("column", name, "has impossible values", n_rows=n_wrong, hint=hint)
    return inside


def _numbers(rows: pl.DataFrame, column: str) -> Numbers:
    return rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _losses(rows: pl.DataFrame, column: str, outcome: Numbers) -> tuple[Numbers, Mask]:
    """Return the log-loss of each row and whether its score is missing; a score that is no probability is."""
    score = _numbers(rows, column)
    lost = ~((score >= 0) & (score <= 1))
    towards = np.clip(np.where(outcome == 1, score, 1 - score), SURE, 1 - SURE)
    return np.where(lost, WORST_LOSS, -np.log(np.where(lost, SURE, towards))), lost


def _block_means(block: npt.NDArray[np.int64], difference: Numbers, bound: float) -> tuple[Numbers, Numbers]:
    """Return the mean difference of each block, clipped to `bound`, and the block's weight."""
    blocks, position = np.unique(block, return_inverse=True)
    sums = np.zeros(blocks.size, dtype=np.int64)
    np.add.at(sums, position, np.rint(difference * _UNIT).astype(np.int64))
    counts = np.bincount(position, minlength=blocks.size)
    return np.clip(sums / _UNIT / np.maximum(counts, 1), -bound, bound), np.minimum(1.0, counts / FULL_BLOCK)


def _arms(share: Numbers, chosen: Mask, labelled: Mask, bad: Mask) -> tuple[ArmCounts, ...]:
    counts = []
    for value in np.unique(share[(share > 0) & (share < 1)]):
        here = share == value
        n_candidate = int((here & chosen).sum())
        bad_candidate = int((here & chosen & bad).sum())
        counts.append(
            ArmCounts(
                share=float(value),
                n_candidate=n_candidate,
                n_champion=int(here.sum()) - n_candidate,
                n_labels=int((here & labelled).sum()),
                bad_candidate=bad_candidate,
                bad_champion=int((here & bad).sum()) - bad_candidate,
            )
        )
    return tuple(counts)


def _bets(means: Numbers, weights: Numbers, plan: RolloutPlan, side: Side) -> tuple[float, ...]:
    margin = plan.margin if side == "safety" else 0.0
    logs = betting_increments(means, bound=plan.bound, side=side, margin=margin, weights=weights)
    return tuple(round(value, _DIGITS) for value in logs.tolist())


def _bad_events(arms: tuple[ArmCounts, ...]) -> tuple[float, ...]:
    x, y = [arm.bad_candidate for arm in arms], [arm.bad_champion for arm in arms]
    logs = arm_increments(x, y, [arm.share for arm in arms])
    return tuple(round(value, _DIGITS) for value in logs.tolist())

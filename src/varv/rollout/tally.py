"""Evidence added up over ticks, and what it weighs.

A tally holds sums only, so adding the evidence of two ticks is the same as seeing both at once. `weigh` turns
it into the numbers that `rollout.rules` compares with its thresholds and that every decision carries.
"""

from __future__ import annotations

from math import log

import msgspec

from varv.kernel.clock import Instant
from varv.rollout.model import Evidence, EvidenceArrived
from varv.rollout.plan import RolloutPlan
from varv.stats.sequential import BETS, HARM_RATIOS, log_e_value, mean_interval, share_log_e_value

_ZEROS = (0.0,) * len(BETS)
_DIGITS = 6


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of evidence since the shadow began; of harm, and those that begin with `step_`, since the present
    share.

    Harm starts anew at each share: a candidate that was good for days and breaks is judged by what it does
    now, not by what it had in hand. The accepted risk is divided among the shares, so that it holds for the
    whole rollout.
    """

    through: Instant = Instant(0)
    n_requests: int = 0
    n_labels: int = 0
    n_missing: int = 0
    n_blocks: int = 0
    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    paired_harm: tuple[float, ...] = _ZEROS
    paired_safety: tuple[float, ...] = _ZEROS
    arm_harm: tuple[float, ...] = (0.0,) * len(HARM_RATIOS)
    step_weight: float = 0.0
    step_total: float = 0.0
    step_labels: int = 0
    step_candidate: int = 0
    step_champion: int = 0


def added(tally: Tally, arrived: EvidenceArrived, share: float) -> Tally:
    """Return `tally` with the evidence of one more tick; evidence that overlaps what it holds changes
    nothing.

    Parameters
    ----------
    tally
        What is known so far.
    arrived
        The new tick.
    share
        The candidate's present share: requests routed at it count for the step.
    """
    if arrived.since < tally.through or arrived.through <= arrived.since:
        return tally
    # Shares of one ladder are at least a hundredth of a percent apart; a captured one may be of single
    # precision.
    here = [arm for arm in arrived.arms if abs(arm.share - share) < 1e-6]
    of_step = bool(here) or share == 0.0
    return Tally(
        through=arrived.through,
        n_requests=tally.n_requests + arrived.n_requests,
        n_labels=tally.n_labels + arrived.n_labels,
        n_missing=tally.n_missing + arrived.n_missing,
        n_blocks=tally.n_blocks + arrived.n_blocks,
        weight=tally.weight + arrived.weight,
        total=tally.total + arrived.total,
        squares=tally.squares + arrived.squares,
        paired_harm=_sum(tally.paired_harm, arrived.paired_harm),
        paired_safety=_sum(tally.paired_safety, arrived.paired_safety),
        arm_harm=_sum(tally.arm_harm, arrived.arm_harm),
        step_weight=tally.step_weight + arrived.weight * of_step,
        step_total=tally.step_total + arrived.total * of_step,
        step_labels=tally.step_labels + sum(arm.n_labels for arm in here),
        step_candidate=tally.step_candidate + sum(arm.n_candidate for arm in here),
        step_champion=tally.step_champion + sum(arm.n_champion for arm in here),
    )


def at_new_share(tally: Tally) -> Tally:
    """Return `tally` with the sums of harm and of the step at zero; the proof of safety stays."""
    fresh = Tally()
    return msgspec.structs.replace(
        tally,
        paired_harm=fresh.paired_harm,
        arm_harm=fresh.arm_harm,
        step_weight=0.0,
        step_total=0.0,
        step_labels=0,
        step_candidate=0,
        step_champion=0,
    )


def weigh(tally: Tally, plan: RolloutPlan, *, share: float, epoch: int) -> Evidence:
    """Return what `tally` weighs under `plan`.

    Notes
    -----
    Harm is the plain average of the paired and the arm e-process, which is an e-process whatever their
    dependence.
    """
    paired, arms = log_e_value(tally.paired_harm), log_e_value(tally.arm_harm)
    low, high = mean_interval(tally.weight, tally.total, tally.squares, bound=plan.bound)
    known = tally.weight > 0
    return Evidence(
        share=share,
        epoch=epoch,
        through=tally.through,
        n_requests=tally.n_requests,
        n_labels=tally.n_labels,
        n_missing=tally.n_missing,
        n_blocks=tally.n_blocks,
        step_labels=tally.step_labels,
        log_harm=round(log_e_value((paired, arms)), _DIGITS),
        log_harm_paired=round(paired, _DIGITS),
        log_harm_arms=round(arms, _DIGITS),
        log_safety=round(log_e_value(tally.paired_safety), _DIGITS),
        log_split=round(_split(tally, share), _DIGITS),
        harm_at=round(log((1 + len(plan.shares)) / plan.false_rollback), _DIGITS),
        safety_at=round(log(1 / plan.false_promote), _DIGITS),
        difference=_mean(tally.total, tally.weight),
        step_difference=_mean(tally.step_total, tally.step_weight),
        low=round(low, _DIGITS) if known else None,
        high=round(high, _DIGITS) if known else None,
    )


def _mean(total: float, weight: float) -> float | None:
    return round(total / weight, _DIGITS) if weight > 0 else None


def _split(tally: Tally, share: float) -> float:
    if not 0 < share < 1:
        return 0.0
    return share_log_e_value(tally.step_candidate, tally.step_champion, share)


def _sum(left: tuple[float, ...], right: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))

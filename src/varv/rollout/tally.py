"""Evidence added up over ticks, and what it weighs.

A tally holds hours of paired losses and the last count of answers. `weigh` turns it into the numbers that
`rollout.rules` compares with its thresholds and that every decision carries; `weigh_probation` does so after
a promotion.
"""

from __future__ import annotations

from math import sqrt
from statistics import median

import msgspec
import numpy as np

from varv.kernel.clock import DAY, Duration, Instant
from varv.rollout.grounds import OF_FIRST, Evidence, GuardEvidence, GuardProbation, Moved, Probation
from varv.rollout.guards import LOG_LOSS, Guard
from varv.rollout.luck import Blocks, Hour, Luck, blocks, checked
from varv.rollout.model import AnswersCounted, EvidenceArrived, GuardHours
from varv.rollout.plan import RolloutPlan
from varv.stats.sequential import (
    LARGEST,
    discordance_log_e_value,
    late_log_e_value,
    log_e_value,
    mean_log_e_value,
    mixture_half_width,
    share_log_e_value,
)

MOST_HOURS = 60 * 24
"""Older ones are dropped from a rollout that is held for so long."""
WEIGHTS = (0.8, 0.1, 0.1)
"""Of harm shown by outcomes, by missing and by slow answers; the latter speak fast when they do. Guards have
equal parts of the first, and a limit to calls half of the last. So an error of any of them has only its part
of the accepted risk: a guard among four rolls back at an e-value four times as large.
"""
RARE = 4.5
"""Standard deviations that luck exceeds about once in a hundred thousand rollouts or probations, and once in
three hundred where history has told a third too little of it.
"""
_DIGITS = 6


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a rollout since its shadow began, and since when the present share is in force.

    Harm is judged by what came since then: a candidate that was good for days and breaks is judged by what it
    does now, not by what it had in hand. The accepted risk is divided among the shares, so that it holds for
    the whole rollout.
    """

    through: Instant = Instant(0)
    n_requests: int = 0
    n_labels: int = 0
    n_missing: int = 0
    hours: tuple[Hour, ...] = ()
    """By the first guard of the plan."""
    others: tuple[GuardHours, ...] = ()
    """By the guards after the first."""
    step_since: Instant = Instant(0)
    answers: AnswersCounted | None = None
    """The last count under the table in force."""

    def hours_of(self, plan: RolloutPlan) -> tuple[tuple[Hour, ...], ...]:
        """Return the hours of each guard of `plan`."""
        known = {one.guard: one.hours for one in self.others}
        return tuple(known.get(guard.name, ()) if n else self.hours for n, guard in enumerate(plan.guarded))


def added(tally: Tally, arrived: EvidenceArrived) -> Tally:
    """Return `tally` with the evidence of one more tick; evidence that overlaps what it holds changes
    nothing.
    """
    if arrived.since < tally.through or arrived.through <= arrived.since:
        return tally
    return msgspec.structs.replace(
        tally,
        through=arrived.through,
        n_requests=tally.n_requests + arrived.n_requests,
        n_labels=tally.n_labels + arrived.n_labels,
        n_missing=tally.n_missing + arrived.n_missing,
        hours=(*tally.hours, *arrived.hours)[-MOST_HOURS:],
        others=_added(tally.others, arrived.others),
    )


def _added(held: tuple[GuardHours, ...], arrived: tuple[GuardHours, ...]) -> tuple[GuardHours, ...]:
    known = {one.guard: one.hours for one in held}
    known |= {one.guard: (*known.get(one.guard, ()), *one.hours)[-MOST_HOURS:] for one in arrived}
    return tuple(GuardHours(guard, hours) for guard, hours in known.items())


def at_new_share(tally: Tally, since: Instant) -> Tally:
    """Return `tally` for a share that is in force from `since` on: harm and counts start anew, the proof of
    safety stays.
    """
    return msgspec.structs.replace(tally, step_since=since, answers=None)


def weigh(tally: Tally, plan: RolloutPlan, luck: Luck, *, share: float, epoch: int) -> Evidence:
    """Return what `tally` weighs under `plan`.

    Notes
    -----
    Harm is a weighted average of the e-values of outcomes by each guard, of missing and of slow answers,
    which is an e-value whatever their dependence; so the accepted risk holds for all of them together. Of
    safety each guard must bring its own proof, which needs no division: a candidate that is harmful by one
    is promoted only if the proof by that one is false.
    """
    guards = [
        _weigh_guard(guard, hours, tally, plan, known)
        for guard, hours, known in zip(plan.guarded, tally.hours_of(plan), plan.lucks(luck), strict=True)
    ]
    harms, weights = _harms(tally.answers, plan, [one.log_harm for one in guards])
    missing, slow, *late = harms[len(guards) :]
    answers = tally.answers
    n_missing = 0 if answers is None else answers.n_missing
    evidence = Evidence(
        share=share,
        epoch=epoch,
        through=tally.through,
        n_requests=tally.n_requests,
        n_labels=tally.n_labels,
        # Counted at once, and once more when the outcomes have matured.
        n_missing=max(tally.n_missing, n_missing),
        n_blocks=0,
        step_labels=0,
        log_harm=_rounded(log_e_value(harms, weights)),
        log_harm_paired=0.0,
        log_harm_missing=_rounded(missing),
        log_harm_slow=_rounded(slow),
        log_harm_late=_rounded(late[0]) if late else 0.0,
        n_calls=0 if answers is None else answers.calls.n,
        n_late=0 if answers is None else answers.calls.n_late,
        log_safety=0.0,
        log_split=_rounded(_split(answers, share)),
        harm_at=_rounded(plan.harm_at),
        safety_at=_rounded(plan.safety_at),
        step_difference=None,
        difference=None,
        low=None,
        high=None,
    )
    if guards:
        return _with_guards(evidence, guards)
    counted = Moved() if answers is None else answers.moved
    n_requests = 0 if answers is None else answers.n_requests
    return msgspec.structs.replace(evidence, moved=counted, n_requests=n_requests)


def _with_guards(evidence: Evidence, guards: list[GuardEvidence]) -> Evidence:
    """Return `evidence` with the first guard in its own fields, as ledgers had it when there was but one."""
    first = guards[0]
    return msgspec.structs.replace(
        evidence,
        guard=first.guard,
        others=tuple(msgspec.structs.replace(one, log_harm=_rounded(one.log_harm)) for one in guards[1:]),
        log_harm_paired=_rounded(first.log_harm),
        **{name: getattr(first, name) for name in OF_FIRST},
    )


def _weigh_guard(
    guard: Guard, hours: tuple[Hour, ...], tally: Tally, plan: RolloutPlan, luck: Luck
) -> GuardEvidence:
    """Return what `hours` weigh by one guard.

    Notes
    -----
    A mean that lies on the right side of its null is never evidence against it, however single blocks lie:
    blocks are weighed by how much they can tell, and the guard speaks of all requests alike.
    """
    of_step = tuple(hour for hour in hours if hour.at >= tally.step_since)
    before = hours[: len(hours) - len(of_step)]
    # What changed with the share is no luck: a step is checked by itself.
    learned, luck, luck_of_step = luck, checked(luck, hours), checked(luck, of_step)
    every = blocks(hours, luck, through=tally.through)
    step = blocks(of_step, luck_of_step, through=tally.through)
    low, high = _interval(every, luck)
    step_low, step_high = _interval(step, luck_of_step)
    excess, *limits = _excess(hours, every, guard.margin, luck, tally.through, horizon=plan.deadline)
    return GuardEvidence(
        guard=guard,
        n_labels=sum(hour.n for hour in hours),
        n_blocks=every.n.size,
        step_labels=sum(hour.n for hour in of_step),
        step_blocks=step.n.size,
        log_harm=_harm(step, luck_of_step),
        log_safety=_rounded(_safety(every, luck, guard.margin)),
        step_safety=_rounded(_safety(step, luck_of_step, guard.margin)),
        step_difference=_mean(of_step),
        step_low=step_low,
        step_high=step_high,
        difference=_mean(hours),
        low=low,
        high=high,
        excess=_rounded(excess),
        excess_at=_rounded(max(limits)),
        shift=_rounded(_shift(before, of_step, learned, tally.through)),
        inflation=luck.inflation,
        luck_days=luck.n_days,
        n_cut=int(np.sum(np.abs(every.standardized(luck.inflation, null=guard.margin)) >= LARGEST)),
    )


def weigh_probation(tally: Tally, plan: RolloutPlan, luck: Luck) -> Probation:
    """Return what the hours since a promotion weigh, the promoted version's losses less those of the one
    before.
    """
    guards = [
        _weigh_guard_probation(guard, hours, plan, checked(known, hours), tally.through)
        for guard, hours, known in zip(plan.guarded, tally.hours_of(plan), plan.lucks(luck), strict=True)
    ]
    if not guards:
        # Only versions of before a plan without outcomes could be in one.
        guards = [_weigh_guard_probation(LOG_LOSS, (), plan, luck, tally.through)]
    first = guards[0]
    return Probation(
        through=tally.through,
        n_labels=first.n_labels,
        n_blocks=first.n_blocks,
        difference=first.difference,
        low=first.low,
        high=first.high,
        excess=first.excess,
        excess_allowed=first.excess_allowed,
        excess_by_luck=first.excess_by_luck,
        log_harm=_rounded(log_e_value([one.log_harm for one in guards])),
        harm_at=_rounded(plan.harm_at),
        guard=first.guard,
        others=tuple(msgspec.structs.replace(one, log_harm=_rounded(one.log_harm)) for one in guards[1:]),
    )


def _weigh_guard_probation(
    guard: Guard, hours: tuple[Hour, ...], plan: RolloutPlan, luck: Luck, through: Instant
) -> GuardProbation:
    found = blocks(hours, luck, through=through)
    excess, allowed, by_luck = _excess(hours, found, guard.margin, luck, through, horizon=plan.probation)
    low, high = _interval(found, luck)
    return GuardProbation(
        guard=guard,
        n_labels=sum(hour.n for hour in hours),
        n_blocks=found.n.size,
        difference=_mean(hours),
        low=low,
        high=high,
        excess=_rounded(excess),
        excess_allowed=_rounded(allowed),
        excess_by_luck=_rounded(by_luck),
        log_harm=_harm(found, luck),
    )


def _excess(
    hours: tuple[Hour, ...], found: Blocks, margin: float, luck: Luck, through: Instant, *, horizon: Duration
) -> tuple[float, float, float]:
    """Return the sum of the losses' differences, what the margin allows until the horizon, and what luck may
    make of it until then.

    Blocks are not cut here: harm that falls on few of them is not seen in many.
    """
    n, excess = sum(hour.n for hour in hours), sum(hour.total for hour in hours)
    lived = max(through - hours[0].at, DAY) if hours else DAY
    expected = n * max(1.0, horizon / lived)
    return excess, margin * expected, RARE * sqrt(expected * _variance(found, luck))


def _variance(found: Blocks, luck: Luck) -> float:
    """Return how much the difference of one request varies, what requests share included.

    By the history's spread, or that of the usual block: one that is far off must not excuse itself.
    """
    usual = median((found.variance / found.n).tolist()) if found.n.size else 0.0
    return (luck.spread or usual) * luck.inflation


def _shift(before: tuple[Hour, ...], of_step: tuple[Hour, ...], luck: Luck, through: Instant) -> float:
    """Return by how many standard deviations losses at a step exceed those before it.

    What varies is asked of each part by itself, since a shift makes the whole look as if it varied.
    """
    if not before or not of_step:
        return 0.0
    moved, variance = 0.0, 0.0
    for sign, part in ((1, of_step), (-1, before)):
        n, own = sum(hour.n for hour in part), checked(luck, part)
        moved += sign * sum(hour.total for hour in part) / n
        variance += _variance(blocks(part, own, through=through), own) / n
    return moved / sqrt(variance) if variance else 0.0


def _harm(found: Blocks, luck: Luck) -> float:
    worth = mean_log_e_value(float(found.standardized(luck.inflation).sum()), found.n.size)
    return worth if found.total.sum() > 0 else min(worth, 0.0)


def _safety(found: Blocks, luck: Luck, margin: float) -> float:
    total = -float(found.standardized(luck.inflation, null=margin).sum())
    worth = mean_log_e_value(total, found.n.size)
    return worth if found.total.sum() < margin * found.n.sum() else min(worth, 0.0)


def _interval(found: Blocks, luck: Luck) -> tuple[float | None, float | None]:
    n = float(found.n.sum())
    if n == 0:
        return None, None
    sd_of_mean = sqrt(luck.inflation * float(found.variance.sum())) / n
    half = mixture_half_width(found.n.size) * sqrt(found.n.size) * sd_of_mean
    mean = float(found.total.sum()) / n
    return _rounded(mean - half), _rounded(mean + half)


def _mean(hours: tuple[Hour, ...] | list[Hour]) -> float | None:
    n = sum(hour.n for hour in hours)
    return _rounded(sum(hour.total for hour in hours) / n) if n else None


def _harms(
    counted: AnswersCounted | None, plan: RolloutPlan, paired: list[float]
) -> tuple[list[float], list[float]]:
    """Return the log e-values of harm and their weights: by outcomes, of missing, slow and late calls."""
    missing, slow, late = (0.0, 0.0, 0.0) if counted is None else _answers(counted, plan)
    of_paired, of_missing, of_slow = WEIGHTS if paired else (0.0, 0.5, 0.5)
    weights = [of_paired / len(paired) for _ in paired]
    if plan.latency is None or plan.latency.limit_ms is None:
        return [*paired, missing, slow], [*weights, of_missing, of_slow]
    return [*paired, missing, slow, late], [*weights, of_missing, of_slow / 2, of_slow / 2]


def _answers(counted: AnswersCounted, plan: RolloutPlan) -> tuple[float, float, float]:
    """Return the log e-values of missing, of slow and of late answers."""
    missing = discordance_log_e_value(counted.n_against, counted.n_in_favour)
    slow = discordance_log_e_value(counted.n_slower, counted.n_faster)
    late = 0.0 if plan.latency is None else late_log_e_value(counted.calls.minutes, plan.latency.share)
    return missing, slow, late


def _split(answers: AnswersCounted | None, share: float) -> float:
    if answers is None or not 0 < share < 1:
        return 0.0
    return share_log_e_value(answers.n_candidate, answers.n_champion, share)


def _rounded(value: float) -> float:
    return round(value, _DIGITS)

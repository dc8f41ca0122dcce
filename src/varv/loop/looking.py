"""What a loop looks at, and when: days, evidence of versions that answer, and what a training would save."""

from __future__ import annotations

from msgspec.structs import replace

from varv.kernel.clock import DAY, HOUR, WEEK, Duration, Instant
from varv.kernel.ids import Version
from varv.kernel.sagas import SetTimer, Step
from varv.loop.commands import GatherEvidence
from varv.loop.model import LoopPolicy, LoopState
from varv.loop.weighing.model import WeighBenefit

EVIDENCE_EVERY = Duration(6 * HOUR)
"""Counted from midnight, so that answers and outcomes are looked at together."""


def weigh(state: LoopState, policy: LoopPolicy, due: Instant, now: Instant) -> tuple[WeighBenefit, ...]:
    """Return the order to weigh a training, once a week, counted from the first training."""
    under_way = state.phase in ("judging", "rolling") and state.is_own and state.returning_to is None
    version = state.candidate if under_way else state.champion
    through = Instant(now - (now - policy.first_training // DAY * DAY) % WEEK)
    if policy.benefit is None or version is None or state.phase == "training" or through < due:
        return ()
    return (WeighBenefit(model=policy.model, version=Version(version), through=through),)


def gather_probation(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    """Ask for the evidence of a probation that has matured since."""
    through = hour_of(Instant(now - policy.maturity))
    if state.probation is None or state.champion is None or through <= state.probation_through:
        return Step(state)
    command = GatherEvidence(
        model=policy.model,
        version=state.champion,
        since=state.probation_through,
        through=through,
        former=state.probation,
    )
    return Step(replace(state, probation_through=through), commands=(command,))


def next_evidence(now: Instant) -> SetTimer:
    """Return the timer for the next look at a rollout."""
    return SetTimer("evidence", Instant((now // EVIDENCE_EVERY + 1) * EVIDENCE_EVERY))


def next_midnight(now: Instant) -> Instant:
    """Return the next midnight, in UTC."""
    return Instant((now // DAY + 1) * DAY)


def days_to_measure(due: Instant, now: Instant, policy: LoopPolicy) -> list[Instant]:
    """Return the days that are mature by now and were not when the timer was set.

    A timer fires late if nobody ran; requests of before that have matured meanwhile. Of the time when nobody
    answered only the last day is measured.
    """
    first, last = _last_mature_day(due, policy), _last_mature_day(now, policy)
    answered = range(first, min(last, first + policy.maturity + 2 * DAY), DAY)
    return [*map(Instant, answered), last]


def _last_mature_day(now: Instant, policy: LoopPolicy) -> Instant:
    return Instant(((now - policy.maturity) // DAY - 1) * DAY)


def hour_of(when: Instant) -> Instant:
    """Return the hour that an instant is in."""
    return Instant(when // HOUR * HOUR)

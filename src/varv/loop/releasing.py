"""What becomes of a loop's candidates: rolled out, promoted or refused. After a promotion the champion before
scores along, and may come back.
"""

from __future__ import annotations

from msgspec.structs import replace

from varv.kernel.clock import DAY, HOUR, Instant
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import CancelTimer, Fact, Message, SetTimer, Step
from varv.loop.commands import SetReference
from varv.loop.counting import promoted, schedule
from varv.loop.looking import hour_of, next_evidence
from varv.loop.model import BENEFIT, CandidateRejected, LoopPolicy, LoopState, RollbackAsked
from varv.loop.triggering import loop_fact, take_in, trigger_training, without_candidate
from varv.rollout import (
    AT_ONCE,
    ApplyRouting,
    ProbationEnded,
    RolloutAborted,
    RolloutPlan,
    RolloutSettled,
    RolloutStarted,
    RolloutSuperseded,
    RoutingApplied,
    UnloadVersion,
    rollout_id,
)
from varv.serving.routing import RoutingShare, RoutingTable

ANSWERED = ("performance", "calibration", "drift", "first training", BENEFIT)
"""Triggers that a promotion answers: alarms about the version that was replaced, what a fresh one was to
save, and that there was none.
"""

RETRY_TRAINING = DAY
"""After a training that failed, the next one waits so long, or as long as the cool-down."""


def roll_out(
    state: LoopState, policy: LoopPolicy, version: int, plan: RolloutPlan, now: Instant
) -> Step[LoopState]:
    """Begin the rollout of a version."""
    along = state.probation
    former = Version(along) if along is not None and along != version else None
    started = RolloutStarted(
        model=ModelName(policy.model),
        version=Version(version),
        champion=None if state.champion is None else Version(state.champion),
        epoch=state.epoch,
        plan=plan,
        former=former,
        luck=state.luck,
    )
    # The hour that is under way is left out: only part of it was scored by both versions.
    first_hour = Instant(hour_of(now) + HOUR)
    state = replace(state, phase="rolling", candidate=version, rolling_since=now, evidence_through=first_hour)
    tells = (Message(rollout_id(ModelName(policy.model), Version(version)), started),)
    return Step(state, tells=tells, timers=(next_evidence(now),))


def _next(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    """Decide what an idle loop does: bring a champion back, let one go, or train."""
    if state.returning_to is not None:
        return roll_out(state, policy, state.returning_to, AT_ONCE, now)
    after = trigger_training(state, policy, None, now)
    if after.state.phase == "rolling" or after.state.releasing is None:
        return after
    return without_former(after, policy)


def settled(state: LoopState, policy: LoopPolicy, event: RolloutSettled, now: Instant) -> Step[LoopState]:
    """Go on after a rollout: with another champion if it was promoted."""
    if state.phase != "rolling" or event.version != state.candidate:
        return Step(state)
    is_promoted = event.outcome == "promoted"
    if is_promoted:
        state = promoted(state)
    returning_to = None if event.version == state.returning_to else state.returning_to
    state = replace(without_candidate(state), phase="idle", epoch=event.epoch, returning_to=returning_to)
    tells, commands = _replaced(state, policy, event) if is_promoted else (), ()
    if is_promoted:
        state = replace(
            state,
            champion=event.version,
            former=state.champion,
            open_alarms=(),
            pending=tuple(one for one in state.pending if one.kind not in ANSWERED),
            n_refused=0,
            probation=event.former,
            probation_through=hour_of(Instant(now + HOUR)),
        )
        commands = (SetReference(model=policy.model, version=event.version),)
    after = _next(state, policy, now)
    return replace(
        after,
        tells=(*tells, *after.tells),
        commands=(*commands, *after.commands),
        timers=(CancelTimer("evidence"), *schedule(state, policy, now), *after.timers),
    )


def _replaced(state: LoopState, policy: LoopPolicy, event: RolloutSettled) -> tuple[Message, ...]:
    """Tell the probation of the champion that was replaced that its time is over."""
    if state.probation is None or state.champion is None:
        return ()
    over = RolloutSuperseded(by_version=event.version)
    return (Message(rollout_id(ModelName(policy.model), Version(state.champion)), over),)


def probation_ended(
    state: LoopState, policy: LoopPolicy, event: ProbationEnded, now: Instant
) -> Step[LoopState]:
    """Let the champion before go, or bring it back."""
    if event.version != state.champion or state.probation is None:
        return Step(state)
    if event.outcome == "failed":
        candidate = state.candidate
        if state.phase != "rolling" or candidate is None:
            return go_back(state, policy, event.former, now)
        state = replace(state, returning_to=event.former)
        aborted = RolloutAborted(by="probation", reason=f"the champion before comes back: {event.reason}")
        return Step(state, tells=(Message(rollout_id(event.model, Version(candidate)), aborted),))
    state = replace(state, probation=None, releasing=event.former)
    return Step(state) if state.phase == "rolling" else without_former(Step(state), policy)


def without_former(step: Step[LoopState], policy: LoopPolicy) -> Step[LoopState]:
    """Put a table in force that the champion before is not in; once it is confirmed, that version may go."""
    state = step.state
    assert state.champion is not None, "a probation has a champion"
    table = RoutingTable(
        epoch=state.epoch + 1,
        shares=(RoutingShare(Version(state.champion), 1.0),),
        salt=f"{policy.model}/{state.champion}/{state.epoch + 1}",
    )
    command = ApplyRouting(model=ModelName(policy.model), table=table)
    return replace(step, state=replace(state, epoch=state.epoch + 1), commands=(*step.commands, command))


def routed(state: LoopState, policy: LoopPolicy, event: RoutingApplied, now: Instant) -> Step[LoopState]:
    """Let a version go once nobody is routed to it."""
    if state.releasing is None or event.epoch != state.epoch:
        return Step(state)
    unload = UnloadVersion(model=ModelName(policy.model), version=Version(state.releasing))
    return Step(replace(state, releasing=None), commands=(unload,))


def reject(
    state: LoopState, policy: LoopPolicy, reason: str, now: Instant, *, detail: str = ""
) -> Step[LoopState]:
    """Refuse a candidate, and do what waited for its end."""
    assert state.candidate is not None
    planted = state.planted.name if state.planted else ""
    fact = CandidateRejected(version=state.candidate, reason=reason, planted=planted, detail=detail)
    is_own = state.is_own
    refused = 0 if not is_own or state.champion is None else 1
    state = replace(without_candidate(state), phase="idle", n_refused=state.n_refused + refused)
    if state.champion is None and is_own:
        retry = SetTimer("train", Instant(now + max(policy.cooldown, RETRY_TRAINING)))
        after = take_in(state, policy, now) if state.offers else Step(state)
        timers = () if state.suspended else (retry,)
        return replace(after, emits=(loop_fact(policy, fact), *after.emits), timers=timers)
    # The monitor raises an alarm once. A candidate that was refused has not answered it.
    again = tuple(alarm for alarm in state.open_alarms if alarm not in state.pending)
    after = _next(replace(state, pending=(*state.pending, *again)), policy, now)
    # The champion is as old as it was.
    timers = schedule(state, policy, now) if is_own else ()
    return replace(after, emits=(loop_fact(policy, fact), *after.emits), timers=(*timers, *after.timers))


def rolled_back(state: LoopState, policy: LoopPolicy, event: RollbackAsked, now: Instant) -> Step[LoopState]:
    """Do what a person asked for: end the rollout, or bring the champion before back."""
    if state.phase == "rolling" and state.candidate is not None:
        aborted = RolloutAborted(by=event.by, reason=event.reason)
        return Step(state, tells=(Message(f"rollout/{policy.model}/{state.candidate}", aborted),))
    if state.phase == "new" or state.former is None:
        return Step(state)
    return go_back(state, policy, state.former, now)


def go_back(state: LoopState, policy: LoopPolicy, former: int, now: Instant) -> Step[LoopState]:
    """Bring a champion back at once; a candidate that is being trained or judged is given up for it."""
    emits: tuple[Fact, ...] = ()
    given_up = state.given_up
    if (candidate := state.candidate) is not None:
        planted = state.planted.name if state.planted else ""
        reason = "given up: the champion before comes back first"
        emits = (loop_fact(policy, CandidateRejected(version=candidate, reason=reason, planted=planted)),)
        given_up = (*given_up, candidate) if state.phase == "training" else given_up
    state = replace(without_candidate(state), returning_to=former, given_up=given_up)
    step = roll_out(state, policy, former, AT_ONCE, now)
    return replace(step, emits=(*emits, *step.emits))

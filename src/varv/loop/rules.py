"""The loop as a saga: watch, decide to train, judge, roll out, and watch again.

Every decision is a fact with its reasons. One candidate is under way at a time; what asks for another
meanwhile, or during the cool-down, waits. The rollout itself is a saga of its own, `rollout`, that reports
back when it has settled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from msgspec.structs import replace

from varv.kernel.clock import DAY, HOUR, WEEK, Duration, Instant
from varv.kernel.codec import Event
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import CancelTimer, CommandFailed, Fact, Message, SetTimer, Step, TimerFired
from varv.loop.counting import age, growth, promoted, schedule
from varv.loop.failing import WAITING, counted, forgotten, headline
from varv.loop.model import (
    BENEFIT,
    DECLARATION,
    REGISTERED,
    CandidateRejected,
    CandidateTrained,
    DefinitionChanged,
    FaultPlanted,
    GatesJudged,
    GatherEvidence,
    JudgeCandidate,
    LoopPolicy,
    LoopStarted,
    LoopState,
    Measure,
    ModelOffered,
    ModelRestored,
    ModelRetired,
    NumberAsked,
    NumberGiven,
    PolicyChanged,
    RetrainAsked,
    RetrainTriggered,
    RollbackAsked,
    RowsMatured,
    SetReference,
    TrainCandidate,
    Trained,
    TrainingSuspended,
    Trigger,
    TriggerDeferred,
)
from varv.loop.weighing.model import BenefitWeighed, WeighBenefit
from varv.monitoring import AlarmCleared, AlarmRaised
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

EVIDENCE_EVERY = Duration(6 * HOUR)
"""Counted from midnight, so that answers and outcomes are looked at together."""

ANSWERED = ("performance", "calibration", "drift", "first training", BENEFIT)
"""Triggers that a promotion answers: alarms about the version that was replaced, what a fresh one was to
save, and that there was none.
"""

MOST_DOUBLINGS = 1
"""How often refused candidates double the cool-down."""

RETRY_TRAINING = DAY
"""After a training that failed, the next one waits so long, or as long as the cool-down."""


class LoopSaga:
    """The loop of one model; ids are ``loop/<model>``."""

    name: ClassVar[str] = "loop"
    state_type = LoopState

    def initial(self, saga_id: str) -> LoopState:
        """Return the state before the loop starts."""
        return LoopState()

    def step(self, state: LoopState, event: Event, now: Instant) -> Step[LoopState]:
        """Decide what `event` leads to."""
        if isinstance(event, LoopStarted):
            return _start(state, event, now)
        rule = _RULES.get(type(event))
        if rule is None or state.policy is None:
            return Step(state)
        if state.retired and not isinstance(event, _TO_THE_RETIRED):
            return Step(state)
        return rule(state, state.policy, event, now)


def _start(state: LoopState, event: LoopStarted, now: Instant) -> Step[LoopState]:
    if state.phase != "new":
        return Step(state)
    first = max(now, event.policy.first_training)
    timers = (SetTimer("train", first), SetTimer("day", _next_midnight(now)))
    state = replace(state, policy=event.policy, phase="idle", next_version=event.first_version)
    return Step(state, timers=timers)


def _policy_changed(
    state: LoopState, policy: LoopPolicy, event: PolicyChanged, now: Instant
) -> Step[LoopState]:
    was_suspended = state.suspended
    state = forgotten(replace(state, policy=event.policy))
    timers = schedule(state, event.policy, now)
    if not was_suspended:
        return Step(state, timers=timers)
    first = () if state.champion is not None or state.pending else (Trigger("first training", "", {}),)
    step = _at_once(replace(state, pending=(*state.pending, *first)), event.policy, now)
    return replace(step, timers=(*timers, *step.timers))


def _definition_changed(
    state: LoopState, policy: LoopPolicy, event: DefinitionChanged, now: Instant
) -> Step[LoopState]:
    """Train on the changed features: at once if the loop is idle, since no champion reads the new ones."""
    trigger = Trigger(DECLARATION, event.subject)
    others = tuple(one for one in state.pending if one.kind != DECLARATION)
    state = replace(forgotten(state), pending=(*others, trigger))
    if state.phase == "idle":
        return _at_once(state, policy, now)
    waits = TriggerDeferred(trigger=trigger, because=state.phase)
    return Step(state, emits=(_fact(policy, waits),))


def _retired(state: LoopState, policy: LoopPolicy, event: ModelRetired, now: Instant) -> Step[LoopState]:
    """Stand still: nothing is measured, trained or rolled out until the model is declared again."""
    tells: tuple[Message, ...] = ()
    if state.probation is not None and state.champion is not None:
        over = RolloutSuperseded(by_version=Version(state.champion))
        tells = (Message(rollout_id(ModelName(policy.model), Version(state.champion)), over),)
    given_up = state.given_up
    if state.candidate is not None and state.phase == "training":
        given_up = (*given_up, state.candidate)
    state = replace(
        _without_candidate(state),
        phase="idle",
        retired=True,
        pending=(),
        offers=(),
        probation=None,
        releasing=None,
        given_up=given_up,
    )
    timers = tuple(map(CancelTimer, ("train", "day", "schedule", "cooldown", "evidence")))
    return Step(state, tells=tells, timers=timers)


def _restored(state: LoopState, policy: LoopPolicy, event: ModelRestored, now: Instant) -> Step[LoopState]:
    """Go on where the loop stood still, with the champion of then."""
    if not state.retired:
        return Step(state)
    state = replace(state, retired=False)
    timers = (SetTimer("day", _next_midnight(now)), *schedule(state, policy, now))
    if state.champion is None:
        return Step(state, timers=(SetTimer("train", now), *timers))
    step = _without_former(Step(state), policy)
    return replace(step, timers=timers)


def _timer(state: LoopState, policy: LoopPolicy, event: TimerFired, now: Instant) -> Step[LoopState]:
    if event.key == "day":
        measures = [Measure(model=policy.model, day=day) for day in _days_to_measure(event.due, now, policy)]
        step = _gather_probation(state, policy, now)
        timers = (SetTimer("day", _next_midnight(now)),)
        weigh = _weigh(state, policy, event.due, now)
        return replace(step, commands=(*measures, *weigh, *step.commands), timers=timers)
    if event.key == "evidence":
        return _gather(state, policy, now)
    if event.key == "schedule":
        return _trigger(state, policy, Trigger("schedule", "", age(state, now)), now)
    if event.key in ("train", "cooldown"):
        first = Trigger("first training", "", {}) if state.champion is None and event.key == "train" else None
        return _trigger(state, policy, first, now)
    return Step(state)


def _gather(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    if state.phase != "rolling" or state.candidate is None:
        return Step(state)
    timers = (_next_evidence(now),)
    through = _hour_of(Instant(now - policy.maturity))
    if state.pending and now >= state.rolling_since + policy.plan.deadline:
        return _trigger(state, policy, None, now)
    if through <= state.evidence_through:
        return Step(state, timers=timers)
    command = GatherEvidence(
        model=policy.model,
        version=state.candidate,
        since=state.evidence_through,
        through=through,
    )
    return Step(replace(state, evidence_through=through), commands=(command,), timers=timers)


def _gather_probation(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    through = _hour_of(Instant(now - policy.maturity))
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


def _alarm(state: LoopState, policy: LoopPolicy, event: AlarmRaised, now: Instant) -> Step[LoopState]:
    if event.kind not in policy.alarms or event.version != state.champion:
        return Step(state)
    trigger = Trigger(event.kind, event.subject, dict(event.evidence), event.number)
    state = replace(state, open_alarms=(*_others(state.open_alarms, event), trigger))
    return _trigger(state, policy, trigger, now)


def _cleared(state: LoopState, policy: LoopPolicy, event: AlarmCleared, now: Instant) -> Step[LoopState]:
    kept, waiting = _others(state.open_alarms, event), _others(state.pending, event)
    return Step(replace(state, open_alarms=kept, pending=waiting))


def _others(triggers: tuple[Trigger, ...], alarm: AlarmRaised | AlarmCleared) -> tuple[Trigger, ...]:
    return tuple(one for one in triggers if (one.kind, one.subject) != (alarm.kind, alarm.subject))


def _matured(state: LoopState, policy: LoopPolicy, event: RowsMatured, now: Instant) -> Step[LoopState]:
    state = replace(state, n_rows=event.n_rows)
    trigger = growth(state, policy)
    return Step(state) if trigger is None else _trigger(state, policy, trigger, now)


def _weigh(state: LoopState, policy: LoopPolicy, due: Instant, now: Instant) -> tuple[WeighBenefit, ...]:
    """Return the order to weigh a training, once a week, counted from the first training."""
    under_way = state.phase in ("judging", "rolling") and state.is_own and state.returning_to is None
    version = state.candidate if under_way else state.champion
    through = Instant(now - (now - policy.first_training // DAY * DAY) % WEEK)
    if policy.benefit is None or version is None or state.phase == "training" or through < due:
        return ()
    return (WeighBenefit(model=policy.model, version=Version(version), through=through),)


def _weighed(state: LoopState, policy: LoopPolicy, event: BenefitWeighed, now: Instant) -> Step[LoopState]:
    # A training or a promotion meanwhile has answered it.
    is_current = event.version in (state.champion, state.candidate) and state.phase != "training"
    if policy.benefit is None or not event.is_due or not is_current:
        return Step(state)
    return _trigger(state, policy, Trigger(BENEFIT, "", event.evidence()), now)


def _asked(state: LoopState, policy: LoopPolicy, event: RetrainAsked, now: Instant) -> Step[LoopState]:
    manual = Trigger("manual", f"{event.by}: {event.reason}", {})
    if state.suspended:
        # The count stays: if it fails as before, one more trial was enough.
        return _at_once(replace(state, suspended=False, pending=(*state.pending, manual)), policy, now)
    return _trigger(state, policy, manual, now)


def _at_once(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    """Train for what waits if the loop is idle, without waiting for the cool-down."""
    return _train(state, policy, now) if state.phase == "idle" and state.pending else Step(state)


def _offered(state: LoopState, policy: LoopPolicy, event: ModelOffered, now: Instant) -> Step[LoopState]:
    return _trigger(replace(state, offers=(*state.offers, event.offer)), policy, None, now)


def _number(state: LoopState, policy: LoopPolicy, event: NumberAsked, now: Instant) -> Step[LoopState]:
    given = NumberGiven(version=state.next_version)
    state = replace(state, next_version=Version(state.next_version + 1))
    return Step(state, emits=(_fact(policy, given),))


def _planted(state: LoopState, policy: LoopPolicy, event: FaultPlanted, now: Instant) -> Step[LoopState]:
    return _trigger(replace(state, plants=(*state.plants, event.plant)), policy, None, now)


def _trigger(state: LoopState, policy: LoopPolicy, trigger: Trigger | None, now: Instant) -> Step[LoopState]:
    """Train if the loop is free, for `trigger` and all that waited; else keep it."""
    pending = state.pending
    fresh = trigger is not None and all(
        (t.kind, t.subject) != (trigger.kind, trigger.subject) for t in pending
    )
    if trigger is not None and fresh:
        pending = (*pending, trigger)
    state = replace(state, pending=pending)
    if state.offers and state.phase == "idle":
        return _take_in(state, policy, now)
    if state.suspended:
        waits = TriggerDeferred(trigger=trigger, because=WAITING) if trigger and fresh else None
        return Step(state, emits=(_fact(policy, waits),) if waits else ())
    if state.plants and state.phase == "idle" and state.champion is not None:
        return _train_planted(state, policy, now)
    if not pending:
        return Step(state)
    ready_at = Instant((state.trained_at or 0) + (policy.cooldown << min(state.n_refused, MOST_DOUBLINGS)))
    ready = state.trained_at is None or now >= ready_at
    if state.phase == "idle" and ready:
        return _train(state, policy, now)
    if (
        state.phase == "rolling"
        and state.candidate is not None
        and now >= state.rolling_since + policy.plan.deadline
    ):
        # It had its time and was not proven; what asks for a fresher candidate goes before it.
        superseded = RolloutSuperseded(by_version=Version(state.next_version))
        return Step(state, tells=(Message(f"rollout/{policy.model}/{state.candidate}", superseded),))
    emits: tuple[Fact, ...] = ()
    if trigger is not None and fresh:
        because = "cooling down" if state.phase == "idle" else state.phase
        emits = (_fact(policy, TriggerDeferred(trigger=trigger, because=because)),)
    timers = (SetTimer("cooldown", ready_at),) if state.phase == "idle" else ()
    return Step(state, emits=emits, timers=timers)


def _train(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    """Train for all that waits."""
    first = state.champion is None
    asked = replace(state, pending=(), trained_at=now, n_retrains=state.n_retrains + (0 if first else 1))
    step = _begin(asked, policy, state.pending, now)
    return replace(step, timers=(CancelTimer("cooldown"), *schedule(step.state, policy, now)))


# What is not the policy's own training neither answers what waits nor postpones it.


def _train_planted(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    plant, *rest = state.plants
    state = replace(state, plants=tuple(rest), planted=plant)
    return _begin(state, policy, (Trigger("planted", plant.name),), now)


def _take_in(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    offer, *rest = state.offers
    state = replace(state, offers=tuple(rest), offer=offer)
    return _begin(state, policy, (Trigger(REGISTERED, offer.source.line()),), now)


def _begin(
    state: LoopState, policy: LoopPolicy, triggers: tuple[Trigger, ...], now: Instant
) -> Step[LoopState]:
    version = state.next_version
    fact = RetrainTriggered(
        version=version,
        triggers=triggers,
        cutoff=now,
        n_retrains=state.n_retrains,
        planted=state.planted.name if state.planted else "",
    )
    command = TrainCandidate(
        model=policy.model,
        version=version,
        cutoff=now,
        seed=policy.seed,
        planted=state.planted,
        offer=state.offer,
    )
    state = replace(state, phase="training", candidate=version, next_version=version + 1)
    return Step(state, emits=(_fact(policy, fact),), commands=(command,))


def _trained(state: LoopState, policy: LoopPolicy, event: CandidateTrained, now: Instant) -> Step[LoopState]:
    if event.version in state.given_up:
        return Step(replace(state, given_up=tuple(one for one in state.given_up if one != event.version)))
    if state.phase != "training" or event.version != state.candidate:
        return Step(state)
    if state.is_own:
        state = replace(state, trained_rows=event.n_labelled)
    elif state.offer is not None:
        state = replace(state, offer_taken=Trained(now, event.n_labelled))
    command = JudgeCandidate(model=policy.model, version=event.version, champion=state.champion)
    return Step(replace(state, phase="judging"), commands=(command,))


def _judged(state: LoopState, policy: LoopPolicy, event: GatesJudged, now: Instant) -> Step[LoopState]:
    if state.phase != "judging" or event.version != state.candidate:
        return Step(state)
    if state.is_own:
        state = forgotten(state)
    if not event.passed:
        failed = ", ".join(result.gate for result in event.results if not result.passed)
        return _reject(state, policy, f"failed {failed}", now)
    plan = policy.plan if state.champion is not None else AT_ONCE
    return _roll_out(replace(state, luck=event.luck), policy, event.version, plan, now)


def _roll_out(
    state: LoopState, policy: LoopPolicy, version: int, plan: RolloutPlan, now: Instant
) -> Step[LoopState]:
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
    first_hour = Instant(_hour_of(now) + HOUR)
    state = replace(state, phase="rolling", candidate=version, rolling_since=now, evidence_through=first_hour)
    tells = (Message(rollout_id(ModelName(policy.model), Version(version)), started),)
    return Step(state, tells=tells, timers=(_next_evidence(now),))


def _settled(state: LoopState, policy: LoopPolicy, event: RolloutSettled, now: Instant) -> Step[LoopState]:
    if state.phase != "rolling" or event.version != state.candidate:
        return Step(state)
    is_promoted = event.outcome == "promoted"
    if is_promoted:
        state = promoted(state)
    returning_to = None if event.version == state.returning_to else state.returning_to
    state = replace(_without_candidate(state), phase="idle", epoch=event.epoch, returning_to=returning_to)
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
            probation_through=_hour_of(Instant(now + HOUR)),
        )
        commands = (SetReference(model=policy.model, version=event.version),)
    after = _next(state, policy, now)
    return replace(
        after,
        tells=(*tells, *after.tells),
        commands=(*commands, *after.commands),
        timers=(CancelTimer("evidence"), *schedule(state, policy, now), *after.timers),
    )


def _next(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    """Decide what an idle loop does: bring a champion back, let one go, or train."""
    if state.returning_to is not None:
        return _roll_out(state, policy, state.returning_to, AT_ONCE, now)
    after = _trigger(state, policy, None, now)
    if after.state.phase == "rolling" or after.state.releasing is None:
        return after
    return _without_former(after, policy)


# After a promotion: the champion before scores along, and may come back.


def _replaced(state: LoopState, policy: LoopPolicy, event: RolloutSettled) -> tuple[Message, ...]:
    """Tell the probation of the champion that was replaced that its time is over."""
    if state.probation is None or state.champion is None:
        return ()
    over = RolloutSuperseded(by_version=event.version)
    return (Message(rollout_id(ModelName(policy.model), Version(state.champion)), over),)


def _probation_ended(
    state: LoopState, policy: LoopPolicy, event: ProbationEnded, now: Instant
) -> Step[LoopState]:
    if event.version != state.champion or state.probation is None:
        return Step(state)
    if event.outcome == "failed":
        candidate = state.candidate
        if state.phase != "rolling" or candidate is None:
            return _go_back(state, policy, event.former, now)
        state = replace(state, returning_to=event.former)
        aborted = RolloutAborted(by="probation", reason=f"the champion before comes back: {event.reason}")
        return Step(state, tells=(Message(rollout_id(event.model, Version(candidate)), aborted),))
    state = replace(state, probation=None, releasing=event.former)
    return Step(state) if state.phase == "rolling" else _without_former(Step(state), policy)


def _without_former(step: Step[LoopState], policy: LoopPolicy) -> Step[LoopState]:
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


def _routed(state: LoopState, policy: LoopPolicy, event: RoutingApplied, now: Instant) -> Step[LoopState]:
    if state.releasing is None or event.epoch != state.epoch:
        return Step(state)
    unload = UnloadVersion(model=ModelName(policy.model), version=Version(state.releasing))
    return Step(replace(state, releasing=None), commands=(unload,))


def _failed(state: LoopState, policy: LoopPolicy, event: CommandFailed, now: Instant) -> Step[LoopState]:
    if event.command == TrainCandidate.command_name and state.given_up:
        # Trainings follow each other, so the one that was given up ends first.
        return Step(replace(state, given_up=state.given_up[1:]))
    ours = (TrainCandidate.command_name, JudgeCandidate.command_name)
    if event.command not in ours or state.phase not in ("training", "judging"):
        return Step(state)
    state = counted(state, event)
    step = _reject(state, policy, headline(event), now, detail=event.reason)
    if not state.suspended or not state.is_own or state.candidate is None:
        return step
    reason = headline(event)
    suspended = TrainingSuspended(version=state.candidate, n_failures=state.n_failures, reason=reason)
    return replace(step, emits=(*step.emits, _fact(policy, suspended)))


def _reject(
    state: LoopState, policy: LoopPolicy, reason: str, now: Instant, *, detail: str = ""
) -> Step[LoopState]:
    assert state.candidate is not None
    planted = state.planted.name if state.planted else ""
    fact = CandidateRejected(version=state.candidate, reason=reason, planted=planted, detail=detail)
    is_own = state.is_own
    refused = 0 if not is_own or state.champion is None else 1
    state = replace(_without_candidate(state), phase="idle", n_refused=state.n_refused + refused)
    if state.champion is None and is_own:
        retry = SetTimer("train", Instant(now + max(policy.cooldown, RETRY_TRAINING)))
        after = _take_in(state, policy, now) if state.offers else Step(state)
        timers = () if state.suspended else (retry,)
        return replace(after, emits=(_fact(policy, fact), *after.emits), timers=timers)
    # The monitor raises an alarm once. A candidate that was refused has not answered it.
    again = tuple(alarm for alarm in state.open_alarms if alarm not in state.pending)
    after = _next(replace(state, pending=(*state.pending, *again)), policy, now)
    # The champion is as old as it was.
    timers = schedule(state, policy, now) if is_own else ()
    return replace(after, emits=(_fact(policy, fact), *after.emits), timers=(*timers, *after.timers))


def _rollback(state: LoopState, policy: LoopPolicy, event: RollbackAsked, now: Instant) -> Step[LoopState]:
    if state.phase == "rolling" and state.candidate is not None:
        aborted = RolloutAborted(by=event.by, reason=event.reason)
        return Step(state, tells=(Message(f"rollout/{policy.model}/{state.candidate}", aborted),))
    if state.phase == "new" or state.former is None:
        return Step(state)
    return _go_back(state, policy, state.former, now)


def _go_back(state: LoopState, policy: LoopPolicy, former: int, now: Instant) -> Step[LoopState]:
    """Bring a champion back at once; a candidate that is being trained or judged is given up for it."""
    emits: tuple[Fact, ...] = ()
    given_up = state.given_up
    if (candidate := state.candidate) is not None:
        planted = state.planted.name if state.planted else ""
        reason = "given up: the champion before comes back first"
        emits = (_fact(policy, CandidateRejected(version=candidate, reason=reason, planted=planted)),)
        given_up = (*given_up, candidate) if state.phase == "training" else given_up
    state = replace(_without_candidate(state), returning_to=former, given_up=given_up)
    step = _roll_out(state, policy, former, AT_ONCE, now)
    return replace(step, emits=(*emits, *step.emits))


def _without_candidate(state: LoopState) -> LoopState:
    return replace(state, candidate=None, planted=None, offer=None, offer_taken=None)


def _next_evidence(now: Instant) -> SetTimer:
    return SetTimer("evidence", Instant((now // EVIDENCE_EVERY + 1) * EVIDENCE_EVERY))


def _next_midnight(now: Instant) -> Instant:
    return Instant((now // DAY + 1) * DAY)


def _days_to_measure(due: Instant, now: Instant, policy: LoopPolicy) -> list[Instant]:
    """Return the days that are mature by now and were not when the timer was set.

    A timer fires late if nobody ran; requests of before that have matured meanwhile. Of the time when nobody
    answered only the last day is measured.
    """
    first, last = _last_mature_day(due, policy), _last_mature_day(now, policy)
    answered = range(first, min(last, first + policy.maturity + 2 * DAY), DAY)
    return [*map(Instant, answered), last]


def _last_mature_day(now: Instant, policy: LoopPolicy) -> Instant:
    return Instant(((now - policy.maturity) // DAY - 1) * DAY)


def _hour_of(when: Instant) -> Instant:
    return Instant(when // HOUR * HOUR)


def _fact(policy: LoopPolicy, event: Event) -> Fact:
    return Fact(f"loop/{policy.model}", event)


_TO_THE_RETIRED = (ModelRestored, CandidateTrained, CommandFailed, NumberAsked)
"""What a loop that stands still hears: that it may go on, how what it gave up has ended, and who needs a
number under its name.
"""

_RULES: dict[type[Event], Callable[[LoopState, LoopPolicy, Any, Instant], Step[LoopState]]] = {
    PolicyChanged: _policy_changed,
    DefinitionChanged: _definition_changed,
    ModelRetired: _retired,
    ModelRestored: _restored,
    TimerFired: _timer,
    AlarmRaised: _alarm,
    AlarmCleared: _cleared,
    RowsMatured: _matured,
    BenefitWeighed: _weighed,
    RetrainAsked: _asked,
    FaultPlanted: _planted,
    ModelOffered: _offered,
    NumberAsked: _number,
    CandidateTrained: _trained,
    GatesJudged: _judged,
    RolloutSettled: _settled,
    CommandFailed: _failed,
    RollbackAsked: _rollback,
    ProbationEnded: _probation_ended,
    RoutingApplied: _routed,
}

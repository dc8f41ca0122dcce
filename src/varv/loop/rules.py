"""The loop as a saga: watch, decide to train, judge, roll out, and watch again.

Every decision is a fact with its reasons. One candidate is under way at a time; what asks for another
meanwhile, or during the cool-down, waits (`loop.triggering`). The rollout itself is a saga of its own,
`rollout`, that reports back when it has settled (`loop.releasing`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from msgspec.structs import replace

from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import CancelTimer, CommandFailed, Message, SetTimer, Step, TimerFired
from varv.loop.commands import GatherEvidence, JudgeCandidate, Measure, TrainCandidate
from varv.loop.counting import age, growth, schedule
from varv.loop.declaring.model import DefinitionChanged, ModelRestored, ModelRetired
from varv.loop.failing import counted, forgotten, headline
from varv.loop.looking import days_to_measure, gather_probation, hour_of, next_evidence, next_midnight, weigh
from varv.loop.model import (
    BENEFIT,
    DECLARATION,
    CandidateTrained,
    FaultPlanted,
    GatesJudged,
    LoopPolicy,
    LoopStarted,
    LoopState,
    ModelOffered,
    NumberAsked,
    NumberGiven,
    PolicyChanged,
    RetrainAsked,
    RollbackAsked,
    RowsMatured,
    Trained,
    TrainingSuspended,
    Trigger,
    TriggerDeferred,
)
from varv.loop.releasing import (
    probation_ended,
    reject,
    roll_out,
    rolled_back,
    routed,
    settled,
    without_former,
)
from varv.loop.triggering import loop_fact, train_at_once, trigger_training, without_candidate
from varv.loop.weighing.model import BenefitWeighed
from varv.monitoring import AlarmCleared, AlarmRaised
from varv.rollout import (
    AT_ONCE,
    ProbationEnded,
    RolloutSettled,
    RolloutSuperseded,
    RoutingApplied,
    rollout_id,
)


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
    timers = (SetTimer("train", first), SetTimer("day", next_midnight(now)))
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
    step = train_at_once(replace(state, pending=(*state.pending, *first)), event.policy, now)
    return replace(step, timers=(*timers, *step.timers))


def _definition_changed(
    state: LoopState, policy: LoopPolicy, event: DefinitionChanged, now: Instant
) -> Step[LoopState]:
    """Train on the changed features: at once if the loop is idle, since no champion reads the new ones."""
    trigger = Trigger(DECLARATION, event.subject)
    others = tuple(one for one in state.pending if one.kind != DECLARATION)
    state = replace(forgotten(state), pending=(*others, trigger))
    if state.phase == "idle":
        return train_at_once(state, policy, now)
    waits = TriggerDeferred(trigger=trigger, because=state.phase)
    return Step(state, emits=(loop_fact(policy, waits),))


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
        without_candidate(state),
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
    timers = (SetTimer("day", next_midnight(now)), *schedule(state, policy, now))
    if state.champion is None:
        return Step(state, timers=(SetTimer("train", now), *timers))
    step = without_former(Step(state), policy)
    return replace(step, timers=timers)


def _timer(state: LoopState, policy: LoopPolicy, event: TimerFired, now: Instant) -> Step[LoopState]:
    if event.key == "day":
        measures = [Measure(model=policy.model, day=day) for day in days_to_measure(event.due, now, policy)]
        step = gather_probation(state, policy, now)
        timers = (SetTimer("day", next_midnight(now)),)
        weighing = weigh(state, policy, event.due, now)
        return replace(step, commands=(*measures, *weighing, *step.commands), timers=timers)
    if event.key == "evidence":
        return _gather(state, policy, now)
    if event.key == "schedule":
        return trigger_training(state, policy, Trigger("schedule", "", age(state, now)), now)
    if event.key in ("train", "cooldown"):
        first = Trigger("first training", "", {}) if state.champion is None and event.key == "train" else None
        return trigger_training(state, policy, first, now)
    return Step(state)


def _gather(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    if state.phase != "rolling" or state.candidate is None:
        return Step(state)
    timers = (next_evidence(now),)
    through = hour_of(Instant(now - policy.maturity))
    if state.pending and now >= state.rolling_since + policy.plan.deadline:
        return trigger_training(state, policy, None, now)
    if through <= state.evidence_through:
        return Step(state, timers=timers)
    command = GatherEvidence(
        model=policy.model,
        version=state.candidate,
        since=state.evidence_through,
        through=through,
    )
    return Step(replace(state, evidence_through=through), commands=(command,), timers=timers)


def _alarm(state: LoopState, policy: LoopPolicy, event: AlarmRaised, now: Instant) -> Step[LoopState]:
    if event.kind not in policy.alarms or event.version != state.champion:
        return Step(state)
    trigger = Trigger(event.kind, event.subject, dict(event.evidence), event.number)
    state = replace(state, open_alarms=(*_others(state.open_alarms, event), trigger))
    return trigger_training(state, policy, trigger, now)


def _cleared(state: LoopState, policy: LoopPolicy, event: AlarmCleared, now: Instant) -> Step[LoopState]:
    kept, waiting = _others(state.open_alarms, event), _others(state.pending, event)
    return Step(replace(state, open_alarms=kept, pending=waiting))


def _others(triggers: tuple[Trigger, ...], alarm: AlarmRaised | AlarmCleared) -> tuple[Trigger, ...]:
    return tuple(one for one in triggers if (one.kind, one.subject) != (alarm.kind, alarm.subject))


def _matured(state: LoopState, policy: LoopPolicy, event: RowsMatured, now: Instant) -> Step[LoopState]:
    state = replace(state, n_rows=event.n_rows)
    trigger = growth(state, policy)
    return Step(state) if trigger is None else trigger_training(state, policy, trigger, now)


def _weighed(state: LoopState, policy: LoopPolicy, event: BenefitWeighed, now: Instant) -> Step[LoopState]:
    # A training or a promotion meanwhile has answered it.
    is_current = event.version in (state.champion, state.candidate) and state.phase != "training"
    if policy.benefit is None or not event.is_due or not is_current:
        return Step(state)
    return trigger_training(state, policy, Trigger(BENEFIT, "", event.evidence()), now)


def _asked(state: LoopState, policy: LoopPolicy, event: RetrainAsked, now: Instant) -> Step[LoopState]:
    manual = Trigger("manual", f"{event.by}: {event.reason}", {})
    if state.suspended:
        # The count stays: if it fails as before, one more trial was enough.
        return train_at_once(replace(state, suspended=False, pending=(*state.pending, manual)), policy, now)
    return trigger_training(state, policy, manual, now)


def _offered(state: LoopState, policy: LoopPolicy, event: ModelOffered, now: Instant) -> Step[LoopState]:
    return trigger_training(replace(state, offers=(*state.offers, event.offer)), policy, None, now)


def _number(state: LoopState, policy: LoopPolicy, event: NumberAsked, now: Instant) -> Step[LoopState]:
    given = NumberGiven(version=state.next_version)
    state = replace(state, next_version=Version(state.next_version + 1))
    return Step(state, emits=(loop_fact(policy, given),))


def _planted(state: LoopState, policy: LoopPolicy, event: FaultPlanted, now: Instant) -> Step[LoopState]:
    return trigger_training(replace(state, plants=(*state.plants, event.plant)), policy, None, now)


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
        return reject(state, policy, f"failed {failed}", now)
    plan = policy.plan if state.champion is not None else AT_ONCE
    return roll_out(replace(state, luck=event.luck), policy, event.version, plan, now)


def _failed(state: LoopState, policy: LoopPolicy, event: CommandFailed, now: Instant) -> Step[LoopState]:
    if event.command == TrainCandidate.command_name and state.given_up:
        # Trainings follow each other, so the one that was given up ends first.
        return Step(replace(state, given_up=state.given_up[1:]))
    ours = (TrainCandidate.command_name, JudgeCandidate.command_name)
    if event.command not in ours or state.phase not in ("training", "judging"):
        return Step(state)
    state = counted(state, event)
    step = reject(state, policy, headline(event), now, detail=event.reason)
    if not state.suspended or not state.is_own or state.candidate is None:
        return step
    reason = headline(event)
    suspended = TrainingSuspended(version=state.candidate, n_failures=state.n_failures, reason=reason)
    return replace(step, emits=(*step.emits, loop_fact(policy, suspended)))


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
    RolloutSettled: settled,
    CommandFailed: _failed,
    RollbackAsked: rolled_back,
    ProbationEnded: probation_ended,
    RoutingApplied: routed,
}

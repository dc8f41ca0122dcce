"""The rollout as a saga: pure decisions about one candidate, from its warming to its promotion or removal.

    new -> warming -> shadow -> canary -> promoting -> draining -> probation -> done
                 any of these up to canary -> rolling_back -> rolled_back

Promotion is the pivot. Before it every forward command has left its compensation in `undo`, and any failure,
harm or stop runs them in reverse. After it the rest of the way is retried until it succeeds. Both are one
list, `todo`, done one at a time. In its probation a version is the champion already; should it fail, the loop
of the model brings the one before back. Being held is no phase: the rollout stays where it is, says why once,
and goes on when nothing is in its way.

Time enters by timers only, so a decision depends on nothing but the state and the event; tests explore every
state.
"""

from __future__ import annotations

from math import log
from typing import ClassVar, Literal

import msgspec

from varv.kernel.clock import HOUR, MINUTE, Duration, Instant
from varv.kernel.codec import Event
from varv.kernel.errors import FailedPrecondition, InvalidInput
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import CancelTimer, Command, CommandFailed, Fact, Message, SetTimer, Step, TimerFired
from varv.rollout.grounds import ODD_SHIFT, Evidence
from varv.rollout.guards import relative_limit
from varv.rollout.judgement import (
    FEWEST_BLOCKS,
    all_proven,
    doubt_of_scores,
    harm,
    is_late,
    is_proven,
    leans_towards_harm,
    odd_scores,
)
from varv.rollout.model import (
    AliasConfirmed,
    AnswersCounted,
    ApplyRouting,
    EvidenceArrived,
    MoveAlias,
    ProbationEnded,
    RollbackStarted,
    RolloutAborted,
    RolloutHeld,
    RolloutNeedsHuman,
    RolloutRolledBack,
    RolloutSettled,
    RolloutStarted,
    RolloutStepped,
    RolloutSuperseded,
    RoutingApplied,
    ShadowStarted,
    UnloadVersion,
    VersionPromoted,
    VersionUnloaded,
    VersionWarmed,
    WarmVersion,
)
from varv.rollout.state import (
    Action,
    RolloutState,
    command_of,
    count_of,
    next_share,
    plan_of,
    routing_of,
    timer_key,
)
from varv.rollout.tally import Tally, added, at_new_share, weigh, weigh_probation

SETTLED = ("done", "rolled_back")
SPLIT_AT = log(1000)
"""A router that splits as told is doubted in at most one of a thousand steps."""

FIRST_LOOK = Duration(4 * MINUTE)
"""When answers are first counted after a table came into force; each wait is twice the one before."""
LAST_LOOK = Duration(6 * HOUR)

_LONGEST_RETRY = HOUR


class RolloutSaga:
    """Decides what a rollout does next. The rules proper are `blocker`, `_judge` and `rollout.judgement`."""

    name: ClassVar[str] = "rollout"
    state_type = RolloutState

    def initial(self, saga_id: str) -> RolloutState:
        """Return the state before the start.

        Raises
        ------
        InvalidInput
            If `saga_id` is not of the form ``rollout/<model>/<version>``.
        """
        parts = saga_id.split("/")
        if len(parts) != 3 or not parts[2].isdecimal():
            raise InvalidInput("saga", saga_id, "is not a rollout", hint="write rollout/<model>/<version>")
        return RolloutState(model=ModelName(parts[1]), version=Version(int(parts[2])))

    def step(self, state: RolloutState, event: Event, now: Instant) -> Step[RolloutState]:
        """Decide; events that mean nothing in this phase change nothing."""
        if state.phase == "new" or state.phase in SETTLED:
            return self._at_rest(state, event, now)
        if state.phase in ("warming", "shadow", "canary"):
            return self._on_the_way(state, event, now)
        if state.phase == "probation":
            return self._in_probation(state, event, now)
        return self._ending(state, event, now)

    def blocker(self, state: RolloutState, evidence: Evidence) -> str:
        """Return why the share must not rise now, or nothing.

        Silence is never consent: without labels nothing passes, and the last step needs the proof of safety.
        Where no outcome ever comes there is none, and scores must lie where the champion's do instead.
        """
        plan = plan_of(state)
        if state.phase == "warming":
            return "the version is not warm"
        if state.echoed != state.epoch:
            return "the router has not confirmed its table"
        if evidence.log_split >= SPLIT_AT:
            return "the router does not split as told"
        if state.phase == "canary" and odd_scores(state):
            return "its scores are not those of its shadow"
        if leans_towards_harm(evidence):
            return "evidence leans towards harm"
        if is_late(evidence, plan):
            return "more of its calls are late than the plan allows"
        return self.lack(state, evidence)

    def lack(self, state: RolloutState, evidence: Evidence) -> str:
        """Return what is not known yet of a candidate that nothing speaks against, or nothing."""
        if not plan_of(state).has_outcome:
            return doubt_of_scores(state, evidence) or ("" if state.elapsed else "its time is not over")
        proven = is_proven(state, evidence)
        if not proven and any(one.shift > ODD_SHIFT for one in evidence.guards):
            return "its losses are worse than before its share rose"
        in_shadow = state.phase == "shadow"
        n_labels, n_blocks = (
            (evidence.n_labels, evidence.n_blocks)
            if in_shadow
            else (evidence.step_labels, evidence.step_blocks)
        )
        if n_labels < plan_of(state).min_labels or not n_blocks:
            return "too few labels"
        if not (state.elapsed or (in_shadow and proven)):
            return "its time is not over"
        if next_share(state) == 1 and not proven:
            return "safety is not proven"
        if next_share(state) == 1 and evidence.step_blocks < FEWEST_BLOCKS:
            return "too little is known of the present share"
        if not proven and any(
            one.high is not None and next_share(state) * one.high > one.guard.margin
            for one in evidence.guards
        ):
            return "harm that is not excluded yet is too large for the next share"
        return ""

    def next_epoch(self, state: RolloutState) -> int:
        """Return the epoch of the next table, above all epochs before."""
        return state.epoch + 1

    # before the start and after the end

    def _at_rest(self, state: RolloutState, event: Event, now: Instant) -> Step[RolloutState]:
        if isinstance(event, RolloutStarted):
            return self._start(state, event, now)
        if state.phase != "rolled_back":
            return Step(state)
        # A warming may be overtaken by the rollback, or fail after it had its effect; nobody else would let
        # the version go again.
        match event:
            case VersionWarmed() | CommandFailed(command="rollout.warm_version") | TimerFired(key="retry"):
                return Step(state, commands=(UnloadVersion(model=state.model, version=state.version),))
            case CommandFailed(command="rollout.unload_version"):
                return _retried(state, event, now)
            case _:
                return Step(state)

    def _start(self, state: RolloutState, event: RolloutStarted, now: Instant) -> Step[RolloutState]:
        if event.champion == state.version:
            hint = "roll out another version"
            raise FailedPrecondition(
                "version", f"{state.model}/{state.version}", "is the champion already", hint=hint
            )
        fresh = RolloutState(
            model=state.model,
            version=state.version,
            phase="warming",
            plan=event.plan.resolved(event.luck),
            champion=event.champion,
            former=event.former,
            luck=event.luck,
            # A version that is tried again gets a fresh coin, so that its earlier keys are not its keys
            # again.
            salt=f"{state.model}/{state.version}/{event.epoch}",
            epoch=event.epoch,
            echoed=event.epoch,
            undo=("unload",),
        )
        warm = WarmVersion(model=state.model, version=state.version)
        return Step(fresh, commands=(warm,), timers=(SetTimer("deadline", _after(now, event.plan.deadline)),))

    # from warming to the last canary step

    def _on_the_way(self, state: RolloutState, event: Event, now: Instant) -> Step[RolloutState]:
        match event:
            case RolloutAborted():
                return self._roll_back(state, f"aborted by {event.by}: {event.reason}")
            case RolloutSuperseded():
                return self._roll_back(state, f"superseded by version {event.by_version}")
            case CommandFailed():
                return self._roll_back(state, f"{event.act} failed: {event.reason}")
            case VersionWarmed() if state.phase == "warming" and event.version == state.version:
                return self._warmed(state)
            case RoutingApplied() if event.epoch == state.epoch != state.echoed:
                return self._confirmed(state, now)
            case EvidenceArrived() if state.phase != "warming" and state.tally.through:
                return self._judge(_with(state, tally=added(state.tally, event)), now)
            case AnswersCounted() if event.epoch == state.epoch == state.echoed:
                tally = msgspec.structs.replace(state.tally, answers=event)
                scores = event.scores if state.phase == "shadow" else state.shadow_scores
                return self._judge(_with(state, tally=tally, shadow_scores=scores), now)
            case TimerFired(key="answers") if state.epoch == state.echoed:
                looked = _with(state, n_looks=state.n_looks + 1)
                return Step(looked, commands=(count_of(state),), timers=(_next_look(looked, now),))
            case TimerFired(key="deadline"):
                return self._judge(_with(state, overdue=True), now)
            case TimerFired() if event.key == timer_key(state):
                return self._judge(_with(state, elapsed=True), now)
            case _:
                return Step(state)

    def _warmed(self, state: RolloutState) -> Step[RolloutState]:
        if state.champion is None:
            return self._promote(state, "there is no champion yet")
        if plan_of(state).immediate:
            return self._promote(state, "immediate, as declared")
        if unresolved := plan_of(state).unresolved:
            # Taken from the rollout's own requests, the margin would forgive what breaks both versions.
            limit = relative_limit(unresolved[0])
            return self._roll_back(state, f"its margin, {limit}, is not known: nothing was held out from it")
        # The compensation is kept before the command is done: a table may be in force though its echo was
        # lost.
        shadow = _with(state, phase="shadow", epoch=self.next_epoch(state), undo=(*state.undo, "restore"))
        return Step(shadow, commands=(routing_of(shadow),))

    def _confirmed(self, state: RolloutState, now: Instant) -> Step[RolloutState]:
        plan = plan_of(state)
        state = _with(state, echoed=state.epoch, tally=at_new_share(state.tally, now), n_looks=0)
        look = _next_look(state, now)
        if state.phase == "canary":
            return Step(state, timers=(SetTimer(timer_key(state), _after(now, plan.bake)), look))
        begun = ShadowStarted(model=state.model, version=state.version, epoch=state.epoch, since=now)
        # Requests before this moment were not scored by the candidate and must not count as lost by it.
        state = _with(state, tally=msgspec.structs.replace(state.tally, through=now))
        timer = SetTimer(timer_key(state), _after(now, plan.shadow_limit))
        return Step(state, emits=(Fact(state.saga_id, begun),), timers=(timer, look))

    def _judge(self, state: RolloutState, now: Instant) -> Step[RolloutState]:
        """Roll back on harm, go on if nothing is in the way, and otherwise stay, visibly if it should have
        moved.
        """
        evidence = _weighed(state)
        state = _with(state, proven=state.proven or all_proven(evidence))
        if shown := harm(state, evidence):
            return self._roll_back(state, shown)
        reason = self.blocker(state, evidence)
        if not reason:
            return self._raise(state, evidence, now)
        late = state.overdue or (state.phase == "shadow" and state.elapsed) or evidence.log_split >= SPLIT_AT
        if not late or reason == state.held:
            return Step(state)
        held = RolloutHeld(model=state.model, version=state.version, reason=reason, evidence=evidence)
        return Step(_with(state, held=reason), emits=(Fact(state.saga_id, held),))

    def _raise(self, state: RolloutState, evidence: Evidence, now: Instant) -> Step[RolloutState]:
        because = "proven safe" if is_proven(state, evidence) else "nothing speaks against it"
        if not plan_of(state).has_outcome:
            because = "its scores moved no more than declared; nothing is known of its quality"
        share = next_share(state)
        if share == 1:
            return self._promote(state, because)
        higher = _with(
            state,
            phase="canary",
            share=share,
            n_steps=state.n_steps + 1,
            epoch=self.next_epoch(state),
            elapsed=False,
            overdue=False,
            held="",
            tally=at_new_share(state.tally, now),
        )
        stepped = _stepped(state, share, higher.epoch, because, evidence)
        timers: tuple[SetTimer | CancelTimer, ...] = (CancelTimer(timer_key(state)), CancelTimer("answers"))
        if state.overdue:
            timers += (SetTimer("deadline", _after(now, plan_of(state).deadline)),)
        return Step(higher, emits=(stepped,), commands=(routing_of(higher),), timers=timers)

    # the end: what must be done, one thing at a time

    def _promote(self, state: RolloutState, because: str) -> Step[RolloutState]:
        evidence = _weighed(state)
        todo: tuple[Action, ...] = ("alias", "route")
        if state.former is not None:
            todo += ("unload_former",)
        if state.champion is not None and not plan_of(state).probation:
            todo += ("unload_previous",)
        end = _with(state, phase="promoting", todo=todo, undo=(), held="", reason=because, verdict=evidence)
        stepped = _stepped(state, 1.0, self.next_epoch(state), because, evidence)
        return self._next(end, emits=(stepped,), timers=_all_cancelled(state))

    def _roll_back(self, state: RolloutState, reason: str) -> Step[RolloutState]:
        evidence = _weighed(state)
        ending = _with(
            state,
            phase="rolling_back",
            todo=tuple(reversed(state.undo)),
            undo=(),
            held="",
            reason=reason,
            verdict=evidence,
        )
        started = RollbackStarted(model=state.model, version=state.version, reason=reason, evidence=evidence)
        return self._next(ending, emits=(Fact(state.saga_id, started),), timers=_all_cancelled(state))

    def _next(
        self,
        state: RolloutState,
        *,
        emits: tuple[Fact, ...] = (),
        timers: tuple[SetTimer | CancelTimer, ...] = (),
    ) -> Step[RolloutState]:
        """Order the first thing to be done, or settle if nothing is left."""
        if not state.todo:
            return _settled(state, emits, timers)
        if state.todo[0] in ("route", "restore"):
            share = 1.0 if state.todo[0] == "route" else 0.0
            state = _with(state, epoch=self.next_epoch(state), share=share)
        return Step(state, emits=emits, commands=(command_of(state),), timers=timers)

    def _ending(self, state: RolloutState, event: Event, now: Instant) -> Step[RolloutState]:
        command = command_of(state)
        if _answers(event, command):
            done, state = state.todo[0], _with(state, todo=state.todo[1:], n_failures=0)
            if done != "route":
                return self._next(state, timers=(CancelTimer("retry"),))
            # What both scored from now on is the evidence of the probation.
            drained = _with(
                state, phase="draining", echoed=state.epoch, tally=Tally(through=now, step_since=now)
            )
            return self._next(drained, emits=(_promoted(drained),), timers=(CancelTimer("retry"),))
        if isinstance(event, CommandFailed) and event.command == command.command_name:
            return _retried(state, event, now)
        if isinstance(event, TimerFired) and event.key == "retry":
            return Step(state, commands=(command,))
        return Step(state)

    # after the end: beside the champion before

    def _in_probation(self, state: RolloutState, event: Event, now: Instant) -> Step[RolloutState]:
        match event:
            case RolloutStarted():
                return self._start(state, event, now)
            case RolloutSuperseded():
                return _released(state, "replaced", f"version {event.by_version} took over")
            case EvidenceArrived():
                return self._weigh_probation(_with(state, tally=added(state.tally, event)))
            case _:
                return Step(state)

    def _weigh_probation(self, state: RolloutState) -> Step[RolloutState]:
        plan, tally = plan_of(state), state.tally
        shown = weigh_probation(tally, plan, state.luck)
        if shown.log_harm >= shown.harm_at:
            return _released(state, "failed", "worse than the champion before")
        if any(one.exceeds for one in shown.guards):
            return _released(
                state, "failed", "its losses exceed what the margin allows for the whole probation"
            )
        if tally.through >= tally.step_since + plan.probation:
            return _released(state, "passed", "its time is over")
        return Step(state)


def _with(state: RolloutState, **changes: object) -> RolloutState:
    return msgspec.structs.replace(state, **changes)


def _weighed(state: RolloutState) -> Evidence:
    return weigh(state.tally, plan_of(state), state.luck, share=state.share, epoch=state.epoch)


def _next_look(state: RolloutState, now: Instant) -> SetTimer:
    wait = FIRST_LOOK << min(state.n_looks, 10)
    # By the clock in the end, when outcomes are looked at too: one stretch of requests is taken in for both.
    due = now + wait if wait < LAST_LOOK else (now // LAST_LOOK + 1) * LAST_LOOK
    return SetTimer("answers", Instant(due))


def _after(now: Instant, span: Duration) -> Instant:
    return Instant(now + span)


def _all_cancelled(state: RolloutState) -> tuple[CancelTimer, ...]:
    return CancelTimer("deadline"), CancelTimer("answers"), CancelTimer(timer_key(state))


def _answers(event: Event, command: Command) -> bool:
    match event, command:
        case RoutingApplied(), ApplyRouting():
            return event.epoch == command.table.epoch
        case AliasConfirmed(), MoveAlias():
            return event.version == command.version and event.alias == command.alias
        case VersionUnloaded(), UnloadVersion():
            return event.version == command.version
        case _:
            return False


def _retried(state: RolloutState, failed: CommandFailed, now: Instant) -> Step[RolloutState]:
    state = _with(state, n_failures=state.n_failures + 1)
    delay = min(_LONGEST_RETRY, Duration(MINUTE << min(state.n_failures - 1, 10)))
    alarm = RolloutNeedsHuman(
        model=state.model,
        version=state.version,
        command=failed.command,
        reason=failed.reason,
        n_failures=state.n_failures,
    )
    return Step(state, emits=(Fact(state.saga_id, alarm),), timers=(SetTimer("retry", _after(now, delay)),))


def _stepped(state: RolloutState, share: float, epoch: int, because: str, evidence: Evidence) -> Fact:
    stepped = RolloutStepped(
        model=state.model,
        version=state.version,
        from_share=state.share,
        to_share=share,
        epoch=epoch,
        because=because,
        evidence=evidence,
    )
    return Fact(state.saga_id, stepped)


def _promoted(state: RolloutState) -> Fact:
    promoted = VersionPromoted(
        model=state.model,
        version=state.version,
        previous=state.champion,
        epoch=state.epoch,
        evidence=_verdict(state),
    )
    return Fact(state.saga_id, promoted)


def _settled(
    state: RolloutState, emits: tuple[Fact, ...], timers: tuple[SetTimer | CancelTimer, ...]
) -> Step[RolloutState]:
    promoted = state.phase == "draining"
    former = state.champion if promoted and plan_of(state).probation else None
    if not promoted:
        ended = RolloutRolledBack(
            model=state.model,
            version=state.version,
            champion=state.champion,
            epoch=state.epoch,
            reason=state.reason,
            evidence=_verdict(state),
        )
        emits += (Fact(state.saga_id, ended),)
    settled = RolloutSettled(
        model=state.model,
        version=state.version,
        outcome="promoted" if promoted else "rolled_back",
        reason=state.reason,
        epoch=state.epoch,
        evidence=_verdict(state),
        former=former,
    )
    after = "probation" if former is not None else "done" if promoted else "rolled_back"
    final = _with(state, phase=after, former=former)
    # Every timer is taken back, so none fires into a later start of the same version.
    timers = (*timers, *_all_cancelled(state), CancelTimer("retry"))
    return Step(final, emits=emits, tells=(Message(f"loop/{state.model}", settled),), timers=timers)


def _released(
    state: RolloutState, outcome: Literal["passed", "failed", "replaced"], reason: str
) -> Step[RolloutState]:
    """End the probation; the loop takes the champion before out of the table, or brings it back."""
    plan, tally, former = plan_of(state), state.tally, state.former
    if former is None:
        raise InvalidInput(
            "rollout", state.saga_id, "has no champion before", hint="end a probation only once"
        )
    ended = ProbationEnded(
        model=state.model,
        version=state.version,
        former=former,
        outcome=outcome,
        reason=reason,
        probation=weigh_probation(tally, plan, state.luck),
    )
    final = _with(state, phase="done", former=None)
    return Step(final, emits=(Fact(state.saga_id, ended),), tells=(Message(f"loop/{state.model}", ended),))


def _verdict(state: RolloutState) -> Evidence:
    return state.verdict or _weighed(state)

"""What asks a loop for a candidate: it trains for all that waits, or takes one in, once it is free."""

from __future__ import annotations

from msgspec.structs import replace

from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ids import Version
from varv.kernel.sagas import CancelTimer, Fact, Message, SetTimer, Step
from varv.loop.commands import TrainCandidate
from varv.loop.counting import schedule
from varv.loop.failing import WAITING
from varv.loop.model import REGISTERED, LoopPolicy, LoopState, RetrainTriggered, Trigger, TriggerDeferred
from varv.rollout import RolloutSuperseded

MOST_DOUBLINGS = 1
"""How often refused candidates double the cool-down."""


def trigger_training(
    state: LoopState, policy: LoopPolicy, trigger: Trigger | None, now: Instant
) -> Step[LoopState]:
    """Train if the loop is free, for `trigger` and all that waited; else keep it."""
    pending = state.pending
    fresh = trigger is not None and all(
        (t.kind, t.subject) != (trigger.kind, trigger.subject) for t in pending
    )
    if trigger is not None and fresh:
        pending = (*pending, trigger)
    state = replace(state, pending=pending)
    if state.offers and state.phase == "idle":
        return take_in(state, policy, now)
    if state.suspended:
        waits = TriggerDeferred(trigger=trigger, because=WAITING) if trigger and fresh else None
        return Step(state, emits=(loop_fact(policy, waits),) if waits else ())
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
        emits = (loop_fact(policy, TriggerDeferred(trigger=trigger, because=because)),)
    timers = (SetTimer("cooldown", ready_at),) if state.phase == "idle" else ()
    return Step(state, emits=emits, timers=timers)


def train_at_once(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    """Train for what waits if the loop is idle, without waiting for the cool-down."""
    return _train(state, policy, now) if state.phase == "idle" and state.pending else Step(state)


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


def take_in(state: LoopState, policy: LoopPolicy, now: Instant) -> Step[LoopState]:
    """Take in the first model that was offered."""
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
    return Step(state, emits=(loop_fact(policy, fact),), commands=(command,))


def without_candidate(state: LoopState) -> LoopState:
    """Return the state without a candidate under way."""
    return replace(state, candidate=None, planted=None, offer=None, offer_taken=None)


def loop_fact(policy: LoopPolicy, event: Event) -> Fact:
    """Return what a loop states, in the stream of its own."""
    return Fact(f"loop/{policy.model}", event)

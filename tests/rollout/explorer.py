"""Explores every state of a rollout in an unkind world, with the production `step` and no copy of it.

The world holds what lies outside the saga: the router, loaded versions, commands that are still to be done,
timers. Each command may be done, done without its end being noted (so that it is done again), or fail;
commands are done in any order; echoes come late and again; timers fire at any time; evidence of every kind
arrives; people interfere. Sums of evidence are replaced by a representative of what they mean to the rules,
so the states are finite.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import msgspec

from varv.kernel.clock import DAY, HOUR, Instant
from varv.kernel.codec import Event
from varv.kernel.sagas import CancelTimer, Command, CommandFailed, SetTimer, TimerFired
from varv.rollout import (
    AliasConfirmed,
    AnswersCounted,
    ApplyRouting,
    CountAnswers,
    EvidenceArrived,
    Luck,
    MoveAlias,
    Rollout,
    RolloutAborted,
    RolloutNeedsHuman,
    RolloutSaga,
    RolloutStarted,
    RolloutState,
    RolloutSuperseded,
    RoutingApplied,
    UnloadVersion,
    VersionUnloaded,
    VersionWarmed,
    WarmVersion,
)
from varv.rollout.grounds import ODD_SHIFT
from varv.rollout.judgement import FEWEST_BLOCKS, leans_towards_harm
from varv.rollout.luck import BLOCK, Hour
from varv.rollout.rules import SETTLED, SPLIT_AT
from varv.rollout.tally import Tally, added, weigh
from varv.serving.routing import RoutingShare, RoutingTable

from .samples import BINARY

FORMER, OLD, NEW = 5, 6, 7
NOW = Instant(100 * DAY)
FAR = Instant(120 * DAY)
"""After all hours of evidence, so that the order of events, and not of their times, is what is explored."""
LUCK = Luck(spread=1 / 50, inflation=50.0, n_days=30)
"""A block of n requests has a standard deviation of the root of n, whatever the rollout's own hours look
like."""
N_BLOCKS = 8
PLAN = Rollout(steps=[5, 25, 100]).plan_for(BINARY)
FEW, ENOUGH = PLAN.min_labels // 4, PLAN.min_labels


class Violation(AssertionError):
    """A rule that must hold in every state does not; the message ends with the way that led there."""


class World(NamedTuple):
    """One state of everything."""

    saga: RolloutState
    router: RoutingTable
    loaded: frozenset[int]
    to_do: frozenset[Command]
    done: frozenset[Command]
    """Commands that have had their effect; their echo may come again."""
    ordered: tuple[RoutingTable, ...]
    timers: frozenset[str]


class Meaning(NamedTuple):
    """What a sum of evidence means to the rules."""

    harmful: bool
    doubtful: bool
    proven: bool
    labels: bool
    step_labels: bool
    lopsided: bool
    agrees: bool
    """Whether the blocks of the present share agree with an earlier proof."""
    shifted: bool
    """Whether losses shifted with the share, and what came since proves nothing."""


@cache
def meaning(tally: Tally, share: float) -> Meaning:
    weighed = weigh(tally, PLAN, LUCK, share=share, epoch=0)
    return Meaning(
        weighed.log_harm >= weighed.harm_at,
        leans_towards_harm(weighed),
        weighed.log_safety >= weighed.safety_at,
        weighed.n_labels >= PLAN.min_labels,
        weighed.step_labels >= PLAN.min_labels,
        weighed.log_split >= SPLIT_AT,
        (weighed.step_difference or 0.0) <= PLAN.margin and weighed.step_blocks >= FEWEST_BLOCKS,
        weighed.shift > ODD_SHIFT and weighed.step_safety < weighed.safety_at,
    )


def stretch(start: int, z: float, n: int, *, n_blocks: int = N_BLOCKS) -> tuple[Hour, ...]:
    """Blocks of two hours each, `n` requests in all, every block `z` standard deviations above zero.

    The hours of a block differ as those of `LUCK` do.
    """
    each = max(2, n // n_blocks)
    half = each // 2
    total, apart = z * each**0.5, (LUCK.spread * each / 4) ** 0.5
    return tuple(
        Hour(Instant(start + i * BLOCK + j * HOUR), half if j else each - half, total / 2 + sign * apart)
        for i in range(n_blocks)
        for j, sign in enumerate((1, -1))
    )


@cache
def representative(means: Meaning, began: bool) -> Tally:
    if not began:
        return Tally()
    hours: tuple[Hour, ...] = ()
    if means.proven:
        hours += stretch(NOW - 40 * BLOCK, -2.5, 40 * ENOUGH, n_blocks=40)
    if means.doubtful or means.step_labels or means.agrees:
        z = 2.0 if means.harmful else 1.1 if means.doubtful else -1.8 if means.proven else 0.0
        z = 0.0 if means.shifted and not means.doubtful else z
        hours += stretch(NOW, z, ENOUGH if means.step_labels else FEW)
    return Tally(
        through=FAR,
        step_since=NOW,
        n_labels=ENOUGH if means.labels else 0,
        hours=hours,
        answers=counted(n_candidate=3000) if means.lopsided else None,
    )


def lump(
    share: float = 0.0, *, z: float = 0.0, n_labels: int = 0, n_blocks: int = N_BLOCKS
) -> EvidenceArrived:
    """Evidence of `n_blocks` blocks whose means lie `z` standard deviations above zero."""
    return EvidenceArrived(
        since=FAR,
        through=Instant(FAR + 1),
        n_requests=n_labels,
        n_labels=n_labels,
        n_missing=0,
        hours=stretch(NOW, z, n_labels, n_blocks=n_blocks) if n_labels else (),
    )


def counted(
    epoch: int = 0, *, n_candidate: int = 0, n_champion: int = 0, n_against: int = 0
) -> AnswersCounted:
    return AnswersCounted(
        epoch=epoch,
        through=FAR,
        n_requests=n_candidate + n_champion,
        n_missing=n_against,
        n_candidate=n_candidate,
        n_champion=n_champion,
        n_against=n_against,
        n_in_favour=0,
    )


EVIDENCE = {
    "good": lump(z=-2, n_labels=4 * ENOUGH),
    "bad": lump(z=2, n_labels=ENOUGH, n_blocks=16),
    "doubtful": lump(z=1.1, n_labels=ENOUGH),
    "reassuring": lump(z=-0.5, n_labels=FEW),
    "proof lost": lump(z=1.5, n_labels=FEW, n_blocks=4),
    "silent": lump(),
    "insufficient": lump(n_labels=FEW),
    "plain": lump(n_labels=ENOUGH),
}


def counts(epoch: int) -> dict[str, AnswersCounted]:
    return {
        "lopsided": counted(epoch, n_candidate=3000),
        "fair": counted(epoch),
        "unanswered": counted(epoch, n_against=60),
    }


PROBATION = {
    "harm": msgspec.structs.replace(
        lump(), hours=stretch(NOW, 40.0, 4 * ENOUGH), since=NOW, through=Instant(NOW + DAY)
    ),
    "nothing yet": msgspec.structs.replace(lump(), since=NOW, through=Instant(NOW + DAY)),
    "time over": msgspec.structs.replace(lump(), since=NOW, through=Instant(NOW + PLAN.probation)),
}


def effect(world: World, command: Command) -> tuple[World, Event]:
    """Return the world in which `command` has had its effect, and its echo."""
    world = world._replace(done=world.done | {command})
    match command:
        case WarmVersion():
            return world._replace(loaded=world.loaded | {command.version}), VersionWarmed(
                version=command.version
            )
        case UnloadVersion():
            return world._replace(loaded=world.loaded - {command.version}), VersionUnloaded(
                version=command.version
            )
        case MoveAlias():
            return world, AliasConfirmed(alias=command.alias, version=command.version)
        case ApplyRouting():
            # The fence of the real router: a lower epoch is not put in force.
            held = world.router
            put = world if command.table.epoch < held.epoch else world._replace(router=command.table)
            if put.router is not held and held in world.ordered:
                before, after = world.ordered.index(held), world.ordered.index(command.table)
                require(after >= before, "a table is never applied after one that was decided later")
            return put, RoutingApplied(epoch=command.table.epoch)
        case _:
            raise AssertionError(command)


def echo(command: Command) -> Event | None:
    match command:
        case WarmVersion():
            return VersionWarmed(version=command.version)
        case ApplyRouting():
            return RoutingApplied(epoch=command.table.epoch)
        case _:
            return None


def require(holds: bool, rule: str) -> None:
    if not holds:
        raise Violation(rule)


class Explorer:
    """Breadth-first search from the start of a rollout; raises `Violation` with the shortest way to one."""

    def __init__(
        self, saga: RolloutSaga, *, champion: int | None = OLD, former: int | None = None, plan=PLAN
    ) -> None:
        self.saga, self.champion, self.former, self.plan = saga, champion, former, plan
        self.came_from: dict[World, tuple[World, str] | None] = {}
        self.edges: dict[World, set[World]] = {}

    def explore(self) -> None:
        start = self.start()
        self.came_from[start] = None
        waiting = deque([start])
        while waiting:
            world = waiting.popleft()
            self.edges[world] = set()
            for label, move in self.moves(world):
                try:
                    after = move()
                    self.check(after)
                except Violation as violation:
                    raise Violation(f"{violation}: {' > '.join([*self.path(world), label])}") from None
                self.edges[world].add(after)
                if after not in self.came_from:
                    self.came_from[after] = (world, label)
                    waiting.append(after)

    def start(self) -> World:
        router = RoutingTable(epoch=0, shares=(RoutingShare(OLD, 1.0),), former=self.former, salt="before")
        state = self.saga.initial(f"rollout/late/{NEW}")
        loaded = frozenset({self.champion, self.former} - {None})
        world = World(state, router, loaded, frozenset(), frozenset(), (), frozenset())
        champion = self.champion
        begin = RolloutStarted(
            model="late",
            version=NEW,
            champion=champion,
            former=self.former,
            plan=self.plan,
            epoch=0,
            luck=LUCK,
        )
        return self.told(world, begin)

    def path(self, world: World) -> list[str]:
        steps = []
        while (before := self.came_from[world]) is not None:
            world, label = before
            steps.append(label)
        return steps[::-1]

    def moves(self, world: World) -> Iterator[tuple[str, object]]:
        for command in sorted(world.to_do, key=repr):
            name = type(command).__name__
            ended = world._replace(to_do=world.to_do - {command})
            yield f"{name} done", lambda c=command, w=ended: self.told(*effect(w, c))
            yield f"{name} done, end lost", lambda c=command: effect(world, c)[0]
            failed = CommandFailed(command=name, command_id="1", code="x", reason="broken", attempts=5)
            yield f"{name} failed", lambda e=failed, w=ended: self.told(w, e)
        for command in sorted(world.done, key=repr):
            if (again := echo(command)) is not None:
                yield f"late {again!r}", lambda e=again: self.told(world, e)
        for key in sorted(world.timers):
            rung = world._replace(timers=world.timers - {key})
            yield f"timer {key}", lambda k=key, w=rung: self.told(w, TimerFired(key=k, due=NOW))
        if world.saga.phase in ("shadow", "canary"):
            for kind, event in {**EVIDENCE, **counts(world.saga.epoch)}.items():
                yield f"{kind} evidence", lambda e=event: self.told(world, e)
        if world.saga.phase == "probation":
            for kind, event in PROBATION.items():
                yield f"{kind} in probation", lambda e=event: self.told(world, e)
        yield "abort", lambda: self.told(world, RolloutAborted(by="ana", reason="stop"))
        yield "supersede", lambda: self.told(world, RolloutSuperseded(by_version=8))

    def told(self, world: World, event: Event) -> World:
        step = self.saga.step(world.saga, event, NOW)
        self.check_step(world, event, step)
        timers = set(world.timers)
        for timer in step.timers:
            if timer.key == "answers":
                # It only counts, and what is counted is told at any time.
                continue
            timers.discard(timer.key)
            if isinstance(timer, SetTimer):
                timers.add(timer.key)
            else:
                assert isinstance(timer, CancelTimer)
        tables = tuple(c.table for c in step.commands if isinstance(c, ApplyRouting))
        return World(
            simplified(step.state),
            world.router,
            world.loaded,
            world.to_do | {c for c in step.commands if not isinstance(c, CountAnswers)},
            world.done,
            world.ordered + tuple(t for t in tables if t not in world.ordered),
            frozenset(timers),
        )

    def check_step(self, world: World, event: Event, step) -> None:
        before, after = world.saga, step.state
        if before.phase in SETTLED:
            alarms = all(isinstance(fact.event, RolloutNeedsHuman) for fact in step.emits)
            require(after.phase == before.phase and alarms, "a settled rollout stays as it is")
        if before.phase == "probation":
            require(after.phase in ("probation", "done"), "a champion in its probation is not rolled out")
        for table in (c.table for c in step.commands if isinstance(c, ApplyRouting)):
            require(abs(sum(part.share for part in table.shares) - 1) < 1e-9, "shares sum to 1")
            share = sum(part.share for part in table.shares if part.version == NEW)
            if share > in_force(world.router) and self.champion and not self.plan.immediate:
                self.check_raise(world, event, share)

    def check_raise(self, world: World, event: Event, share: float) -> None:
        require(NEW in world.loaded, "only a warm version gets traffic")
        state = world.saga
        if state.phase == "promoting":
            return
        require(world.router.epoch == state.epoch, "the share rises only once the table before is in force")
        tally = state.tally
        if isinstance(event, EvidenceArrived):
            tally = added(tally, event)
        elif isinstance(event, AnswersCounted):
            tally = msgspec.structs.replace(tally, answers=event)
        means = meaning(tally, state.share)
        bad = means.harmful or means.doubtful or means.lopsided
        require(not bad, "the share never rises on bad evidence")
        voided = means.shifted and means.proven
        require(not voided, "the share never rises on a proof that a shift has voided")
        enough = means.labels if state.phase == "shadow" else means.step_labels
        require(enough, "the share never rises on missing evidence")
        if share == 1:
            require(
                means.proven or (state.proven and means.agrees), "the last step needs the proof of safety"
            )

    def check(self, world: World) -> None:
        state = world.saga
        serving = world.router.versions
        if self.champion:
            require(serving <= world.loaded, "only loaded versions get traffic")
        if self.champion and (self.plan.probation or state.phase not in ("draining", "done")):
            require(OLD in world.loaded, "the version to go back to stays loaded")
        if state.phase in ("draining", "probation", "done"):
            require(in_force(world.router) == 1, "what is promoted answers everything")
        if state.phase == "promoting" and self.champion and not self.plan.immediate:
            means = meaning(state.tally, world.router.shares[0].share if in_force(world.router) < 1 else 0.0)
            require(means.proven or (state.proven and means.agrees), "promotion needs the proof of safety")
        if state.phase in SETTLED and not world.to_do and "retry" not in world.timers:
            kept = {self.champion, self.former} - {None}
            if state.phase == "done":
                kept = {NEW, OLD} if self.champion and self.plan.probation else {NEW}
            require(world.loaded == kept, "a settled rollout leaves nothing behind")

    def cut_off(self) -> list[World]:
        """Return the states from which no settled state can be reached."""
        before: dict[World, set[World]] = {world: set() for world in self.edges}
        for world, others in self.edges.items():
            for other in others:
                before[other].add(world)
        reached = {world for world in self.edges if world.saga.phase in SETTLED and not world.to_do}
        waiting = deque(reached)
        while waiting:
            for world in before[waiting.popleft()] - reached:
                reached.add(world)
                waiting.append(world)
        return [world for world in self.edges if world not in reached]


def in_force(table: RoutingTable) -> float:
    return sum(part.share for part in table.shares if part.version == NEW)


def simplified(state: RolloutState) -> RolloutState:
    """Return `state` with all that grows, or is read no more, replaced by what it means to the rules."""
    changes = {"n_failures": min(1, state.n_failures), "verdict": None, "reason": "", "n_looks": 0}
    if state.phase == "probation":
        changes |= {
            "tally": Tally(through=NOW, step_since=NOW),
            "n_steps": 0,
            "elapsed": False,
            "overdue": False,
        }
    elif state.phase in ("draining", "done", "rolling_back", "rolled_back"):
        changes |= {
            "tally": Tally(),
            "n_steps": 0,
            "held": "",
            "elapsed": False,
            "overdue": False,
            "echoed": 0,
        }
    else:
        changes["tally"] = representative(meaning(state.tally, state.share), state.tally.through > 0)
    return msgspec.structs.replace(state, **changes)

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
from varv.rollout.grounds import ODD_SHIFT, Moved
from varv.rollout.judgement import FEWEST_BLOCKS, leans_towards_harm
from varv.rollout.luck import BLOCK, GuardLuck, Hour
from varv.rollout.model import GuardHours
from varv.rollout.rules import SETTLED, SPLIT_AT
from varv.rollout.tally import Tally, added, weigh
from varv.serving.routing import RoutingShare, RoutingTable
from varv.tasks import task_of

from .samples import BINARY

FORMER, OLD, NEW = 5, 6, 7
NOW = Instant(100 * DAY)
FAR = Instant(120 * DAY)
"""After all hours of evidence, so that the order of events, and not of their times, is what is explored."""
_OF_EACH = Luck(spread=1 / 50, inflation=50.0, n_days=30)
LUCK = msgspec.structs.replace(_OF_EACH, others=(GuardLuck("brier", _OF_EACH),))
"""A block of n requests has a standard deviation of the root of n, whatever the rollout's own hours look
like."""
N_BLOCKS = 8
PLAN = Rollout(steps=[5, 25, 100]).plan_for(BINARY)
TWO_GUARDS = Rollout(
    steps=[25, 100], guard={"log_loss": "not worse by 0.01", "brier": "not worse by 0.01"}
).plan_for(BINARY)
WITHOUT_OUTCOME = Rollout(steps=[5, 100]).plan_for(task_of("score"))
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


class Weight(NamedTuple):
    """What the hours of one guard mean to the rules."""

    doubtful: bool
    proven: bool
    agrees: bool
    """Whether the blocks of the present share agree with an earlier proof."""
    shifted: bool
    """Whether losses shifted with the share, and what came since proves nothing."""


class Meaning(NamedTuple):
    """What a sum of evidence means to the rules."""

    harmful: bool
    doubtful: bool
    labels: bool
    step_labels: bool
    lopsided: bool
    guards: tuple[Weight, ...]
    answers: str
    """What the last count says where no outcome ever comes."""

    @property
    def proven(self) -> bool:
        return bool(self.guards) and all(one.proven for one in self.guards)

    @property
    def safe(self) -> bool:
        """Whether each guard is proven, or agrees with an earlier proof of all."""
        return bool(self.guards) and all(one.proven or one.agrees for one in self.guards)

    @property
    def voided(self) -> bool:
        return any(one.shifted and one.proven for one in self.guards)


@cache
def meaning(tally: Tally, share: float, plan=PLAN) -> Meaning:
    weighed = weigh(tally, plan, LUCK, share=share, epoch=0)
    return Meaning(
        weighed.log_harm >= weighed.harm_at or any(one.exceeds for one in weighed.guards),
        leans_towards_harm(weighed),
        weighed.n_labels >= plan.min_labels,
        weighed.step_labels >= plan.min_labels,
        weighed.log_split >= SPLIT_AT,
        tuple(
            Weight(
                max(one.difference or 0.0, one.step_difference or 0.0) > one.guard.margin,
                one.log_safety >= weighed.safety_at,
                (one.step_difference or 0.0) <= one.guard.margin and one.step_blocks >= FEWEST_BLOCKS,
                one.shift > ODD_SHIFT and one.step_safety < weighed.safety_at,
            )
            for one in weighed.guards
        ),
        "" if plan.has_outcome or tally.answers is None else _kind_of(tally.answers),
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
    hours = [_hours_of(means, weight) for weight in means.guards]
    of_score = ANSWERS_OF_SCORES.get(means.answers)
    return Tally(
        through=FAR,
        step_since=NOW,
        n_labels=ENOUGH if means.labels else 0,
        hours=hours[0] if hours else (),
        others=tuple(GuardHours("brier", one) for one in hours[1:]),
        answers=counted(n_candidate=3000) if means.lopsided else of_score,
    )


def _hours_of(means: Meaning, weight: Weight) -> tuple[Hour, ...]:
    hours: tuple[Hour, ...] = ()
    if weight.proven:
        hours += stretch(NOW - 40 * BLOCK, -2.5, 40 * ENOUGH, n_blocks=40)
    leans = weight.doubtful or (means.doubtful and not any(one.doubtful for one in means.guards))
    if leans or means.step_labels or weight.agrees:
        z = 2.0 if means.harmful and leans else 1.1 if leans else -1.8 if weight.proven else 0.0
        z = 0.0 if weight.shifted and not leans else z
        hours += stretch(NOW, z, ENOUGH if means.step_labels else FEW)
    return hours


def lump(
    share: float = 0.0,
    *,
    z: float = 0.0,
    n_labels: int = 0,
    n_blocks: int = N_BLOCKS,
    second: float | None = None,
) -> EvidenceArrived:
    """Evidence of `n_blocks` blocks whose means lie `z` standard deviations above zero, by a second guard
    `second`.
    """
    others = (
        () if second is None else (GuardHours("brier", stretch(NOW, second, n_labels, n_blocks=n_blocks)),)
    )
    return EvidenceArrived(
        since=FAR,
        through=Instant(FAR + 1),
        n_requests=n_labels,
        n_labels=n_labels,
        n_missing=0,
        hours=stretch(NOW, z, n_labels, n_blocks=n_blocks) if n_labels else (),
        others=others,
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


OF_TWO = {
    "good": lump(z=-2, second=-2, n_labels=4 * ENOUGH),
    "bad by the second": lump(z=-2, second=2, n_labels=4 * ENOUGH, n_blocks=16),
    "doubtful by the second": lump(z=-2, second=1.1, n_labels=4 * ENOUGH),
    "proven by the first alone": lump(z=-2, second=0.0, n_labels=4 * ENOUGH),
    "silent": lump(),
    "plain": lump(second=0.0, n_labels=ENOUGH),
}


def of_scores(epoch: int = 0, *, n: int = ENOUGH, shift: float = 0.0, half: float = 0.1, **more):
    moved = Moved(n_hours=20, shift=shift, low=shift - half, high=shift + half, spread=1.0)
    moved = msgspec.structs.replace(moved, **more.pop("moved", {}))
    return msgspec.structs.replace(counted(epoch, n_champion=n, **more), moved=moved)


ANSWERS_OF_SCORES = {
    "near": of_scores(),
    "far": of_scores(shift=1.0),
    "unclear": of_scores(half=0.5),
    "few": of_scores(n=FEW),
    "soon": of_scores(moved={"n_hours": 3}),
    "constant": of_scores(moved={"spread": 0.01}),
    "losing": of_scores(n_against=3),
    "unanswered": of_scores(n_against=60),
}
_KINDS = {msgspec.structs.replace(one, epoch=0): kind for kind, one in ANSWERS_OF_SCORES.items()}


def _kind_of(answers: AnswersCounted) -> str:
    return _KINDS.get(msgspec.structs.replace(answers, epoch=0), "")


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
        # A step depends on nothing else, and many worlds differ only in what lies outside the saga.
        self._step = cache(lambda state, event: saga.step(state, event, NOW))

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
            name = command.command_name
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
            for kind, event in self.evidence(world.saga.epoch).items():
                yield f"{kind} evidence", lambda e=event: self.told(world, e)
        if world.saga.phase == "probation":
            for kind, event in PROBATION.items():
                yield f"{kind} in probation", lambda e=event: self.told(world, e)
        yield "abort", lambda: self.told(world, RolloutAborted(by="ana", reason="stop"))
        yield "supersede", lambda: self.told(world, RolloutSuperseded(by_version=8))

    def evidence(self, epoch: int) -> dict[str, Event]:
        """Return what may be told of the candidate."""
        if not self.plan.has_outcome:
            of_scores = {
                kind: msgspec.structs.replace(one, epoch=epoch) for kind, one in ANSWERS_OF_SCORES.items()
            }
            return {**of_scores, "lopsided": counts(epoch)["lopsided"], "silent": lump()}
        return {**(OF_TWO if len(self.plan.guarded) > 1 else EVIDENCE), **counts(epoch)}

    def told(self, world: World, event: Event) -> World:
        step = self._step(world.saga, event)
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
            simplified(step.state, self.plan),
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
        means = meaning(tally, state.share, self.plan)
        bad = means.harmful or means.doubtful or means.lopsided
        require(not bad, "the share never rises on bad evidence")
        if not self.plan.has_outcome:
            require(means.answers == "near", "without outcomes scores must lie where the champion's do")
            require(state.elapsed or isinstance(event, TimerFired), "without outcomes the time must be over")
            return
        require(not means.voided, "the share never rises on a proof that a shift has voided")
        enough = means.labels if state.phase == "shadow" else means.step_labels
        require(enough, "the share never rises on missing evidence")
        if share == 1:
            proven = means.proven or (state.proven and means.safe)
            require(proven, "the last step needs the proof of safety by every guard")

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
            share = world.router.shares[0].share if in_force(world.router) < 1 else 0.0
            means = meaning(state.tally, share, self.plan)
            proven = means.proven or (state.proven and means.safe)
            of_scores = not self.plan.has_outcome and means.answers == "near"
            require(proven or of_scores, "promotion needs the proof of safety, or scores that did not move")
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


def simplified(state: RolloutState, plan=PLAN) -> RolloutState:
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
        changes["tally"] = representative(meaning(state.tally, state.share, plan), state.tally.through > 0)
    return msgspec.structs.replace(state, **changes)

"""Replay: the past fed through the whole loop under a virtual clock.

The driver knows three things only: the feed, the clock and the engine. Time moves to the next timer or the
next day, whichever is first; what arrived until then is taken in, answered and committed as one change
together with how far the replay has come; then everything that is due is settled. A replay that was killed
goes on from that position, and ends with the same ledger, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
import polars as pl

from varv.kernel.clock import DAY, WEEK, Instant, VirtualClock, iso
from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import ModelName
from varv.kernel.sagas import Fact, Message
from varv.kernel.wording import count
from varv.loop.declaration import Plant, Replay
from varv.loop.feed import Feed
from varv.loop.intake import Intake, segment_name
from varv.loop.model import FaultPlanted, LoopPolicy, LoopStarted, PlantedFault
from varv.loop.world import World
from varv.registry import RegistryView
from varv.serving import RoutingTable

E = TypeVar("E", bound=Event)


@event("replay.advanced")
class ReplayAdvanced(Event, frozen=True, kw_only=True):
    """Everything that arrived before `through` has been taken in."""

    through: Instant
    n_requests: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"everything before {iso(self.through)} is in, {count(self.n_requests)} requests"


@event("replay.finished")
class ReplayFinished(Event, frozen=True, kw_only=True):
    """The replay has reached its end, and all that was due by then is settled."""

    model: ModelName
    n_requests: int


class Progress(msgspec.Struct, frozen=True):
    """How far a replay has come, for whoever watches it."""

    now: Instant
    n_requests: int


class Driver:
    """Feeds one world to its end.

    Parameters
    ----------
    world
        A world whose clock is virtual and stands where the replay was left, or at its start.
    replay
        What is replayed.
    feed
        The past.
    plants
        Bad candidates to plant; none when a reference policy is replayed.
    """

    def __init__(
        self, world: World, clock: VirtualClock, replay: Replay, feed: Feed, *, plants: bool = True
    ) -> None:
        self._world = world
        self._clock = clock
        self._replay = replay
        self._feed = feed
        self._plants = sorted(replay.plants, key=lambda plant: plant.at) if plants else []
        self._intake = Intake(world)
        self._n_requests = 0

    def run(self, policy: LoopPolicy, declaration: Digest, on_tick: Callable[[Progress], None]) -> None:
        """Run from where the world stands to the end of the replay."""
        if self._last(ReplayFinished) is not None:
            self._intake.restore(self._replay.until)
            return
        position = self._resume(policy, declaration)
        while position < self._replay.until:
            until = self._next(position)
            self._clock.move_to(until)
            self._take_in(position, until)
            self._world.engine.settle()
            if until // WEEK != position // WEEK:
                self._world.features.trim(position)
            position = until
            on_tick(Progress(position, self._n_requests))
        finished = ReplayFinished(model=self._world.model.name, n_requests=self._n_requests)
        self._world.engine.tell(facts=(Fact("replay", finished),))

    def _resume(self, policy: LoopPolicy, declaration: Digest) -> Instant:
        reached = self._last(ReplayAdvanced)
        if reached is None:
            if self._world.ledger.head().version == 0:
                registered = [
                    f for data in self._world.model.datasets for f in self._world.datasets.register(data)
                ]
                definition = self._world.model.definition()
                started = LoopStarted(policy=policy, declaration=declaration, definition=definition)
                self._world.engine.tell(Message(self._world.loop_id, started), facts=registered)
            return self._replay.since
        self._clock.move_to(reached.through)
        self._n_requests = reached.n_requests
        self._intake.restore(reached.through)
        self._world.engine.settle()
        return reached.through

    def _next(self, position: Instant) -> Instant:
        midnight = Instant((position // DAY + 1) * DAY)
        due = self._world.engine.next_due()
        candidates = [midnight, self._replay.until, self._replay.train_at]
        candidates += [plant.at for plant in self._plants]
        candidates += [] if due is None else [due]
        return min(instant for instant in candidates if instant > position)

    def _take_in(self, since: Instant, until: Instant) -> None:
        world = self._world
        arrivals = self._feed.between(since, until, undated=since == self._replay.since)
        taken = self._intake.take_in(arrivals, segment_name(since), self._planted)
        self._n_requests += taken.n_requests
        facts = [*taken.facts, Fact("replay", ReplayAdvanced(through=until, n_requests=self._n_requests))]
        if until == self._replay.train_at:
            facts += world.datasets.infer_contracts(world.model.datasets)
        faults = [
            FaultPlanted(plant=PlantedFault(plant.name, plant.column, plant.breaks))
            for plant in self._plants
            if plant.at == until
        ]
        world.engine.tell(*(Message(world.loop_id, fault) for fault in faults), facts=facts)

    def _planted(self, requests: pl.DataFrame) -> pl.DataFrame | None:
        """Return the planted columns of requests: the truth of later until it breaks, and nothing from then
        on.
        """
        table = self._world.dataplane.table
        if not self._plants or table is None:
            return None
        columns: dict[str, pl.Series] = {}
        for plant, version in self._serving(table):
            column = pl.Series(plant.column, [None] * requests.height, dtype=pl.Float32)
            if still_filled(plant, version, table):
                column = self._feed.later(self._world.model.requests, requests, plant.column).cast(pl.Float32)
            columns[plant.column] = column
        return pl.DataFrame(list(columns.values())) if columns else None

    def _serving(self, table: RoutingTable) -> list[tuple[Plant, int]]:
        """Return the plants among the versions of a table, each with its version."""
        name = self._world.model.name
        with self._world.views.reading(RegistryView) as registry:
            named = {
                registry.version(name, version).registered.planted: version for version in table.versions
            }
        return [(plant, named[plant.name]) for plant in self._plants if plant.name in named]

    def _last(self, kind: type[E]) -> E | None:
        head = self._world.ledger.head("replay").version
        found = self._world.ledger.read(max(0, head - 1), stream="replay")
        last = found[-1].event if found else None
        return last if isinstance(last, kind) else None


def still_filled(plant: Plant, version: int, table: RoutingTable) -> bool:
    """Return whether a planted version has its column: in its own shadow, if it breaks in the canary."""
    in_shadow = version == table.candidate and table.candidate_share == 0.0
    return plant.breaks == "in canary" and in_shadow

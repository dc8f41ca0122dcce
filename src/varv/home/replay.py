"""Replay: the past fed through the whole loop of every model under a virtual clock.

The driver knows three things only: the feed, the clock and the engine. Time moves to the next timer or the
next day, whichever is first; what arrived until then is ingested, answered and committed as one change
together with how far the replay has come; then everything that is due is settled. A replay that was killed
goes on from that position, and ends with the same ledger, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
import polars as pl

from varv.home.answers import PastIntake
from varv.home.feed import Feed
from varv.home.home import Home
from varv.home.model import ReplayAdvanced, ReplayFinished
from varv.kernel.clock import DAY, WEEK, Instant, VirtualClock
from varv.kernel.codec import Digest, Event
from varv.kernel.columns import segment_name
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Fact, Message
from varv.loop.model import FaultPlanted, LoopStarted, PlantedFault
from varv.loop.plan import loop_id
from varv.project import Plant, Replay
from varv.project.declared import declared_fact
from varv.registry import RegistryView
from varv.serving import RoutingTable

STREAM = "replay"
E = TypeVar("E", bound=Event)


class Progress(msgspec.Struct, frozen=True):
    """How far a replay has come, for whoever watches it."""

    now: Instant
    n_requests: int


class Driver:
    """Feeds one home to the end of a replay.

    Parameters
    ----------
    home
        A home whose clock is virtual and stands where the replay was left, or at its start.
    replay
        What is replayed.
    feed
        The past.
    plants
        Whether bad candidates are planted; not when a reference policy is replayed.
    """

    def __init__(
        self, home: Home, clock: VirtualClock, replay: Replay, feed: Feed, *, plants: bool = True
    ) -> None:
        self._home = home
        self._clock = clock
        self._replay = replay
        self._feed = feed
        self._plants = sorted(replay.plants, key=lambda plant: plant.at) if plants else []
        self._intake = PastIntake(home)
        self._n_requests = 0

    def run(self, declaration: Digest, on_tick: Callable[[Progress], None]) -> None:
        """Run from where the home stands to the end of the replay."""
        if self._last(ReplayFinished) is not None:
            self._intake.restore()
            return
        position = self._resume(declaration)
        while position < self._replay.until:
            until = self._next(position)
            self._clock.move_to(until)
            self._live_through(position, until)
            self._home.engine.settle()
            if until // WEEK != position // WEEK:
                self._home.features.trim(position)
            position = until
            on_tick(Progress(position, self._n_requests))
        finished = ReplayFinished(models=tuple(self._home.models), n_requests=self._n_requests)
        self._home.engine.tell(facts=(Fact(STREAM, finished),))

    def _resume(self, declaration: Digest) -> Instant:
        reached = self._last(ReplayAdvanced)
        if reached is None:
            if self._home.ledger.head().version == 0:
                facts = [*self._home.registered(), *self._declared(declaration)]
                self._home.engine.tell(*self._beginnings(declaration), facts=facts)
            return self._replay.since
        self._clock.move_to(reached.through)
        self._n_requests = reached.n_requests
        self._intake.restore()
        self._home.engine.settle()
        return reached.through

    def _declared(self, declaration: Digest) -> list[Fact]:
        return [declared_fact(parts.plan, declaration) for parts in self._home.models.values()]

    def _beginnings(self, declaration: Digest) -> list[Message]:
        """Return what starts the loop of every model."""
        replay = self._replay
        return [
            Message(
                parts.loop.loop_id,
                LoopStarted(
                    policy=parts.loop.policy(replay.train_at, replay.seed),
                    declaration=declaration,
                    definition=parts.loop.definition(),
                    task=parts.plan.outcome.task.spec,
                ),
            )
            for parts in self._home.models.values()
        ]

    def _next(self, position: Instant) -> Instant:
        midnight = Instant((position // DAY + 1) * DAY)
        due = self._home.engine.next_due()
        candidates = [midnight, self._replay.until, self._replay.train_at]
        candidates += [plant.at for plant in self._plants]
        candidates += [] if due is None else [due]
        return min(instant for instant in candidates if instant > position)

    def _live_through(self, since: Instant, until: Instant) -> None:
        home = self._home
        # Before anything of the stretch is stored, and on record with it: a crash does it all once more.
        compacted = home.compact() if until // WEEK != since // WEEK else []
        arrivals = self._feed.between(since, until, undated=since == self._replay.since)
        lived = self._intake.live_through(arrivals, segment_name(since), self._planted)
        self._n_requests += lived.n_requests
        facts = [
            *compacted,
            *lived.facts,
            Fact(STREAM, ReplayAdvanced(through=until, n_requests=self._n_requests)),
        ]
        if until == self._replay.train_at:
            facts += home.datasets.infer_contracts(home.declared)
        faults = [
            Message(
                loop_id(self._replay.planted_in(plant).name),
                FaultPlanted(plant=PlantedFault(plant.name, plant.column, plant.breaks)),
            )
            for plant in self._plants
            if plant.at == until
        ]
        home.engine.tell(*faults, facts=facts)

    def _planted(self, model: ModelName, requests: pl.DataFrame) -> pl.DataFrame | None:
        """Return the planted columns of a model's requests: the truth of later until it breaks, and nothing
        from then on.
        """
        parts = self._home.models[model]
        table = parts.plane.table
        if not self._plants or table is None:
            return None
        columns: dict[str, pl.Series] = {}
        for plant, version in self._serving(model, table):
            column = pl.Series(plant.column, [None] * requests.height, dtype=pl.Float32)
            if still_filled(plant, version, table):
                column = self._feed.later(parts.schema.requests, requests, plant.column).cast(pl.Float32)
            columns[plant.column] = column
        return pl.DataFrame(list(columns.values())) if columns else None

    def _serving(self, model: ModelName, table: RoutingTable) -> list[tuple[Plant, Version]]:
        """Return the plants among the versions of a table, each with its version."""
        with self._home.views.reading(RegistryView) as registry:
            named = {
                registry.version(model, version).registered.planted: version for version in table.versions
            }
        return [(plant, named[plant.name]) for plant in self._plants if plant.name in named]

    def _last(self, kind: type[E]) -> E | None:
        head = self._home.ledger.head(STREAM).version
        found = self._home.ledger.read(max(0, head - 1), stream=STREAM)
        last = found[-1].event if found else None
        return last if isinstance(last, kind) else None


def still_filled(plant: Plant, version: Version, table: RoutingTable) -> bool:
    """Return whether a planted version has its column: in its own shadow, if it breaks in the canary."""
    in_shadow = version == table.candidate and table.candidate_share == 0.0
    return plant.breaks == "in canary" and in_shadow

"""What the commands of the loop and of its rollouts do, with the parts of a world.

Each handler acts, then reports in facts and messages that are committed with the end of its command. All of
them may run again after a crash: packages, references and segments are found by content, and routing is
fenced by its epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from varv.data.sources import TIME
from varv.kernel.clock import DAY, HOUR, Duration, Instant
from varv.kernel.codec import Event
from varv.kernel.errors import Conflict
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Command, Fact, Handler, Message, Reply
from varv.loop.leak_report import examined, noticed
from varv.loop.model import (
    CandidateTrained,
    GatesJudged,
    GatherEvidence,
    JudgeCandidate,
    Measure,
    RowsMatured,
    SetReference,
    TrainCandidate,
)
from varv.loop.training import held_out, train_candidate
from varv.loop.world import World
from varv.monitoring import MonitorPlan, Window
from varv.monitoring.measure import Answered, answered, measure_answered, measure_day, rows_of
from varv.monitoring.model import CHAMPION
from varv.monitoring.monitor import plan
from varv.monitoring.reference import Reference
from varv.registry import AliasMoved, Package, RegistryView, VersionRecord, open_package
from varv.rollout import RolloutsView
from varv.rollout import model as rollout
from varv.rollout.evidence import ANSWERED, PAIRED, answers, evidence
from varv.rollout.luck import Hour, Luck, learned
from varv.serving.model import RoutingChanged
from varv.training.gates import HeldOut, judge

LUCK_HISTORY = Duration(90 * DAY)
"""How far back scores of two versions on the same requests are taken from, to learn how far chance goes."""


class Handlers:
    """The handlers of one model's loop.

    Parameters
    ----------
    world
        What they work with; given by `bind`, since the world's engine needs the handlers first.
    """

    def __init__(self) -> None:
        self._world: World | None = None

    def bind(self, world: World) -> None:
        """Say which world the handlers work with."""
        self._world = world

    def table(self) -> Mapping[type[Command], Handler]:
        """Return the handler of each command."""
        return {
            TrainCandidate: self.train,
            JudgeCandidate: self.judge,
            Measure: self.measure,
            GatherEvidence: self.gather,
            SetReference: self.set_reference,
            rollout.CountAnswers: self.count_answers,
            rollout.WarmVersion: self.warm,
            rollout.ApplyRouting: self.apply_routing,
            rollout.MoveAlias: self.move_alias,
            rollout.UnloadVersion: self.unload,
        }

    @property
    def world(self) -> World:
        """The world that was bound."""
        assert self._world is not None, "bind the handlers to a world first"
        return self._world

    def train(self, command: TrainCandidate, command_id: str, now: Instant) -> Reply:
        """Train and register a candidate; at the first training, look for leaks."""
        registered = train_candidate(self.world, command)
        facts = (
            Fact(f"model/{command.model}", registered),
            Fact(f"model/{command.model}", self._challenger(command)),
            *(Fact(self.world.loop_id, event) for event in examined(self.world, command)),
        )
        n_mature = self._n_mature(command.cutoff)
        trained = CandidateTrained(version=command.version, n_rows=registered.n_rows, n_labelled=n_mature)
        return Reply(facts, (self._to_loop(trained),))

    def judge(self, command: JudgeCandidate, command_id: str, now: Instant) -> Reply:
        """Hold a candidate's judged fits against the gates, each on the stretch that it was not fitted on."""
        record = self._version(command.version).registered
        champion = None if command.champion is None else self._version(command.champion).registered
        rows = held_out(self.world, record, champion)
        results = judge(self.world.model.gates, rows)
        passed = all(result.passed for result in results)
        luck = Luck() if champion is None else self._luck(_hours(rows), now)
        judged = GatesJudged(version=command.version, passed=passed, results=results, luck=luck)
        return Reply(messages=(self._to_loop(judged),))

    def measure(self, command: Measure, command_id: str, now: Instant) -> Reply:
        """Measure the day that is mature by now, and count the rows that have an outcome."""
        events = self._measured(ModelName(command.model), Window(command.day, Instant(command.day + DAY)))
        told = [Message(f"monitor/{command.model}", event) for event in events]
        matured = self._to_loop(RowsMatured(n_rows=self._n_mature(now), through=now))
        facts = tuple(Fact(self.world.loop_id, event) for event in noticed(self.world, command.day))
        return Reply(facts, (matured, *told))

    def _measured(self, model: ModelName, day: Window) -> list[Event]:
        """Measure a mature day for every version that answered it, whoever is champion by now."""
        champion, watch = self._champion(), self.monitor_plan()
        span = rows_of(day, watch)
        rows = self.world.telemetry.matured(span.start, span.end, known_by=Instant(day.end + watch.maturity))
        parts = answered(rows, day)
        if champion is None:
            return [measure_answered(part, day, model=model, maturity=watch.maturity) for part in parts]
        version = Version(champion.registered.version)
        if not parts:
            # A day without requests is a measurement too: of none.
            parts = [Answered(version, CHAMPION, rows.clear())]
        events: list[Event] = []
        for part in parts:
            if part.version == version and part.role == CHAMPION:
                events += measure_day(part.rows, day, self._reference(champion), watch)
            else:
                events.append(measure_answered(part, day, model=model, maturity=watch.maturity))
        return events

    def gather(self, command: GatherEvidence, command_id: str, now: Instant) -> Reply:
        """Tell a rollout what the outcomes of its requests say."""
        rows = self._paired(command.since, command.through, now)
        if command.former is None:
            both = rows.filter((pl.col("candidate") == command.version).fill_null(value=False))
        else:
            both = _against_former(rows, command.version, command.former)
        found = evidence(both, since=command.since, through=command.through)
        if found is None:
            return Reply()
        return Reply(messages=(Message(f"rollout/{command.model}/{command.version}", found),))

    def count_answers(self, command: rollout.CountAnswers, command_id: str, now: Instant) -> Reply:
        """Tell the open rollout what was answered under its table, whether or not outcomes are known."""
        columns = (*ANSWERED, "epoch")
        rows = self.world.telemetry.matured(command.since, now, known_by=now, columns=columns)
        under = rows.filter(pl.col("epoch") == command.epoch)
        counted = answers(under, epoch=command.epoch, through=now)
        return self._reply_to(command_id, counted)

    def _luck(self, held_out: Sequence[Hour], now: Instant) -> Luck:
        """Return what the held-out rows, and all that two sound versions scored in the past, say of
        chance.
        """
        since, through = Instant(now - LUCK_HISTORY), Instant(now - self.world.model.outcome.mature)
        rows = self._paired(since, through, now)
        with self.world.views.reading(RolloutsView) as view:
            records = view.of_model(self.world.model.name)
            # What was rolled back may have been broken, and differs from its champion by more than luck.
            sound = {
                (one.champion, one.version)
                for one in records
                if one.outcome == "promoted" and one.champion is not None
            }
        pairs: list[pl.DataFrame] = []
        for champion, version in sorted(sound):
            pairs.append(rows.filter((pl.col("champion") == champion) & (pl.col("candidate") == version)))
            pairs.append(_against_former(rows, version, champion))
        told = [evidence(part, since=since, through=through) for part in pairs]
        return learned([held_out, *(one.hours for one in told if one is not None)])

    def _paired(self, since: Instant, through: Instant, now: Instant) -> pl.DataFrame:
        columns = (*PAIRED, "champion", "candidate", "former", "former_score")
        return self.world.telemetry.matured(since, through, known_by=now, columns=columns)

    def set_reference(self, command: SetReference, command_id: str, now: Instant) -> Reply:
        """Let the monitors compare with the new champion's reference."""
        chosen = self._reference(self._version(command.version)).set_for(self.monitor_plan(), at=now)
        return Reply(messages=(Message(f"monitor/{command.model}", chosen),))

    def warm(self, command: rollout.WarmVersion, command_id: str, now: Instant) -> Reply:
        """Bring a version into memory wherever requests are answered."""
        record = self._version(command.version)
        self.world.serving.warm(command.version, record.registered.package)
        return self._reply_to(command_id, rollout.VersionWarmed(version=command.version))

    def apply_routing(self, command: rollout.ApplyRouting, command_id: str, now: Instant) -> Reply:
        """Put a routing table in force."""
        confirmed = self._reply_to(command_id, rollout.RoutingApplied(epoch=command.table.epoch))
        # A restart forgets what was warm but had no traffic yet; warming what is warm costs nothing.
        for version in sorted(command.table.versions):
            self.world.serving.warm(version, self._version(version).registered.package)
        try:
            self.world.serving.apply(command.table)
        except Conflict:
            # A higher epoch came first: this table has been dealt with, and is never in force.
            return confirmed
        changed = Fact(f"routing/{command.model}", RoutingChanged(model=command.model, table=command.table))
        return Reply((changed,), confirmed.messages)

    def move_alias(self, command: rollout.MoveAlias, command_id: str, now: Instant) -> Reply:
        """Point an alias at a version."""
        moved = Fact(f"model/{command.model}", self._alias(command.model, command.alias, command.version))
        reply = self._reply_to(
            command_id, rollout.AliasConfirmed(alias=command.alias, version=command.version)
        )
        return Reply((moved,), reply.messages)

    def unload(self, command: rollout.UnloadVersion, command_id: str, now: Instant) -> Reply:
        """Let a version go."""
        self.world.serving.unload(command.version)
        return self._reply_to(command_id, rollout.VersionUnloaded(version=command.version))

    def monitor_plan(self) -> MonitorPlan:
        """Return what is watched, as declared."""
        model = self.world.model
        return MonitorPlan(plan(model.monitors).monitors, model.outcome.mature)

    def package(self, version: int) -> Package:
        """Return the package of a version."""
        return open_package(self.world.blobs.get(self._version(version).registered.package))

    def _n_mature(self, now: Instant) -> int:
        """Return how many requests older than `mature` have their outcome."""
        until = Instant(now - self.world.model.outcome.mature)
        return self.world.telemetry.n_labelled(until, known_by=now)

    def _to_loop(self, event: Event) -> Message:
        return Message(self.world.loop_id, event)

    def _reply_to(self, command_id: str, event: Event) -> Reply:
        saga, _, _ = command_id.rsplit(":", 2)
        return Reply(messages=(Message(saga, event),))

    def _version(self, version: int) -> VersionRecord:
        with self.world.views.reading(RegistryView) as registry:
            return registry.version(self.world.model.name, version)

    def _champion(self) -> VersionRecord | None:
        with self.world.views.reading(RegistryView) as registry:
            record = registry.models.get(self.world.model.name)
            return None if record is None else record.champion

    def _challenger(self, command: TrainCandidate) -> AliasMoved:
        return self._alias(ModelName(command.model), "challenger", Version(command.version))

    def _alias(self, model: ModelName, alias: str, version: Version) -> AliasMoved:
        with self.world.views.reading(RegistryView) as registry:
            record = registry.models.get(model)
            previous = None if record is None else record.aliases.get(alias)
        return AliasMoved(model=model, alias=alias, version=version, previous=previous)

    def _reference(self, record: VersionRecord) -> Reference:
        return Reference.from_bytes(self.world.blobs.get(record.registered.reference))


def _against_former(rows: pl.DataFrame, version: int, former: int) -> pl.DataFrame:
    """Return the requests that a promoted version and the one before scored, the promoted one as the
    candidate.
    """
    ours = ((pl.col("champion") == version) & (pl.col("former") == former)).fill_null(value=False)
    return rows.filter(ours).with_columns(
        candidate_score=pl.col("champion_score"), champion_score=pl.col("former_score")
    )


def _hours(rows: HeldOut) -> tuple[Hour, ...]:
    """Return the held-out rows that neither version was fitted on, as hours of paired losses."""
    scored = pl.DataFrame(
        {
            "requested_at": pl.Series(rows.at, dtype=pl.Int64).cast(TIME),
            "outcome": rows.outcome,
            "champion_score": rows.champion,
            "candidate_score": rows.candidate,
        }
    )
    unseen = scored.filter(pl.Series(rows.unseen, dtype=pl.Boolean))
    if unseen.is_empty():
        return ()
    through = Instant(int(rows.at.max()) + HOUR)
    found = evidence(unseen, since=Instant(0), through=through)
    return () if found is None else found.hours

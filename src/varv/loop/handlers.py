"""What the commands of the loop do: train, judge, measure, gather evidence, set a reference, weigh.

Each handler acts, then reports in facts and messages that are committed with the end of its command. All of
them may run again after a crash: packages and references are found by content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from msgspec.structs import replace

from varv.kernel.blobs import Blobs
from varv.kernel.clock import DAY, HOUR, Duration, Instant
from varv.kernel.codec import Event
from varv.kernel.columns import TIME
from varv.kernel.errors import FailedPrecondition, Interrupted, VarvError
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Command, Fact, Handler, Message, Reply
from varv.kernel.views import Views
from varv.loop.benefit import Weigher
from varv.loop.cancelling import Wish
from varv.loop.candidates import Candidates
from varv.loop.commands import GatherEvidence, JudgeCandidate, Measure, SetReference, TrainCandidate
from varv.loop.leak_report import LeakReport
from varv.loop.model import CandidateTrained, GatesJudged, OutputKept, RowsMatured
from varv.loop.plan import LoopParts, Models, loop_id
from varv.loop.proving import held_back
from varv.loop.views import LoopView
from varv.loop.weighing.model import WeighBenefit
from varv.monitoring import Window, monitor_id
from varv.monitoring.measure import (
    Answered,
    answered,
    columns_of,
    measure_answered,
    measure_day,
    rows_of,
)
from varv.monitoring.model import CHAMPION
from varv.monitoring.reference import Reference
from varv.registry import RegistryView, VersionRecord
from varv.rollout import Guard, Luck, RolloutsView, evidence, luck_of, rollout_id
from varv.rollout.evidence import paired_columns
from varv.serving.scores import GROUP, renamed, score_columns, score_series
from varv.tasks import Task
from varv.training.gates import Judgement, judge

LUCK_HISTORY = Duration(90 * DAY)
"""How far back scores of two versions on the same requests are taken from, to learn how far chance goes."""


class LoopHandlers:
    """The handlers of all loops of a home.

    Parameters
    ----------
    models
        By name; looked up by each command.
    candidates, leaks
        Train, and look for leaks.
    views, blobs
        Of the home.
    """

    def __init__(
        self, models: Models, candidates: Candidates, leaks: LeakReport, views: Views, blobs: Blobs
    ) -> None:
        self._models = models
        self._candidates = candidates
        self._leaks = leaks
        self._views = views
        self._blobs = blobs
        self._weigher = Weigher(candidates.scores, views)

    def table(self) -> Mapping[type[Command], Handler]:
        """Return the handler of each command."""
        return {
            TrainCandidate: self.train,
            JudgeCandidate: self.judge,
            Measure: self.measure,
            GatherEvidence: self.gather,
            SetReference: self.set_reference,
            WeighBenefit: self.weigh_benefit,
        }

    def train(self, command: TrainCandidate, command_id: str, now: Instant) -> Reply:
        """Train and register a candidate; whether or not that works, keep what it printed.

        Raises
        ------
        Interrupted
            If the training was ended by a stop: it is to be done again.
        """
        wish = Wish(self._views, command.model, command.version)
        try:
            refused = wish.refusal()
            reply = self._trained(command, wish) if refused is None else Reply(failed=refused)
        except Interrupted:
            refused = wish.refusal()
            if refused is None:
                raise
            reply = Reply(failed=refused)
        except VarvError as error:
            if error.retryable:
                raise
            reply = Reply(failed=error)
        return replace(reply, facts=(*reply.facts, *self._output(command)))

    def _trained(self, command: TrainCandidate, wish: Wish) -> Reply:
        """Train and register a candidate; at the first training, look for leaks."""
        parts = self._models[command.model]
        self._require_prepared(command.model)
        champion = self._champion(command.model)
        before = None if champion is None else champion.registered
        registered = self._candidates.train(parts, command, before, wish)
        with self._views.reading(RegistryView) as registry:
            challenger = registry.moving(command.model, "challenger", command.version)
        facts = (
            Fact(f"model/{command.model}", registered),
            Fact(f"model/{command.model}", challenger),
            *(Fact(loop_id(command.model), event) for event in self._leaks.examined(parts, command)),
        )
        n_mature = _n_mature(parts, command.cutoff)
        trained = CandidateTrained(version=command.version, n_rows=registered.n_rows, n_labelled=n_mature)
        return Reply(facts, (Message(loop_id(command.model), trained),))

    def _require_prepared(self, model: ModelName) -> None:
        """Raise `FailedPrecondition` if stored requests lack features that are new: they would be learned as
        missing.
        """
        with self._views.reading(LoopView) as view:
            record = view.loops.get(model)
            awaited = () if record is None else record.awaited
        if awaited:
            problem = f"has stored requests that lack {', '.join(awaited)}"
            hint = "a change computes them; see varv status for what keeps it"
            raise FailedPrecondition("model", model, problem, hint=hint)

    def _output(self, command: TrainCandidate) -> tuple[Fact, ...]:
        """Keep what the fits of a version printed."""
        text = self._candidates.fitter.printed(command.model, command.version)
        if not text:
            return ()
        kept = OutputKept(
            model=command.model,
            version=command.version,
            digest=self._blobs.put(text),
            n_bytes=len(text),
        )
        return (Fact(loop_id(command.model), kept),)

    def judge(self, command: JudgeCandidate, command_id: str, now: Instant) -> Reply:
        """Hold a candidate's judged fits against the gates, each on the stretch that it was not fitted on."""
        parts = self._models[command.model]
        record = self._version(command.model, command.version).registered
        champion = (
            None if command.champion is None else self._version(command.model, command.champion).registered
        )
        rows = self._candidates.held_out(parts, record, champion)
        results = judge(parts.loop.gates, rows)
        results += held_back(self._views, command.model, parts.loop.requirements, results)
        passed = all(result.passed for result in results)
        luck = Luck() if champion is None else self._luck(parts, _unseen(rows), now)
        judged = GatesJudged(version=command.version, passed=passed, results=results, luck=luck)
        return Reply(messages=(Message(loop_id(command.model), judged),))

    def measure(self, command: Measure, command_id: str, now: Instant) -> Reply:
        """Measure the day that is mature by now, and count the rows that have an outcome."""
        parts = self._models[command.model]
        events = self._measured(parts, Window(command.day, Instant(command.day + DAY)))
        told = [Message(monitor_id(command.model), event) for event in events]
        matured = Message(loop_id(command.model), RowsMatured(n_rows=_n_mature(parts, now), through=now))
        facts = tuple(
            Fact(loop_id(command.model), event) for event in self._leaks.noticed(parts, command.day)
        )
        return Reply(facts, (matured, *told))

    def _measured(self, parts: LoopParts, day: Window) -> list[Event]:
        """Measure a mature day for every version that answered it, whoever is champion by now."""
        model, watch = parts.loop.model, parts.loop.monitors
        champion = self._champion(model)
        span = rows_of(day, watch)
        known_by = Instant(day.end + watch.maturity)
        columns = columns_of(day, watch)
        rows = parts.predictions.matured(span.start, span.end, known_by=known_by, columns=columns)
        answerers = answered(rows, day, parts.loop.outcome.task)
        if champion is None:
            return [measure_answered(part, day, model=model, plan=watch) for part in answerers]
        version = Version(champion.registered.version)
        if not answerers:
            # A day without requests is a measurement too: of none.
            answerers = [Answered(version, CHAMPION, rows.clear())]
        events: list[Event] = []
        for part in answerers:
            if part.version == version and part.role == CHAMPION:
                events += measure_day(part.rows, day, self._reference(champion), watch)
            else:
                events.append(measure_answered(part, day, model=model, plan=watch))
        return events

    def gather(self, command: GatherEvidence, command_id: str, now: Instant) -> Reply:
        """Tell a rollout what the outcomes of its requests say."""
        parts = self._models[command.model]
        guards = self._guards(parts, command.version)
        rows = _paired(parts, guards, command.since, command.through, now)
        if command.former is None:
            both = rows.filter((pl.col("candidate") == command.version).fill_null(value=False))
        else:
            both = _against_former(rows, command.version, command.former, parts.loop.outcome.task)
        found = evidence(
            both, task=parts.loop.outcome.task, guards=guards, since=command.since, through=command.through
        )
        if found is None:
            return Reply()
        return Reply(messages=(Message(rollout_id(command.model, command.version), found),))

    def _guards(self, parts: LoopParts, version: Version) -> tuple[Guard, ...]:
        """Return what the rollout of a version is guarded by: as it started, not as declared by now."""
        with self._views.reading(RolloutsView) as view:
            record = view.latest(parts.loop.model, version)
        return (parts.loop.rollout if record is None else record.plan).guarded

    def _luck(self, parts: LoopParts, held_out: pl.DataFrame, now: Instant) -> Luck:
        """Return what the held-out rows, and all that two sound versions scored in the past, say of
        chance by each guard.
        """
        guards = parts.loop.rollout.guarded
        since = Instant(now - LUCK_HISTORY)
        through = Instant((now - parts.loop.outcome.mature) // HOUR * HOUR)
        rows = _paired(parts, guards, since, through, now)
        with self._views.reading(RolloutsView) as view:
            records = view.of_model(parts.loop.model)
            # What was rolled back may have been broken, and differs from its champion by more than luck.
            sound = {
                (one.champion, one.version)
                for one in records
                if one.outcome == "promoted" and one.champion is not None
            }
        pairs: list[pl.DataFrame] = []
        for champion, version in sorted(sound):
            pairs.append(rows.filter((pl.col("champion") == champion) & (pl.col("candidate") == version)))
            pairs.append(_against_former(rows, version, champion, parts.loop.outcome.task))
        return luck_of(held_out, pairs, task=parts.loop.outcome.task, guards=guards)

    def weigh_benefit(self, command: WeighBenefit, command_id: str, now: Instant) -> Reply:
        """Hold what a fresh model would save against the price of a training."""
        weighed = self._weigher.weigh(self._models[command.model], command)
        return Reply() if weighed is None else Reply(messages=(Message(loop_id(command.model), weighed),))

    def set_reference(self, command: SetReference, command_id: str, now: Instant) -> Reply:
        """Let the monitors compare with the new champion's reference."""
        watch = self._models[command.model].loop.monitors
        chosen = self._reference(self._version(command.model, command.version)).set_for(watch, at=now)
        return Reply(messages=(Message(monitor_id(command.model), chosen),))

    def _version(self, model: ModelName, version: Version) -> VersionRecord:
        with self._views.reading(RegistryView) as registry:
            return registry.version(model, version)

    def _champion(self, model: ModelName) -> VersionRecord | None:
        with self._views.reading(RegistryView) as registry:
            record = registry.models.get(model)
            return None if record is None else record.champion

    def _reference(self, record: VersionRecord) -> Reference:
        return Reference.from_bytes(self._blobs.get(record.registered.reference))


def _n_mature(parts: LoopParts, now: Instant) -> int:
    """Return how many requests older than `mature` have their outcome."""
    return parts.predictions.n_labelled(Instant(now - parts.loop.outcome.mature), known_by=now)


def _paired(
    parts: LoopParts, guards: Sequence[Guard], since: Instant, through: Instant, now: Instant
) -> pl.DataFrame:
    task = parts.loop.outcome.task
    former = score_columns(task, "former_score")
    columns = (*paired_columns(task, guards), "champion", "candidate", "former", *former)
    return parts.predictions.matured(since, through, known_by=now, columns=columns)


def _against_former(rows: pl.DataFrame, version: int, former: int, task: Task) -> pl.DataFrame:
    """Return the requests that a promoted version and the one before scored, the promoted one as the
    candidate.
    """
    ours = ((pl.col("champion") == version) & (pl.col("former") == former)).fill_null(value=False)
    promoted = renamed(rows.filter(ours), task, "champion_score", "candidate_score")
    return renamed(promoted, task, "former_score", "champion_score")


def _unseen(rows: Judgement) -> pl.DataFrame:
    """Return the held-out rows that neither version was fitted on, as `evidence` reads them."""
    assert rows.champion is not None, "without a champion there are no pairs"
    lists = [] if rows.groups is None else [pl.Series(GROUP, rows.groups)]
    scored = pl.DataFrame(
        [
            pl.Series("requested_at", rows.at, dtype=pl.Int64).cast(TIME),
            pl.Series("outcome", rows.outcome),
            *score_series(rows.task, "champion_score", rows.champion),
            *score_series(rows.task, "candidate_score", rows.candidate),
            *lists,
        ]
    )
    return scored.filter(pl.Series(rows.unseen, dtype=pl.Boolean))

"""A small history of a model in a real ledger: five versions, one of them planted, over seven weeks."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl

from varv.app.compose import VIEWS
from varv.data.contracts.model import ColumnRule, Contract
from varv.data.contracts.report import Example, Report, Violation
from varv.data.model import (
    BatchQuarantined,
    ContractInferred,
    DatasetRegistered,
    DatasetVersionAppended,
    RepeatsDropped,
)
from varv.home.model import Comparison, Gain, Measure, Month, PolicyScore
from varv.kernel.clock import DAY, HOUR, Duration, Instant, instant
from varv.kernel.codec import Digest, Event, digest
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import DatasetName, ModelName, Version
from varv.kernel.ledger import Append, Change, Ledger
from varv.kernel.ledger_sqlite import MEMORY, SqliteLedger
from varv.kernel.views import Views
from varv.loop.model import (
    CandidateRejected,
    CandidateTrained,
    GatesJudged,
    LoopPolicy,
    LoopStarted,
    RetrainTriggered,
    RowsMatured,
    Trigger,
)
from varv.monitoring import (
    AlarmCleared,
    AlarmRaised,
    DriftMeasured,
    FeatureDrift,
    MonitorPlan,
    PerformanceMeasured,
    ReferenceSet,
    Window,
)
from varv.monitoring.model import ScoreCounts
from varv.registry import AliasMoved, DatasetUse, VersionRegistered
from varv.rollout import (
    AT_ONCE,
    Evidence,
    EvidenceArrived,
    RollbackStarted,
    Rollout,
    RolloutHeld,
    RolloutRolledBack,
    RolloutSettled,
    RolloutStarted,
    RolloutStepped,
    RoutingApplied,
    ShadowStarted,
    VersionPromoted,
)
from varv.rollout.luck import Hour
from varv.serving.model import RequestsServed, RoutingChanged
from varv.serving.routing import RoutingShare, RoutingTable
from varv.tasks import task_of
from varv.training.gates import GateResult

MODEL = ModelName("late-arrival")
FLIGHTS = DatasetName("flights")
START = instant("2013-02-01T05:00:00Z")
PLAN = Rollout(steps=[5, 25, 100]).plan_for(task_of("binary"))
HOSTILE = "<script>alert('ö')</script>\"&"
FEATURES = ("carrier", "origin", "distance", "temp", "visib")


def empty() -> tuple[Views, Ledger]:
    ledger = SqliteLedger(MEMORY)
    return Views(ledger, *VIEWS), ledger


def history(*, open_rollout: bool = True) -> tuple[Views, Ledger]:
    views, ledger = empty()
    story = _Story(ledger)
    story.begin()
    story.promoted_at_once(1, day=0)
    for day in range(48):
        story.day(day)
        if day == 14:
            story.alarm(day)
            story.rolled_out(
                2,
                day=15,
                trigger=Trigger(
                    "performance",
                    "excess_loss",
                    {"cusum": 8.1, "threshold": 7.9, "days": 5.0, "mean": 0.05, "reference_mean": 0.0},
                ),
            )
        if day == 24:
            story.planted(3, day=24)
        if day == 30:
            story.rejected(4, day=30)
    if open_rollout:
        story.under_way(5, day=45)
    return views, ledger


class _Story:
    """Writes events at their times, each with the cause that it would have."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.cause: int | None = None
        self.epoch = 0

    def write(self, at: int, stream: str, *events: Event, cause: int | None = None) -> int:
        appends = tuple(Append(stream, event) for event in events)
        return self.ledger.commit(Change(at=Instant(at), cause=cause, facts=appends))[0].seq

    def begin(self) -> None:
        policy = LoopPolicy(
            model=MODEL,
            alarms=("performance", "drift"),
            schedule=Duration(45 * DAY),
            volume=0.25,
            cooldown=Duration(7 * DAY),
            maturity=DAY,
            plan=PLAN,
            first_training=START,
            seed=7,
        )
        self.write(START - 31 * DAY, f"loop/{MODEL}", LoopStarted(policy=policy, declaration="d" * 64))
        types = {"flight_id": "String", "requested_at": "Datetime", "late": "Boolean", "temp": "Float64"}
        registered = DatasetRegistered(
            dataset=FLIGHTS,
            key=("flight_id",),
            event_time="requested_at",
            known_at={"arrived_at": ("late",)},
            types=types,
        )
        self.write(START - 31 * DAY, f"data/{FLIGHTS}", registered)
        rules = (
            ColumnRule(name="flight_id", kind="text", null_share=0.0),
            ColumnRule(name="temp", kind="number", null_share=0.5, low=-43.0, high=118.0),
            ColumnRule(name="origin", kind="text", domain=("EWR", "JFK", "LGA")),
        )
        contract = Contract(key=("flight_id",), time="requested_at", columns=rules, n_reference=26_000)
        self.write(
            START,
            f"data/{FLIGHTS}",
            ContractInferred(dataset=FLIGHTS, part="requested_at", contract=contract),
        )

    def day(self, day: int) -> None:
        at = START + day * DAY
        segment = f"day-{day:03d}"
        for part, n_rows in (("requested_at", 900), ("arrived_at", 870)):
            taken = DatasetVersionAppended(
                dataset=FLIGHTS,
                part=part,
                segment=segment,
                n_rows=n_rows,
                digest=digest(f"{part}{day}".encode()),
                first=Instant(at),
                last=Instant(at + 20 * HOUR),
            )
            self.write(at, f"data/{FLIGHTS}", taken)
        champion = 1 if day < 20 else 2
        served = RequestsServed(
            model=MODEL,
            segment=segment,
            n_requests=900,
            n_by_version={str(champion): 900},
            digest=digest(segment.encode()),
        )
        self.write(at, f"serving/{MODEL}", served)
        if day >= 2:
            self.measure(day - 2, champion, at)
        if day == 20:
            self.quarantine(at)

    def measure(self, day: int, champion: int, at: int) -> None:
        start = Instant((START // DAY + day) * DAY)
        loss = 0.45 + 0.04 * math.sin(day / 4) + (0.06 if 10 <= day < 18 else 0.0)
        measured = PerformanceMeasured(
            model=MODEL,
            version=Version(champion),
            window=Window(start, Instant(start + DAY)),
            n_requests=900,
            n=870,
            missing_share=0.033,
            log_loss=loss,
            log_loss_low=loss - 0.02,
            log_loss_high=loss + 0.02,
            excess_loss=loss - 0.45,
            excess_loss_low=loss - 0.47,
            excess_loss_high=loss - 0.43,
            auc=0.73 - loss / 20,
            auc_low=0.69 - loss / 20,
            auc_high=0.77 - loss / 20,
            ece=0.03,
            bias=loss / 10 - 0.02,
            bias_low=loss / 10 - 0.05,
            bias_high=loss / 10 + 0.01,
            base_rate=0.2 + loss / 10,
            mean_score=0.22,
            scored=ScoreCounts(100, (20, 60, 100), (400, 200, 90)),
        )
        counted = RowsMatured(n_rows=26_000 + 870 * day, through=Instant(at))
        cause = self.write(at, f"loop/{MODEL}", counted)
        self.write(at, f"monitor/{MODEL}", measured, cause=cause)
        if day % 7 == 6:
            self.write(at, f"monitor/{MODEL}", self.drift(day, champion, start), cause=cause)

    def drift(self, day: int, champion: int, start: int) -> DriftMeasured:
        features = tuple(
            FeatureDrift(
                name=name,
                psi=0.02 + index * 0.004 * day,
                ks=None if index < 2 else 0.1,
                p_value=0.5 if index < 3 else 1e-6,
                missing_share=0.0,
                drifted=index >= 3,
                harm=0.02 if index == 4 else None,
                harmful=index == 4 and 10 <= day < 20,
            )
            for index, name in enumerate(FEATURES)
        )
        window = Window(Instant(start - 13 * DAY), Instant(start + DAY))
        return DriftMeasured(
            model=MODEL,
            version=Version(champion),
            window=window,
            n=12_000,
            n_days=14,
            features=features,
            share_drifted=0.4,
        )

    def quarantine(self, at: int) -> None:
        broken = Violation(
            rule="out of range",
            column="temp",
            n_rows=870,
            n_allowed=60,
            expected="-43 to 118",
            examples=(Example("AA-1141", "299.1"), Example(HOSTILE, "300.2")),
        )
        batch = BatchQuarantined(
            dataset=FLIGHTS,
            part="requested_at",
            segment="day-020-again",
            n_rows=880,
            digest=digest(b"bad"),
            report=Report(n_rows=880, violations=(broken,)),
        )
        self.write(at, f"data/{FLIGHTS}", batch)
        rows = BatchQuarantined(
            dataset=FLIGHTS,
            part="requested_at",
            segment="day-021",
            n_rows=3,
            n_batch=903,
            digest=digest(b"worse"),
            report=Report(
                n_rows=903,
                violations=(
                    Violation(
                        rule="impossible value",
                        column="temp",
                        n_rows=3,
                        n_allowed=0,
                        expected="-523 to 599",
                    ),
                ),
            ),
            batch=digest(b"came"),
        )
        self.write(at, f"data/{FLIGHTS}", rows)
        repeats = RepeatsDropped(
            dataset=FLIGHTS,
            part="requested_at",
            segment="day-021",
            n_equal=7,
            n_different=2,
            batch=digest(b"came"),
        )
        self.write(at, f"data/{FLIGHTS}", repeats)

    def alarm(self, day: int) -> None:
        at = START + day * DAY
        window = Window(Instant(at - 3 * DAY), Instant(at - 2 * DAY))
        raised = AlarmRaised(
            model=MODEL,
            version=Version(1),
            kind="performance",
            subject="excess_loss",
            severity="critical",
            evidence={
                **{"cusum": 8.13, "threshold": 7.9, "days": 5.0, "n": 4350.0, "reference": 0.0},
                **{"mean": 0.05, "low": 0.03, "high": 0.07},
            },
            window=window,
        )
        self.cause = self.write(at, f"alarms/{MODEL}", raised)
        hostile = AlarmRaised(
            model=MODEL,
            version=Version(1),
            kind="drift",
            subject=HOSTILE,
            severity="warning",
            evidence={"psi": 0.4},
            window=window,
        )
        self.write(at, f"alarms/{MODEL}", hostile)
        cleared = AlarmCleared(
            model=MODEL,
            version=Version(1),
            kind="performance",
            subject="excess_loss",
            reason="new version",
            window=window,
        )
        self.write(at + 6 * DAY, f"alarms/{MODEL}", cleared)

    def train(
        self, version: int, at: int, trigger: Trigger, gates: tuple[GateResult, ...], planted: str = ""
    ) -> int:
        triggered = RetrainTriggered(
            version=version, triggers=(trigger,), cutoff=Instant(at), n_retrains=version - 1, planted=planted
        )
        cause = self.write(at, f"loop/{MODEL}", triggered, cause=self.cause)
        registered = VersionRegistered(
            model=MODEL,
            version=version,
            package=digest(f"package {version}".encode()),
            reference=digest(b"reference"),
            signature=FEATURES,
            estimator="HistGradientBoostingClassifier",
            trained_from=Instant(START - 31 * DAY),
            held_out_from=Instant(at - 7 * DAY),
            cutoff=Instant(at),
            n_rows=26_000,
            n_validation=5_812,
            metrics={"log_loss": 0.471, "auc": 0.74},
            params={"max_iter": 100, "learning_rate": 0.1},
            seed=7,
            code=digest(b"code"),
            environment=digest(b"environment"),
            datasets=(DatasetUse(FLIGHTS, 3, digest(b"rows")),),
            pipeline_key=Digest("k" * 64),
            work=2_600_000,
            planted=planted,
        )
        cause = self.write(at, f"model/{MODEL}", registered, cause=cause)
        self.write(
            at,
            f"loop/{MODEL}",
            CandidateTrained(version=version, n_rows=26_000, n_labelled=26_000),
            cause=cause,
        )
        passed = all(gate.passed for gate in gates)
        judged = GatesJudged(version=version, passed=passed, results=gates)
        return self.write(at, f"loop/{MODEL}", judged, cause=cause)

    def start(self, version: int, champion: int | None, at: int, cause: int, plan=PLAN) -> int:
        started = RolloutStarted(
            model=MODEL,
            version=Version(version),
            champion=champion and Version(champion),
            plan=plan,
            epoch=self.epoch,
        )
        return self.write(at, f"rollout/{MODEL}/{version}", started, cause=cause)

    def route(self, at: int, cause: int, *shares: tuple[int, float], shadows: tuple[int, ...] = ()) -> None:
        self.epoch += 1
        parts = tuple(RoutingShare(Version(version), share) for version, share in shares)
        table = RoutingTable(epoch=self.epoch, shares=parts, shadows=tuple(map(Version, shadows)), salt="s")
        self.write(at, f"routing/{MODEL}", RoutingChanged(model=MODEL, table=table), cause=cause)

    def promoted_at_once(self, version: int, day: int) -> None:
        at = START + day * DAY
        cause = self.train(
            version,
            at,
            Trigger("first training"),
            (GateResult("calibrated", True, "passed", {"ece": 0.02, "max_ece": 0.08, "n": 5812.0}),),
        )
        cause = self.start(version, None, at, cause, AT_ONCE)
        self.route(at, cause, (version, 1.0))
        self.promote(version, None, at + HOUR, cause, evidence(0, 1.0))
        plan = MonitorPlan(())
        chosen = ReferenceSet(
            model=MODEL, version=Version(version), plan=plan, signals={}, reference="r", at=Instant(at)
        )
        self.write(at + HOUR, f"monitor/{MODEL}", chosen, cause=cause)

    def promote(self, version: int, previous: int | None, at: int, cause: int, seen: Evidence) -> None:
        rollout = f"rollout/{MODEL}/{version}"
        stepped = RolloutStepped(
            model=MODEL,
            version=Version(version),
            from_share=0.25,
            to_share=1.0,
            epoch=self.epoch,
            because="safe",
            evidence=seen,
        )
        self.write(at, rollout, stepped, RoutingApplied(epoch=self.epoch), cause=cause)
        moved = AliasMoved(model=MODEL, alias="champion", version=version, previous=previous)
        self.write(at, f"model/{MODEL}", moved, cause=cause)
        before = previous and Version(previous)
        done = VersionPromoted(
            model=MODEL, version=Version(version), previous=before, epoch=self.epoch, evidence=seen
        )
        self.write(at, rollout, done, cause=cause)
        self.settle(version, "promoted", "proven safe", at, seen)

    def settle(self, version: int, outcome: str, reason: str, at: int, seen: Evidence) -> None:
        settled = RolloutSettled(
            model=MODEL,
            version=Version(version),
            outcome=outcome,
            reason=reason,
            epoch=self.epoch,
            evidence=seen,
        )
        self.write(at, f"loop/{MODEL}", settled)

    def shadow(self, version: int, champion: int, at: int, cause: int, harm: float) -> None:
        rollout = f"rollout/{MODEL}/{version}"
        self.route(at, cause, (champion, 1.0), shadows=(version,))
        started = ShadowStarted(model=MODEL, version=Version(version), epoch=self.epoch, since=Instant(at))
        self.write(at, rollout, started, cause=cause)
        for tick in range(8):
            since = at + tick * 6 * HOUR
            self.write(since + 30 * HOUR, rollout, arrived(since, harm), cause=cause)

    def rolled_out(self, version: int, day: int, trigger: Trigger) -> None:
        at = START + day * DAY
        gate = GateResult(
            "beats_champion log_loss",
            True,
            "passed",
            {
                "candidate": 0.46,
                "champion": 0.48,
                "gain": 0.02,
                "gain_low": 0.01,
                "gain_high": 0.03,
                "margin": 0.0,
                "n": 5812.0,
            },
        )
        cause = self.start(version, 1, at, self.train(version, at, trigger, (gate,)))
        self.shadow(version, 1, at, cause, harm=-0.02)
        for step, (low, high) in enumerate([(0.0, 0.05), (0.05, 0.25)]):
            when = at + (3 + step) * DAY
            self.route(when, cause, (version, high), (1, 1 - high), shadows=(version, 1))
            stepped = RolloutStepped(
                model=MODEL,
                version=Version(version),
                from_share=low,
                to_share=high,
                epoch=self.epoch,
                because="proven safe",
                evidence=evidence(9, low),
            )
            self.write(when, f"rollout/{MODEL}/{version}", stepped, cause=cause)
        self.route(at + 5 * DAY, cause, (version, 1.0))
        self.promote(version, 1, at + 5 * DAY, cause, evidence(12, 0.25))
        plan = MonitorPlan(())
        chosen = ReferenceSet(
            model=MODEL,
            version=Version(version),
            plan=plan,
            signals={},
            reference="r",
            at=Instant(at + 5 * DAY),
        )
        self.write(at + 5 * DAY, f"monitor/{MODEL}", chosen, cause=cause)

    def planted(self, version: int, day: int) -> None:
        at = START + day * DAY
        gate = GateResult("calibrated", True, "passed", {"ece": 0.03, "max_ece": 0.08, "n": 5812.0})
        cause = self.train(version, at, Trigger("planted", "leaky-column"), (gate,), planted="leaky-column")
        cause = self.start(version, 2, at, cause)
        self.shadow(version, 2, at, cause, harm=0.04)
        seen = evidence(8, 0.0, harm=4.2)
        reason = "harm proven"
        began = RollbackStarted(model=MODEL, version=Version(version), reason=reason, evidence=seen)
        rollout = f"rollout/{MODEL}/{version}"
        cause = self.write(at + 4 * DAY, rollout, began, cause=cause)
        self.route(at + 4 * DAY, cause, (2, 1.0))
        done = RolloutRolledBack(
            model=MODEL,
            version=Version(version),
            champion=Version(2),
            epoch=self.epoch,
            reason=reason,
            evidence=seen,
        )
        self.write(at + 4 * DAY, rollout, done, cause=cause)
        self.settle(version, "rolled_back", reason, at + 4 * DAY, seen)

    def rejected(self, version: int, day: int) -> None:
        at = START + day * DAY
        gate = GateResult("calibrated", False, "failed", {"ece": 0.11, "max_ece": 0.08, "n": 5812.0})
        cause = self.train(version, at, Trigger("volume", "", {"growth": 0.26, "threshold": 0.25}), (gate,))
        self.write(
            at, f"loop/{MODEL}", CandidateRejected(version=version, reason="failed calibrated"), cause=cause
        )

    def under_way(self, version: int, day: int) -> None:
        at = START + day * DAY
        gate = GateResult("calibrated", True, "passed", {"ece": 0.03, "max_ece": 0.08, "n": 5812.0})
        cause = self.start(version, 2, at, self.train(version, at, Trigger("schedule"), (gate,)))
        self.shadow(version, 2, at, cause, harm=0.0)
        held = RolloutHeld(
            model=MODEL, version=Version(version), reason=f"doubtful {HOSTILE}", evidence=evidence(8, 0.0)
        )
        self.write(at + 4 * DAY, f"rollout/{MODEL}/{version}", held, cause=cause)


def arrived(since: int, harm: float) -> EvidenceArrived:
    hours = tuple(Hour(Instant(since // HOUR * HOUR + i * HOUR), 36, 2 * harm) for i in range(6))
    return EvidenceArrived(
        since=Instant(since),
        through=Instant(since + 6 * HOUR),
        n_requests=225,
        n_labels=216,
        n_missing=0,
        hours=hours,
    )


def evidence(n_blocks: int, share: float, harm: float = -0.4) -> Evidence:
    return Evidence(
        share=share,
        epoch=1,
        through=Instant(START + 10 * DAY),
        n_requests=225 * n_blocks,
        n_labels=218 * n_blocks,
        n_missing=0,
        n_blocks=n_blocks,
        step_labels=218,
        log_harm=harm,
        log_harm_paired=harm,
        log_safety=3.3,
        log_split=0.0,
        harm_at=2.995732,
        safety_at=2.995732,
        step_difference=None,
        difference=-0.004 if n_blocks else None,
        low=-0.011 if n_blocks else None,
        high=0.003 if n_blocks else None,
    )


def comparison() -> Comparison:
    def policy(name: str, loss: float, n_retrains: int, gains: tuple[Gain, ...] = ()) -> PolicyScore:
        months = tuple(
            Month(
                f"2013-{month:02d}",
                25_000 + month,
                0.15 + month / 100,
                loss + month / 200,
                loss,
                loss + 0.1,
                auc=0.73,
                auc_low=0.71,
                auc_high=0.75,
                auc_within_days=0.66,
                loss=loss + month / 200,
                metrics={"auc": Measure(0.73, 0.71, 0.75), "base_rate": Measure(0.15 + month / 100)},
            )
            for month in range(2, 13)
        )
        return PolicyScore(
            name=name,
            n=300_000,
            log_loss=loss,
            log_loss_low=loss - 0.01,
            log_loss_high=loss + 0.01,
            auc=0.735,
            auc_low=0.729,
            auc_high=0.741,
            auc_within_days=0.671,
            ece=0.012,
            n_trainings=n_retrains + 1,
            n_retrains=n_retrains,
            n_alarms=2,
            work=123_456_789,
            cpu_s=61.5,
            gains=gains,
            months=months,
            loss=loss,
            loss_low=loss - 0.01,
            loss_high=loss + 0.01,
            metrics={
                "auc": Measure(0.735 - n_retrains / 10_000, 0.729, 0.741),
                "ece": Measure(0.012 + n_retrains / 10_000, 0.01, 0.014),
                "base_rate": Measure(0.2, 0.18, 0.22),
            },
        )

    gains = (
        Gain("never", 0.02, 0.012, 0.028, 333),
        Gain("monthly", 0.001, -0.001, 0.003, 333),
        Gain("weekly", -0.006, -0.008, -0.004, 333),
    )
    return Comparison(
        model=MODEL,
        scored_from=START,
        scored_until=Instant(START + 333 * DAY),
        n_requests=309_772,
        n_without_outcome=9_430,
        policies=(
            policy("declared", 0.476, 12, gains),
            policy("never", 0.498, 0),
            policy("monthly", 0.477, 11),
            policy("weekly", 0.47, 47),
        ),
    )


def held_rows(folder: Path) -> FolderColumns:
    """Return columns with the rows that the history has put in quarantine, hostile texts among them."""
    columns = FolderColumns(folder / "columns")
    rows = pl.DataFrame(
        {"flight_id": [HOSTILE, "AA-2", "AA-3"], "carrier": ["AA", None, HOSTILE], "temp": [1e9, 9e9, -1e9]}
    ).with_columns(pl.lit("impossible value of temp").alias("@reason"))
    columns.append("quarantine/flights/requested_at", "day-021", rows)
    return columns

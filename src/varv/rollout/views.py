"""Read model of rollouts: the ladder each climbed, its evidence over time, and why it ended as it did."""

from __future__ import annotations

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ids import ModelName, Version
from varv.kernel.ledger import Entry
from varv.kernel.sagas import act_of
from varv.rollout.grounds import Evidence, Probation
from varv.rollout.luck import Luck
from varv.rollout.model import (
    AnswersCounted,
    EvidenceArrived,
    ProbationEnded,
    RollbackStarted,
    RolloutHeld,
    RolloutNeedsHuman,
    RolloutRolledBack,
    RolloutSettled,
    RolloutStarted,
    RolloutStepped,
    RoutingApplied,
    ShadowStarted,
    VersionPromoted,
)
from varv.rollout.plan import RolloutPlan
from varv.rollout.state import rollout_id
from varv.rollout.tally import Tally, added, at_new_share, weigh, weigh_probation


class Rung(msgspec.Struct):
    """One step of the ladder: a share, when it was ordered and when the router confirmed it."""

    share: float
    epoch: int
    ordered_at: Instant
    because: str
    applied_at: Instant | None = None


class EvidencePoint(msgspec.Struct, frozen=True):
    """What the evidence weighed once a tick had been added."""

    at: Instant
    evidence: Evidence


class Verdict(msgspec.Struct, frozen=True):
    """One line of the log of decisions; `seq` is the ledger entry that states it."""

    seq: int
    at: Instant
    what: str
    reason: str
    evidence: Evidence | None


class RolloutRecord(msgspec.Struct):
    """Everything known of one rollout; a version that is rolled out again has one record for each time."""

    model: ModelName
    version: Version
    champion: Version | None
    plan: RolloutPlan
    started_at: Instant
    phase: str = "warming"
    share: float = 0.0
    held: str = ""
    evidence_from: Instant | None = None
    """Requests from here on are evidence that has not been told yet; None before the shadow has begun."""
    outcome: str = ""
    """``"promoted"``, ``"rolled_back"``, or nothing while it is open."""
    reason: str = ""
    settled_at: Instant | None = None
    ladder: list[Rung] = []
    series: list[EvidencePoint] = []
    log: list[Verdict] = []
    tally: Tally = Tally()
    luck: Luck = Luck()
    former: Version | None = None
    """The champion before, while it scores along in the probation of this version."""
    probation: Probation | None = None
    """What the probation has shown so far, or showed in the end."""


class RolloutsView(msgspec.Struct):
    """Rollouts of every model, in the order in which they started."""

    rollouts: list[RolloutRecord] = []
    places: dict[str, int] = {}
    """By stream, where its last rollout is among them."""

    def of_model(self, model: ModelName) -> list[RolloutRecord]:
        """Return the rollouts of one model, the oldest first."""
        return [record for record in self.rollouts if record.model == model]

    def open(self, model: ModelName) -> RolloutRecord | None:
        """Return the rollout of `model` that has not settled, or None."""
        return next((record for record in self.of_model(model) if not record.outcome), None)

    def latest(self, model: ModelName, version: Version) -> RolloutRecord | None:
        """Return the last rollout of a version, or None."""
        return self._of(rollout_id(model, version))

    def _of(self, stream: str) -> RolloutRecord | None:
        place = self.places.get(stream)
        return None if place is None else self.rollouts[place]

    def apply(self, entry: Entry, event: Event) -> None:
        """Take in one entry of the ledger; those of other streams mean nothing here."""
        if isinstance(event, RolloutStarted):
            self._begin(entry, event)
            return
        # What a rollout tells the loop lies in the loop's stream.
        told = isinstance(event, RolloutSettled)
        stream = rollout_id(event.model, event.version) if told else entry.stream
        record = self._of(stream)
        if record is None:
            return
        if record.outcome:
            _in_probation(record, entry, event)
        elif isinstance(event, EvidenceArrived | AnswersCounted):
            _weigh(record, entry, event)
        elif isinstance(event, RoutingApplied):
            _routed(record, entry, event)
        else:
            _progress(record, entry, event)

    def _begin(self, entry: Entry, event: RolloutStarted) -> None:
        known = self._of(entry.stream)
        if known is not None and not known.outcome:
            return
        record = RolloutRecord(
            model=event.model,
            version=event.version,
            champion=event.champion,
            plan=event.plan.resolved(event.luck),
            started_at=entry.at,
            luck=event.luck,
        )
        record.log.append(Verdict(entry.seq, entry.at, "started", "", None))
        self.places[entry.stream] = len(self.rollouts)
        self.rollouts.append(record)


def _weigh(record: RolloutRecord, entry: Entry, event: EvidenceArrived | AnswersCounted) -> None:
    if record.phase not in ("shadow", "canary"):
        return
    if isinstance(event, AnswersCounted):
        tally = msgspec.structs.replace(record.tally, answers=event)
    else:
        tally = added(record.tally, event)
        record.evidence_from = tally.through
    record.tally = tally
    epoch = record.ladder[-1].epoch if record.ladder else 0
    weighed = weigh(tally, record.plan, record.luck, share=record.share, epoch=epoch)
    record.series.append(EvidencePoint(entry.at, weighed))


def _routed(record: RolloutRecord, entry: Entry, event: RoutingApplied) -> None:
    for rung in record.ladder:
        if rung.epoch == event.epoch and rung.applied_at is None:
            rung.applied_at = entry.at
            record.tally = at_new_share(record.tally, entry.at)


def _in_probation(record: RolloutRecord, entry: Entry, event: Event) -> None:
    if isinstance(event, EvidenceArrived) and record.former is not None:
        record.tally = added(record.tally, event)
        record.probation = weigh_probation(record.tally, record.plan, record.luck)
    elif isinstance(event, ProbationEnded):
        record.former, record.probation = None, event.probation
        _log(record, entry, f"probation {event.outcome}", event.reason, None)


def _progress(record: RolloutRecord, entry: Entry, event: Event) -> None:
    match event:
        case ShadowStarted():
            record.phase, record.evidence_from = "shadow", event.since
            record.tally = Tally(through=event.since, step_since=event.since)
            record.ladder.append(Rung(0.0, event.epoch, entry.at, "shadow", entry.at))
            _log(record, entry, "shadow started", "", None)
        case RolloutStepped():
            record.phase = "canary" if event.to_share < 1 else "promoting"
            record.held, record.tally = "", at_new_share(record.tally, entry.at)
            record.share = event.to_share
            record.ladder.append(Rung(event.to_share, event.epoch, entry.at, event.because))
            _log(record, entry, f"share raised to {event.to_share:.4g}", event.because, event.evidence)
        case RolloutHeld():
            record.held = event.reason
            _log(record, entry, "held", event.reason, event.evidence)
        case VersionPromoted():
            record.phase = "draining"
            record.tally = Tally(through=entry.at, step_since=entry.at)
            _log(record, entry, "promoted", "", event.evidence)
        case RollbackStarted():
            record.phase, record.share, record.held = "rolling_back", 0.0, ""
            _log(record, entry, "rollback started", event.reason, event.evidence)
        case RolloutRolledBack():
            _log(record, entry, "rolled back", event.reason, event.evidence)
        case RolloutNeedsHuman():
            _log(record, entry, "needs a person", f"{act_of(event.command)}: {event.reason}", None)
        case RolloutSettled():
            record.phase = "done" if event.outcome == "promoted" else "rolled_back"
            record.outcome, record.reason, record.settled_at = event.outcome, event.reason, entry.at
            record.former = event.former
        case _:
            return


def _log(record: RolloutRecord, entry: Entry, what: str, reason: str, evidence: Evidence | None) -> None:
    record.log.append(Verdict(entry.seq, entry.at, what, reason, evidence))

"""Read model of the loop: what triggered what, and how each candidate fared."""

from __future__ import annotations

from dataclasses import dataclass, field

from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ledger import Entry
from varv.loop.model import (
    REGISTERED,
    CancelAsked,
    CandidateRejected,
    GatesJudged,
    LeakFinding,
    LeakNoticed,
    LeaksExamined,
    LoopPolicy,
    LoopStarted,
    OutputKept,
    PolicyChanged,
    RetrainTriggered,
    RowsMatured,
    TrainingSuspended,
    Trigger,
)
from varv.loop.weighing import BenefitWeighed, Weighed
from varv.rollout import RolloutSettled
from varv.tasks import Task, TaskSpec, task_of
from varv.training.gates import GateResult


@dataclass
class Attempt:
    """One candidate: why it was trained, what the gates said, and how it ended."""

    version: int
    triggers: tuple[Trigger, ...]
    at: Instant
    seq: int
    planted: str = ""
    gates: tuple[GateResult, ...] = ()
    outcome: str = "training"
    """``"training"``, ``"rolling"``, ``"rejected"``, ``"promoted"`` or ``"rolled back"``."""
    reason: str = ""
    detail: str = ""
    """The whole message of a training that failed."""
    ended_at: Instant | None = None
    cancelled: CancelAsked | None = None
    """Who asked to end its training, if somebody did."""
    output: OutputKept | None = None
    """What its training printed, once that has ended."""

    @property
    def imported(self) -> bool:
        """Whether it was trained elsewhere."""
        return any(trigger.kind == REGISTERED for trigger in self.triggers)


@dataclass
class LoopRecord:
    """The loop of one model."""

    model: str
    policy: LoopPolicy
    declaration: str
    definition: tuple[tuple[str, ...], ...]
    started_at: Instant
    task: TaskSpec = field(default_factory=TaskSpec)
    """What it predicts."""
    attempts: dict[int, Attempt] = field(default_factory=dict)
    n_labelled: int = 0
    n_retrains: int = 0
    suspended: TrainingSuspended | None = None
    """Why training is suspended, if it is."""

    examined: frozenset[str] = frozenset()
    """Features that were examined for leaks."""
    leaks: list[LeakFinding] = field(default_factory=list)
    """What speaks for a leak, as far as it was found."""
    weighed: Weighed = field(default_factory=Weighed)
    """What is known of what a fresh model would save, where that is weighed."""

    @property
    def last_failure(self) -> Attempt | None:
        """The last attempt, if its training failed."""
        last = self.attempts[max(self.attempts)] if self.attempts else None
        return last if last is not None and last.detail else None


class LoopView:
    """Loops by model."""

    def __init__(self) -> None:
        self.loops: dict[str, LoopRecord] = {}

    def task(self, model: str) -> Task:
        """Return what a model predicts; a model without a loop is of before there were other tasks."""
        record = self.loops.get(model)
        return task_of(TaskSpec() if record is None else record.task)

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        if entry.stream.startswith("loop/"):
            self._loop(entry, entry.stream.partition("/")[2], event)

    def _loop(self, entry: Entry, model: str, event: Event) -> None:
        if isinstance(event, LoopStarted):
            self.loops[model] = LoopRecord(
                model, event.policy, event.declaration, event.definition, entry.at, event.task
            )
            return
        record = self.loops[model]
        if isinstance(event, PolicyChanged):
            record.policy, record.declaration = event.policy, event.declaration
            record.suspended = None
        elif isinstance(event, TrainingSuspended):
            record.suspended = event
        elif isinstance(event, LeaksExamined):
            record.examined |= set(event.features)
            record.leaks += event.findings
        elif isinstance(event, LeakNoticed):
            record.leaks.append(event.finding)
        elif isinstance(event, RowsMatured):
            record.n_labelled = event.n_rows
        elif isinstance(event, BenefitWeighed):
            record.weighed = record.weighed.after(event)
        elif isinstance(event, RetrainTriggered):
            record.n_retrains, record.suspended = event.n_retrains, None
            attempt = Attempt(event.version, event.triggers, entry.at, entry.seq, event.planted)
            record.attempts[event.version] = attempt
        else:
            _attempt(record, entry, event)


def _attempt(record: LoopRecord, entry: Entry, event: Event) -> None:
    if isinstance(event, GatesJudged):
        attempt = record.attempts[event.version]
        attempt.gates = event.results
        attempt.outcome = "rolling" if event.passed else attempt.outcome
    elif isinstance(event, CancelAsked):
        record.attempts[event.version].cancelled = event
    elif isinstance(event, OutputKept):
        record.attempts[event.version].output = event
    elif isinstance(event, CandidateRejected):
        attempt = record.attempts[event.version]
        attempt.outcome, attempt.reason, attempt.ended_at = "rejected", event.reason, entry.at
        attempt.detail = event.detail
    elif isinstance(event, RolloutSettled) and event.version in record.attempts:
        attempt = record.attempts[event.version]
        attempt.outcome = event.outcome.replace("_", " ")
        attempt.reason, attempt.ended_at = event.reason, entry.at

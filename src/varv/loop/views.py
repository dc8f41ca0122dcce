"""Read model of the loop: what triggered what, and how each candidate fared."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from varv.features import FeatureDefinition
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Entry
from varv.loop.declaring.model import (
    Declared,
    DefinitionChanged,
    FeaturesReleased,
    ModelRestored,
    ModelRetired,
)
from varv.loop.leaking.model import LeakFinding, LeakNoticed, LeaksExamined
from varv.loop.model import (
    REGISTERED,
    CancelAsked,
    CandidateRejected,
    GatesJudged,
    LoopPolicy,
    LoopStarted,
    OutputKept,
    PolicyChanged,
    RetrainTriggered,
    RowsMatured,
    TrainingSuspended,
    Trigger,
)
from varv.loop.weighing.model import BenefitWeighed, Weighed
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
    judged_in: int | None = None
    """The entry that the gates' verdicts are in."""
    outcome: str = "training"
    """``"training"``, ``"rolling"``, ``"rejected"``, ``"promoted"`` or ``"rolled back"``."""
    reason: str = ""
    detail: str = ""
    """The whole message of a training that failed."""
    ended_at: Instant | None = None
    ended_in: int | None = None
    """The entry of that."""
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
    begun: tuple[tuple[str, ...], ...] = ()
    """The definition that the loop began with."""
    task: TaskSpec = field(default_factory=TaskSpec)
    """What it predicts."""
    attempts: dict[int, Attempt] = field(default_factory=dict)
    n_labelled: int = 0
    n_retrains: int = 0
    suspended: TrainingSuspended | None = None
    """Why training is suspended, if it is."""

    declared: Declared | None = None
    """What is declared; None in a home of before this was kept."""
    features: dict[str, FeatureDefinition] = field(default_factory=dict)
    """Every feature that was ever declared: a name means one thing for as long as the home lives."""
    awaited: tuple[str, ...] = ()
    """Features that are declared and not yet computed for the requests stored before."""
    retired_at: Instant | None = None

    examined: frozenset[str] = frozenset()
    """Features that were examined for leaks."""
    examined_in: int | None = None
    """The entry of that."""
    leaks: list[LeakFinding] = field(default_factory=list)
    """What speaks for a leak, as far as it was found."""
    weighed: Weighed = field(default_factory=Weighed)
    """What is known of what a fresh model would save, where that is weighed."""

    @property
    def first_features(self) -> frozenset[str] | None:
        """Names of what was declared as the loop began, those of views as the view's; None if unknown."""
        return frozenset(name for name, *_ in self.begun[1:]) if self.begun else None

    @property
    def last_failure(self) -> Attempt | None:
        """The last attempt, if its training failed."""
        last = self.attempts[max(self.attempts)] if self.attempts else None
        return last if last is not None and last.detail else None


class LoopView(msgspec.Struct):
    """Loops by model."""

    loops: dict[str, LoopRecord] = {}
    declared: dict[str, Declared] = {}
    """What is declared of each model, also of one whose loop has not begun."""

    @property
    def retired(self) -> dict[ModelName, Instant]:
        """Models that are retired, and since when."""
        return {
            ModelName(name): one.retired_at for name, one in self.loops.items() if one.retired_at is not None
        }

    @property
    def first(self) -> ModelName | None:
        """The model that the home began with, if it began with one alone."""
        begun = min((one.started_at for one in self.loops.values()), default=None)
        first = [name for name, one in self.loops.items() if one.started_at == begun]
        return ModelName(first[0]) if len(first) == 1 else None

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
            self._begin(entry, model, event)
            return
        if isinstance(event, Declared):
            self.declared[model] = event
            if model not in self.loops:
                return
        record = self.loops[model]
        if isinstance(event, _OF_DECLARATIONS):
            _redeclared(record, entry, event)
        elif isinstance(event, PolicyChanged):
            record.policy, record.declaration = event.policy, event.declaration
            record.suspended = None
        elif isinstance(event, TrainingSuspended):
            record.suspended = event
        elif isinstance(event, LeaksExamined):
            record.examined |= set(event.features)
            record.examined_in = entry.seq
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

    def _begin(self, entry: Entry, model: str, event: LoopStarted) -> None:
        self.loops[model] = LoopRecord(
            model,
            event.policy,
            event.declaration,
            event.definition,
            entry.at,
            event.definition,
            event.task,
        )
        if (declared := self.declared.get(model)) is not None:
            _redeclared(self.loops[model], entry, replace(declared, added=()))


_OF_DECLARATIONS = (Declared, DefinitionChanged, FeaturesReleased, ModelRetired, ModelRestored)


def _redeclared(record: LoopRecord, entry: Entry, event: Event) -> None:
    """Fold in what became of a model's declaration."""
    match event:
        case Declared():
            record.declared, record.definition = event, event.definition
            record.features |= {one.name: one for one in event.features}
            names = {one.name for one in event.features}
            awaited = dict.fromkeys((*record.awaited, *event.added))
            record.awaited = tuple(name for name in awaited if name in names)
        case DefinitionChanged():
            record.awaited = tuple(name for name in record.awaited if name not in event.added)
        case FeaturesReleased() if record.declared is not None:
            kept = tuple(name for name in record.declared.kept if name not in event.features)
            record.declared = replace(record.declared, kept=kept)
        case ModelRetired():
            record.retired_at = entry.at
        case ModelRestored():
            record.retired_at = None
        case _:
            pass


def _attempt(record: LoopRecord, entry: Entry, event: Event) -> None:
    if isinstance(event, GatesJudged):
        attempt = record.attempts[event.version]
        attempt.gates, attempt.judged_in = event.results, entry.seq
        attempt.outcome = "rolling" if event.passed else attempt.outcome
    elif isinstance(event, CancelAsked):
        record.attempts[event.version].cancelled = event
    elif isinstance(event, OutputKept):
        record.attempts[event.version].output = event
    elif isinstance(event, CandidateRejected):
        attempt = record.attempts[event.version]
        attempt.outcome, attempt.reason, attempt.ended_at = "rejected", event.reason, entry.at
        attempt.ended_in = entry.seq
        attempt.detail = event.detail
    elif isinstance(event, RolloutSettled) and event.version in record.attempts:
        attempt = record.attempts[event.version]
        attempt.outcome = event.outcome.replace("_", " ")
        attempt.reason, attempt.ended_at, attempt.ended_in = event.reason, entry.at, entry.seq

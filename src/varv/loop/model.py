"""Nouns of the loop: its state and its events. Its commands are in `loop.commands`."""

from __future__ import annotations

from typing import Literal

import msgspec

from varv.kernel.clock import Duration, Instant, iso
from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import ModelName, Version
from varv.kernel.wording import count, percent
from varv.loop.weighing.model import BenefitPolicy, benefit_line
from varv.monitoring.evidence import Number, evidence_line
from varv.registry import Imported
from varv.rollout import Luck, RolloutPlan
from varv.tasks import TaskSpec
from varv.training.gates import GateResult

REGISTERED = "registered"
"""The kind of trigger that is a model trained elsewhere."""
BENEFIT = "benefit"
"""The kind of trigger that is a training worth its price."""
DECLARATION = "declaration"
"""The kind of trigger that is a change of the declared features."""
Phase = Literal["new", "idle", "training", "judging", "rolling"]


class Trigger(msgspec.Struct, frozen=True):
    """A reason to train: its kind, what it is about, and the numbers behind it."""

    kind: str
    subject: str = ""
    evidence: dict[str, float | None] = {}
    number: Number = Number()
    """How the number that an alarm is about reads."""

    def line(self) -> str:
        """Return why a candidate was trained, with the numbers behind it."""
        seen = self.evidence
        if "growth" in seen and "trained_rows" in seen:
            more = f"{percent(seen['growth'] or 0.0)} more outcomes than at the last training"
            known = f"{more}, {count(seen.get('n_rows'))} after {count(seen['trained_rows'])}"
        elif self.kind == BENEFIT:
            known = benefit_line(seen)
        else:
            known = evidence_line(seen, self.subject, self.number)
        what = f"{self.kind} {self.subject}" if self.subject else self.kind
        return f"{what}: {known}" if known else what


class LoopPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The declared loop, as the ledger keeps it."""

    model: ModelName
    alarms: tuple[str, ...]
    schedule: Duration | None
    volume: float | None
    cooldown: Duration
    maturity: Duration
    plan: RolloutPlan
    first_training: Instant
    seed: int
    benefit: BenefitPolicy | None = None
    """What a training may cost, where it is to be worth its price."""


class PlantedFault(msgspec.Struct, frozen=True):
    """A bad candidate that waits for its turn."""

    name: str
    column: str
    breaks: str


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was trained elsewhere and waits for its turn.

    It was fitted on requests before ``fitted_until``, so it is judged on later ones. ``categories`` are the
    texts whose codes it reads, in their order, by column; ``trust`` says whether a package of varv may run
    code that it brings.
    """

    source: Imported
    fitted_until: Instant
    categories: dict[str, tuple[str, ...]] = {}
    trust: bool = False


class Trained(msgspec.Struct, frozen=True):
    """A training that age and volume are counted from: when it was, and how many requests had their mature
    outcome by then.
    """

    at: Instant
    n_rows: int


class LoopState(msgspec.Struct, frozen=True, kw_only=True):
    """Where the loop of one model is."""

    policy: LoopPolicy | None = None
    phase: Phase = "new"
    champion: Version | None = None
    former: Version | None = None
    """The champion before this one: what a manual rollback returns to."""
    candidate: Version | None = None
    planted: PlantedFault | None = None
    """The plant that the present candidate is, if it is one."""
    offer: Offer | None = None
    """The model trained elsewhere that the present candidate is, if it is one."""
    offer_taken: Trained | None = None
    """When that was registered."""
    next_version: Version = Version(1)
    epoch: int = 0
    n_rows: int = 0
    """Requests with a mature outcome, as last counted."""
    trained_rows: int = 0
    """Rows with an outcome at the last training, whatever became of it."""
    trained_at: Instant | None = None
    """When the last training was, whatever became of it: the cool-down counts from it."""
    champion_trained: Trained | None = None
    """The training of the version that serves: age and volume count from it. None in a state of the first
    days, and before the first promotion.
    """
    former_trained: Trained | None = None
    n_failures: int = 0
    """Trainings in a row that failed alike."""
    failure: Digest | None = None
    """What identifies the failure: its message without its numbers."""
    suspended: bool = False
    """Trainings failed alike so often that the loop waits for a changed declaration, or for a person."""
    n_retrains: int = 0
    pending: tuple[Trigger, ...] = ()
    """Triggers that came while the loop was busy or cooling down, one of each kind and subject."""
    open_alarms: tuple[Trigger, ...] = ()
    """Alarms about the champion that have not been cleared: what a refused candidate leaves to be done."""
    n_refused: int = 0
    """Candidates in a row that were refused; the next one would be trained on nearly the same rows, so the
    cool-down is longer.
    """
    plants: tuple[PlantedFault, ...] = ()
    offers: tuple[Offer, ...] = ()
    """Models trained elsewhere that came while the loop was busy."""
    rolling_since: Instant = Instant(0)
    evidence_through: Instant = Instant(0)
    """Requests before this have been told to the open rollout."""
    returning_to: Version | None = None
    """The version that a rollback is on its way to."""
    luck: Luck = Luck()
    """What the last judgement learned of luck, for the rollout that follows it."""
    probation: Version | None = None
    """The champion before, while it scores along in the probation of the present one."""
    probation_through: Instant = Instant(0)
    """Requests before this have been told to the probation."""
    given_up: tuple[Version, ...] = ()
    """Candidates whose training goes on though a champion came back meanwhile; what becomes of them means
    nothing."""
    releasing: Version | None = None
    """The version that is unloaded once the router has confirmed a table without it."""
    retired: bool = False
    """The model is declared no more: its loop stands still until it is declared again."""

    @property
    def is_own(self) -> bool:
        """Whether the present candidate is the policy's own: neither planted nor trained elsewhere."""
        return self.planted is None and self.offer is None


@event("loop.started")
class LoopStarted(Event, frozen=True, kw_only=True):
    """The loop of a model begins, under this policy.

    ``definition`` says what the model learns from what; as long as the loop runs, it stays, and so does
    ``task``, what it predicts. Loops of the first days do not have the former, and are of the binary task.
    """

    policy: LoopPolicy
    declaration: str
    definition: tuple[tuple[str, ...], ...] = ()
    task: TaskSpec = TaskSpec()
    first_version: Version = Version(1)
    """Above every number that versions from outside had under this name before."""


@event("loop.policy_changed")
class PolicyChanged(Event, frozen=True, kw_only=True):
    """From now on the loop follows another declaration; its policy may be the same."""

    policy: LoopPolicy
    declaration: str

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"follows declaration {self.declaration[:12]} from now on"


@event("loop.rows_matured")
class RowsMatured(Event, frozen=True, kw_only=True):
    """Outcomes were counted: so many requests that are mature by now have theirs."""

    n_rows: int
    through: Instant

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(self.n_rows)} rows are mature"


@event("loop.retrain_asked")
class RetrainAsked(Event, frozen=True, kw_only=True):
    """A person asked for a new candidate."""

    by: str
    reason: str


@event("loop.model_offered")
class ModelOffered(Event, frozen=True, kw_only=True):
    """A person brought a model that was trained elsewhere, to be the next candidate."""

    offer: Offer

    def line(self) -> str:
        """Return one line on what this event states."""
        until = iso(self.offer.fitted_until)
        return f"{self.offer.source.line()}; fitted on requests before {until}"


@event("loop.rollback_asked")
class RollbackAsked(Event, frozen=True, kw_only=True):
    """A person asked to go back to the champion before this one, or to give up the rollout that is open."""

    by: str
    reason: str


@event("loop.number_asked")
class NumberAsked(Event, frozen=True, kw_only=True):
    """A version that the loop does not make needs a number under its name."""

    def line(self) -> str:
        """Return one line on what this event states."""
        return "a version from outside needs a number"


@event("loop.number_given")
class NumberGiven(Event, frozen=True, kw_only=True):
    """A number is no candidate's: a version from outside has it."""

    version: Version


@event("loop.cancel_asked")
class CancelAsked(Event, frozen=True, kw_only=True):
    """A person asked to end the training of a version; it is not tried again."""

    version: Version
    by: str
    reason: str

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"the training of v{self.version} is cancelled by {self.because}"

    @property
    def because(self) -> str:
        """Who cancelled, and why."""
        return f"{self.by}: {self.reason}" if self.reason else self.by


@event("loop.output_kept")
class OutputKept(Event, frozen=True, kw_only=True):
    """What the fits of a version printed is kept, as far as it is kept: its beginning and its end."""

    model: ModelName
    version: Version
    digest: Digest
    n_bytes: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"what the training of v{self.version} printed, {count(self.n_bytes)} bytes"


@event("loop.fault_planted")
class FaultPlanted(Event, frozen=True, kw_only=True):
    """A replay planted a bad candidate on purpose."""

    plant: PlantedFault

    def line(self) -> str:
        """Return one line on what this event states."""
        plant = self.plant
        return f"PLANTED {plant.name}: reads {plant.column}, breaks {plant.breaks}"


@event("loop.retrain_triggered")
class RetrainTriggered(Event, frozen=True, kw_only=True):
    """A new candidate is to be trained, for these reasons."""

    version: Version
    triggers: tuple[Trigger, ...]
    cutoff: Instant
    n_retrains: int
    planted: str = ""

    def line(self) -> str:
        """Return one line on what this event states."""
        reasons = "; ".join(trigger.line() for trigger in self.triggers)
        return f"v{self.version} because of {reasons}"


@event("loop.trigger_deferred")
class TriggerDeferred(Event, frozen=True, kw_only=True):
    """A trigger came while the loop was busy or cooling down; it is kept."""

    trigger: Trigger
    because: str


@event("loop.candidate_trained")
class CandidateTrained(Event, frozen=True, kw_only=True):
    """Training is done and the candidate is registered; `n_labelled` mature requests had their outcome by
    then.
    """

    version: Version
    n_rows: int
    n_labelled: int

    def line(self) -> str:
        """Return one line on what this event states."""
        fitted = f", fitted on {count(self.n_rows)} rows" if self.n_rows else ""
        return f"v{self.version} is registered{fitted}"


@event("loop.gates_judged")
class GatesJudged(Event, frozen=True, kw_only=True):
    """Every gate has a verdict."""

    version: Version
    passed: bool
    results: tuple[GateResult, ...]
    luck: Luck = Luck()
    """How far two versions differ by chance, from what both scored in the past."""

    def line(self) -> str:
        """Return one line on what this event states."""
        verdicts = ", ".join(f"{result.gate} {result.verdict}" for result in self.results)
        judged = f"v{self.version} {'passed' if self.passed else 'failed'}"
        return f"{judged}: {verdicts}" if verdicts else judged


@event("loop.candidate_rejected")
class CandidateRejected(Event, frozen=True, kw_only=True):
    """The candidate never meets traffic."""

    version: Version
    reason: str
    planted: str = ""
    detail: str = ""
    """The whole message of what failed, with the lines of the author's functions."""

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"v{self.version} rejected: {self.reason}"


@event("loop.training_suspended")
class TrainingSuspended(Event, frozen=True, kw_only=True):
    """Trainings failed alike, `n_failures` in a row; the next one waits for a changed declaration, or for a
    person who asks for it.
    """

    version: Version
    n_failures: int
    reason: str

    def line(self) -> str:
        """Return one line on what this event states."""
        waits = f"after {self.n_failures} equal failures training waits for a changed declaration"
        return f"{waits}: {self.reason}"

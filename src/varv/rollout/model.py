"""What happens in a rollout, and what a rollout asks for.

First the commands that the saga gives; then the events it is told; then the events it
states, each with the evidence on which it was decided. Numbers only, so the same history has the same bytes.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from varv.kernel.clock import Instant, iso
from varv.kernel.codec import Event, event
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Command, act_of, command
from varv.kernel.wording import count, percent, version_named
from varv.rollout.grounds import Evidence, Moved, Probation
from varv.rollout.guards import Latency
from varv.rollout.luck import Hour, Luck
from varv.rollout.plan import RolloutPlan
from varv.serving.routing import RoutingTable

# what it asks for


@command("rollout.warm_version")
class WarmVersion(Command, frozen=True, kw_only=True):
    """Load a version and try it, so that its first request is not slow. Comes back as `VersionWarmed`."""

    model: ModelName
    version: Version


@command("rollout.apply_routing")
class ApplyRouting(Command, frozen=True, kw_only=True):
    """Put a table in force unless a higher epoch is already. Comes back as `RoutingApplied` either way."""

    priority: ClassVar[int] = 1

    model: ModelName
    table: RoutingTable


@command("rollout.move_alias")
class MoveAlias(Command, frozen=True, kw_only=True):
    """Point an alias of the registry at a version. Comes back as `AliasConfirmed`."""

    model: ModelName
    alias: str
    version: Version


@command("rollout.unload_version")
class UnloadVersion(Command, frozen=True, kw_only=True):
    """Let a version go once its last request has left. Comes back as `VersionUnloaded` in any case."""

    model: ModelName
    version: Version


@command("rollout.count_answers")
class CountAnswers(Command, frozen=True, kw_only=True):
    """Count what was answered since `since` under the table of `epoch`. Comes back as `AnswersCounted`."""

    model: ModelName
    version: Version
    epoch: int
    since: Instant
    latency: Latency | None = None
    """How slow calls may be, where the plan says so."""


# what a rollout is told


@event("rollout.started")
class RolloutStarted(Event, frozen=True, kw_only=True):
    """A candidate is to take over. Told to a settled rollout of the same version, it starts anew."""

    model: ModelName
    version: Version
    champion: Version | None
    plan: RolloutPlan
    epoch: int
    """The epoch now in force at the router of this model."""
    former: Version | None = None
    """The champion before the present one, if it still scores along in its probation."""
    luck: Luck = Luck()
    """What is known of luck from scores of the past."""

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.model} v{self.version} against {version_named(self.champion)}"


@event("rollout.version_warmed")
class VersionWarmed(Event, frozen=True, kw_only=True):
    """A version is loaded and has answered."""

    version: Version


@event("rollout.routing_applied")
class RoutingApplied(Event, frozen=True, kw_only=True):
    """The router has dealt with the table of this epoch."""

    epoch: int


@event("rollout.alias_confirmed")
class AliasConfirmed(Event, frozen=True, kw_only=True):
    """An alias points at this version."""

    alias: str
    version: Version


@event("rollout.version_unloaded")
class VersionUnloaded(Event, frozen=True, kw_only=True):
    """A version is not loaded any more."""

    version: Version


class GuardHours(msgspec.Struct, frozen=True, array_like=True):
    """Hours of paired losses by one guard, by its name."""

    guard: str
    hours: tuple[Hour, ...] = ()


@event("rollout.evidence_arrived")
class EvidenceArrived(Event, frozen=True, kw_only=True):
    """What the matured requests of [`since`, `through`) say, hour by hour."""

    since: Instant
    through: Instant
    n_requests: int
    n_labels: int
    n_missing: int
    """Requests that the candidate did not answer, or not with a valid prediction."""
    hours: tuple[Hour, ...] = ()
    """By the first guard of the plan."""
    others: tuple[GuardHours, ...] = ()
    """By the guards after the first."""

    def line(self) -> str:
        """Return one line on what this event states."""
        outcomes = f"{count(self.n_labels)} outcomes of {count(self.n_requests)} requests"
        return f"{outcomes} through {iso(self.through)}"


class Scores(msgspec.Struct, frozen=True):
    """How the candidate's scores lie: their standard deviation, and the mean and that of their gap to the
    champion's.

    Of the first number of a prediction; of the others in `others`.
    """

    n: int = 0
    gap: float = 0.0
    gap_sd: float = 0.0
    sd: float = 0.0
    others: tuple[Scores, ...] = ()


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """How many measured calls took longer than the plan allows, minute by minute."""

    n: int = 0
    n_late: int = 0
    n_champion_late: int = 0
    minutes: tuple[tuple[float, int], ...] = ()
    """How many minutes had so large a share of late calls beyond the champion's, the share first."""


@event("rollout.answers_counted")
class AnswersCounted(Event, frozen=True, kw_only=True):
    """What the answers under one table say before any outcome is known; each count replaces the one
    before.
    """

    epoch: int
    through: Instant
    n_requests: int
    n_missing: int
    n_candidate: int
    """Units that were to be answered by the candidate, each counted once."""
    n_champion: int
    n_against: int
    """Units that the candidate, and not the champion, left without an answer at least once."""
    n_in_favour: int
    n_slower: int = 0
    """Units for which the candidate once took much longer than the champion, and the other way round; how
    much is twice as long, or what the plan says.
    """
    n_faster: int = 0
    scores: Scores = Scores()
    calls: Calls = Calls()
    """Where the plan sets a limit to calls."""
    moved: Moved = Moved()
    """Where no outcome ever comes."""

    def line(self) -> str:
        """Return one line on what this event states."""
        units = f"{count(self.n_candidate)} units to the candidate, {count(self.n_champion)} not"
        missing = f"{count(self.n_missing)} of {count(self.n_requests)} requests without its answer"
        return f"{units}; {missing}"


@event("rollout.aborted")
class RolloutAborted(Event, frozen=True, kw_only=True):
    """A person stops the rollout."""

    by: str
    reason: str


@event("rollout.superseded")
class RolloutSuperseded(Event, frozen=True, kw_only=True):
    """A newer version is to be rolled out instead."""

    by_version: Version


# what a rollout states


@event("rollout.shadow_started")
class ShadowStarted(Event, frozen=True, kw_only=True):
    """The candidate scores every request, unseen. Requests from `since` on are evidence."""

    model: ModelName
    version: Version
    epoch: int
    since: Instant


@event("rollout.stepped")
class RolloutStepped(Event, frozen=True, kw_only=True):
    """The candidate's share is raised."""

    model: ModelName
    version: Version
    from_share: float
    to_share: float
    epoch: int
    because: str
    evidence: Evidence

    def line(self) -> str:
        """Return one line on what this event states."""
        shares = f"{percent(self.from_share)} → {percent(self.to_share)}"
        return f"v{self.version} {shares}: {self.because}"


@event("rollout.held")
class RolloutHeld(Event, frozen=True, kw_only=True):
    """The rollout stays where it is and shows why. It goes on by itself once nothing is in its way."""

    model: ModelName
    version: Version
    reason: str
    evidence: Evidence

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"v{self.version} held: {self.reason}"


@event("rollout.version_promoted")
class VersionPromoted(Event, frozen=True, kw_only=True):
    """The version answers every request and is the champion."""

    model: ModelName
    version: Version
    previous: Version | None
    epoch: int
    evidence: Evidence

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"v{self.version} promoted, was {version_named(self.previous)}"


@event("rollout.rollback_started")
class RollbackStarted(Event, frozen=True, kw_only=True):
    """The candidate is to be taken off all traffic."""

    model: ModelName
    version: Version
    reason: str
    evidence: Evidence

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"v{self.version} rolled back: {self.reason}"


@event("rollout.rolled_back")
class RolloutRolledBack(Event, frozen=True, kw_only=True):
    """The candidate is off all traffic and unloaded; the champion answers as before."""

    model: ModelName
    version: Version
    champion: Version | None
    epoch: int
    reason: str
    evidence: Evidence

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"v{self.version} rolled back: {self.reason}"


@event("rollout.needs_human")
class RolloutNeedsHuman(Event, frozen=True, kw_only=True):
    """A command that must succeed has failed. It is tried again, but someone should look."""

    model: ModelName
    version: Version
    command: str
    reason: str
    n_failures: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"v{self.version} needs a person: {act_of(self.command)}, {self.reason}"


@event("rollout.settled")
class RolloutSettled(Event, frozen=True, kw_only=True):
    """Told to the loop of the model when a rollout has ended."""

    model: ModelName
    version: Version
    outcome: str
    """``"promoted"`` or ``"rolled_back"``."""
    reason: str
    epoch: int
    evidence: Evidence
    former: Version | None = None
    """The champion before, if it goes on scoring in the probation of this version."""

    def line(self) -> str:
        """Return one line on what this event states."""
        ended = f"v{self.version} {self.outcome.replace('_', ' ')}"
        return f"{ended}: {self.reason}" if self.reason else ended


@event("rollout.probation_ended")
class ProbationEnded(Event, frozen=True, kw_only=True):
    """The champion before has stopped scoring along; also told to the loop of the model."""

    model: ModelName
    version: Version
    former: Version
    outcome: str
    """``"passed"``, ``"failed"``, or ``"replaced"`` where another version took over before the time was
    over."""
    reason: str
    probation: Probation

    def line(self) -> str:
        """Return one line on what this event states."""
        ended = f"probation of v{self.version} {self.outcome}: {self.reason}"
        return f"{ended}; {self.probation.line()}"

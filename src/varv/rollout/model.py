"""What happens in a rollout, and what a rollout asks for.

First the commands that the saga gives; then the events it is told; then the events it
states, each with the evidence on which it was decided. Numbers only, so the same history has the same bytes.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Event, event
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Command
from varv.rollout.plan import RolloutPlan
from varv.serving.routing import RoutingTable

# what it asks for


class WarmVersion(Command, frozen=True, kw_only=True):
    """Load a version and try it, so that its first request is not slow. Comes back as `VersionWarmed`."""

    model: ModelName
    version: Version


class ApplyRouting(Command, frozen=True, kw_only=True):
    """Put a table in force unless a higher epoch is already. Comes back as `RoutingApplied` either way."""

    priority: ClassVar[int] = 1

    model: ModelName
    table: RoutingTable


class MoveAlias(Command, frozen=True, kw_only=True):
    """Point an alias of the registry at a version. Comes back as `AliasConfirmed`."""

    model: ModelName
    alias: str
    version: Version


class UnloadVersion(Command, frozen=True, kw_only=True):
    """Let a version go once its last request has left. Comes back as `VersionUnloaded` in any case."""

    model: ModelName
    version: Version


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


class ArmCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one tick that were routed at one share."""

    share: float
    n_candidate: int
    n_champion: int
    n_labels: int
    """Requests of both arms whose outcome has arrived."""
    bad_candidate: int
    bad_champion: int


@event("rollout.evidence_arrived")
class EvidenceArrived(Event, frozen=True, kw_only=True):
    """What the matured requests of [`since`, `through`) say, as increments that add up."""

    since: Instant
    through: Instant
    n_requests: int
    n_labels: int
    n_missing: int
    """Requests that the candidate did not answer, or not with a probability."""
    n_blocks: int
    weight: float
    """Sum of block weights w."""
    total: float
    """Sum of w d, with d the mean log-loss of the candidate minus that of the champion."""
    squares: float
    """Sum of (w d) ** 2."""
    paired_harm: tuple[float, ...]
    paired_safety: tuple[float, ...]
    arm_harm: tuple[float, ...]
    arms: tuple[ArmCounts, ...]


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


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that was known when a decision was made. E-values are natural logarithms."""

    share: float
    epoch: int
    through: Instant
    n_requests: int
    n_labels: int
    n_missing: int
    n_blocks: int
    step_labels: int
    """Labels of requests made at the present share."""
    log_harm: float
    """Against "no worse"; the average of the next two."""
    log_harm_paired: float
    log_harm_arms: float
    log_safety: float
    """Against "worse by the margin or more"."""
    log_split: float
    """Against "the router split as told", at the present share."""
    harm_at: float
    """The `log_harm` at which the rollout is rolled back."""
    safety_at: float
    """The `log_safety` from which the candidate counts as proven."""
    step_difference: float | None
    """Mean log-loss of the candidate minus that of the champion while the present share was in force."""
    difference: float | None
    """Mean log-loss of the candidate minus that of the champion, by block; None without labels."""
    low: float | None
    high: float | None
    """A 95 % interval of `difference` that holds at all times at once."""


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


@event("rollout.held")
class RolloutHeld(Event, frozen=True, kw_only=True):
    """The rollout stays where it is and shows why. It goes on by itself once nothing is in its way."""

    model: ModelName
    version: Version
    reason: str
    evidence: Evidence


@event("rollout.version_promoted")
class VersionPromoted(Event, frozen=True, kw_only=True):
    """The version answers every request and is the champion."""

    model: ModelName
    version: Version
    previous: Version | None
    epoch: int
    evidence: Evidence


@event("rollout.rollback_started")
class RollbackStarted(Event, frozen=True, kw_only=True):
    """The candidate is to be taken off all traffic."""

    model: ModelName
    version: Version
    reason: str
    evidence: Evidence


@event("rollout.rolled_back")
class RolloutRolledBack(Event, frozen=True, kw_only=True):
    """The candidate is off all traffic and unloaded; the champion answers as before."""

    model: ModelName
    version: Version
    champion: Version | None
    epoch: int
    reason: str
    evidence: Evidence


@event("rollout.needs_human")
class RolloutNeedsHuman(Event, frozen=True, kw_only=True):
    """A command that must succeed has failed. It is tried again, but someone should look."""

    model: ModelName
    version: Version
    command: str
    reason: str
    n_failures: int


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

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
from varv.rollout.luck import Hour, Luck
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


class CountAnswers(Command, frozen=True, kw_only=True):
    """Count what was answered since `since` under the table of `epoch`. Comes back as `AnswersCounted`."""

    model: ModelName
    version: Version
    epoch: int
    since: Instant


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


@event("rollout.evidence_arrived")
class EvidenceArrived(Event, frozen=True, kw_only=True):
    """What the matured requests of [`since`, `through`) say, hour by hour."""

    since: Instant
    through: Instant
    n_requests: int
    n_labels: int
    n_missing: int
    """Requests that the candidate did not answer, or not with a probability."""
    hours: tuple[Hour, ...] = ()


class Scores(msgspec.Struct, frozen=True):
    """How the candidate's scores lie: their standard deviation, and the mean and that of their gap to the
    champion's.
    """

    n: int = 0
    gap: float = 0.0
    gap_sd: float = 0.0
    sd: float = 0.0


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
    """Units for which the candidate once took much longer than the champion, and the other way round."""
    n_faster: int = 0
    scores: Scores = Scores()


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
    """All that was known when a decision was made. E-values are natural logarithms.

    What begins with `step_` is of requests made at the present share; harm is judged by these alone.
    """

    share: float
    epoch: int
    through: Instant
    n_requests: int
    n_labels: int
    n_missing: int
    n_blocks: int
    """Blocks of six hours."""
    step_labels: int
    log_harm: float
    """Against "no worse"; a weighted average of the next three."""
    log_harm_paired: float
    """From outcomes."""
    log_harm_missing: float = 0.0
    """From answers that only one of the two gave."""
    log_harm_slow: float = 0.0
    """From answers for which one of the two took much longer."""
    log_safety: float
    """Against "worse by the margin or more"."""
    log_split: float
    """Against "the router split as told", at the present share."""
    harm_at: float
    """The `log_harm` at which the rollout is rolled back."""
    safety_at: float
    """The `log_safety` from which the candidate counts as proven."""
    step_blocks: int = 0
    step_difference: float | None
    """Mean log-loss of the candidate minus that of the champion while the present share was in force."""
    step_low: float | None = None
    step_high: float | None = None
    step_safety: float = 0.0
    difference: float | None
    """Mean log-loss of the candidate minus that of the champion; None without labels."""
    low: float | None
    high: float | None
    """A 95 % interval of `difference` that holds at all times at once."""
    excess: float = 0.0
    """Sum of the differences over all requests, in nats."""
    excess_at: float | None = None
    """The `excess` above which the rollout is rolled back: more than the margin allows until the deadline,
    and more than luck makes of it.
    """
    shift: float = 0.0
    """By how many standard deviations the losses at the present share exceed those before it. A candidate
    that was not what it is now is proven by `step_safety` alone.
    """
    inflation: float | None = None
    """How many times more blocks vary than their hours suggest: so many blocks weigh as one."""
    luck_days: int = 0
    """Days of history that the inflation was learned from."""
    n_cut: int = 0
    """Blocks that count less than they showed, since no single one may decide."""

    @staticmethod
    def none(plan: RolloutPlan) -> Evidence:
        """Return the evidence before there is any."""
        return Evidence(
            share=0.0,
            epoch=0,
            through=Instant(0),
            n_requests=0,
            n_labels=0,
            n_missing=0,
            n_blocks=0,
            step_labels=0,
            log_harm=0.0,
            log_harm_paired=0.0,
            log_safety=0.0,
            log_split=0.0,
            harm_at=plan.harm_at,
            safety_at=plan.safety_at,
            step_difference=None,
            difference=None,
            low=None,
            high=None,
        )


class Probation(msgspec.Struct, frozen=True, kw_only=True):
    """What a promoted version has shown against the champion before it, with nothing cut off."""

    through: Instant
    n_labels: int
    n_blocks: int
    difference: float | None
    """Mean log-loss of the promoted version minus that of the one before."""
    low: float | None
    high: float | None
    excess: float
    """Sum of the differences, in nats."""
    excess_allowed: float
    """What the margin allows over the whole probation, at the traffic seen so far."""
    excess_by_luck: float
    """What luck alone exceeds about once in a thousand probations."""
    log_harm: float
    harm_at: float


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
    former: Version | None = None
    """The champion before, if it goes on scoring in the probation of this version."""


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

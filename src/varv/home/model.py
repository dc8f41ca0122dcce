"""Nouns and events of a home as a whole: how far a replay or a history has come, who owns the home, and how
policies compare.
"""

from __future__ import annotations

from typing import Any

import msgspec

from varv.kernel.clock import Instant, iso
from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import ModelName
from varv.kernel.wording import count
from varv.loop.model import LeakFinding


@event("replay.advanced")
class ReplayAdvanced(Event, frozen=True, kw_only=True):
    """Everything that arrived before `through` has been taken in."""

    through: Instant
    n_requests: int

    def line(self) -> str:
        """Say how far the past has come."""
        return f"everything before {iso(self.through)} is in, {count(self.n_requests)} requests"


def _of_one_model(fields: dict[str, Any]) -> dict[str, Any]:
    return {"models": (fields["model"],), "n_requests": fields["n_requests"]}


@event("replay.finished", version=2, upcast={1: _of_one_model})
class ReplayFinished(Event, frozen=True, kw_only=True):
    """The replay has reached its end, and all that was due by then is settled."""

    models: tuple[ModelName, ...]
    n_requests: int


@event("live.started")
class LiveStarted(Event, frozen=True, kw_only=True):
    """A server owns the home from now on, for a model."""

    model: ModelName
    declaration: Digest


@event("live.history_taken")
class HistoryTaken(Event, frozen=True, kw_only=True):
    """Everything that the sources held before `through` has been taken in; `done` once a first model was
    tried.
    """

    through: Instant
    n_requests: int
    done: bool


class PartRows(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows that a source holds for one part of a dataset."""

    dataset: str
    part: str
    n_source: int
    n_outside: int
    """Of a time outside of the replay, or about a row that is."""
    n_used: int
    n_equal: int
    """Repeated a key with the same values; nothing is lost by them."""
    n_different: int
    """Repeated a key with other values."""
    n_waiting: int
    """Are about a row that never came, or was put aside."""
    n_early: int
    """Say something from before their row existed."""
    n_quarantined: int
    n_discarded: int
    """Were given up, or replaced by corrected ones, by a person."""
    n_before_contract: int
    """Of those used: came before the contract was learned, which would have put them aside."""
    reasons: dict[str, int]
    """Rows that were put aside, by reason."""

    @property
    def n_arrived(self) -> int:
        """Rows that arrived during the replay."""
        return self.n_source - self.n_outside

    @property
    def n_lost(self) -> int:
        """Rows that arrived, say something that no other row says, and were not used."""
        left_out = self.n_quarantined + self.n_discarded
        return self.n_different + self.n_waiting + self.n_early + left_out


class Month(msgspec.Struct, frozen=True):
    """Quality in one calendar month (UTC)."""

    month: str
    n: int
    base_rate: float
    log_loss: float
    low: float | None
    """None, as `high`, where the month has one day only."""
    high: float | None
    auc: float | None
    """Pooled over the month: every request against every other."""
    auc_low: float | None = None
    auc_high: float | None = None
    auc_within_days: float | None = None
    """Mean of the days' AUC, weighted by their requests: requests of one day against each other."""


class Gain(msgspec.Struct, frozen=True):
    """Mean log-loss of another policy minus that of this one; above zero, this one is better. 95 %
    interval.
    """

    over: str
    difference: float
    low: float
    high: float
    n_days: int


class PolicyScore(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy achieved, and what it took."""

    name: str
    n: int
    log_loss: float
    log_loss_low: float
    log_loss_high: float
    auc: float
    """Pooled over all requests; its limits are clustered by the day, as those of the log-loss."""
    auc_low: float
    auc_high: float
    ece: float
    n_trainings: int
    n_retrains: int
    """Trainings after the first that the policy itself asked for; planted candidates are not counted."""
    n_alarms: int
    work: int
    """Rows times boosting rounds, over all trainings: compute that is the same on every machine."""
    cpu_s: float | None = None
    """Processor seconds of the whole replay; a measurement of this machine, kept out of the ledger."""
    auc_within_days: float | None = None
    """Mean of the days' AUC, weighted by their requests."""
    gains: tuple[Gain, ...] = ()
    months: tuple[Month, ...] = ()


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All policies, the declared one first."""

    warnings: tuple[str, ...] = ()
    """What has to be known before anything else: rows that were lost. It comes first, in JSON too."""
    model: ModelName
    scored_from: Instant
    scored_until: Instant
    n_requests: int
    n_without_outcome: int
    policies: tuple[PolicyScore, ...]
    leaks: tuple[LeakFinding, ...] = ()
    """What speaks for a column that holds what a request cannot know, in the declared policy's ledger."""
    notices: tuple[str, ...] = ()
    rows: tuple[PartRows, ...] = ()
    """What became of the rows of each part of each dataset, under the declared policy."""


class Comparisons(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay showed: a comparison for each of its models."""

    warnings: tuple[str, ...] = ()
    """Those of all models. They come first, in JSON too."""
    models: tuple[Comparison, ...]


@event("replay.policies_compared")
class PoliciesCompared(Event, frozen=True, kw_only=True):
    """The policies of a replay were held against each other."""

    comparison: Comparison

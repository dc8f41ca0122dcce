"""Nouns and events of a home as a whole: how far a replay or a history has come, who owns the home, and how
policies compare.
"""

from __future__ import annotations

from typing import Any

import msgspec

from varv.home.regret import Regret
from varv.home.tried import Searched
from varv.kernel.clock import Instant, iso
from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import ModelName
from varv.kernel.wording import count, number
from varv.loop.leaking.model import LeakFinding
from varv.tasks import TaskSpec, task_of


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

    def line(self) -> str:
        """Say what was replayed."""
        return f"{', '.join(self.models)}: {count(self.n_requests)} requests"


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


class Measure(msgspec.Struct, frozen=True):
    """A number with its 95 % interval, clustered by the day; None where the rows do not determine it."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Month(msgspec.Struct, frozen=True):
    """Quality in one calendar month (UTC).

    ``base_rate`` to ``auc_within_days`` are of tasks that have metrics of these names.
    """

    month: str
    n: int
    base_rate: float | None = None
    log_loss: float | None = None
    low: float | None = None
    """Limits of the loss; None, as `high`, where the month has one day only."""
    high: float | None = None
    auc: float | None = None
    """Pooled over the month: every request against every other."""
    auc_low: float | None = None
    auc_high: float | None = None
    auc_within_days: float | None = None
    """Mean of the days' AUC, weighted by their requests: requests of one day against each other."""
    loss: float | None = None
    """Mean of the task's default loss."""
    metrics: dict[str, Measure] = {}
    """The task's metrics, by name."""


class Gain(msgspec.Struct, frozen=True):
    """Mean of the task's default loss under another policy minus that under this one; above zero, this one is
    better. 95 % interval.
    """

    over: str
    difference: float
    low: float
    high: float
    n_days: int


class PolicyScore(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy achieved, and what it took.

    ``log_loss`` to ``ece`` are of tasks that have a loss and metrics of these names.
    """

    name: str
    n: int
    log_loss: float | None = None
    log_loss_low: float | None = None
    log_loss_high: float | None = None
    auc: float | None = None
    """Pooled over all requests; its limits are clustered by the day, as those of the log-loss."""
    auc_low: float | None = None
    auc_high: float | None = None
    ece: float | None = None
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
    loss: float | None = None
    """Mean of the task's default loss; None, as its limits, where the task has no outcome."""
    loss_low: float | None = None
    loss_high: float | None = None
    metrics: dict[str, Measure] = {}
    """The task's metrics, by name."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All policies, the declared one first."""

    warnings: tuple[str, ...] = ()
    """What has to be known before anything else: rows that were lost. It comes first, in JSON too."""
    model: ModelName
    task: TaskSpec = TaskSpec()
    """What the model predicts, which says what losses and metrics mean."""
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
    regret: Regret | msgspec.UnsetType = msgspec.UNSET
    """How policies did against the best schedule in hindsight, where that was asked for."""
    search: Searched | msgspec.UnsetType = msgspec.UNSET
    """What a search of policies found, where one was asked for."""


class Comparisons(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay showed: a comparison for each of its models."""

    warnings: tuple[str, ...] = ()
    """Those of all models. They come first, in JSON too."""
    models: tuple[Comparison, ...]


def of_every_task(comparison: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a comparison from when every task was binary as they are written today."""
    return {**comparison, "policies": [_of_every_task(policy) for policy in comparison["policies"]]}


def _of_every_task(policy: dict[str, Any]) -> dict[str, Any]:
    loss = {f"loss{end}": policy[f"log_loss{end}"] for end in ("", "_low", "_high")}
    metrics = {"auc": _auc(policy), "ece": {"value": policy["ece"]}}
    months = [
        {
            **month,
            "loss": month["log_loss"],
            "metrics": {"auc": _auc(month), "base_rate": {"value": month["base_rate"]}},
        }
        for month in policy.get("months", ())
    ]
    return {**policy, **loss, "metrics": metrics, "months": months}


def _auc(fields: dict[str, Any]) -> dict[str, Any]:
    return {"value": fields["auc"], "low": fields.get("auc_low"), "high": fields.get("auc_high")}


def _compared_as_binary(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "comparison": of_every_task(fields["comparison"])}


@event("replay.policies_compared", version=2, upcast={1: _compared_as_binary})
class PoliciesCompared(Event, frozen=True, kw_only=True):
    """The policies of a replay were held against each other."""

    comparison: Comparison

    def line(self) -> str:
        """Say what each policy lost, by the task's loss, or how much it answered."""
        found, loss = self.comparison, task_of(self.comparison.task).loss
        if loss is None:
            return f"{found.model}: {count(found.policies[0].n)} requests answered"
        losses = (f"{one.name} {number(one.loss, loss.digits + 1)}" for one in found.policies)
        return f"{found.model}, {loss.label}: {', '.join(losses)}"

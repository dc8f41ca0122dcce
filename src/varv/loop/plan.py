"""What the loop of one model works by, compiled from its declaration by `project.plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from varv.data import Dataset
from varv.data.outcomes import OutcomeSpec
from varv.features import FeatureSet
from varv.kernel.clock import Duration, Instant
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.loop.model import LoopPolicy, LoopState
from varv.loop.requirements import RequirementSpec
from varv.loop.weighing.model import BenefitPolicy
from varv.monitoring import MonitorPlan
from varv.rollout import RolloutPlan
from varv.serving import Predictions
from varv.training import Train
from varv.training.gates import Gate


@dataclass(frozen=True, kw_only=True)
class LoopPlan:
    """The declared loop of one model, with the parts of a declaration that act in it."""

    model: ModelName
    datasets: tuple[Dataset, ...]
    """Every dataset that it reads, its requests first."""
    features: FeatureSet
    outcome: OutcomeSpec
    train: Train
    gates: tuple[Gate, ...]
    monitors: MonitorPlan
    rollout: RolloutPlan
    alarms: frozenset[str]
    """Kinds of alarm that it trains on."""
    schedule: Duration | None
    volume: float | None
    cooldown: Duration
    benefit: BenefitPolicy | None = None
    """What a training may cost, where it is to be worth its price."""
    requirements: tuple[RequirementSpec, ...] = ()

    @property
    def loop_id(self) -> str:
        """Id of the loop's saga."""
        return loop_id(self.model)

    def policy(self, first_training: Instant, seed: int) -> LoopPolicy:
        """Return the policy as the ledger keeps it."""
        return LoopPolicy(
            model=self.model,
            alarms=tuple(sorted(self.alarms)),
            schedule=self.schedule,
            volume=self.volume,
            cooldown=self.cooldown,
            maturity=self.outcome.mature,
            plan=self.rollout,
            first_training=first_training,
            seed=seed,
            benefit=self.benefit,
        )

    def definition(self) -> tuple[tuple[str, ...], ...]:
        """Return what is learned from what, as texts: the outcome first, then each feature by its name."""
        outcome = ("outcome", self.outcome.column, self.outcome.known_at)
        return (outcome, *(tuple(feature) for feature in self.features.definition()))


class LoopParts(Protocol):
    """What a home holds of one model for its loop."""

    @property
    def loop(self) -> LoopPlan:
        """What is declared."""
        ...

    @property
    def predictions(self) -> Predictions:
        """What was predicted, and what turned out."""
        ...


Models = Mapping[ModelName, LoopParts]


def loop_state(ledger: Ledger, model: ModelName | str) -> LoopState:
    """Return where the loop of a model is; its beginning, if it has not begun."""
    row = ledger.saga(loop_id(model))
    return LoopState() if row is None else msgspec.json.decode(row.state, type=LoopState)


def loop_id(model: ModelName | str) -> str:
    """Return the id of the saga that is the loop of a model, which is also the stream of its events."""
    return f"loop/{model}"

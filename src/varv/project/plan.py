"""What a declaration compiles to: for each room the plan that it works by, and the digest of all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from varv.data import Dataset
from varv.data.outcomes import OutcomeSpec
from varv.kernel.clock import Duration, Instant
from varv.kernel.codec import Digest, digest_of
from varv.kernel.ids import ModelName
from varv.labels import LabellingPolicy
from varv.loop.plan import LoopPlan
from varv.monitoring import monitor
from varv.pipelines import code_closure
from varv.project.declaration import Model
from varv.project.replay import Replay
from varv.serving import RequestSchema
from varv.serving.policy import ServingPolicy
from varv.training.gates import identity_of


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """One model, as a home works with it."""

    schema: RequestSchema
    loop: LoopPlan
    retention: Duration | None = None
    """How long stored predictions are kept; None for ever."""

    labelling: LabellingPolicy | None = None
    """Which requests people are asked to label; None for none."""

    require_history: Callable[[pl.Series], None]
    """Raises `InvalidDeclaration` if what the history holds of the outcome is not what was declared."""

    @property
    def name(self) -> ModelName:
        """The model."""
        return self.loop.model

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """Every dataset that the model reads, its requests first."""
        return self.loop.datasets

    @property
    def outcome(self) -> OutcomeSpec:
        """What it predicts."""
        return self.loop.outcome

    def digest(self, first_training: Instant | None = None, seed: int = 0) -> Digest:
        """Return what identifies the declaration: policy, outcome, features, gates, monitors, training
        code.
        """
        train = self.loop.train
        # Declarations of before have none of them.
        kept: list[object] = [] if self.retention is None else [self.retention]
        kept += [] if self.schema.serving == ServingPolicy() else [self.schema.serving]
        kept += [] if self.labelling is None else [self.labelling]
        kept += [self.loop.requirements] if self.loop.requirements else []
        return digest_of(
            [
                *kept,
                self.loop.policy(first_training or Instant(0), seed),
                self.loop.definition(),
                self.schema.unit,
                self.outcome.task.spec,
                [identity_of(gate) for gate in self.loop.gates],
                list(self.loop.monitors.monitors),
                [code_closure(train.fit).digest, *train.definition()],
            ]
        )


def plan_of(model: Model) -> ModelPlan:
    """Return the plan of a validated declaration."""
    retrain, serving = model.retrain, model.serving
    outcome = _outcome(model)
    return ModelPlan(
        require_history=model.require_history,
        retention=None if model.retention is None else model.retention.predictions,
        labelling=None if model.labelling is None else model.labelling.policy_for(model.name, model.task),
        schema=RequestSchema(
            model.name,
            model.requests,
            model.feature_set,
            model.task,
            model.unit,
            serving=ServingPolicy()
            if serving is None
            else serving.policy_for(model.name, model.task, model.requests),
        ),
        loop=LoopPlan(
            model=model.name,
            datasets=model.datasets,
            features=model.feature_set,
            outcome=outcome,
            train=model.train,
            gates=model.gates,
            monitors=monitor.plan(model.monitors, task=model.task, maturity=outcome.mature),
            rollout=model.rollout.plan_for(model.task),
            alarms=retrain.alarms,
            schedule=retrain.schedule,
            volume=retrain.volume,
            cooldown=retrain.cooldown,
            benefit=retrain.benefit,
            requirements=model.required(),
        ),
    )


def _outcome(model: Model) -> OutcomeSpec:
    if model.outcome is None:
        return OutcomeSpec(requests=model.requests, task=model.task, mature=Duration(0))
    return OutcomeSpec(
        requests=model.requests,
        task=model.task,
        column=model.outcome.column,
        known_at=model.outcome.known_at,
        mature=model.outcome.mature,
        no_outcome=model.outcome.no_outcome,
    )


def datasets_of(plans: Sequence[ModelPlan]) -> tuple[Dataset, ...]:
    """Return every dataset that some model reads, each once."""
    return tuple(dict.fromkeys(dataset for plan in plans for dataset in plan.datasets))


def replay_digest(replay: Replay, plans: Sequence[ModelPlan]) -> Digest:
    """Return what identifies a replay: its models, times, plants and seed."""
    plants = [[plant.name, plant.at, plant.column, plant.breaks, plant.model] for plant in replay.plants]
    times = [replay.since, replay.train_at, replay.until]
    return digest_of([[plan.digest(replay.train_at, replay.seed) for plan in plans], times, plants])

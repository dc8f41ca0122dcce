"""The declaration of a model: everything that varv does for it, in one place, checked before anything
runs.

`project.plan` compiles it into what each room works by; no room below reads a declaration.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import polars as pl

from varv.data import Dataset
from varv.features import Derived, FeatureSet, FeatureView, Slice
from varv.kernel.clock import Duration
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.ids import ModelName
from varv.loop.requirements import RequirementSpec
from varv.monitoring import Monitor, monitor
from varv.project.arguments import (
    declared_column,
    declared_duration,
    declared_name,
    listed,
    require_one_of_each_name,
    require_types,
)
from varv.project.labelling import Labelling
from varv.project.requirement import Requirement
from varv.project.retention import Retention
from varv.project.retrain import Retrain
from varv.project.serving import Serving
from varv.rollout import Rollout
from varv.serving.scores import answer_schema
from varv.tasks import Task, task_of
from varv.training import Train
from varv.training.gates import Gate, NeedsFeatures, NeedsTask, identity_of, is_gate

Feature = str | FeatureView | Derived


class Outcome:
    """What the model predicts, and when the truth is known.

    Parameters
    ----------
    column
        A column of the requests' dataset that holds what the model's task takes for an outcome: of a binary
        one 0 or 1, or true or false; 0.0 and 1.0 will do.
    known_at
        The time column at which it becomes known; null where it never is.
    mature
        How long after a request its outcome has come, but for stragglers. Windows are measured, and rollouts
        judged, only then: outcomes taken as they arrive are biased, since a flight that lands early is not
        late.
    no_outcome
        What the outcome is of a request that has none once it is mature, such as 0 where no claim was made.
        By default it stays unknown, and the request counts nowhere. An outcome that comes later stands for
        whoever asks from then on.
    """

    def __init__(
        self,
        column: str,
        *,
        known_at: str,
        mature: str = "24h",
        no_outcome: bool | float | str | None = None,
    ) -> None:
        self.column = declared_column("outcome", "column", column)
        self.known_at = declared_column("outcome", "known_at", known_at)
        self.mature = declared_duration("outcome", "mature", mature)
        self.no_outcome = no_outcome


class Model:
    """A model that varv keeps in production.

    Parameters
    ----------
    name
        Lower-case letters, digits and hyphens.
    requests
        The dataset whose rows are prediction requests, made at its event time.
    features
        What the model reads: names of request columns, feature views, and derived features.
    outcome
        What it predicts; None for a task that has no outcome, such as ``varv.task.score()``.
    train, gates, rollout, monitors, retrain
        How it is trained, what a candidate must show, how it meets traffic, what is watched (performance,
        calibration and drift unless said otherwise, as far as the task has them), and when it is trained
        anew. Without an outcome a new candidate is trained every 30 days.
    retention
        How long its stored predictions are kept; for ever by default.
    task
        What the outcome is and what a prediction says of it: ``varv.task.binary()`` and its like, or the name
        of one, ``"binary"`` by default: the probability that the outcome is 1.
    unit
        The request column whose values keep their arm during a rollout; by default the task's group, or the
        request's key where it has none. A list is answered by one version, so with a group it is the unit.
    serving
        What is checked of a request before it is answered, and what is answered where the model cannot.
    labelling
        Which requests people are asked to label: ``varv.Labelling(budget=50)``; none by default.
    requirements
        What is required of it, each traced to what proves it: ``varv.Requirement(...)``.

    Raises
    ------
    InvalidDeclaration
        If anything cannot work: a column that does not exist, a feature that would only be known after the
        request, an outcome that the task does not have, or one without a time at which it is known, a
        retraining on alarms that nothing raises, a name that is taken. The message names the object and the
        fix.
    """

    def __init__(
        self,
        name: str,
        *,
        requests: Dataset,
        features: Sequence[Feature],
        outcome: Outcome | None = None,
        train: Train,
        gates: Sequence[Gate] = (),
        rollout: Rollout | None = None,
        monitors: Sequence[Monitor] | None = None,
        retrain: Retrain | None = None,
        retention: Retention | None = None,
        task: str | Task = "binary",
        unit: str | None = None,
        serving: Serving | None = None,
        labelling: Labelling | None = None,
        requirements: Sequence[Requirement] = (),
    ) -> None:
        self.name = ModelName(declared_name("model", name))
        require_types(self.name, requests=(requests, Dataset), train=(train, Train))
        self.task = _task(self.name, task)
        self.requests = requests
        self.features = (
            tuple(features) if isinstance(features, Sequence) and not isinstance(features, str) else ()
        )
        self.outcome = self._checked(outcome)
        self.train = train
        self.gates = listed("gates", gates)
        self.rollout = Rollout() if rollout is None else rollout
        self.monitors = monitor.standard(self.task) if monitors is None else listed("monitors", monitors)
        scheduled = Retrain() if self.task.has_outcome else Retrain(on=["schedule:30d"])
        self.retrain = scheduled if retrain is None else retrain
        self.retention = retention
        self.unit = self.task.group if unit is None else declared_column("model", "unit", unit)
        self.serving = serving
        self.labelling = labelling
        self.requirements = listed("requirements", requirements)
        self.check()

    @cached_property
    def feature_set(self) -> FeatureSet:
        """The features, checked against the columns of the requests."""
        return FeatureSet(self.features, self.requests)

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """Every dataset that the model reads, its requests first."""
        sources = [view.source for view in self.features if isinstance(view, FeatureView)]
        return tuple(dict.fromkeys([self.requests, *sources]))

    def validate(self) -> None:
        """Check the declaration against the data's columns; called before anything runs.

        Raises
        ------
        InvalidDeclaration
            With the first thing at fault.
        """
        require_one_of_each_name("dataset", self.datasets)
        for dataset in self.datasets:
            dataset.types()
        self._check_group()
        if self.serving is not None:
            self.serving.require_columns(self.name, self.requests, self._kept_columns())
        if self.outcome is not None:
            self._check_outcome(self.outcome)
        if not self.feature_set.names:
            raise InvalidDeclaration(
                "model", self.name, "has no features", hint="name a column or a feature view"
            )
        for name in self.feature_set.names:
            require_free(name, self.task)
        labelled = () if self.labelling is None else self.labelling.slices
        for part in (*self.rollout.slices, *labelled):
            _require_slice(part, self.feature_set)
        for gate in self.gates:
            if isinstance(gate, NeedsFeatures):
                gate.require_features(self.feature_set.kinds)
        if self.train.search is not None:
            self.train.search.require_task(self.task)
        if self.unit is not None and self.requests.known_when(self.unit) != self.requests.event_time:
            hint = "choose a column that comes with the request"
            raise InvalidDeclaration(
                "model", self.name, f"has the unit {self.unit!r}, which is known too late", hint=hint
            )

    def _kept_columns(self) -> dict[str, str]:
        """Return the request columns that have to be kept, and what for."""
        return {
            **dict.fromkeys(self.feature_set.request_columns(), "read by features"),
            **dict.fromkeys([self.task.group] if self.task.group else [], "the list of the task"),
            **dict.fromkeys([self.unit] if self.unit else [], "the unit of randomisation"),
            **dict.fromkeys(self.requests.key, "a key of the requests"),
        }

    def require_history(self, outcomes: pl.Series) -> None:
        """Check what the history holds of the outcome, if there is one.

        Raises
        ------
        InvalidDeclaration
            If it is not what the task says that it is.
        """
        if self.outcome is not None:
            self.task.require_history(outcomes, self.outcome.column)

    def _checked(self, outcome: Outcome | None) -> Outcome | None:
        """Return the outcome, which has to be there exactly if the task has one."""
        if outcome is not None:
            require_types(self.name, outcome=(outcome, Outcome))
        if (outcome is not None) == self.task.has_outcome:
            return outcome
        if outcome is None:
            hint = 'add outcome=varv.Outcome("late", known_at="arrived_at")'
            raise InvalidDeclaration("model", self.name, "has no outcome", hint=hint, task=self.task.name)
        hint = f"leave outcome out: the task {self.task.name} has none"
        problem = f"has the outcome {outcome.column!r}, which its task does not use"
        raise InvalidDeclaration("model", self.name, problem, hint=hint)

    def check(self) -> None:
        """Check that the parts go together, as far as that shows without data.

        Raises
        ------
        InvalidDeclaration
            With the first thing at fault.
        """
        if not self.features:
            raise InvalidDeclaration(
                "model", self.name, "has no features", hint='list them: features=["origin", view]'
            )
        for gate in self.gates:
            _check_gate(self.name, gate, self.task)
        if not isinstance(self.rollout, Rollout):
            raise InvalidDeclaration(
                "model",
                self.name,
                f"has a rollout of type {type(self.rollout).__name__}",
                hint="use varv.Rollout(...)",
            )
        self.rollout.plan_for(self.task)
        if not isinstance(self.retrain, Retrain):
            raise InvalidDeclaration(
                "model",
                self.name,
                f"has a retrain of type {type(self.retrain).__name__}",
                hint="use varv.Retrain(...)",
            )
        self._check_retention()
        if self.serving is not None:
            require_types(self.name, serving=(self.serving, Serving))
            self.serving.require_task(self.name, self.task)
        if self.labelling is not None:
            require_types(self.name, labelling=(self.labelling, Labelling))
            self.labelling.policy_for(self.name, self.task)
        if self.retrain.benefit is not None and not self.task.has_outcome:
            problem = "retrains on 'benefit', and has no outcome to weigh it by"
            hint = f"leave it out of retrain: the task {self.task.name} has no loss"
            raise InvalidDeclaration("model", self.name, problem, hint=hint)
        self.required()
        unwatched = sorted(self.retrain.alarms - monitor.plan(self.monitors, task=self.task).kinds)
        if unwatched:
            problem = f"retrains on {unwatched[0]!r} alarms, which no monitor raises"
            hint = f"add varv.monitor.{unwatched[0]}() to monitors, or leave it out of retrain"
            raise InvalidDeclaration("model", self.name, problem, hint=hint)

    def required(self) -> tuple[RequirementSpec, ...]:
        """Return what is required of it, with the names of what proves it.

        Raises
        ------
        InvalidDeclaration
            If two requirements share an id, or a proof is none that the model has.
        """
        for one in self.requirements:
            require_types(self.name, requirements=(one, Requirement))
        ids = [one.id for one in self.requirements]
        twice = next((id for id in ids if ids.count(id) > 1), None)
        if twice is not None:
            raise InvalidDeclaration("requirement", twice, "is declared twice", hint="rename one of them")
        given = (self.task, self.gates, self.monitors, self.datasets)
        return tuple(one.spec(*given) for one in self.requirements)

    def _check_retention(self) -> None:
        if self.retention is None:
            return
        require_types(self.name, retention=(self.retention, Retention))
        mature = Duration(0) if self.outcome is None else self.outcome.mature
        self.retention.require_enough(self.name, self.train, self.rollout.plan_for(self.task), mature)

    def _check_group(self) -> None:
        """Check that the column of lists comes with the request, and that a list stays on one arm."""
        group, data = self.task.group, self.requests
        if group is None:
            return
        if group not in data.types():
            hint = f"its columns are {', '.join(list(data.types())[:30])}"
            raise InvalidDeclaration("group", group, f"is no column of dataset {data.name!r}", hint=hint)
        if data.known_when(group) != data.event_time:
            hint = "choose a column that comes with the request"
            raise InvalidDeclaration("group", group, "is only known after the request", hint=hint)
        if self.unit != group:
            problem = f"has the unit {self.unit!r}, and lists by {group!r}"
            hint = f"leave unit out, or write unit={group!r}: a list is answered by one version"
            raise InvalidDeclaration("model", self.name, problem, hint=hint)

    def _check_outcome(self, outcome: Outcome) -> None:
        column, known_at = outcome.column, outcome.known_at
        data = self.requests
        if column not in data.types():
            hint = f"its columns are {', '.join(list(data.types())[:30])}"
            raise InvalidDeclaration("outcome", column, f"is no column of dataset {data.name!r}", hint=hint)
        if known_at not in data.known_at:
            hint = f'declare it on the dataset: known_at={{"{known_at}": ["{column}"]}}'
            raise InvalidDeclaration("outcome", column, f"has no arrival time {known_at!r}", hint=hint)
        if data.known_when(column) != known_at:
            hint = f"use known_at={data.known_when(column)!r}, or list the column there on the dataset"
            raise InvalidDeclaration("outcome", column, f"is not known at {known_at!r}", hint=hint)
        problem, _, hint = self.task.accepts(data.types()[column]).partition("; ")
        if problem:
            raise InvalidDeclaration("outcome", column, problem, hint=hint)
        value = outcome.no_outcome
        if value is not None and self.task.read(pl.Series([value])).null_count():
            problem = f"has no_outcome={value!r}, which is no outcome of this task"
            raise InvalidDeclaration("outcome", column, problem, hint="give a value as the column has it")


def _task(model: str, task: object) -> Task:
    if isinstance(task, str):
        return task_of(task)
    if not isinstance(task, Task):
        hint = "give varv.task.binary() or its like"
        raise InvalidDeclaration("model", model, f"has the task {task!r:.60}", hint=hint)
    return task


def _check_gate(model: str, gate: object, task: Task) -> None:
    if not is_gate(gate):
        hint = "use varv.gate.*, varv.behaviour.*, or a frozen msgspec.Struct with judge(self, judgement)"
        raise InvalidDeclaration("model", model, f"has a gate {gate!r:.60}", hint=hint)
    if isinstance(gate, NeedsTask):
        gate.require_task(task)
    # Raises where the gate's arguments cannot be written down.
    identity_of(gate)


def require_free(feature: str, task: Task) -> None:
    """Check that predictions can be kept with a feature; raise `InvalidDeclaration` if its name is taken."""
    if feature in {"key", "requested_at", "outcome", "known_at", *answer_schema(task)}:
        hint = f'rename the column, or derive it: varv.derived("my_{feature}", pl.col("{feature}"))'
        problem = "has the name of a column that predictions are kept with"
        raise InvalidDeclaration("feature", feature, problem, hint=hint)


def _require_slice(part: Slice, features: FeatureSet) -> None:
    """Check that a slice looks at a feature, since those are kept beside predictions, and can compare it."""
    kind = features.kinds.get(part.column)
    if kind is None:
        hint = f"name one of the features: {', '.join(features.names[:20])}"
        raise InvalidDeclaration("slice", part.label, "looks at no feature of the model", hint=hint)
    if problem := part.misfit(pl.Float64() if kind == "numeric" else pl.String()):
        raise InvalidDeclaration("slice", part.label, problem, hint="compare like with like")

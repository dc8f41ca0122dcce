"""A project: the models, datasets and replays that one file, or a folder of files, declares.

Datasets and feature views may be shared between models: one object is one thing, ingested and computed once.
Two different ones of a name are an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from varv.data import Dataset
from varv.features import FeatureView
from varv.kernel.errors import InvalidDeclaration, NotFound
from varv.project.arguments import require_one_of_each_name
from varv.project.declaration import Model
from varv.project.plan import ModelPlan, plan_of
from varv.project.replay import Replay


@dataclass(frozen=True)
class Project:
    """What is declared together.

    Parameters
    ----------
    name
        The file or folder, for messages.
    models
        In the order of their names.
    replays
        As declared.
    """

    name: str
    models: tuple[Model, ...]
    replays: tuple[Replay, ...] = ()

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """Every dataset that some model reads, each once."""
        return tuple(dict.fromkeys(dataset for model in self.models for dataset in model.datasets))

    def validate(self) -> None:
        """Check everything against the data's columns; called before anything runs.

        Raises
        ------
        InvalidDeclaration
            With the first thing at fault.
        """
        require_one_of_each_name("model", self.models)
        require_one_of_each_name("dataset", [data for model in self.models for data in model.datasets])
        views = [one for model in self.models for one in model.features if isinstance(one, FeatureView)]
        require_one_of_each_name("feature view", views)
        for model in self.models:
            model.validate()
        for view in views:
            for model in self.models:
                if model.serving is not None and model.requests is view.source:
                    model.serving.require_kept(model.name, view.name, (*view.entity, *view.columns))
        for replay in self.replays:
            replay.validate()

    def plans(self) -> tuple[ModelPlan, ...]:
        """Return the plan of every model of a validated project."""
        return tuple(map(plan_of, self.models))

    def replay(self) -> Replay:
        """Return the replay that is declared.

        Raises
        ------
        NotFound
            If there is none.
        InvalidDeclaration
            If there are several.
        """
        if not self.replays:
            hint = "add replay = varv.Replay(model, since=..., train_at=..., until=...)"
            raise NotFound("replay", self.name, "is not declared", hint=hint)
        if len(self.replays) > 1:
            named = ", ".join("+".join(model.name for model in one.models) for one in self.replays)
            hint = f"choose one with FILE:NAME or --model; they are of {named}"
            raise InvalidDeclaration("project", self.name, "declares several replays", hint=hint)
        return self.replays[0]

    def only(self, name: str) -> Project:
        """Return the project with one of its models alone, and the replays of that model.

        Raises
        ------
        NotFound
            If there is no model of that name.
        """
        chosen = tuple(model for model in self.models if model.name == name)
        if not chosen:
            hint = f"the models are {', '.join(model.name for model in self.models)}"
            raise NotFound("model", name[:80], f"is not declared in {self.name}", hint=hint)
        replays = tuple(one.only(chosen[0]) for one in self.replays if chosen[0] in one.models)
        return Project(self.name, chosen, replays)


def project_of(name: str, declared: Iterable[Model | Replay]) -> Project:
    """Return the project of all that was declared; an object that is there twice counts once.

    Raises
    ------
    InvalidDeclaration
        If nothing was declared.
    """
    every = list({id(one): one for one in declared}.values())
    replays = [one for one in every if isinstance(one, Replay)]
    models = [one for one in every if isinstance(one, Model)]
    models += [model for replay in replays for model in replay.models]
    unique = list({id(model): model for model in models}.values())
    if not unique:
        hint = "write late = varv.Model(...)"
        raise InvalidDeclaration("project", name, "declares no model", hint=hint)
    return Project(name, _by_name(unique), tuple(replays))


def _by_name(models: Sequence[Model]) -> tuple[Model, ...]:
    return tuple(sorted(models, key=lambda model: model.name))

"""What `varv replay` does with models, as it is declared: over which stretch of the past, against which other
policies, and with which bad candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import polars as pl

from varv.kernel.clock import DAY
from varv.kernel.errors import InvalidDeclaration
from varv.project.arguments import declared_column, declared_instant, declared_name, listed, require_types
from varv.project.declaration import Model, require_free
from varv.project.policies import REFERENCES, STANDARD, Policy, PolicySearch
from varv.project.price import Cost, price_of


class Plant:
    """A bad candidate that a replay plants on purpose, to see whether the loop catches it; marked as planted
    everywhere.

    The candidate reads one more column, which in the history holds what was only known later, and which
    breaks in production: it arrives empty.

    Parameters
    ----------
    name
        How it is called in the report.
    at
        When it is planted: ISO 8601.
    column
        A column of the requests' dataset that is known only later.
    breaks
        ``"at once"``: it was never there in production. ``"in canary"``: it is there in shadow, and gone from
        the moment that the candidate answers users.
    model
        The name of the model that it is a candidate of; may be left out where one model is replayed.
    """

    def __init__(self, name: str, *, at: str, column: str, breaks: str = "at once", model: str = "") -> None:
        self.model = model
        self.name = declared_name("plant", name)
        self.at = declared_instant("plant", name, at)
        self.column = declared_column("plant", "column", column)
        if breaks not in ("at once", "in canary"):
            raise InvalidDeclaration(
                "plant", name, f"breaks {breaks!r}", hint='write "at once" or "in canary"'
            )
        self.breaks = breaks


class Replay:
    """What `varv replay` does with models: which stretch of the past, and what else is tried on it.

    Parameters
    ----------
    models
        The models whose policies are replayed, over the same past and at the same time.
    since, train_at, until
        The past is fed from `since`; the first versions are trained at `train_at`; the replay ends at
        `until`.
    plants
        Bad candidates to plant.
    references
        Other policies to compare with: those that varv brings, by name, and each ``varv.Policy``.
    seed
        Everything random in the replay depends on it, and nothing else.
    price
        What a training costs, by which ``--regret`` judges policies, as in ``varv.Retrain(cost=...)``; that
        of the model's own retraining by default.
    search
        What ``--search`` tries, a ``varv.PolicySearch``.

    Raises
    ------
    InvalidDeclaration
        If there is no model or one twice, times are out of order, or a plant or reference cannot work.
    """

    def __init__(
        self,
        *models: Model,
        since: str,
        train_at: str,
        until: str,
        plants: Sequence[Plant] = (),
        references: Sequence[str | Policy] = STANDARD,
        seed: int = 0,
        price: Cost | None = None,
        search: PolicySearch | None = None,
    ) -> None:
        if not models:
            raise InvalidDeclaration(
                "replay", "models", "names no model", hint="write varv.Replay(model, ...)"
            )
        for model in models:
            require_types("replay", model=(model, Model))
        self.models = models
        named = self._named
        if len({model.name for model in models}) < len(models):
            raise InvalidDeclaration("replay", named, "names a model twice", hint="name each model once")
        if not isinstance(seed, int) or isinstance(seed, bool) or not abs(seed) < 1 << 63:
            raise InvalidDeclaration(
                "replay", "seed", "is not a whole number", given=repr(seed)[:60], hint="write seed=0"
            )
        self.since, self.train_at, self.until = (
            declared_instant("replay", argument, text)
            for argument, text in (("since", since), ("train_at", train_at), ("until", until))
        )
        if not self.since + DAY <= self.train_at <= self.until - DAY:
            hint = "put since, train_at and until in order, a day apart at least"
            raise InvalidDeclaration("replay", named, "has its times out of order", hint=hint)
        self.plants = self._checked_plants(listed("plants", plants))
        self.policies = dict(REFERENCES)
        self.references = self._checked_references(listed("references", references))
        self.seed = seed
        self.price = None if price is None else price_of(price)
        self.search = search
        if search is not None and not isinstance(search, PolicySearch):
            hint = "give varv.PolicySearch(retrain=[...])"
            raise InvalidDeclaration("replay", named, f"has search={repr(search)[:60]}", hint=hint)
        for policy in () if search is None else search.policies:
            for model in models:
                policy.of(model).check()

    def validate(self) -> None:
        """Check references and plants against the data's columns; the models are checked by their project."""
        for name in self.references:
            for model in self.models:
                self.policies[name].of(model).validate()
        for policy in () if self.search is None else self.search.policies:
            for model in self.models:
                policy.of(model).validate()
        for plant in self.plants:
            data = self.planted_in(plant).requests
            if data.known_when(plant.column) == data.event_time:
                hint = "choose a column that only becomes known later"
                raise InvalidDeclaration(
                    "plant", plant.name, f"reads {plant.column!r}, which is known in time", hint=hint
                )
            dtype = data.types()[plant.column]
            if not (dtype.is_numeric() or dtype == pl.Boolean):
                hint = "choose a column of numbers or truth values"
                raise InvalidDeclaration(
                    "plant", plant.name, f"reads {plant.column!r} of type {dtype}", hint=hint
                )
            require_free(plant.column, self.planted_in(plant).task)

    @property
    def compared(self) -> tuple[Policy, ...]:
        """The policies that the declared one is compared with."""
        return tuple(self.policies[name] for name in self.references)

    def planted_in(self, plant: Plant) -> Model:
        """Return the model that a plant is a candidate of."""
        return next(model for model in self.models if plant.model in ("", model.name))

    def only(self, model: Model) -> Replay:
        """Return the replay of one of its models alone, with the plants of that model."""
        chosen = copy(self)
        chosen.models = (model,)
        chosen.plants = tuple(plant for plant in self.plants if self.planted_in(plant) is model)
        return chosen

    def _checked_references(self, references: tuple[str | Policy, ...]) -> tuple[str, ...]:
        names: list[str] = []
        for one in references:
            name = one.name if isinstance(one, Policy) else one
            if not isinstance(one, Policy) and one not in REFERENCES:
                hint = f"there are {', '.join(REFERENCES)}; or give a varv.Policy"
                problem = f"has no reference policy {repr(one)[:60]}"
                raise InvalidDeclaration("replay", self._named, problem, hint=hint)
            if isinstance(one, Policy):
                if self.policies.setdefault(name, one) is not one:
                    problem, hint = "has two policies of one name", "rename one of them"
                    raise InvalidDeclaration("policy", name, problem, hint=hint)
                for model in self.models:
                    one.of(model).check()
            names.append(name)
        return tuple(dict.fromkeys(names))

    @property
    def _named(self) -> str:
        return ", ".join(model.name for model in self.models)

    def _checked_plants(self, plants: tuple[Plant, ...]) -> tuple[Plant, ...]:
        names = [model.name for model in self.models]
        for plant in plants:
            if not isinstance(plant, Plant):
                hint = "use varv.Plant(...)"
                raise InvalidDeclaration("replay", self._named, f"has a plant {repr(plant)[:60]}", hint=hint)
            if not self.train_at < plant.at < self.until:
                hint = "plant it after the first training and before the end"
                raise InvalidDeclaration("plant", plant.name, "has its time outside of the replay", hint=hint)
            if plant.model not in (names if len(names) > 1 else ("", *names)):
                hint = f"say whose candidate it is, model=one of {', '.join(names)}"
                raise InvalidDeclaration("plant", plant.name, "is of no model of the replay", hint=hint)
        if len({plant.name for plant in plants}) < len(plants):
            raise InvalidDeclaration(
                "replay", self._named, "has two plants of one name", hint="rename one of them"
            )
        return plants

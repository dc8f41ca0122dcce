"""Policies to hold the declared one against: parts of the declaration replaced by others."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol, TypeVar

from varv.kernel.errors import InvalidDeclaration
from varv.project.retrain import Retrain, declared_name
from varv.rollout import Rollout
from varv.training import Train
from varv.training.gates import Gate

DECLARED = "declared"
"""The name of the policy that is declared."""


class Varied(Protocol):
    """What a policy replaces parts of: a declared model."""

    train: Train
    gates: tuple[Gate, ...]
    rollout: Rollout
    retrain: Retrain


M = TypeVar("M", bound=Varied)


class Policy:
    """A variation of the declared policy, to compare it with: what is given replaces that part of every model
    of the replay, and what is left out stays as declared.

    Parameters
    ----------
    name
        How it is called, and its folder.
    retrain, train, rollout, gates
        As of a ``varv.Model``.

    Raises
    ------
    InvalidDeclaration
        If the name cannot be one, or a part is not what it should be.
    """

    def __init__(
        self,
        name: str,
        *,
        retrain: Retrain | None = None,
        train: Train | None = None,
        rollout: Rollout | None = None,
        gates: Sequence[Gate] | None = None,
    ) -> None:
        self.name = declared_name("policy", name)
        if self.name == DECLARED:
            raise InvalidDeclaration("policy", name, "has the name of the declared one", hint="rename it")
        for part, kind in ((retrain, Retrain), (train, Train), (rollout, Rollout)):
            if part is not None and not isinstance(part, kind):
                argument = kind.__name__.lower()
                hint = f"write {argument}=varv.{kind.__name__}(...)"
                problem = f"has {argument}={repr(part)[:60]}"
                raise InvalidDeclaration("policy", name, problem, hint=hint)
        if gates is not None and (isinstance(gates, str) or not isinstance(gates, Sequence)):
            raise InvalidDeclaration("policy", name, "has gates that are no list", hint="write gates=[...]")
        self.retrain = retrain
        self.train = train
        self.rollout = rollout
        self.gates = None if gates is None else tuple(gates)

    @property
    def is_standard(self) -> bool:
        """Whether varv brings it, so that its name says all of it."""
        return REFERENCES.get(self.name) is self

    def of(self, model: M) -> M:
        """Return a model under this policy."""
        chosen = copy.copy(model)
        for argument in ("retrain", "train", "rollout", "gates"):
            part = getattr(self, argument)
            if part is not None:
                setattr(chosen, argument, part)
        return chosen


class AtOnce(Policy):
    """A policy that replaces at once, with nothing to pass.

    Without gates and a shadow a refit would put into service what nobody has judged, so what was scored on
    the one held-out stretch is what serves.
    """

    def __init__(self, name: str, *on: str) -> None:
        super().__init__(
            name, retrain=Retrain(on=list(on), cooldown="1d"), rollout=Rollout.immediate(), gates=()
        )

    def of(self, model: M) -> M:
        """Return a model under this policy."""
        chosen = super().of(model)
        chosen.train = copy.copy(model.train)
        chosen.train.origins, chosen.train.refit = 1, False
        return chosen


REFERENCES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        AtOnce("never"),
        AtOnce("monthly", "schedule:30d"),
        AtOnce("weekly", "schedule:7d"),
        *(AtOnce(f"every-{weeks}-weeks", f"schedule:{7 * weeks}d") for weeks in (2, 4, 8)),
        *(AtOnce(f"volume-{share}", f"volume:{share}%") for share in (25, 50)),
    )
}
"""Policies that varv brings: retrain on all data so far by the calendar or by its growth, replace at once."""

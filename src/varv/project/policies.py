"""Policies to hold the declared one against: parts of the declaration replaced by others."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from varv.kernel.errors import InvalidDeclaration
from varv.project.arguments import declared_name
from varv.project.retrain import Retrain
from varv.rollout import Rollout
from varv.training import Train
from varv.training.gates import Gate

DECLARED = "declared"
"""The name of the policy that is declared."""
MOST_TRIED = 200
"""Combinations of a search."""


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

    @property
    def text(self) -> str:
        """What it replaces, as arguments of a ``varv.Model``."""
        parts = {"retrain": self.retrain, "train": self.train, "rollout": self.rollout}
        return ",\n".join(f"{argument}={part.text}" for argument, part in parts.items() if part is not None)

    def of(self, model: M) -> M:
        """Return a model under this policy."""
        chosen = copy.copy(model)
        for argument in ("retrain", "train", "rollout", "gates"):
            part = getattr(self, argument)
            if part is not None:
                setattr(chosen, argument, part)
        return chosen


class PolicySearch:
    """A grid of policies that `varv replay --search` lives through: every combination of what is listed; a
    part that is left out stays as declared.

    Parameters
    ----------
    retrain, train, rollout
        What is tried of each.

    Raises
    ------
    InvalidDeclaration
        If nothing is listed, or more than 200 combinations are.
    """

    def __init__(
        self,
        *,
        retrain: Sequence[Retrain] = (),
        train: Sequence[Train] = (),
        rollout: Sequence[Rollout] = (),
    ) -> None:
        lists = {"retrain": retrain, "train": train, "rollout": rollout}
        for argument, tried in lists.items():
            if isinstance(tried, str) or not isinstance(tried, Sequence):
                hint = f"write {argument}=[...]"
                raise InvalidDeclaration("search", argument, "is not a list", hint=hint)
        n = math.prod(max(len(tried), 1) for tried in lists.values())
        if not any(lists.values()) or n > MOST_TRIED:
            hint = f"list what to try, at most {MOST_TRIED} combinations: retrain=[varv.Retrain(...), ...]"
            problem = f"tries {n} combinations" if n > 1 else "tries nothing"
            raise InvalidDeclaration("search", "policies", problem, hint=hint)
        places = [range(1, len(tried) + 1) or [0] for tried in lists.values()]
        self.policies: tuple[Policy, ...] = tuple(
            Policy(
                "-".join(f"{part}-{place}" for part, place in zip(lists, chosen, strict=True) if place),
                retrain=retrain[chosen[0] - 1] if chosen[0] else None,
                train=train[chosen[1] - 1] if chosen[1] else None,
                rollout=rollout[chosen[2] - 1] if chosen[2] else None,
            )
            for chosen in itertools.product(*places)
        )
        """Every combination, named by the places in the lists."""


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
STANDARD = ("never", "monthly", "weekly")
"""Those that are compared with where a replay names none."""

"""A study as its author declares it: which parameters of which steps, from what space, and what is judged.

study = varv.Tune(
"depths",
score.bind(fit.bind(rows.bind(), depth=3, rate=0.1)),
space={"depth": (2, 10), "rate": (0.01, 0.3)},
direction="maximize",
)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from varv.kernel.codec import Digest, digest_of
from varv.kernel.errors import InvalidDeclaration, VarvError
from varv.kernel.ids import checked_name
from varv.pipelines import Node, Pipeline, Steps
from varv.pipelines.space import OneOf, Space, declared_space
from varv.pipelines.values import accepts, shown

Direction = Literal["minimize", "maximize"]
DIRECTIONS, SAMPLERS, PRUNERS = ("minimize", "maximize"), ("tpe", "random"), (None, "median")
MOST_TRIALS = 10_000
MOST_HITS = 50


class Tune(Steps):
    """A study of the parameters of a pipeline.

    Parameters
    ----------
    name
        Of the study, and of the experiment that its runs are in.
    of
        What is judged: a pipeline, or its last step. That step returns the number.
    space
        For each parameter a list of values, or a pair ``(low, high)`` of numbers, as `varv.search` has it. A
        parameter is named ``step.parameter``, or by itself where only one step has it.
    trials
        How many there are in all. The declared values are the first, if the space holds them.
    direction
        ``"minimize"`` or ``"maximize"``.
    sampler
        ``"tpe"``, Optuna's tree-structured Parzen estimator, or ``"random"``.
    pruner
        ``"median"`` stops a trial whose reported value is worse than the median of those before it at the
        same step; None stops none.
    seed
        Of the sampler; equal seeds ask equal trials, however often the study is interrupted.

    Raises
    ------
    InvalidDeclaration
        If a parameter does not exist or cannot have the values of its space, or an option is not allowed.
    """

    def __init__(
        self,
        name: str,
        of: Pipeline | Node,
        *,
        space: Mapping[str, Sequence[Any]],
        trials: int = 30,
        direction: Direction = "minimize",
        sampler: Literal["tpe", "random"] = "tpe",
        pruner: Literal["median"] | None = None,
        seed: int = 0,
    ) -> None:
        self.name = checked_name("study", name)
        if not isinstance(of, Pipeline | Node):
            hint = "give a varv.Pipeline, or what step.bind(...) returned"
            raise InvalidDeclaration("study", name, "judges no pipeline", hint=hint)
        self.pipeline = of if isinstance(of, Pipeline) else Pipeline(name, of)
        self.objective = self.pipeline.nodes[-1]
        if not accepts(float, self.objective.step.returns):
            problem = f"is judged by a {shown(self.objective.step.returns)}"
            hint = "let the last step return a number"
            raise InvalidDeclaration("study", name, problem, hint=hint)
        if isinstance(trials, bool) or not isinstance(trials, int) or not 1 <= trials <= MOST_TRIALS:
            hint = f"write a whole number from 1 to {MOST_TRIALS}"
            raise InvalidDeclaration("study", "trials", "is not allowed", given=repr(trials)[:60], hint=hint)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InvalidDeclaration("study", "seed", "is not a whole number", given=repr(seed)[:60])
        _require_one_of("direction", direction, DIRECTIONS)
        _require_one_of("sampler", sampler, SAMPLERS)
        _require_one_of("pruner", pruner, PRUNERS)
        self.trials, self.direction, self.seed = trials, direction, seed
        self.sampler, self.pruner = sampler, pruner
        self.space = self._named(declared_space("study", space))
        self._require_fitting()

    @property
    def digest(self) -> Digest:
        """What the study is; how many trials it has is not part of it, so that it can have more."""
        told = (self.pipeline.digest, self.space, self.direction, self.sampler, self.pruner, self.seed)
        return digest_of(told)

    @property
    def first(self) -> dict[str, Any] | None:
        """The declared values, if the space holds them."""
        declared = {name: self.pipeline.params[name] for name in self.space}
        return declared if all(self.space[name].holds(value) for name, value in declared.items()) else None

    def _named(self, space: Space) -> Space:
        known, found = self.pipeline.params, Space()
        for name, values in space.items():
            fitting = [one for one in known if name in (one, one.partition(".")[2])]
            if len(fitting) != 1:
                problem = "is a parameter of several steps" if fitting else "is no parameter of its steps"
                hint = f"the parameters are {', '.join(fitting or known) or 'none'}"
                raise InvalidDeclaration("study", str(name)[:60], problem, hint=hint)
            found[fitting[0]] = values
        return found

    def _require_fitting(self) -> None:
        for name, values in self.space.items():
            for value in values.values if isinstance(values, OneOf) else (values.low, values.high):
                try:
                    self.pipeline.with_params({name: value})
                except VarvError as error:
                    hint = "give values of the parameter's type"
                    raise InvalidDeclaration("study", name, error.problem, hint=hint) from None


def _require_one_of(name: str, given: object, allowed: Sequence[object]) -> None:
    if given not in allowed:
        hint = f"choose one of {', '.join(map(repr, allowed))}"
        raise InvalidDeclaration("study", name, "does not exist", given=repr(given)[:60], hint=hint)


def best_of(direction: Direction, values: Sequence[float]) -> float:
    """Return the best of some values; NaN of none."""
    if not values:
        return math.nan
    return min(values) if direction == "minimize" else max(values)

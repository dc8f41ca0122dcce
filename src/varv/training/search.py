"""A declared search over the parameters of a training: which trials there are, and which one is best.

Pure: the same search of the same parameters always draws the same trials. Each is fitted on rows before an
inner stretch that comes before everything that judges the candidate (`loop.fits`), so the judged stretches
take no part in the choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import msgspec
import numpy as np

from varv.kernel.codec import canonical
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.ids import derived_seed
from varv.pipelines.space import Between, OneOf, declared_space
from varv.registry import Trial
from varv.tasks import Task

MOST_TRIALS = 1000
_DRAWS_A_TRIAL = 100


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """A search over parameters; see `search`."""

    space: dict[str, Between | OneOf]
    trials: int
    metric: str | None
    seed: int

    def draws(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        """Return the parameters of every trial: the declared ones first, then draws, none of them twice.

        There are fewer than `trials` where the space holds fewer.
        """
        rng = np.random.default_rng(derived_seed(self.seed, "search"))
        found = {canonical(dict(params)): dict(params)}
        choices = [one.values for one in self.space.values() if isinstance(one, OneOf)]
        if len(choices) == len(self.space) and math.prod(map(len, choices)) < self.trials:
            for values in product(*choices):
                drawn = {**params, **dict(zip(self.space, values, strict=True))}
                found.setdefault(canonical(drawn), drawn)
            return tuple(found.values())
        for _ in range(_DRAWS_A_TRIAL * self.trials):
            if len(found) == self.trials:
                break
            drawn = {**params, **{name: one.draw(rng) for name, one in self.space.items()}}
            found.setdefault(canonical(drawn), drawn)
        return tuple(found.values())

    def loss(
        self, task: Task, outcome: np.ndarray, predicted: np.ndarray, groups: np.ndarray | None
    ) -> float | None:
        """Return what a trial is judged by over its held-out rows, less being better; None where the rows do
        not determine it.
        """
        found = _measured(task, self.metric or str(task.default_loss), outcome, predicted, groups)
        return round(found, 9) if math.isfinite(found) else None

    def require_task(self, task: Task) -> None:
        """Check that the task has what the trials are to be judged by.

        Raises
        ------
        InvalidDeclaration
            If it has no such loss or metric.
        """
        metrics = [name for name, one in task.metrics.items() if one.higher_is_better is not None]
        known = [*task.losses, *metrics]
        if (self.metric or task.default_loss) not in known:
            hint = f"choose one of {', '.join(known)}" if known else "a task without outcomes has no search"
            raise InvalidDeclaration(
                "search", "metric", f"has no measure {self.metric or 'by default'}", hint=hint
            )


def search(
    space: Mapping[str, Sequence[Any]],
    *,
    trials: int = 12,
    metric: str | None = None,
    seed: int = 0,
) -> Search:
    """Declare a search over parameters of a training function.

    Parameters
    ----------
    space
        For each parameter a list of values, or a pair ``(low, high)`` of numbers to draw between: whole
        numbers if both are, and on a logarithmic scale if both are positive and a factor of ten apart.
    trials
        How many sets of parameters are fitted in all; the declared ``params`` are the first.
    metric
        A loss or metric of the task by its name; its default loss unless said otherwise.
    seed
        Of the draws.

    Raises
    ------
    InvalidDeclaration
        If the space is empty or not understood, or there are too few or too many trials.
    """
    drawn_from = declared_space("search", space)
    if isinstance(trials, bool) or not isinstance(trials, int) or not 2 <= trials <= MOST_TRIALS:
        hint = f"write a whole number from 2 to {MOST_TRIALS}; each costs a fit"
        raise InvalidDeclaration("search", "trials", "is not allowed", given=repr(trials)[:60], hint=hint)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InvalidDeclaration("search", "seed", "is not a whole number", given=repr(seed)[:60])
    return Search(
        space=drawn_from,
        trials=trials,
        metric=metric,
        seed=seed,
    )


def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the least loss, the first of equals; one without a loss is the last choice."""
    return min(trials, key=lambda trial: math.inf if trial.loss is None else trial.loss)


def _measured(
    task: Task, name: str, outcome: np.ndarray, predicted: np.ndarray, groups: np.ndarray | None
) -> float:
    if name in task.losses:
        rows = task.losses[name].exact(outcome, predicted, groups)
        return float(rows.mean()) if rows.size else math.nan
    metric = task.metrics[name]
    value = metric.value(outcome, predicted, groups)
    return -value if metric.higher_is_better else value

"""What a user declares that a model predicts: ``task.binary()``, ``task.multiclass(classes=[...])``, ...

Every constructor checks its arguments; what follows from a task is in the module of its name beside this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from varv.tasks.loading import task_of
from varv.tasks.model import Task, TaskSpec


def binary() -> Task:
    """Declare that the outcome is 0 or 1, and a prediction the probability of 1."""
    return task_of("binary")


def multiclass(*, classes: Sequence[str | int]) -> Task:
    """Declare that the outcome is one of several classes, and a prediction the probability of each.

    Parameters
    ----------
    classes
        All of them, as the outcome's column holds them: texts or whole numbers.

    Raises
    ------
    InvalidDeclaration
        If they are fewer than two, not of one kind, or one is there twice.
    """
    return _made("multiclass", classes=classes)


def regression(*, range: tuple[float, float] | None = None, loss: str = "absolute") -> Task:
    """Declare that the outcome is a number, and a prediction one of its kind.

    Parameters
    ----------
    range
        The lowest and the highest outcome that matter. What lies beyond counts as the edge wherever losses
        are compared: an unbounded loss can be bet on by nobody. Where it is left out, the first check of the
        data proposes one.
    loss
        ``"absolute"`` for predictions that are medians, ``"squared"`` for means.

    Raises
    ------
    InvalidDeclaration
        If the range is not two numbers in order, or there is no such loss.
    """
    return _made("regression", range=range, loss=loss)


def quantiles(*, levels: Sequence[float], range: tuple[float, float] | None = None) -> Task:
    """Declare that the outcome is a number, and a prediction a quantile of it for each level.

    Parameters
    ----------
    levels
        Probabilities between 0 and 1 that grow, such as .1, .5 and .9. The one nearest to .5 is the
        prediction in one number, the first and the last its interval.
    range
        As in `regression`.

    Raises
    ------
    InvalidDeclaration
        If the levels do not grow or do not lie between 0 and 1, or the range is not two numbers in order.
    """
    return _made("quantiles", levels=levels, range=range)


def ranking(*, group: str, at: int = 10) -> Task:
    """Declare that the outcome is how relevant a row was, and a prediction the score that orders its list.

    Parameters
    ----------
    group
        The request column that names the list.
    at
        Places that count, from the top.

    Raises
    ------
    InvalidDeclaration
        If the group is no name, or there are no such places.
    """
    return _made("ranking", group=group, at=at)


def score() -> Task:
    """Declare that a prediction is a number without a truth that it could be compared with."""
    return task_of("score")


def _made(name: str, **options: Any) -> Task:
    return task_of(TaskSpec(name, options))

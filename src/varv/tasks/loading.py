"""Finding the task that a spec names: ours, and those that other packages bring.

A package brings a task by an entry point of the group ``varv.tasks``, as `kernel.plugins` has it; ours are
listed here.
"""

from __future__ import annotations

import inspect

from varv.kernel.errors import InvalidDeclaration, NotFound
from varv.kernel.plugins import Plugins
from varv.tasks.model import Task, TaskSpec

GROUP = "varv.tasks"
BUILT_IN = {
    "binary": "varv.tasks.binary:Binary",
    "multiclass": "varv.tasks.multiclass:Multiclass",
    "quantiles": "varv.tasks.quantiles:Quantiles",
    "ranking": "varv.tasks.ranking:Ranking",
    "regression": "varv.tasks.regression:Regression",
    "score": "varv.tasks.score:Score",
}


def task_of(spec: TaskSpec | str) -> Task:
    """Return the task that `spec` describes, or the one of that name without options.

    Raises
    ------
    InvalidDeclaration
        If there is no task of that name, or it does not take the options.
    FailedPrecondition
        If a package brings something under that name that is no task, or cannot be imported.

    Examples
    --------
    >>> task_of("binary").outputs
    ('score',)
    """
    wanted = TaskSpec(spec) if isinstance(spec, str) else spec
    try:
        cls = _TASKS.load(wanted.name)
    except NotFound as error:
        raise InvalidDeclaration("task", error.name, error.problem, hint=error.hint) from None
    taken = inspect.signature(cls)
    try:
        taken.bind(**wanted.options)
    except TypeError as error:
        options = ", ".join(taken.parameters) or "no options"
        raise InvalidDeclaration(
            "task", wanted.name, f"does not fit its options: {error}", hint=f"it takes {options}"
        ) from None
    return cls(**wanted.options)


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks there are, ours and others', sorted."""
    return _TASKS.names()


def _is_task(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Task)


_TASKS: Plugins[type[Task]] = Plugins(GROUP, "task", BUILT_IN, _is_task)

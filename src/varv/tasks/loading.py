"""Finding the task that a spec names: ours, and those that other packages bring.

A package brings a task by an entry point of the group ``varv.tasks``. Ours are declared there too, and listed
here once more, since a source checkout may be used without being installed; a test holds the two equal.
Classes are loaded when they are first asked for.
"""

from __future__ import annotations

import functools
import inspect
from importlib.metadata import EntryPoint, entry_points

from varv.kernel.errors import FailedPrecondition, InvalidDeclaration
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
    cls = _class_of(wanted.name)
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
    return tuple(sorted(_declared()))


def _declared() -> dict[str, EntryPoint]:
    others = {point.name: point for point in entry_points(group=GROUP)}
    # Nobody else's task may take the name of one of ours: ledgers mean ours by it.
    ours = {name: EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}
    return {**others, **ours}


@functools.cache
def _class_of(name: str) -> type[Task]:
    points = _declared()
    if name not in points:
        hint = f"the tasks are {', '.join(sorted(points))}; install the package that brings it"
        raise InvalidDeclaration("task", name[:80], "does not exist", hint=hint)
    try:
        cls = points[name].load()
    except (ImportError, AttributeError) as error:
        hint = "install the package that brings it again"
        raise FailedPrecondition(
            "task", name, "cannot be loaded", value=points[name].value, why=str(error)[:200], hint=hint
        ) from None
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        hint = "let its entry point name a subclass of varv.tasks.Task"
        raise FailedPrecondition("task", name, "is no task", value=points[name].value, hint=hint)
    return cls

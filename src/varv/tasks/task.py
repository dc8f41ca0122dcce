"""What a user declares that a model predicts: ``task.binary()``, ``task.multiclass(classes=[...])``, ...

Every constructor checks its arguments; what follows from a task is in the module of that name beside this
one.
"""

from __future__ import annotations

from varv.tasks.loading import task_of
from varv.tasks.model import Task


def binary() -> Task:
    """Declare that the outcome is 0 or 1, and a prediction the probability of 1."""
    return task_of("binary")

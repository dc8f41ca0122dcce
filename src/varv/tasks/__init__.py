"""Tasks: what a model predicts, as one object that everything else asks.

`model` holds the interface, `measures` losses, metrics and signals, `task` what users declare, `loading` the
way from a spec to its task; a file for each task holds what follows from it. Nothing outside asks which task
it has.
"""

from varv.tasks.loading import task_names, task_of
from varv.tasks.measures import Array, Loss, Metric, SignalSpec
from varv.tasks.model import Curve, CurvePoint, OutcomeRule, OutputTensor, Task, TaskSpec

__all__ = [
    "Array",
    "Curve",
    "CurvePoint",
    "Loss",
    "Metric",
    "OutcomeRule",
    "OutputTensor",
    "SignalSpec",
    "Task",
    "TaskSpec",
    "task_names",
    "task_of",
]

"""Tasks: what a model predicts, as one object that everything else asks.

`model` holds the nouns and the interface, `task` what users declare, `loading` the way from a spec to its
task; a file for each task holds what follows from it. Nothing outside asks which task it has.
"""

from varv.tasks.loading import task_names, task_of
from varv.tasks.model import (
    Array,
    Curve,
    CurvePoint,
    Loss,
    Metric,
    OutcomeRule,
    OutputTensor,
    SignalSpec,
    Task,
    TaskSpec,
)

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

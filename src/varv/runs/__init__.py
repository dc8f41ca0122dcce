"""Runs: turning rows into a model that can be served, and being able to say how.

A declaration says what to train (`Train`); a training set is a matrix with the signature that made it
(`Signature`, `TrainingSet`); `pipelines` runs steps whose results are found by content, so that a crash or a
repeat costs nothing; `packaging` turns the estimator into a package of ONNX and JSON that needs no
unpickling. Which version serves is decided above, in `registry` and `rollout`.
"""

from varv.runs.closure import Closure, code_closure
from varv.runs.environment import Environment, environment
from varv.runs.model import Train, TrainingSet, UserCode
from varv.runs.packaging import Package, build_package, open_package
from varv.runs.pipelines import (
    Input,
    Pipeline,
    PipelineResult,
    PipelineStep,
    StepCache,
    StepResult,
    cache_flaws,
)
from varv.runs.signature import Column, Signature, signature_of

__all__ = [
    "Closure",
    "Column",
    "Environment",
    "Input",
    "Package",
    "Pipeline",
    "PipelineResult",
    "PipelineStep",
    "Signature",
    "StepCache",
    "StepResult",
    "Train",
    "TrainingSet",
    "UserCode",
    "build_package",
    "cache_flaws",
    "code_closure",
    "environment",
    "open_package",
    "signature_of",
]

"""Training: turning rows into a model that can be served, and being able to say how.

A declaration says what to train (`Train`); `pipelines` runs steps whose results are found by content, so that
a crash or a repeat costs nothing; `packaging` turns the estimator into a package that needs no unpickling;
`gates` say what a candidate must not show, `gate` and `behaviour` are how they are declared. Which version
serves is decided above, in `loop` and `rollout`.
"""

from varv.training.closure import Closure, code_closure
from varv.training.fit import FitInput, fit_package
from varv.training.imported import Foreign, ImportInput, foreign_of, read_foreign
from varv.training.packaging import build_package
from varv.training.pipelines import (
    Input,
    Pipeline,
    PipelineResult,
    PipelineStep,
    StepCache,
    StepResult,
    cache_flaws,
)
from varv.training.ports import DirectFits, FitOf, Fitter
from varv.training.previous import Previous
from varv.training.recipe import Train, incremental
from varv.training.search import search
from varv.training.training_set import Packaged, TrainingSet, packaged

__all__ = [
    "Closure",
    "DirectFits",
    "FitInput",
    "FitOf",
    "Fitter",
    "Foreign",
    "ImportInput",
    "Input",
    "Packaged",
    "Pipeline",
    "PipelineResult",
    "PipelineStep",
    "Previous",
    "StepCache",
    "StepResult",
    "Train",
    "TrainingSet",
    "build_package",
    "cache_flaws",
    "code_closure",
    "fit_package",
    "foreign_of",
    "incremental",
    "packaged",
    "read_foreign",
    "search",
]

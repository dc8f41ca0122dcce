"""Training: turning rows into a model that can be served, and being able to say how.

A declaration says what to train (`Train`); `packaging` turns the estimator into a package that needs no
unpickling; `gates` say what a candidate must not show, `gate` and `behaviour` are how they are declared.
Which version serves is decided above, in `loop` and `rollout`; the steps of a training run as any pipeline's
(`varv.pipelines`).
"""

from varv.training.fit import FitInput, fit_package
from varv.training.imported import Foreign, ImportInput, foreign_of, read_foreign
from varv.training.packaging import build_package
from varv.training.ports import DirectFits, FitOf, Fitter
from varv.training.previous import Previous
from varv.training.recipe import Train, incremental
from varv.training.search import search
from varv.training.training_set import Packaged, TrainingSet, packaged
from varv.training.weights import InversePropensity, inverse_propensity

__all__ = [
    "DirectFits",
    "FitInput",
    "FitOf",
    "Fitter",
    "Foreign",
    "ImportInput",
    "InversePropensity",
    "Packaged",
    "Previous",
    "Train",
    "TrainingSet",
    "build_package",
    "fit_package",
    "foreign_of",
    "incremental",
    "inverse_propensity",
    "packaged",
    "read_foreign",
    "search",
]

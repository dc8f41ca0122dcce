"""What varv knows of the estimators of each library: how they are fed, asked, and written down.

`packaging` asks `family_of` and never a library. A family imports its library only when it is asked to
write one of its estimators.
"""

from typing import Any

from varv.training.estimators.family import Family, NoForm
from varv.training.estimators.lightgbm import LightGbm
from varv.training.estimators.onnx_model import OnnxModel
from varv.training.estimators.plain import Plain, has_state, plain_files
from varv.training.estimators.scikit_learn import ScikitLearn
from varv.training.estimators.several import Several
from varv.training.estimators.torch import Torch
from varv.training.estimators.xgboost import XgBoost

_ONE: tuple[Family, ...] = (LightGbm(), XgBoost(), ScikitLearn(), Torch(), OnnxModel(), Plain())
"""Boosters first: their wrappers derive from scikit-learn's classes."""
_FAMILIES = (Several(_ONE), *_ONE)


def family_of(estimator: Any) -> Family:
    """Return the family of an estimator: that of its library, or of classes of the author's own."""
    return next(family for family in _FAMILIES if family.owns(estimator))


__all__ = ["Family", "NoForm", "family_of", "has_state", "plain_files"]

"""What varv knows of the estimators of each library: how they are fed, asked, and written down.

`packaging` asks `family_of` and never a library. A family imports its library only when it is asked to
write one of its estimators. Other packages bring families by the entry point group ``varv.estimators``; they
are asked before ours, since theirs may derive from a library's classes that ours would own.
"""

from functools import cache
from typing import Any

from varv.kernel.plugins import Plugins
from varv.training.estimators.family import Family, NoForm
from varv.training.estimators.lightgbm import LightGbm
from varv.training.estimators.onnx_model import OnnxModel
from varv.training.estimators.plain import Plain, has_state, plain_files
from varv.training.estimators.remote import Remote
from varv.training.estimators.scikit_learn import ScikitLearn
from varv.training.estimators.several import Several
from varv.training.estimators.torch import Torch
from varv.training.estimators.transformers import Transformers, TransformersFiles
from varv.training.estimators.xgboost import XgBoost

GROUP = "varv.estimators"
_OURS: tuple[Family, ...] = (
    LightGbm(),
    XgBoost(),
    ScikitLearn(),
    Transformers(),
    Torch(),
    OnnxModel(),
    Remote(),
    Plain(),
)
"""Boosters first: their wrappers derive from scikit-learn's classes."""


def family_of(estimator: Any) -> Family:
    """Return the family of an estimator: that of its library, or of classes of the author's own.

    Raises
    ------
    FailedPrecondition
        If a package brings a family that cannot be loaded.
    """
    return next(family for family in _families() if family.owns(estimator))


@cache
def _families() -> tuple[Family, ...]:
    others: Plugins[type[Family]] = Plugins(GROUP, "family", {}, _is_family)
    one = (*(others.load(name)() for name in others.names()), *_OURS)
    return (Several(one), *one)


def _is_family(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Family)


__all__ = ["GROUP", "Family", "NoForm", "TransformersFiles", "family_of", "has_state", "plain_files"]

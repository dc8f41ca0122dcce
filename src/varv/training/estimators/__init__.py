"""What varv knows of the estimators of each library: how they are fed, asked, and written down.

`packaging` asks `family_of` and never a library. A family imports its library only when it is asked to
write one of its estimators.
"""

from typing import Any

from varv.training.estimators.family import Family, NoForm
from varv.training.estimators.lightgbm import LightGbm
from varv.training.estimators.scikit_learn import ScikitLearn
from varv.training.estimators.xgboost import XgBoost

_FAMILIES: tuple[Family, ...] = (LightGbm(), XgBoost(), ScikitLearn())
"""Boosters first: their wrappers derive from scikit-learn's classes."""


class _Unknown(Family):
    """Whatever no other family owns."""

    def owns(self, estimator: Any) -> bool:
        """Own everything."""
        return True


def family_of(estimator: Any) -> Family:
    """Return the family of an estimator; one that knows nothing if no other owns it."""
    return next((family for family in _FAMILIES if family.owns(estimator)), _Unknown())


__all__ = ["Family", "NoForm", "family_of"]

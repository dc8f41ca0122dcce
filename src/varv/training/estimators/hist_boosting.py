"""scikit-learn's histogram gradient boosting as an ensemble of trees.

It compares float64 numbers with ``<=`` and adds leaves to a baseline, one tree an output and iteration.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from varv.training.estimators.family import NoForm
from varv.training.estimators.trees import Ensemble, Link, Tree

_LINKS: dict[str, Link] = {
    "HalfBinomialLoss": "sigmoid",
    "HalfMultinomialLoss": "softmax",
    "HalfSquaredError": "identity",
    "AbsoluteError": "identity",
    "PinballLoss": "identity",
    "HalfPoissonLoss": "exp",
    "HalfGammaLoss": "exp",
}


def is_hist_boosting(estimator: Any) -> bool:
    """Whether an estimator is a `HistGradientBoostingClassifier` or `HistGradientBoostingRegressor`."""
    library = (cls for cls in type(estimator).__mro__ if cls.__module__.startswith("sklearn."))
    return any(cls.__name__ == "BaseHistGradientBoosting" for cls in library)


def ensemble_of(estimator: Any) -> Ensemble:
    """Return the trees of a fitted estimator.

    Raises
    ------
    NoForm
        If it splits on native categories, or has a loss of its own.
    """
    losses = [cls.__name__ for cls in type(estimator._loss).__mro__]
    link = next((_LINKS[name] for name in losses if name in _LINKS), None)
    if link is None:
        raise NoForm(f"has a loss {losses[0]}, whose link is not known")
    predictors = [
        (target, predictor.nodes) for stage in estimator._predictors for target, predictor in enumerate(stage)
    ]
    if any(nodes["is_categorical"].any() for _, nodes in predictors):
        raise NoForm(
            "splits on native categories; leave categorical_features unset: categories arrive as codes"
        )
    return Ensemble(
        trees=tuple(_tree(nodes, target) for target, nodes in predictors),
        base=np.ravel(estimator._baseline_prediction).astype(np.float64),
        n_features=int(estimator.n_features_in_),
        link=link,
    )


def _tree(nodes: np.ndarray, target: int) -> Tree:
    is_leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        target=target,
        is_leaf=is_leaf,
        feature=np.where(is_leaf, 0, nodes["feature_idx"]),
        threshold=np.where(is_leaf, 0.0, nodes["num_threshold"]),
        left=np.where(is_leaf, 0, nodes["left"]).astype(np.int64),
        right=np.where(is_leaf, 0, nodes["right"]).astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"].astype(np.float64),
        categories={},
    )

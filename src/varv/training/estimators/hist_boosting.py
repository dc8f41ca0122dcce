"""scikit-learn's histogram gradient boosting as an ensemble of trees.

It compares float64 numbers with ``<=`` and adds leaves to a baseline, one tree an output and iteration. A
category that was never seen goes where a missing one goes.
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


def texts_of(estimator: Any) -> dict[str, tuple[str, ...]]:
    """Return the categories of each column of texts that an estimator was fitted on, by the column's name."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None or estimator._preprocessor is None:
        return {}
    texts = {}
    for column, categories in _native_categories(estimator).items():
        if categories.dtype.kind in "OUT":
            texts[str(names[column])] = tuple(map(str, categories))
    return texts


def ensemble_of(estimator: Any) -> Ensemble:
    """Return the trees of a fitted estimator.

    Their features are in the order of its inputs; a text is its place among the categories of `texts_of`.

    Raises
    ------
    NoForm
        If it has a loss of its own, or splits on categories that are numbers but not whole ones.
    """
    losses = [cls.__name__ for cls in type(estimator._loss).__mro__]
    link = next((_LINKS[name] for name in losses if name in _LINKS), None)
    if link is None:
        raise NoForm(f"has a loss {losses[0]}, whose link is not known")
    categories = {} if estimator._preprocessor is None else _native_categories(estimator)
    order = _order(estimator)
    trees = [
        _tree(predictor, target, order, categories)
        for stage in estimator._predictors
        for target, predictor in enumerate(stage)
    ]
    return Ensemble(
        trees=tuple(trees),
        base=np.ravel(estimator._baseline_prediction).astype(np.float64),
        n_features=int(estimator.n_features_in_),
        link=link,
        rounding="missing",
    )


def _order(estimator: Any) -> np.ndarray:
    """Return the input that each feature of the trees is: those that are categories come first."""
    if estimator._preprocessor is None:
        return np.arange(estimator.n_features_in_)
    categorical = np.asarray(estimator.is_categorical_)
    return np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])


def _native_categories(estimator: Any) -> dict[int, np.ndarray]:
    """Return the categories of each input that is one, in the order of their codes, missing ones left out."""
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    inputs = np.flatnonzero(np.asarray(estimator.is_categorical_))
    return {
        int(column): categories[categories == categories]
        for column, categories in zip(inputs, encoder.categories_, strict=True)
    }


def _tree(predictor: Any, target: int, order: np.ndarray, native: dict[int, np.ndarray]) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    tree = Tree(
        target=target,
        is_leaf=is_leaf,
        feature=np.where(is_leaf, 0, order[np.where(is_leaf, 0, nodes["feature_idx"])]),
        threshold=np.where(is_leaf, 0.0, nodes["num_threshold"]),
        left=np.where(is_leaf, 0, nodes["left"]).astype(np.int64),
        right=np.where(is_leaf, 0, nodes["right"]).astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"].astype(np.float64),
        categories={},
    )
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~is_leaf):
        bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        categories = native[int(tree.feature[node])]
        goes_left = np.array([bool(bits[code // 32] >> (code % 32) & 1) for code in range(len(categories))])
        values = _values(categories)
        if tree.missing_left[node]:
            # A category that is not known goes where a missing one goes, so those that go right are listed.
            tree.left[node], tree.right[node] = tree.right[node], tree.left[node]
            tree.missing_left[node] = False
            goes_left = ~goes_left
        tree.categories[int(node)] = tuple(values[goes_left].tolist())
    return tree


def _values(categories: np.ndarray) -> np.ndarray:
    """Return the numbers that stand for categories: themselves, or their codes if they are texts."""
    if categories.dtype.kind in "OUT":
        return np.arange(len(categories), dtype=np.float64)
    values = categories.astype(np.float64)
    if (values != np.floor(values)).any():
        raise NoForm("splits on categories that are no whole numbers")
    return values

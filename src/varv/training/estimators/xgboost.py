"""Models of XGBoost, from its own JSON: boosters, and what its scikit-learn interface wraps around one.

XGBoost compares float32 numbers with ``<``, adds in float32, and sends a missing value the way that was
learned. Categories that are listed at a node go right. Its base score is stated as an output, so the link is
undone first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from varv.kernel.errors import InvalidInput
from varv.registry import Signature
from varv.registry.signature import Form
from varv.tasks import Task
from varv.training.estimators.family import (
    Asked,
    Family,
    NoForm,
    disguised,
    matrix_only,
    named_signature,
    of_library,
    with_categories,
)
from varv.training.estimators.trees import Ensemble, Link, Tree, link_of, to_onnx
from varv.training.training_set import TrainingSet

_LINKS: dict[Link, tuple[str, ...]] = {
    "sigmoid": ("binary:logistic", "reg:logistic"),
    "softmax": ("multi:softprob",),
    "exp": ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"),
    "identity": (
        *("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror"),
        *("reg:quantileerror", "binary:logitraw", "rank:pairwise", "rank:ndcg", "rank:map"),
    ),
}
_LEAF = -1


class XgBoost(Family):
    """Boosters of XGBoost."""

    runtime: ClassVar[str | None] = "xgboost"

    def owns(self, estimator: Any) -> bool:
        """Whether it is of XGBoost."""
        return of_library(estimator, "xgboost")

    def signature(self, estimator: Any, given: TrainingSet, form: Form | None) -> Signature:
        """Return a matrix of the columns that it was fitted on, with the categories that it knows."""
        matrix_only(estimator, form)
        booster = booster_of(estimator)
        names = booster.feature_names
        listed = None if names is None else list(names)
        signature = named_signature(estimator, listed, booster.num_features(), given, "matrix")
        return with_categories(estimator, signature, _categories(booster, signature))

    def asked(self, estimator: Any, signature: Signature, task: Task) -> Any:
        """Return what asks the booster, up to its best iteration where the wrapper would stop there."""
        booster = booster_of(estimator)

        def predict(rows: np.ndarray) -> np.ndarray:
            return predicted(booster, rows)

        return disguised(estimator, Asked(predict, getattr(estimator, "classes_", None)))

    def onnx(self, estimator: Any, signature: Signature, task: Task) -> Iterator[bytes]:
        """Yield the trees."""
        yield to_onnx(ensemble_of(booster_of(estimator)), "xgboost")

    def files(self, estimator: Any, signature: Signature, task: Task) -> Mapping[str, bytes]:
        """Return the booster in universal binary JSON."""
        return self.beside(estimator)

    def beside(self, estimator: Any) -> Mapping[str, bytes]:
        """Return the booster: ``xgboost.train`` goes on from it by ``xgb_model``."""
        return {"model.ubj": bytes(booster_of(estimator).save_raw("ubj"))}


def booster_of(estimator: Any) -> Any:
    """Return the booster of an estimator of either interface, as it predicts.

    Raises
    ------
    InvalidInput
        If there is none, since it is not fitted, or another number than NaN is missing to it.
    """
    import xgboost

    if isinstance(estimator, xgboost.Booster):
        return estimator
    kind = type(estimator).__name__
    try:
        booster = estimator.get_booster()
    except (AttributeError, xgboost.core.XGBoostError, ValueError):
        hint = "return a Booster or a fitted estimator from fit"
        raise InvalidInput("estimator", kind, "has no booster", hint=hint) from None
    if not math.isnan(estimator.missing):
        hint = "leave missing as it is: missing values arrive as NaN"
        raise InvalidInput("estimator", kind, f"takes {estimator.missing} as missing", hint=hint)
    # It raises if there is none; where there is one, the wrapper predicts up to it, the booster does not.
    best = getattr(estimator, "best_iteration", None)
    return booster if best is None else booster[: best + 1]


def predicted(booster: Any, rows: np.ndarray) -> np.ndarray:
    """Return what a booster says of a matrix, whatever kind of booster it is."""
    import xgboost

    names, types = booster.feature_names, booster.feature_types
    data = xgboost.DMatrix(rows, feature_names=names, feature_types=types, enable_categorical=True)
    return booster.predict(data)


def ensemble_of(booster: Any) -> Ensemble:
    """Return the trees of a booster.

    Raises
    ------
    NoForm
        If it has no trees, trees with several numbers in a leaf, or an objective whose link is not known.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    link = link_of(learner["objective"]["name"], _LINKS)
    model, weights = _trees(learner["gradient_booster"])
    params = learner["learner_model_param"]
    width = max(1, int(params["num_class"]), int(params["num_target"]))
    trees = [
        _tree(tree, target, weight)
        for tree, target, weight in zip(model["trees"], model["tree_info"], weights, strict=True)
    ]
    return Ensemble(
        trees=tuple(trees),
        base=np.broadcast_to(_margin(params["base_score"], link), width),
        n_features=int(params["num_feature"]),
        wide=False,
        below=True,
        link=link,
        rounding="floor",
    )


def _trees(booster: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[float]]:
    """Return the model of trees and what each tree counts, which is 1 unless trees drop out."""
    kind = booster["name"]
    if kind == "dart":
        return booster["gbtree"]["model"], booster["weight_drop"]
    if kind != "gbtree":
        raise NoForm(f"is a {kind} booster, which has no trees")
    return booster["model"], [1.0] * len(booster["model"]["trees"])


def _margin(base_score: str, link: Link) -> np.ndarray:
    """Return the base score before the link, in float32 as XGBoost does."""
    scores = np.atleast_1d(np.array(json.loads(base_score), dtype=np.float32))
    if link == "sigmoid":
        return -np.log(np.float32(1.0) / scores - np.float32(1.0))
    return np.log(scores) if link == "exp" else scores


def _tree(tree: Mapping[str, Any], target: int, weight: float) -> Tree:
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise NoForm("has trees with several numbers in a leaf")
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    is_leaf = left == _LEAF
    # Printed with the fewest digits that name a float32, so read as one.
    values = np.array(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    missing_left = np.array(tree["default_left"], dtype=bool)
    categories = dict(_splits_of_categories(tree))
    for node in categories:
        # What is listed goes right; a `Tree` lists what goes left.
        left[node], right[node] = right[node], left[node]
        missing_left[node] = not missing_left[node]
    return Tree(
        target=target,
        is_leaf=is_leaf,
        feature=np.where(is_leaf, 0, tree["split_indices"]),
        threshold=np.where(is_leaf, 0.0, values),
        left=np.where(is_leaf, 0, left),
        right=np.where(is_leaf, 0, right),
        missing_left=missing_left,
        value=np.where(is_leaf, values * weight, 0.0),
        categories=categories,
    )


def _splits_of_categories(tree: Mapping[str, Any]) -> Iterator[tuple[int, tuple[float, ...]]]:
    listed = tree["categories"]
    segments = zip(
        tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
    )
    for node, start, size in segments:
        yield node, tuple(map(float, listed[start : start + size]))


def _categories(booster: Any, signature: Signature) -> dict[str, list[Any]] | None:
    """Return the categories that a frame gave each column, by its name; None where a matrix was fitted."""
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    encoded = model.get("model", model.get("gbtree", {}).get("model", {})).get("cats", {}).get("enc", [])
    found = {}
    for name, column in zip(signature.names, encoded, strict=False):
        texts = np.array(column["values"], dtype=np.int64).astype(np.int8).tobytes()
        if column.get("offsets"):
            found[name] = [texts[start:end].decode() for start, end in pairwise(column["offsets"])]
    return found or None

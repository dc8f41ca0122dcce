"""Models of LightGBM, from its own JSON dump: boosters, and what its scikit-learn interface wraps around one.

LightGBM compares float64 numbers with ``<=``. Where a missing value goes depends on what the training rows
held: nowhere missing, it counts as zero; else it goes the way that was learned, and with ``zero_as_missing``
zeros go along. A category that was never seen, or is missing, goes right.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
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
    Wrapped,
    disguised,
    matrix_only,
    named_signature,
    of_library,
    with_categories,
)
from varv.training.estimators.trees import Ensemble, Link, Tree, link_of, to_onnx
from varv.training.training_set import TrainingSet

_LINKS: dict[Link, tuple[str, ...]] = {
    "sigmoid": ("binary", "multiclassova", "cross_entropy"),
    "softmax": ("multiclass",),
    "log1p_exp": ("cross_entropy_lambda",),
    "exp": ("poisson", "gamma", "tweedie"),
    "identity": (
        *("regression", "regression_l1", "huber", "fair", "quantile", "mape"),
        *("lambdarank", "rank_xendcg", "custom", ""),
    ),
}
_NEAREST_ZERO = float(np.float32(1e-35))
"""Up to here a number counts as zero (kZeroThreshold)."""


class LightGbm(Family):
    """Boosters of LightGBM."""

    runtime: ClassVar[str | None] = "lightgbm"

    def owns(self, estimator: Any) -> bool:
        """Whether it is of LightGBM."""
        return of_library(estimator, "lightgbm")

    def signature(self, estimator: Any, given: TrainingSet, form: Form | None) -> Signature:
        """Return a matrix of the columns that it was fitted on, with the categories that it knows."""
        matrix_only(estimator, form)
        booster = booster_of(estimator)
        names = list(booster.feature_name())
        # Without names it calls its columns so; with names it replaces what its file format cannot hold.
        unnamed = names == [f"Column_{number}" for number in range(len(names))]
        real = {name.replace(" ", "_"): name for name in given.columns}
        known = None if unnamed else [real.get(name, name) for name in names]
        signature = named_signature(estimator, known, len(names), given, "matrix")
        return with_categories(estimator, signature, _categories(booster))

    def asked(self, estimator: Any, signature: Signature, task: Task) -> Any:
        """Return what asks the booster, or its wrapper's own methods."""
        if hasattr(estimator, "booster_"):
            return disguised(estimator, Wrapped(estimator, _quietly))
        return disguised(estimator, Asked(estimator.predict))

    def onnx(self, estimator: Any, signature: Signature, task: Task) -> Iterator[bytes]:
        """Yield the trees."""
        yield to_onnx(ensemble_of(booster_of(estimator)), "lightgbm")

    def files(self, estimator: Any, signature: Signature, task: Task) -> Mapping[str, bytes]:
        """Return the booster as text."""
        return self.beside(estimator)

    def beside(self, estimator: Any) -> Mapping[str, bytes]:
        """Return the booster as text: ``lightgbm.train`` goes on from it by ``init_model``."""
        return {"model.txt": booster_of(estimator).model_to_string().encode()}


def _quietly(method: Callable[[Any], Any], rows: np.ndarray) -> Any:
    with warnings.catch_warnings():
        # It misses the names of the columns, whose order is that of its own names.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        return method(rows)


def booster_of(estimator: Any) -> Any:
    """Return the booster of an estimator of either interface.

    Raises
    ------
    InvalidInput
        If there is none, since it is not fitted.
    """
    import lightgbm

    if isinstance(estimator, lightgbm.Booster):
        return estimator
    try:
        return estimator.booster_
    except (AttributeError, lightgbm.basic.LightGBMError):
        kind = type(estimator).__name__
        hint = "return a Booster or a fitted estimator from fit"
        raise InvalidInput("estimator", kind, "has no booster", hint=hint) from None


def ensemble_of(booster: Any) -> Ensemble:
    """Return the trees of a booster.

    Raises
    ------
    NoForm
        If it has linear models in its leaves, an objective that is not known, or columns whose zeros are
        missing in one tree and not in another.
    """
    try:
        dump = booster.dump_model()
    except RecursionError:
        raise NoForm("has trees too deep for its JSON dump") from None
    link, scale = _link(str(dump.get("objective", "")))
    width = dump["num_tree_per_iteration"]
    trees = [_tree(tree["tree_structure"], number % width) for number, tree in enumerate(dump["tree_info"])]
    n_iterations = max(1, len(trees) // width)
    zeros, others = _missing_types(dump["tree_info"])
    if zeros & others:
        raise NoForm("has columns whose zeros are missing in one tree and not in another")
    return Ensemble(
        trees=tuple(trees),
        base=np.zeros(width),
        n_features=dump["max_feature_idx"] + 1,
        divisor=float(n_iterations) if dump["average_output"] else 1.0,
        link=link,
        link_scale=scale,
        zero_is_missing=tuple(sorted(zeros)),
        nearest_zero=_NEAREST_ZERO,
    )


def _link(objective: str) -> tuple[Link, float]:
    name, *options = objective.split() or [""]
    link = link_of(name, _LINKS)
    scales = [float(option.partition(":")[2]) for option in options if option.startswith("sigmoid:")]
    return ("signed_square" if "sqrt" in options else link), (scales or [1.0])[0]


def _nodes(root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the nodes of a tree, each before its children, the left one first."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if "split_feature" in node:
            waiting += [node["right_child"], node["left_child"]]


def _missing_types(trees: list[Mapping[str, Any]]) -> tuple[set[int], set[int]]:
    """Return the features whose zeros are missing, and those whose zeros are not."""
    zeros: set[int] = set()
    others: set[int] = set()
    for node in (node for tree in trees for node in _nodes(tree["tree_structure"])):
        if node.get("decision_type") == "<=":
            (zeros if node["missing_type"] == "Zero" else others).add(node["split_feature"])
    return zeros, others


def _tree(root: Mapping[str, Any], target: int) -> Tree:
    nodes = list(_nodes(root))
    numbers = {id(node): number for number, node in enumerate(nodes)}
    m = len(nodes)
    tree = Tree(
        target=target,
        is_leaf=np.array(["split_feature" not in node for node in nodes]),
        feature=np.zeros(m, dtype=np.int64),
        threshold=np.zeros(m),
        left=np.zeros(m, dtype=np.int64),
        right=np.zeros(m, dtype=np.int64),
        missing_left=np.zeros(m, dtype=bool),
        value=np.zeros(m),
        categories={},
    )
    for number, node in enumerate(nodes):
        if tree.is_leaf[number]:
            if "leaf_coeff" in node:
                raise NoForm("has linear models in its leaves")
            tree.value[number] = node["leaf_value"]
            continue
        tree.feature[number] = node["split_feature"]
        tree.left[number] = numbers[id(node["left_child"])]
        tree.right[number] = numbers[id(node["right_child"])]
        if node["decision_type"] == "==":
            tree.categories[number] = tuple(map(float, node["threshold"].split("||")))
            continue
        tree.threshold[number] = _threshold(node["threshold"])
        counts_as_zero = node["missing_type"] == "None"
        tree.missing_left[number] = node["threshold"] >= 0 if counts_as_zero else node["default_left"]
    return tree


def _threshold(threshold: float) -> float:
    """Return a threshold that sends numbers next to zero where LightGBM sends them: as if they were zero."""
    if -_NEAREST_ZERO <= threshold < 0:
        return math.nextafter(-_NEAREST_ZERO, -math.inf)
    return max(threshold, _NEAREST_ZERO) if threshold >= 0 else threshold


def _categories(booster: Any) -> dict[str, list[Any]] | None:
    """Return the categories that pandas gave each column, by the column's name as the booster has it."""
    listed = booster.pandas_categorical
    if not listed:
        return None
    infos = booster.dump_model(num_iteration=1)["feature_infos"]
    categorical = [name for name, info in infos.items() if info["values"]]
    if len(categorical) != len(listed):
        # A column that no tree could use is left out, so which categories are whose cannot be told.
        raise NoForm("has categories of pandas that cannot be told apart")
    return dict(zip(categorical, listed, strict=True))

"""ONNX form of any ensemble of decision trees, exact for float32 inputs.

Libraries differ in how they compare (float64 thresholds with ``<=``, float32 ones with ``<``), in what they
add up in, in where a missing value goes, and in how categories are split. The graph computes as the library
does: where that is in float64, a float32 input is widened, which loses nothing, and only the result is
rounded. So every input goes where the library sends it, no threshold is rounded, and leaves are added to the
base in the order of the trees.

Each library's module fills an `Ensemble` from its own dump; this one knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from varv.training.estimators.family import NoForm

_OPSETS = {"": 18, "ai.onnx.ml": 5}
_IR_VERSION = 10
_MODE = {"<=": 0, "<": 1, "in": 6}
_AGGREGATE_SUM = 1

Link = Literal["identity", "sigmoid", "softmax", "exp", "log1p_exp", "signed_square"]


class Tree(NamedTuple):
    """The nodes of one tree, the root first; arrays of shape (m,).

    A row goes left if its feature is at most (or below, see `Ensemble.below`) the threshold, or a member of
    the node's categories if it has some.
    """

    target: int
    """Which output the tree adds to."""
    is_leaf: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    categories: dict[int, tuple[float, ...]]
    """The node to the categories that go left."""


class Ensemble(NamedTuple):
    """Trees that are added up, and what is made of the sums."""

    trees: tuple[Tree, ...]
    base: np.ndarray
    """What each output begins with, shape (targets,)."""
    n_features: int
    wide: bool = True
    """Whether the library compares and adds in float64, else in float32."""
    below: bool = False
    """Whether a row goes left only if it is below the threshold."""
    divisor: float = 1.0
    """What the sums are divided by."""
    link: Link = "identity"
    link_scale: float = 1.0
    """What a sum is multiplied by before a sigmoid."""
    zero_is_missing: tuple[int, ...] = ()
    """Features whose zeros count as missing."""
    nearest_zero: float = 0.0
    """Up to here a number counts as zero."""
    rounding: Literal["floor", "truncate", "missing"] = "truncate"
    """What a number that is no whole one is as a category."""


def link_of(objective: str, links: Mapping[Link, tuple[str, ...]]) -> Link:
    """Return the link of an objective, of those that a library has for each.

    Raises
    ------
    NoForm
        If it is none of them.
    """
    for link, objectives in links.items():
        if objective in objectives:
            return link
    raise NoForm(f"has the objective {objective}, whose link is not known")


def to_onnx(
    ensemble: Ensemble, producer: str, columns: Mapping[str, tuple[str, ...] | None] | None = None
) -> bytes:
    """Return the ONNX model of an ensemble.

    Input ``X`` is float32 of shape (n, d), unless it is fed columns; output ``predictions`` is float32 of
    shape (n, targets).

    Parameters
    ----------
    producer
        What the graph is called.
    columns
        For a model that is fed columns: the name of each to its texts in the order of their codes, None for a
        number. A text that is not among them is missing.
    """
    from onnx import TensorProto, helper

    graph = _Graph()
    dtype = np.dtype(np.float64 if ensemble.wide else np.float32)
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, ensemble.n_features])]
    rows = "X"
    if columns is not None:
        inputs, rows = _joined(graph, columns)
    rows = _prepared(graph, ensemble, rows)
    if ensemble.wide:
        rows = graph.add("Cast", [rows], to=TensorProto.DOUBLE)
    sums = graph.add("TreeEnsemble", [rows], domain="ai.onnx.ml", **_attributes(ensemble, dtype))
    if not ensemble.wide:
        # An approximation of a link in float32 would show in small probabilities.
        sums = graph.add("Cast", [sums], to=TensorProto.DOUBLE)
    if ensemble.divisor != 1.0:
        sums = graph.add("Div", [sums, graph.number(ensemble.divisor)])
    graph.add("Cast", [_linked(graph, ensemble, sums)], output="predictions", to=TensorProto.FLOAT)
    made = helper.make_graph(
        graph.nodes,
        producer,
        inputs,
        [helper.make_tensor_value_info("predictions", TensorProto.FLOAT, [None, len(ensemble.base)])],
        initializer=graph.constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
    model = helper.make_model(made, opset_imports=opsets, producer_name="varv", ir_version=_IR_VERSION)
    return model.SerializeToString(deterministic=True)


class _Graph:
    """Nodes and constants of a graph that is being made."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        name = output or f"node {len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        name = f"constant {len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def number(self, value: float) -> str:
        """Add a float64 and return its name."""
        return self.constant(np.array([value]))


def _joined(graph: _Graph, columns: Mapping[str, tuple[str, ...] | None]) -> tuple[list[Any], str]:
    """Return an input for each column, and the matrix that they make."""
    from onnx import TensorProto, helper

    inputs: list[Any] = []
    parts: list[str] = []
    for name, texts in columns.items():
        kind = TensorProto.FLOAT if texts is None else TensorProto.STRING
        inputs.append(helper.make_tensor_value_info(name, kind, [None, 1]))
        if texts is not None:
            codes = {"keys_strings": texts, "values_floats": np.arange(len(texts)).astype(float).tolist()}
            name = graph.add("LabelEncoder", [name], domain="ai.onnx.ml", default_float=np.nan, **codes)
        parts.append(name)
    return inputs, graph.add("Concat", parts, axis=1)


def _prepared(graph: _Graph, ensemble: Ensemble, rows: str) -> str:
    """Return the rows with zeros that count as missing, and categories as whole numbers."""
    missing = graph.constant(np.array([np.nan], np.float32))
    if ensemble.zero_is_missing:
        size = graph.add("Abs", [rows])
        small = graph.add(
            "LessOrEqual", [size, graph.constant(np.array([ensemble.nearest_zero], np.float32))]
        )
        zero = graph.add("And", [small, _mask(graph, ensemble, ensemble.zero_is_missing)])
        rows = graph.add("Where", [zero, missing, rows])
    categorical = {int(tree.feature[node]) for tree in ensemble.trees for node in tree.categories}
    if categorical:
        whole = graph.add("Floor", [rows])
        if ensemble.rounding == "missing":
            whole = graph.add("Where", [graph.add("Equal", [rows, whole]), rows, missing])
        elif ensemble.rounding == "truncate":
            size = graph.add("Floor", [graph.add("Abs", [rows])])
            whole = graph.add("Mul", [size, graph.add("Sign", [rows])])
        rows = graph.add("Where", [_mask(graph, ensemble, sorted(categorical)), whole, rows])
    return rows


def _mask(graph: _Graph, ensemble: Ensemble, features: Sequence[int]) -> str:
    mask = np.zeros((1, ensemble.n_features), dtype=bool)
    mask[0, list(features)] = True
    return graph.constant(mask)


def _linked(graph: _Graph, ensemble: Ensemble, raw: str) -> str:
    match ensemble.link:
        case "identity":
            return raw
        case "sigmoid":
            if ensemble.link_scale != 1.0:
                raw = graph.add("Mul", [raw, graph.number(ensemble.link_scale)])
            return graph.add("Sigmoid", [raw])
        case "softmax":
            return graph.add("Softmax", [raw], axis=1)
        case "exp":
            return graph.add("Exp", [raw])
        case "log1p_exp":
            return graph.add("Log", [graph.add("Add", [graph.add("Exp", [raw]), graph.number(1.0)])])
        case "signed_square":
            return graph.add("Mul", [raw, graph.add("Abs", [raw])])


def _attributes(ensemble: Ensemble, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the attributes of the operator: inner nodes and leaves apart, those of all trees in one."""
    from onnx import numpy_helper

    base = [_lone_leaf(target, value) for target, value in enumerate(ensemble.base) if value]
    grown = [_lone_leaf(tree.target, tree.value[0]) if tree.is_leaf[0] else tree for tree in ensemble.trees]
    trees = [*base, *grown]
    parts: list[np.ndarray] = []
    roots: list[int] = []
    n_inner = n_leaves = 0
    for tree in trees:
        parts.append(_split_and_leaf_numbers(tree.is_leaf, n_inner, n_leaves))
        roots.append(n_inner)
        n_inner += int((~tree.is_leaf).sum())
        n_leaves += int(tree.is_leaf.sum())

    def inner(values: Sequence[np.ndarray]) -> np.ndarray:
        kept = [one[~tree.is_leaf] for one, tree in zip(values, trees, strict=True)]
        return np.concatenate(kept) if kept else np.empty(0)

    modes, members = _modes(trees, below=ensemble.below)
    attributes = {
        "n_targets": len(ensemble.base),
        "aggregate_function": _AGGREGATE_SUM,
        "post_transform": 0,
        "tree_roots": roots,
        "nodes_featureids": inner([tree.feature for tree in trees]).astype(np.int64).tolist(),
        "nodes_modes": numpy_helper.from_array(inner(modes).astype(np.uint8)),
        "nodes_splits": numpy_helper.from_array(inner([tree.threshold for tree in trees]).astype(dtype)),
        "nodes_missing_value_tracks_true": inner([tree.missing_left for tree in trees])
        .astype(np.int64)
        .tolist(),
        **_leaves(trees, dtype),
    }
    for side, children in (
        ("true", [tree.left for tree in trees]),
        ("false", [tree.right for tree in trees]),
    ):
        numbers = [numbers[child] for numbers, child in zip(parts, children, strict=True)]
        leaves = [tree.is_leaf[child] for tree, child in zip(trees, children, strict=True)]
        attributes[f"nodes_{side}nodeids"] = inner(numbers).astype(np.int64).tolist()
        attributes[f"nodes_{side}leafs"] = inner(leaves).astype(np.int64).tolist()
    if members:
        attributes["membership_values"] = numpy_helper.from_array(np.array(members, dtype=dtype))
    return attributes


def _leaves(trees: Sequence[Tree], dtype: np.dtype[Any]) -> dict[str, Any]:
    from onnx import numpy_helper

    weights = [tree.value[tree.is_leaf] for tree in trees]
    targets = [np.full(int(tree.is_leaf.sum()), tree.target) for tree in trees]
    return {
        "leaf_targetids": np.concatenate(targets).astype(np.int64).tolist(),
        "leaf_weights": numpy_helper.from_array(np.concatenate(weights).astype(dtype)),
    }


def _split_and_leaf_numbers(is_leaf: np.ndarray, n_inner: int, n_leaves: int) -> np.ndarray:
    """Return the number of each node among all inner nodes, or that of a leaf among all leaves."""
    return np.where(is_leaf, n_leaves + np.cumsum(is_leaf) - 1, n_inner + np.cumsum(~is_leaf) - 1)


def _modes(trees: Sequence[Tree], *, below: bool) -> tuple[list[np.ndarray], list[float]]:
    """Return how each node compares, and the categories of all that look for a member, NaN between them."""
    modes: list[np.ndarray] = []
    members: list[float] = []
    for tree in trees:
        mode = np.full(len(tree.is_leaf), _MODE["<" if below else "<="])
        mode[list(tree.categories)] = _MODE["in"]
        modes.append(mode)
        for node in sorted(tree.categories):
            members += [*tree.categories[node], np.nan]
    return modes, members


def _lone_leaf(target: int, value: float) -> Tree:
    """Return a tree that says `value` of every row; its split changes nothing, but the operator wants one."""
    zeros = np.zeros(3)
    return Tree(
        target=target,
        is_leaf=np.array([False, True, True]),
        feature=zeros,
        threshold=zeros,
        left=np.array([1, 1, 1]),
        right=np.array([2, 2, 2]),
        missing_left=zeros,
        value=np.array([0.0, value, value]),
        categories={},
    )

"""ONNX form of scikit-learn's histogram gradient boosting, exact for float32 inputs.

The estimator compares a float32 input with a float64 threshold; ONNX compares with a float32 one. A threshold
is therefore rounded *down* to the nearest float32, which keeps the outcome of ``x <= threshold`` for every
float32 x, where rounding to nearest could flip it. Leaves are summed in the order of the trees.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from varv.kernel.errors import InvalidInput

_OPSET = {"": 18, "ai.onnx.ml": 3}


def to_onnx_bytes(estimator: Any) -> bytes:
    """Return the ONNX model of a fitted binary `HistGradientBoostingClassifier`.

    Input ``X`` is float32 of shape (n, d); output ``probability`` is float32 of shape (n, 1), that of class
    1.

    Raises
    ------
    InvalidInput
        If the estimator splits on native categories.
    """
    from onnx import TensorProto, helper

    attributes = _ensemble([predictors[0].nodes for predictors in estimator._predictors])
    attributes["base_values"] = [float(np.float32(np.ravel(estimator._baseline_prediction)[0]))]
    nodes = [
        helper.make_node(
            "TreeEnsembleRegressor", ["X"], ["raw"], domain="ai.onnx.ml", n_targets=1, **attributes
        ),
        helper.make_node("Sigmoid", ["raw"], ["probability"]),
    ]
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, int(estimator.n_features_in_)])]
    outputs = [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "hist_gradient_boosting", inputs, outputs)
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSET.items()]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="varv", ir_version=9)
    return model.SerializeToString(deterministic=True)


def _ensemble(trees: list[np.ndarray]) -> dict[str, Any]:
    nodes = np.concatenate(trees)
    if nodes["is_categorical"].any():
        hint = "leave categorical_features unset: categories arrive as codes"
        raise InvalidInput(
            "estimator", "HistGradientBoostingClassifier", "splits on native categories", hint=hint
        )
    sizes = [len(tree) for tree in trees]
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    leaf = nodes["is_leaf"].astype(bool)
    return {
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": np.where(leaf, 0, nodes["feature_idx"]).astype(int).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values": np.where(leaf, 0.0, _rounded_down(nodes["num_threshold"])).astype(float).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]).astype(int).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]).astype(int).tolist(),
        "nodes_missing_value_tracks_true": np.where(leaf, 0, nodes["missing_go_to_left"])
        .astype(int)
        .tolist(),
        "target_treeids": tree_ids[leaf].tolist(),
        "target_nodeids": node_ids[leaf].tolist(),
        "target_ids": [0] * int(leaf.sum()),
        "target_weights": nodes["value"][leaf].astype(float).tolist(),
    }


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)

"""Small changes of ONNX graphs that others made, in place."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from varv.training.estimators.family import NoForm


def model_bytes(model: Any) -> bytes:
    """Return the bytes of a model; equal models have equal bytes."""
    return model.SerializeToString(deterministic=True)


def read_float32(model: Any) -> None:
    """Let a model that reads float64 read float32, which it widens."""
    from onnx import TensorProto, helper

    renamed = {}
    for tensor in model.graph.input:
        if tensor.type.tensor_type.elem_type == TensorProto.DOUBLE:
            tensor.type.tensor_type.elem_type = TensorProto.FLOAT
            renamed[tensor.name] = f"{tensor.name} in float64"
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    casts = [helper.make_node("Cast", [old], [new], to=TensorProto.DOUBLE) for old, new in renamed.items()]
    _replace_nodes(model, [*casts, *model.graph.node])


def narrow_trees(model: Any) -> None:
    """Let the trees of a model that computes in float64 read float32, as scikit-learn's trees do."""
    from onnx import TensorProto, helper

    nodes = []
    for node in model.graph.node:
        if node.op_type.startswith("TreeEnsemble"):
            [read] = node.input
            narrow, again = f"{node.output[0]} reads float32", f"{node.output[0]} reads"
            nodes.append(helper.make_node("Cast", [read], [narrow], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Cast", [narrow], [again], to=TensorProto.DOUBLE))
            node.input[:] = [again]
        nodes.append(node)
    _replace_nodes(model, nodes)


def impute_in_float64(model: Any) -> None:
    """Write what fills in missing values so that the engine can run it in float64.

    Raises
    ------
    NoForm
        If another value than NaN is filled in.
    """
    from onnx import helper, numpy_helper

    nodes: list[Any] = []
    for node in model.graph.node:
        if node.op_type != "Imputer":
            nodes.append(node)
            continue
        given = {attribute.name: attribute for attribute in node.attribute}
        if not math.isnan(given["replaced_value_float"].f):
            raise NoForm("imputes another value than NaN, which has no ONNX form in float64")
        [read], [written] = node.input, node.output
        values, missing = f"{written} imputed", f"{written} missing"
        imputed = numpy_helper.from_array(np.array([given["imputed_value_floats"].floats], dtype=np.float64))
        nodes += [
            helper.make_node("Constant", [], [values], value=imputed),
            helper.make_node("IsNaN", [read], [missing]),
            helper.make_node("Where", [missing, values, read], [written]),
        ]
    _replace_nodes(model, nodes)


def without_maps(model: Any) -> None:
    """Let a classifier end in its probabilities instead of a list of maps from class to probability.

    Raises
    ------
    NoForm
        If it ends in something else than a tensor.
    """
    from onnx import TensorProto, helper

    last = model.graph.output[-1]
    for node in model.graph.node:
        if node.op_type == "ZipMap" and last.name in node.output:
            # The converter computes in the type of its inputs, all the way.
            wide = any(t.type.tensor_type.elem_type == TensorProto.DOUBLE for t in model.graph.input)
            kind = TensorProto.DOUBLE if wide else TensorProto.FLOAT
            probabilities = helper.make_tensor_value_info(node.input[0], kind, None)
            model.graph.node.remove(node)
            model.graph.output.remove(last)
            model.graph.output.append(probabilities)
            return
    if last.type.WhichOneof("value") != "tensor_type":
        raise NoForm("ends in something else than a tensor")


def joined(models: Sequence[Any]) -> Any:
    """Return one model that reads what all of them read, and ends in their last columns side by side.

    Raises
    ------
    NoForm
        If they are of different versions of the operators.
    """
    from onnx import TensorProto, compose, helper

    versions = [sorted((opset.domain, opset.version) for opset in model.opset_import) for model in models]
    if any(one != versions[0] for one in versions):
        raise NoForm("is a list of estimators of different kinds, which have no ONNX form together")
    inputs = list(models[0].graph.input)
    nodes: list[Any] = []
    constants: list[Any] = []
    columns: list[str] = []
    for number, model in enumerate(models):
        own = compose.add_prefix(model, f"{number} ", rename_inputs=False).graph
        nodes += own.node
        constants += own.initializer
        column = f"{number} column"
        nodes.append(
            helper.make_node("Cast", [own.output[-1].name], [f"{column} wide"], to=TensorProto.FLOAT)
        )
        nodes.append(helper.make_node("Reshape", [f"{column} wide", "shape"], [column]))
        columns.append(column)
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[-1, 1])
    side_by_side = helper.make_node("Concat", columns, ["predictions"], axis=1)
    output = helper.make_tensor_value_info("predictions", TensorProto.FLOAT, [None, len(models)])
    graph = helper.make_graph(
        [shape, *nodes, side_by_side], "joined", inputs, [output], initializer=constants
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions[0]]
    ir_version = max(model.ir_version for model in models)
    return helper.make_model(graph, opset_imports=opsets, producer_name="varv", ir_version=ir_version)


def _replace_nodes(model: Any, nodes: list[Any]) -> None:
    # Copied first: deleting them from the graph empties those that are still referred to.
    kept = [copy.deepcopy(node) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)

"""Models that are ONNX already: made elsewhere, or by a converter of the author's own.

Nothing is compared with them, since they are what is served; that they read the declared features and answer
in the form of the task is checked. Their inputs may be one matrix, or one input a column; where a matrix or a
column is float64, the float32 that is fed is widened. What scikit-learn's converter puts behind
probabilities by default, a list of maps, is taken off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from varv.kernel.errors import InvalidInput
from varv.registry import Signature
from varv.registry.signature import Column, Form
from varv.tasks import Task
from varv.training.estimators.family import Family
from varv.training.estimators.graphs import model_bytes, read_float32, without_maps
from varv.training.training_set import TrainingSet

_Kind = Literal["float32", "float64", "int64", "text"]


class OnnxModel(Family):
    """Models of ONNX, as an object or as bytes."""

    hint = "export it with one input for each feature, or with one matrix of them all"

    def owns(self, estimator: Any) -> bool:
        """Whether it is a model, or bytes, which can be nothing else."""
        return isinstance(estimator, bytes) or (
            type(estimator).__name__ == "ModelProto" and type(estimator).__module__.startswith("onnx")
        )

    def kind(self, estimator: Any) -> str:
        """Return that it is a model of ONNX."""
        return "onnx.ModelProto"

    def signature(self, estimator: Any, given: TrainingSet, form: Form | None) -> Signature:
        """Return what the model's inputs are: a matrix of all columns, or columns by their names.

        Raises
        ------
        InvalidInput
            If an input is no declared feature, or of another type.
        """
        inputs = _inputs(_model(estimator))
        if len(inputs) == 1 and (matrix := _matrix(inputs[0], given.signature)) is not None:
            return matrix
        of_columns = given.signature.columns_of([name for name, _, _ in inputs])
        columns = [
            _column(column, kind) for column, (_, kind, _) in zip(of_columns.columns, inputs, strict=True)
        ]
        return Signature(tuple(columns), form="columns")

    def asked(self, estimator: Any, signature: Signature, task: Task) -> None:
        """Return None: there is nothing but the model itself to compare it with."""
        return

    def onnx(self, estimator: Any, signature: Signature, task: Task) -> Iterator[bytes]:
        """Yield the model, fit to be fed."""
        model = _model(estimator)
        without_maps(model)
        read_float32(model)
        yield model_bytes(model)


def _model(estimator: Any) -> Any:
    """Return a copy of a model.

    Raises
    ------
    InvalidInput
        If the bytes are none, or it keeps its weights in other files.
    """
    import onnx

    data = estimator if isinstance(estimator, bytes) else estimator.SerializeToString()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        # What protobuf raises depends on which implementation of it is installed.
        raise _no_model(str(error)[:100]) from error
    if not model.graph.output:
        raise _no_model("it has no outputs")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model.graph)):
        hint = "save it with its weights inside"
        raise InvalidInput("estimator", "onnx", "keeps its weights in other files", hint=hint)
    return model


def _no_model(why: str) -> InvalidInput:
    hint = "return an onnx.ModelProto, or its bytes"
    return InvalidInput("estimator", "onnx", "is no ONNX model", why=why, hint=hint)


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield every constant of a graph and of the graphs within it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _inputs(model: Any) -> list[tuple[str, _Kind, list[int]]]:
    """Return each input that has no default: name, type, and shape with -1 for what is free."""
    from onnx import TensorProto

    kinds: dict[int, _Kind] = {
        TensorProto.FLOAT: "float32",
        TensorProto.DOUBLE: "float64",
        TensorProto.INT64: "int64",
        TensorProto.STRING: "text",
    }
    defaults = {tensor.name for tensor in model.graph.initializer}
    found: list[tuple[str, _Kind, list[int]]] = []
    for entry in model.graph.input:
        if entry.name in defaults:
            continue
        tensor = entry.type.tensor_type
        if tensor.elem_type not in kinds:
            hint = "export it with inputs of float32, float64, int64 or string"
            raise InvalidInput("input", entry.name, "of the ONNX model has a type that is not fed", hint=hint)
        shape = [size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim]
        if shape and shape[0] > 0:
            hint = "export it with a free first dimension"
            problem = f"takes {shape[0]} rows at a time, and no other number"
            raise InvalidInput("input", entry.name, problem, hint=hint)
        found.append((entry.name, kinds[tensor.elem_type], shape))
    return found


def _matrix(entry: tuple[str, _Kind, list[int]], declared: Signature) -> Signature | None:
    name, kind, shape = entry
    if name in declared.names and (len(shape) < 2 or shape[1] in (-1, 1)):
        return None
    if kind not in ("float32", "float64"):
        hint = "export it with a matrix of float32, or with one input a column"
        raise InvalidInput("input", name, f"is {kind}, where a matrix is float32", hint=hint)
    if len(shape) > 1 and shape[1] not in (-1, len(declared.columns)):
        hint = f"declare the features that it reads; now they are {', '.join(declared.names)}"
        problem = f"has {shape[1]} columns, where {len(declared.columns)} features are declared"
        raise InvalidInput("input", name, problem, hint=hint)
    return declared


def _column(column: Column, kind: _Kind) -> Column:
    if (kind == "text") != (column.kind == "text"):
        noun = "text" if kind == "text" else "a number"
        problem = f"is {noun} to the ONNX model, and is declared otherwise"
        raise InvalidInput("column", column.name, problem, hint="declare the feature that it was trained on")
    if column.kind == "text":
        return column
    return msgspec.structs.replace(column, dtype="int64" if kind == "int64" else "float32")

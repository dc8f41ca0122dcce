"""The graph of a package as other servers are given it: what varv does around a model, done within it.

A package's graph reads what varv feeds it and may answer more than a prediction. Here it reads columns by
their names, or one matrix where all are numbers, turns texts into codes itself, takes infinite numbers for
missing as varv does, and answers one tensor of float32: the prediction. So nobody has to write this down
again elsewhere, where nothing would show that it differs. The operators only move and compare values, so what
is answered is the same to the last bit; on several threads the engine may add a forest's trees in another
order than on the one that varv gives it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from varv.kernel.errors import Corrupt, InvalidInput
from varv.registry import Column, Package, Signature
from varv.tasks import task_of

MATRIX = "X"
"""The input of a graph that reads a matrix."""
NO_TEXT = "\0"
"""Stands for a missing text where the empty one is a category."""
_LEAST_OPSET = 13
_CODES_OPSET = 2
"""Of ai.onnx.ml, from which texts have codes of fractions, among which is a missing one."""
_ML = "ai.onnx.ml"
_INSIDE = "model/"
"""Begins the names of everything that was there: no column can be called so."""


def reads_matrix(signature: Signature) -> bool:
    """Return whether a model reads nothing but numbers, in one matrix."""
    return signature.form == "matrix" and all(column.kind == "number" for column in signature.columns)


def servable(package: Package, *, matrix: bool = False) -> Package:
    """Return a package of the same model whose graph does what varv does around it.

    Parameters
    ----------
    matrix
        Whether a model that reads nothing but numbers keeps its matrix, instead of a column each.

    Raises
    ------
    InvalidInput
        If its graph is of operators too old to be added to.
    Corrupt
        If it does not decode.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(package.file("model.onnx"))
    except Exception as error:
        # What protobuf raises depends on which implementation of it is installed.
        raise Corrupt("package", package.estimator, "does not decode", why=str(error)[:100]) from error
    keeps = matrix and reads_matrix(package.signature)
    signature = package.signature if keeps else _by_columns(package.signature)
    built = _Graph(onnx.compose.add_prefix(model, _INSIDE), package)
    if package.signature.form == "columns":
        built.read_columns()
    elif keeps:
        built.read_matrix()
    else:
        built.join_columns()
    built.answer(output_name(package), package.width)
    return msgspec.structs.replace(
        package,
        signature=signature,
        probe=package.probe if keeps else _probe(package),
        files={"model.onnx": built.bytes()},
    )


def output_name(package: Package) -> str:
    """Return what the prediction is called: as in the protocols, unless a column has that name."""
    name = task_of(package.task).tensors()[0].name
    return f"{name}_answer" if name in package.signature.names else name


def missing_text(column: Column) -> str:
    """Return what stands for a missing text: the empty one, unless that is a category of its own."""
    return NO_TEXT if "" in column.categories else ""


def _by_columns(signature: Signature) -> Signature:
    """Return the signature of the same columns, each with its own type."""
    if signature.form == "columns":
        return signature
    columns = (
        Column(one.name, "number") if one.kind == "number" else Column(one.name, "text")
        for one in signature.columns
    )
    return Signature(tuple(columns), form="columns")


def _probe(package: Package) -> tuple[tuple[float | str | None, ...], ...]:
    """Return the probe rows with texts in the place of codes."""
    if package.signature.form == "columns":
        return package.probe
    return tuple(
        tuple(_text(column, value) for column, value in zip(package.signature.columns, row, strict=True))
        for row in package.probe
    )


def _text(column: Column, value: float | str | None) -> float | str | None:
    if column.kind == "number":
        return value
    return missing_text(column) if value is None else column.categories[int(value)]


class _Graph:
    """A model that is given other inputs and another output.

    Parameters
    ----------
    model
        It, all its names prefixed.
    package
        What it is of.
    """

    def __init__(self, model: Any, package: Package) -> None:
        self._model = model
        self._package = package
        self._before: list[Any] = []
        self._after: list[Any] = []
        defaults = {tensor.name for tensor in model.graph.initializer}
        self._read = [one for one in model.graph.input if one.name not in defaults]
        self._inputs: list[Any] = []
        self._require_opsets()

    def read_columns(self) -> None:
        """Let inputs keep their columns, an infinite number being a missing one."""
        for column in self._package.signature.columns:
            kind = self._input(column)
            read = self._finite(column.name) if kind == "FLOAT" else column.name
            self._before.append(_node("Identity", [read], [_INSIDE + column.name]))

    def read_matrix(self) -> None:
        """Let the matrix be called X, an infinite number in it being a missing one."""
        self._add_input(MATRIX, "FLOAT", len(self._package.signature.columns))
        self._before.append(_node("Identity", [self._finite(MATRIX)], [self._read[0].name]))

    def join_columns(self) -> None:
        """Let columns be read in the place of the matrix that they make."""
        parts = []
        for column in self._package.signature.columns:
            self._input(column)
            parts.append(column.name if column.kind == "number" else self._codes(column))
        self._before.append(_node("Concat", parts, ["columns/matrix"], axis=1))
        self._before.append(_node("Identity", [self._finite("columns/matrix")], [self._read[0].name]))

    def answer(self, name: str, width: int) -> None:
        """Let the last output be the only one: its last columns, as float32 of shape (n, width)."""
        from onnx import TensorProto, helper

        last = self._model.graph.output[-1].name
        wide, flat = f"{last}/float32", f"{last}/rows"
        self._after += [
            _node("Cast", [last], [wide], to=TensorProto.FLOAT),
            _node("Flatten", [wide], [flat], axis=1),
            _constant(f"{last}/from", np.array([-width])),
            _constant(f"{last}/to", np.array([np.iinfo(np.int64).max])),
            _constant(f"{last}/axis", np.array([1])),
            _node("Slice", [flat, f"{last}/from", f"{last}/to", f"{last}/axis"], [name]),
        ]
        del self._model.graph.output[:]
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        self._model.graph.output.append(output)

    def bytes(self) -> bytes:
        """Return the model; equal ones have equal bytes."""
        graph = self._model.graph
        kept = [one for one in graph.input if one not in self._read]
        nodes = [*self._before, *_copies(graph.node), *self._after]
        inputs = [*self._inputs, *_copies(kept)]
        del graph.node[:]
        del graph.input[:]
        graph.node.extend(nodes)
        graph.input.extend(inputs)
        return self._model.SerializeToString(deterministic=True)

    def _require_opsets(self) -> None:
        from onnx import helper

        versions = {one.domain: one for one in self._model.opset_import}
        has_texts = any(column.kind == "category" for column in self._package.signature.columns)
        if has_texts and self._package.signature.form == "matrix":
            if _ML not in versions:
                self._model.opset_import.append(helper.make_opsetid(_ML, _CODES_OPSET))
            elif versions[_ML].version < _CODES_OPSET:
                if any(node.op_type == "LabelEncoder" for node in self._model.graph.node):
                    raise self._too_old(_ML)
                # Nothing else is another operator from this version on. Converters name a domain twice.
                for one in self._model.opset_import:
                    one.version = _CODES_OPSET if one.domain == _ML else one.version
        if "" not in versions:
            self._model.opset_import.append(helper.make_opsetid("", 18))
        elif versions[""].version < _LEAST_OPSET:
            raise self._too_old("ai.onnx")

    def _too_old(self, domain: str) -> InvalidInput:
        hint = "convert it to a newer opset where it was made, and register it again"
        return InvalidInput(
            "package", self._package.estimator, f"has operators of an old {domain}", hint=hint
        )

    def _input(self, column: Column) -> str:
        """Add the input of a column, and return its type."""
        whole = self._package.signature.form == "columns" and column.dtype == "int64"
        kind = "STRING" if column.kind != "number" else "INT64" if whole else "FLOAT"
        self._add_input(column.name, kind, 1)
        return kind

    def _add_input(self, name: str, kind: str, width: int) -> None:
        from onnx import TensorProto, helper

        number = TensorProto.DataType.Value(kind)
        self._inputs.append(helper.make_tensor_value_info(name, number, [None, width]))

    def _finite(self, name: str) -> str:
        infinite, missing, found = f"{name}/infinite", f"{name}/missing", f"{name}/finite"
        self._before += [
            _node("IsInf", [name], [infinite]),
            _constant(missing, np.array(np.nan, dtype=np.float32)),
            _node("Where", [infinite, missing, name], [found]),
        ]
        return found

    def _codes(self, column: Column) -> str:
        found = f"{column.name}/code"
        # A column that never had a text has no codes, which the operator does not know: all are missing.
        texts = column.categories or ("",)
        codes = list(map(float, range(len(texts)))) if column.categories else [float("nan")]
        node = _node(
            "LabelEncoder",
            [column.name],
            [found],
            domain=_ML,
            keys_strings=list(texts),
            values_floats=codes,
            default_float=float("nan"),
        )
        self._before.append(node)
        return found


def _node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(operator, inputs, outputs, **attributes)


def _constant(name: str, value: np.ndarray) -> Any:
    from onnx import numpy_helper

    return _node("Constant", [], [name], value=numpy_helper.from_array(value, name))


def _copies(messages: Any) -> list[Any]:
    """Return copies: deleting from a graph empties what is still referred to."""
    found = []
    for one in messages:
        copy = type(one)()
        copy.CopyFrom(one)
        found.append(copy)
    return found

"""Models that answer elsewhere: what they are fed by their own description, and which of their outputs is the
prediction.

Nothing is compared with them, since nobody else says what they would; that they read the declared features,
answer in the form of the task, and say the same of a row that comes alone is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from varv.kernel.errors import InvalidInput
from varv.registry import Column, Signature
from varv.registry.endpoint import DATATYPES, FILE, TEXT, Endpoint, Tensor
from varv.registry.signature import Form
from varv.tasks import Task
from varv.training.estimators.family import Family
from varv.training.training_set import TrainingSet

_FRACTIONS = ("FP32", "FP64")


class Remote(Family):
    """Endpoints."""

    runtime: ClassVar[str | None] = "remote"
    hint: ClassVar[str] = "see what it answers to a request of your own"

    def owns(self, estimator: Any) -> bool:
        """Whether it is an endpoint."""
        return isinstance(estimator, Endpoint)

    def kind(self, estimator: Any) -> str:
        """Return where it is."""
        return f"endpoint {estimator.name}"

    def signature(self, estimator: Any, given: TrainingSet, form: Form | None) -> Signature:
        """Return what the endpoint is fed: one matrix of all features, or each by the name of its input.

        Raises
        ------
        InvalidInput
            If an input is no declared feature, or of another type.
        """
        declared = given.signature
        if estimator.protocol == "instances":
            has_texts = any(column.kind != "number" for column in declared.columns)
            return declared.columns_of(declared.names) if has_texts else declared
        inputs = _fed(estimator, declared)
        if len(inputs) == 1 and inputs[0].name not in declared.names:
            return _matrix(inputs[0], declared)
        of_columns = declared.columns_of([one.name for one in inputs])
        columns = (_column(column, one) for column, one in zip(of_columns.columns, inputs, strict=True))
        return Signature(tuple(columns), form="columns")

    def asked(self, estimator: Any, signature: Signature, task: Task) -> None:
        """Return None: only its runtime asks it."""
        return

    def files(self, estimator: Any, signature: Signature, task: Task) -> Mapping[str, bytes]:
        """Return the endpoint, with the inputs that it is fed and the output that is the prediction.

        Raises
        ------
        InvalidInput
            If none of its outputs is, or several may be.
        """
        if estimator.protocol == "oip":
            names = signature.names if signature.form == "columns" else None
            inputs = [one for one in estimator.inputs if names is None or one.name in names]
            if names is None:
                inputs = [one for one in inputs if one.required]
            output = _output(estimator, task)
            estimator = msgspec.structs.replace(estimator, inputs=tuple(inputs), output=output)
        return {FILE: estimator.to_bytes()}


def _fed(endpoint: Endpoint, declared: Signature) -> list[Tensor]:
    """Return the inputs that are fed: all but those that need not be there and are no feature."""
    fed = [one for one in endpoint.inputs if one.required or one.name in declared.names]
    for one in fed:
        if one.datatype not in (*DATATYPES, TEXT):
            hint = f"let it read {', '.join((*DATATYPES, TEXT))}"
            raise InvalidInput("input", one.name, f"is {one.datatype}, which is not fed", hint=hint)
    if not fed:
        hint = "let it describe them"
        raise InvalidInput("endpoint", endpoint.name, "names no inputs", hint=hint)
    return fed


def _matrix(one: Tensor, declared: Signature) -> Signature:
    if one.datatype not in _FRACTIONS:
        hint = "let it read a matrix of FP32, or one input a column"
        raise InvalidInput("input", one.name, f"is {one.datatype}, where a matrix is FP32 or FP64", hint=hint)
    if not one.is_matrix or one.width not in (-1, len(declared.columns)):
        hint = f"declare the features that it reads; now they are {', '.join(declared.names)}"
        problem = f"has the shape {list(one.shape)}, where {len(declared.columns)} features are declared"
        raise InvalidInput("input", one.name, problem, hint=hint)
    return declared


def _column(column: Column, one: Tensor) -> Column:
    if one.is_matrix or len(one.shape) > 2:
        hint = "let it read one value a row"
        raise InvalidInput("input", one.name, f"has the shape {list(one.shape)}", hint=hint)
    if (one.datatype == TEXT) != (column.kind == "text"):
        noun = "text" if one.datatype == TEXT else "a number"
        problem = f"is {noun} to the endpoint, and is declared otherwise"
        raise InvalidInput("column", column.name, problem, hint="declare the feature that it was trained on")
    if column.kind == "text":
        return column
    return msgspec.structs.replace(column, dtype="float32" if one.datatype in _FRACTIONS else "int64")


def _output(endpoint: Endpoint, task: Task) -> str:
    known = [one.name for one in endpoint.outputs]
    if endpoint.output:
        if endpoint.output not in known:
            hint = f"its outputs are {', '.join(known)}"
            raise InvalidInput("output", endpoint.output, "does not exist", hint=hint)
        return endpoint.output
    widths = (-1, task.width, 2) if task.width == 1 else (-1, task.width)
    fit = [one.name for one in endpoint.outputs if one.datatype in _FRACTIONS and one.width in widths]
    usual = task.tensors()[0].name
    if usual in fit:
        return usual
    if len(fit) != 1:
        problem = f"has {len(fit)} outputs that may be the prediction"
        hint = f"say which one with --output; its outputs are {', '.join(known)}"
        raise InvalidInput("endpoint", endpoint.name, problem, hint=hint)
    return fit[0]

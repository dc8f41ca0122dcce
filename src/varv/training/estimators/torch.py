"""Modules of PyTorch that read the matrix: by torch's own exporter to ONNX, or as a program of torch.export.

A module is asked on the processor, in evaluation mode, and answers in the form of the task: probabilities for
classes, so it ends in a sigmoid or a softmax. Missing values reach it as NaN. Paths of the machine that it
was exported on are taken out, so that equal modules have equal bytes.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from varv.kernel.plugins import required
from varv.registry import Signature
from varv.registry.signature import Form
from varv.tasks import Task
from varv.training.estimators.family import Asked, Family, NoForm, disguised, matrix_only
from varv.training.training_set import TrainingSet

_EXAMPLE_ROWS = 4
_EXAMPLES = "/data/sample_inputs/"
"""Where a program keeps the inputs that it was traced with: the only pickle in it, and not needed."""
_DERIVED = "/.data/serialization_id"


class Torch(Family):
    """Modules of PyTorch."""

    runtime: ClassVar[str | None] = "torch"
    needs_trust: ClassVar[bool] = True
    hint: ClassVar[str] = "use operators that ONNX has, or return varv.packaged(module, trust=True)"

    def owns(self, estimator: Any) -> bool:
        """Whether it is a module of PyTorch."""
        return any(
            cls.__name__ == "Module" and cls.__module__ == "torch.nn.modules.module"
            for cls in type(estimator).__mro__
        )

    def signature(self, estimator: Any, given: TrainingSet, form: Form | None) -> Signature:
        """Return the matrix of all columns."""
        matrix_only(estimator, form)
        return given.signature

    def asked(self, estimator: Any, signature: Signature, task: Task) -> Any:
        """Return what asks a copy of the module."""
        import torch

        module = _ready(estimator)

        def predict(rows: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return module(torch.from_numpy(np.ascontiguousarray(rows))).numpy()

        return disguised(estimator, Asked(predict))

    def onnx(self, estimator: Any, signature: Signature, task: Task) -> Iterator[bytes]:
        """Yield what torch's exporter makes."""
        import torch

        required("onnxscript", kind="estimator", name=type(estimator).__name__, extra="torch")
        try:
            with _quiet():
                program = torch.onnx.export(
                    _ready(estimator),
                    _example(signature),
                    dynamo=True,
                    verbose=False,
                    input_names=["X"],
                    output_names=["predictions"],
                    dynamic_shapes=({0: torch.export.Dim("n")},),
                )
        except Exception as error:
            # It raises what its passes raise; whatever that is, there is no ONNX form.
            raise NoForm(f"has no ONNX form: {_first_line(error)}") from error
        assert program is not None, "the exporter that uses dynamo returns a program"
        model = program.model_proto
        _forget_places(model)
        yield model.SerializeToString(deterministic=True)

    def files(self, estimator: Any, signature: Signature, task: Task) -> Mapping[str, bytes]:
        """Return the program that torch.export makes."""
        import torch

        made = io.BytesIO()
        try:
            with _quiet():
                rows = {0: torch.export.Dim("n")}
                program = torch.export.export(_ready(estimator), _example(signature), dynamic_shapes=(rows,))
                torch.export.save(program, made)
        except Exception as error:
            raise NoForm(f"has no torch form: {_first_line(error)}") from error
        return {"model.pt2": _without_places(made)}


def _ready(module: Any) -> Any:
    """Return a copy of a module as it answers: on the processor, without dropout and its like."""
    return copy.deepcopy(module).cpu().eval()


def _example(signature: Signature) -> tuple[Any]:
    import torch

    return (torch.zeros(_EXAMPLE_ROWS, len(signature.columns)),)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter tells about itself from the author's terminal."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _forget_places(model: Any) -> None:
    """Take out of an ONNX model where in which files its nodes come from."""
    for holder in (model, model.graph, *model.graph.node, *model.functions):
        del holder.metadata_props[:]
        holder.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""


def _without_places(program: io.BytesIO) -> bytes:
    """Return a program without the inputs that it was traced with, and without the author's paths."""
    made = io.BytesIO()
    with zipfile.ZipFile(program) as given, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as kept:
        for entry in given.infolist():
            data = given.read(entry)
            if _EXAMPLES in entry.filename:
                data = b""
            elif entry.filename.endswith("/models/model.json"):
                data = json.dumps(_without_traces(json.loads(data))).encode()
            if not entry.filename.endswith(_DERIVED):
                kept.writestr(zipfile.ZipInfo(entry.filename), data)
    return made.getvalue()


def _without_traces(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_traces(item) for key, item in value.items() if key != "stack_trace"}
    return [_without_traces(item) for item in value] if isinstance(value, list) else value

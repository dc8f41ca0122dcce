"""Versions of models to be written for other servers, made by hand: their bytes are the same everywhere."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from varv.adapters.runtimes import installed_runtimes
from varv.fronts.packages import Source
from varv.kernel.codec import Digest
from varv.kernel.environment import Environment
from varv.registry import Column, Package, Signature
from varv.tasks import TaskSpec

RUNTIMES = installed_runtimes()
NUMBERS = (Column("wind", "number"), Column("heat", "number"))
ORIGIN = Column("origin", "category", ("", "EWR", 'J"F|K', "über"))
ENVIRONMENT = Environment("3.11.7", "linux-x86_64", {"numpy": "2.4.6", "onnxruntime": "1.31.1"})
CLASSES = TaskSpec("multiclass", {"classes": ["early", "on time", "late"]})


def logits(n: int, width: int) -> bytes:
    """Return a graph of a matrix of `n` columns, missing values as zero: a score of each of `width` classes,
    or the probability of one; beside it a label that nobody asked for.
    """
    weights = np.linspace(-0.5, 0.75, n * width, dtype=np.float32).reshape(n, width)
    last = helper.make_node("Sigmoid" if width == 1 else "Softmax", ["sums"], ["found"])
    nodes = [
        helper.make_node("IsNaN", ["X"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "X"], ["known"]),
        helper.make_node("MatMul", ["known", "weights"], ["sums"]),
        helper.make_node("ArgMax", ["sums"], ["label"], axis=1, keepdims=0),
        last,
    ]
    constants = [
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
        numpy_helper.from_array(weights, "weights"),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("found", TensorProto.FLOAT, None),
    ]
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, n])]
    graph = helper.make_graph(nodes, "logits", inputs, outputs, constants)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString(deterministic=True)


def texts() -> bytes:
    """Return a graph of a text, a whole number and a number, which answers fractions of float64."""
    nodes = [
        helper.make_node("LabelEncoder", ["tail"], ["code"], domain="ai.onnx.ml", **CODES),
        helper.make_node("Cast", ["seat"], ["seats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["seats", "code"], ["product"]),
        helper.make_node("Add", ["product", "wind"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["prediction"], to=TensorProto.DOUBLE),
    ]
    inputs = [
        helper.make_tensor_value_info("tail", TensorProto.STRING, [None, 1]),
        helper.make_tensor_value_info("seat", TensorProto.INT64, [None, 1]),
        helper.make_tensor_value_info("wind", TensorProto.FLOAT, [None, 1]),
    ]
    outputs = [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None, 1])]
    graph = helper.make_graph(nodes, "texts", inputs, outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString(deterministic=True)


CODES = {"keys_strings": ["N1", "N2"], "values_floats": [1.0, 2.0], "default_float": 0.0}


def source(package: Package, **about: object) -> Source:
    """Return a version with the scores that its graph gives its probe rows."""
    found = RUNTIMES.load(package).predict(package.probe_rows())
    scored = Package(
        **{name: getattr(package, name) for name in package.__struct_fields__ if name != "probe_scores"},
        probe_scores=tuple(tuple(map(float, row)) for row in found),
    )
    given = {"model": "late_parcel", "version": 3, "digest": Digest("ab" * 32)}
    return Source(**(given | {"registered": "2026-11-01T00:00:00Z", "package": scored} | about))


def made(graph: bytes, signature: Signature, probe: tuple, task: TaskSpec | None = None) -> Package:
    """Return a package of a graph."""
    return Package(
        task=task or TaskSpec("binary"),
        estimator="somewhere.Model",
        signature=signature,
        environment=ENVIRONMENT,
        params={},
        seed=1,
        n_rows=100,
        runtime="onnx",
        probe=probe,
        probe_scores=(),
        files={"model.onnx": graph},
    )


PLAIN = source(made(logits(2, 1), Signature(NUMBERS), ((0.5, None), (-3.0, 2.0))))
"""Numbers alone, in a matrix."""
CODED = source(
    made(
        logits(3, 3),
        Signature((ORIGIN, *NUMBERS)),
        ((2.0, 0.5, None), (None, -3.0, 2.0), (0.0, 1.0, 1.0), (3.0, 1.0, 1.0)),
        CLASSES,
    ),
    origins={"origin": "column origin of the request", "heat": "mean of weather.heat over 1d by origin"},
    computed=("heat",),
)
"""A text that is read as a code, and a feature that varv computes."""
TEXTS = source(
    made(
        texts(),
        Signature(
            (Column("tail", "text"), Column("seat", "number", dtype="int64"), Column("wind", "number")),
            form="columns",
        ),
        (("N2", 2**40, 0.5), ("", -1, 1.0)),
        TaskSpec("regression"),
    )
)
"""A text and a whole number that are read as they are."""
SOURCES = {"plain": PLAIN, "coded": CODED, "texts": TEXTS}

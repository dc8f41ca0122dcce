"""The runtime of ONNX models: ONNX Runtime on the processor.

A model has one input ``X``, the matrix, or one input of shape (n, 1) for each column that it is fed; of its
last output the last columns are the predictions. Operators of other libraries are never registered, and a
model from memory reads no file, so nothing that is loaded here runs code of its own.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from varv.adapters.runtimes.answers import as_predictions
from varv.kernel.errors import Corrupt
from varv.registry import Package, Rows, n_rows


class OnnxRuntime:
    """Loads packages into ONNX Runtime."""

    runs_code: ClassVar[bool] = False

    def load(self, package: Package, *, threads: int = 1) -> OnnxModel:
        """Bring a package into memory; raises `Corrupt` if the engine refuses it."""
        return OnnxModel(_session(package.file("model.onnx"), threads), package.width)


class OnnxModel:
    """A model that ONNX Runtime holds.

    Parameters
    ----------
    session
        The engine's session.
    width
        How many numbers a prediction has.
    """

    def __init__(self, session: Any, width: int) -> None:
        self._session = session
        self._width = width
        self._input: str = session.get_inputs()[0].name
        self._output: str = session.get_outputs()[-1].name

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width)."""
        n = n_rows(rows)
        if not n:
            return np.empty((0, self._width), dtype=np.float32)
        if isinstance(rows, np.ndarray):
            fed = {self._input: rows}
        else:
            fed = {name: values.reshape(-1, 1) for name, values in rows.items()}
        try:
            found = self._session.run([self._output], fed)[0]
        except _engine_errors() as error:
            raise Corrupt("package", "onnx", "fails in the runtime", why=str(error)[:200]) from None
        return as_predictions(found, n, self._width)


def _session(onnx: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Whatever it would print is in the error that it raises.
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except _engine_errors() as error:
        raise Corrupt("package", "onnx", "is refused by the runtime", why=str(error)[:200]) from None


@cache
def _engine_errors() -> tuple[type[Exception], ...]:
    engine = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    # Each status of the engine is an exception of its own, derived from Exception alone.
    own = [
        value for value in vars(engine).values() if isinstance(value, type) and issubclass(value, Exception)
    ]
    return (*own, RuntimeError, ValueError)

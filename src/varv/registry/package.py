"""Model packages: ONNX, the signature and a manifest in one blob of canonical JSON; nothing in it is executed
or unpickled.

`training.packaging` makes packages, from estimators, and checks them. The digest of one is its identity;
equal training gives equal bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from varv.kernel.errors import Corrupt
from varv.registry.environment import Environment
from varv.registry.signature import Signature

_LARGEST_BYTES = 512 * 1024 * 1024


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that serving needs, and how it came to be.

    ``onnx`` reads ``X`` (float32, rows by columns of the signature) and its last output holds the probability
    of class 1 in its last column. ``probe`` are a few encoded rows and ``probe_scores`` what the estimator
    said of them, so that any runtime can show that it computes the same.
    """

    format: int = 1
    estimator: str
    signature: Signature
    environment: Environment
    params: dict[str, Any]
    seed: int
    n_rows: int
    onnx: bytes
    probe: tuple[tuple[float | None, ...], ...]
    probe_scores: tuple[float, ...]

    def probe_matrix(self) -> np.ndarray:
        """Return the probe rows as a float32 matrix, missing values as NaN."""
        return np.array(self.probe, dtype=np.float32).reshape(len(self.probe), -1)


def open_package(data: bytes) -> Package:
    """Return the package that `data` holds.

    Raises
    ------
    Corrupt
        If the bytes are not a package, or are larger than 512 MiB.
    """
    if len(data) > _LARGEST_BYTES:
        raise Corrupt("package", "", "is too large", size_bytes=len(data), limit=_LARGEST_BYTES)
    try:
        return msgspec.json.decode(data, type=Package)
    except msgspec.MsgspecError as error:
        raise Corrupt(
            "package", "", "does not decode", why=str(error), hint="build it again from its run"
        ) from None


def session(onnx: bytes, *, threads: int = 1) -> Any:
    """Return an ONNX Runtime session on the processor, quiet and with a fixed number of threads.

    Raises
    ------
    Corrupt
        If the runtime refuses the model.
    """
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import (  # pyrefly: ignore[missing-import]
        Fail,
        InvalidArgument,
        InvalidGraph,
        InvalidProtobuf,
    )

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf, InvalidArgument, RuntimeError) as error:
        raise Corrupt("package", "onnx", "is refused by the runtime", why=str(error)[:200]) from None


def scores(model: Any, matrix: np.ndarray) -> np.ndarray:
    """Return the probability of class 1 for each row of `matrix`, float32 of shape (n,)."""
    if not len(matrix):
        return np.empty(0, dtype=np.float32)
    return model.run([model.get_outputs()[-1].name], {"X": matrix})[0].reshape(len(matrix), -1)[:, -1]

"""Model packages: ONNX, the signature and a manifest in one blob of canonical JSON; nothing in it is executed
or unpickled.

A package is made from a fitted scikit-learn estimator and checked before it is kept: its predictions on probe
rows must equal the estimator's. Its digest is its identity; equal training gives equal bytes.
"""

from __future__ import annotations

import warnings
from typing import Any

import msgspec
import numpy as np

from varv.kernel.codec import canonical
from varv.kernel.errors import Corrupt, InvalidInput
from varv.runs.environment import Environment
from varv.runs.hist_boosting import to_onnx_bytes
from varv.runs.signature import Signature

TOLERANCE = 1e-5
"""Largest difference of a probability between the estimator and its package that is put down to float32."""

_PROBE_ROWS = 32
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


def build_package(
    estimator: Any,
    signature: Signature,
    probe: np.ndarray,
    *,
    environment: Environment,
    params: dict[str, Any],
    seed: int,
    n_rows: int,
) -> bytes:
    """Return the package of a fitted binary classifier, after checking that it predicts as the estimator
    does.

    Parameters
    ----------
    probe
        Encoded rows to compare on, float32 of shape (m, columns); at most 32 of them are kept in the package.

    Raises
    ------
    InvalidInput
        If the estimator cannot predict probabilities, has no ONNX form, or its ONNX form predicts otherwise.
    """
    name = type(estimator).__name__
    if not hasattr(estimator, "predict_proba"):
        raise InvalidInput(
            "estimator", name, "has no predict_proba", hint="return a fitted binary classifier from fit"
        )
    n_classes = len(getattr(estimator, "classes_", (0, 1)))
    if n_classes != 2:
        hint = "train on rows with both outcomes"
        raise InvalidInput("estimator", name, "is not binary", classes=n_classes, hint=hint)
    onnx = _onnx_of(estimator, len(signature.columns))
    expected = np.asarray(estimator.predict_proba(probe))[:, 1]
    difference = float(np.abs(_trial_scores(name, onnx, probe) - expected).max(initial=0.0))
    if not difference <= TOLERANCE:
        hint = "use an estimator that computes in float32, or report this"
        raise InvalidInput("estimator", name, "differs from its ONNX form", by=difference, hint=hint)
    # JSON has no infinity, so a row that holds one is compared here but not kept.
    few = np.flatnonzero(~np.isinf(probe).any(axis=1))[:_PROBE_ROWS]
    rows = tuple(tuple(None if np.isnan(value) else float(value) for value in row) for row in probe[few])
    return canonical(
        Package(
            estimator=f"{type(estimator).__module__}.{name}",
            signature=signature,
            environment=environment,
            params=params,
            seed=seed,
            n_rows=n_rows,
            onnx=onnx,
            probe=rows,
            probe_scores=tuple(round(float(score), 7) for score in expected[few]),
        )
    )


def _trial_scores(estimator: str, onnx: bytes, probe: np.ndarray) -> np.ndarray:
    try:
        return scores(session(onnx), probe)
    except Corrupt as error:
        hint = "use another estimator, or report this"
        raise InvalidInput(
            "estimator", estimator, "has no ONNX form that runs", why=error.facts.get("why"), hint=hint
        ) from None


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


def _onnx_of(estimator: Any, n_columns: int) -> bytes:
    from sklearn.ensemble import HistGradientBoostingClassifier

    if isinstance(estimator, HistGradientBoostingClassifier):
        return to_onnx_bytes(estimator)
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    inputs: Any = [("X", FloatTensorType([None, n_columns]))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: Any = skl2onnx.to_onnx(
                estimator, initial_types=inputs, options={"zipmap": False}, target_opset=18
            )
    except (MissingConverter, MissingShapeCalculator, NotImplementedError, RuntimeError, ValueError) as error:
        hint = "use a scikit-learn estimator that skl2onnx converts"
        raise InvalidInput(
            "estimator", type(estimator).__name__, "has no ONNX form", why=str(error)[:200], hint=hint
        ) from None
    return model.SerializeToString(deterministic=True)

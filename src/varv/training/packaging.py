"""Making a package of a fitted scikit-learn estimator: its ONNX form, checked before it is kept.

The package's predictions on probe rows must equal the estimator's. What a package is, and how it is opened,
is in `registry.package`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from varv.kernel.codec import canonical
from varv.kernel.errors import Corrupt, InvalidInput
from varv.registry import Environment, Package, Signature
from varv.registry.package import scores, session
from varv.training.hist_boosting import to_onnx_bytes

TOLERANCE = 1e-5
"""Largest difference of a probability between the estimator and its package that is put down to float32."""

_PROBE_ROWS = 32


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

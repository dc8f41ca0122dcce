"""Asking a fitted estimator for predictions, as scikit-learn's estimators are asked.

Tasks call it, to compare an estimator with its package. Everything that the author's estimator raises is an
error that names its lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from varv.kernel.errors import InvalidInput
from varv.kernel.user_code import UserCode
from varv.stats.intervals import Numbers


def class_probabilities(estimator: Any, rows: np.ndarray, classes: Sequence[Any], *, kind: str) -> Numbers:
    """Return the probability of each class, float64 of shape (n, classes).

    Parameters
    ----------
    classes
        The classes of the task in its order; an estimator that was fitted on their codes 0, 1, 2... will do.
    kind
        What the estimator should be, in words: ``"binary classifier"``.

    Raises
    ------
    InvalidInput
        If the estimator has no probabilities, or not those of these classes in this order.
    UserCodeFailed
        If it raised.
    """
    name = type(estimator).__name__
    if not hasattr(estimator, "predict_proba"):
        raise InvalidInput("estimator", name, "has no predict_proba", hint=f"return a fitted {kind} from fit")
    known = np.asarray(getattr(estimator, "classes_", range(len(classes)))).tolist()
    if len(known) != len(classes):
        few = "train on rows with both outcomes" if len(classes) == 2 else "train on rows of every class"
        problem = "is not binary" if len(classes) == 2 else f"does not have {len(classes)} classes"
        raise InvalidInput("estimator", name, problem, classes=len(known), hint=few)
    if known not in (list(range(len(classes))), list(classes)):
        hint = "fit it on the outcomes as they are given: 0 for the first class, 1 for the second"
        problem = f"has the classes {known[:6]}, which are not those of the task in its order"
        raise InvalidInput("estimator", name, problem, hint=hint)
    with UserCode("estimator", name):
        found = np.asarray(estimator.predict_proba(rows), dtype=np.float64)
    return _of_shape(name, "predict_proba", found, (len(rows), len(classes)))


def predictions(estimator: Any, rows: np.ndarray, width: int, *, kind: str) -> Numbers:
    """Return what ``predict`` says, float64 of shape (n, `width`).

    Raises
    ------
    InvalidInput
        If the estimator has no ``predict``, or it says something of another shape, or no numbers.
    UserCodeFailed
        If it raised.
    """
    name = type(estimator).__name__
    if not hasattr(estimator, "predict"):
        raise InvalidInput("estimator", name, "has no predict", hint=f"return a fitted {kind} from fit")
    with UserCode("estimator", name):
        found = np.asarray(estimator.predict(rows))
    if found.dtype.kind not in "fiub":
        hint = f"return a {kind}, whose predict returns numbers"
        raise InvalidInput("estimator", name, f"predicts values of type {found.dtype}", hint=hint)
    if width == 1 and found.ndim == 1:
        found = found.reshape(-1, 1)
    return _of_shape(name, "predict", found.astype(np.float64), (len(rows), width))


def _of_shape(name: str, method: str, found: Numbers, shape: tuple[int, int]) -> Numbers:
    if found.shape != shape:
        hint = f"make it return one row for each row, with {shape[1]} numbers"
        problem = f"returns an array of shape {found.shape} from {method}"
        raise InvalidInput("estimator", name, problem, expected=shape, hint=hint)
    return found

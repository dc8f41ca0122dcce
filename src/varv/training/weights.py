"""How much each row counts in a training, as declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from varv.kernel.errors import InvalidInput
from varv.kernel.user_code import UserCode
from varv.registry import Signature

Weights = str | Callable[[pl.DataFrame], Any]
"""The name of a column, or a function of the features as `TrainingSet.frame` holds them."""


def weights_of(declared: Weights, rows: pl.DataFrame, signature: Signature) -> np.ndarray:
    """Return the weight of each row, float64 of shape (n,), finite and above zero.

    Parameters
    ----------
    rows
        Features as they were served, and the column that is named, if it is no feature.

    Raises
    ------
    InvalidInput
        If there is no such column, or a weight is missing, not a number or not above zero.
    UserCodeFailed
        If the function raised.
    """
    if isinstance(declared, str):
        name, values = declared, _column(declared, rows)
    else:
        name = getattr(declared, "__qualname__", "weights")
        with UserCode("function", name):
            values = declared(signature.frame(rows))
    try:
        weights = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInput("weights", name, "are not numbers", hint="return one number a row") from None
    if weights.shape != (rows.height,):
        hint = "return one number a row"
        raise InvalidInput(
            "weights", name, f"have the shape {weights.shape}", expected=(rows.height,), hint=hint
        )
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
    if len(wrong):
        problem = f"hold {float(weights[wrong[0]])}, which is no weight"
        hint = "make every weight a finite number above zero"
        raise InvalidInput("weights", name, problem, row=int(wrong[0]), n=len(wrong), hint=hint)
    return weights


def _column(name: str, rows: pl.DataFrame) -> np.ndarray:
    if name not in rows.columns:
        hint = "name a feature or a column of the requests"
        raise InvalidInput("weights", name, "are no column of the rows", hint=hint)
    values = rows.get_column(name)
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        raise InvalidInput("weights", name, f"are of type {values.dtype}", hint="name a column of numbers")
    return values.cast(pl.Float64).to_numpy()

"""How much each row counts in a training, as declared."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import polars as pl

from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.kernel.user_code import UserCode
from varv.registry import Signature
from varv.stats.sampling import MOST_WEIGHT

PROPENSITY = "@inverse propensity"
"""The column of rows that holds what each counts for by the probabilities on record."""


class InversePropensity(msgspec.Struct, frozen=True):
    """Weights by the probabilities on record; see `inverse_propensity`."""

    clip: float = MOST_WEIGHT

    def __repr__(self) -> str:
        return f"varv.inverse_propensity(clip={self.clip:g})"

    def stabilised(self, counts: np.ndarray) -> np.ndarray:
        """Return weights of mean 1 from what rows count for, shape (n,)."""
        clipped = np.minimum(counts, self.clip)
        found: np.ndarray = clipped / clipped.mean() if len(clipped) else clipped
        return found


def inverse_propensity(*, clip: float = MOST_WEIGHT) -> InversePropensity:
    """Declare that rows are weighed by the inverse of the probability with which their outcome came to be
    seen: of being chosen to be labelled, and of the arm that answered; feedback by its own weight too.

    `fit` finds them as ``train.weights``, with mean 1, and ``min_rows`` counts the rows of equal weight that
    would say as much, (sum of w)^2 / sum of w^2.

    Parameters
    ----------
    clip
        What a row counts for at most, before the mean is made 1: a little bias for much less variance.

    Raises
    ------
    InvalidDeclaration
        If it is below 1.

    Examples
    --------
    >>> inverse_propensity(clip=10)
    varv.inverse_propensity(clip=10)
    """
    if not (isinstance(clip, int | float) and 1 <= clip < math.inf):
        hint = "give what one row counts for at most, 1 or more"
        raise InvalidDeclaration("train", "clip", "is not allowed", given=repr(clip)[:60], hint=hint)
    return InversePropensity(float(clip))


Weights = str | InversePropensity | Callable[[pl.DataFrame], Any]
"""The name of a column, probabilities on record, or a function of the features as `TrainingSet.frame` holds
them.
"""


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
    values: Any
    if isinstance(declared, InversePropensity):
        name, values = repr(declared), declared.stabilised(_column(PROPENSITY, rows))
    elif isinstance(declared, str):
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

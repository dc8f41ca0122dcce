"""What an author's training function is given, and what it may return beside a bare estimator."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import polars as pl

from varv.registry import Signature
from varv.registry.signature import Form
from varv.training.previous import Previous


class TrainingSet:
    """The rows that a training function is given, oldest first.

    Features come in two forms; use the one that your estimator wants. `X` is a matrix of numbers, `frame` has
    columns with their own types. The form that was used is the one in which the model is fed when it serves.

    Parameters
    ----------
    rows
        Features as they were served.
    y
        Outcomes as the task has them: int64 where they are classes, else float64, shape (n,).
    requested_at
        When each row was a request, int64 microseconds of shape (n,), ascending.
    signature
        How the columns of `X` came to be; ``signature.names`` are their names.
    seed
        To be used for everything random; equal inputs and seed must give an equal model.
    weights
        How much each row counts, float64 of shape (n,), as declared; None if nothing is.
    previous
        A fit of the champion to go on from; None unless ``Train`` declares it, and at a first training.
    taken
        Which of `rows` are meant, truth values; None for all of them.
    """

    def __init__(
        self,
        rows: pl.DataFrame,
        y: np.ndarray,
        requested_at: np.ndarray,
        signature: Signature,
        *,
        seed: int,
        weights: np.ndarray | None = None,
        previous: Previous | None = None,
        taken: pl.Series | None = None,
    ) -> None:
        self.weights = weights
        self.previous = previous
        self._rows = rows
        self._taken = taken
        self.y = y
        self.requested_at = requested_at
        self.signature = signature
        self.seed = seed

    @cached_property
    def X(self) -> np.ndarray:
        """Encoded inputs, float32 of shape (n, d); categories as codes, missing values as NaN."""
        return self.signature.encode(self._rows, self._taken)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Inputs with their own types, as they are served: Float32 with missing values as NaN, Int64 where
        Float32 would not hold the values, truth values as 0 and 1, String with missing texts as "".
        """
        return self.signature.frame(some_of(self._rows, self._taken))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of `X`."""
        return self.signature.names

    @property
    def forms_used(self) -> frozenset[Form]:
        """The forms that were asked for so far."""
        asked: set[Form] = set()
        if "X" in self.__dict__:
            asked.add("matrix")
        if "frame" in self.__dict__:
            asked.add("columns")
        return frozenset(asked)

    def __len__(self) -> int:
        return len(self.y)


def some_of(rows: pl.DataFrame, taken: pl.Series | None) -> pl.DataFrame:
    """Return those of `rows` that are taken; None for all of them."""
    return rows if taken is None else rows.filter(taken)


class Packaged(msgspec.Struct, frozen=True):
    """An estimator, and how it is to be kept and fed; see `packaged`."""

    estimator: Any
    form: Form | None = None
    runtime: str | None = None
    trust: bool = False


def packaged(
    estimator: Any, *, form: Form | None = None, runtime: str | None = None, trust: bool = False
) -> Packaged:
    """Return an estimator together with how it is to be kept; a training function may return it.

    Parameters
    ----------
    estimator
        The fitted estimator.
    form
        Whether it is fed the matrix or the columns; by default what it was fitted on, as far as that shows.
    runtime
        What is to run it: ``"onnx"``, ``"lightgbm"``, ``"xgboost"``, ``"torch"``, ``"python"``, or one that
        another package brings. By default ONNX, and where that cannot be, the estimator's own.
    trust
        Allow a format that may run code when it is loaded, as that of torch.export.
    """
    return Packaged(estimator, form, runtime, trust)

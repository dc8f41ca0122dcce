"""The signature of a model: which columns it reads, in which order, and how each becomes a number.

The same signature encodes training rows and live requests, so the two cannot differ. A category is its
position among the sorted categories of the training rows; a category never seen, or a null, is missing (NaN),
as a number that is missing or infinite is.
"""

from __future__ import annotations

from functools import cached_property
from itertools import repeat
from typing import Literal

import msgspec
import numpy as np
import polars as pl

from varv.kernel.errors import InvalidInput

_MOST_CATEGORIES = 10_000


class Column(msgspec.Struct, frozen=True, dict=True):
    """One input of a model: a number, or one of a fixed list of categories."""

    name: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] = ()

    @cached_property
    def positions(self) -> dict[str | None, int]:
        """The position of each category."""
        return {category: position for position, category in enumerate(self.categories)}


class Signature(msgspec.Struct, frozen=True):
    """The inputs of a model in the order of its matrix."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return tuple(column.name for column in self.columns)

    def encode(self, frame: pl.DataFrame) -> np.ndarray:
        """Return the matrix of `frame`, float32 of shape (rows, columns), missing values as NaN.

        Raises
        ------
        InvalidInput
            If a column is missing from `frame` or has a type that does not fit.
        """
        matrix = np.empty((frame.height, len(self.columns)), dtype=np.float32)
        for position, column in enumerate(self.columns):
            if column.name not in frame.columns:
                hint = f"send {', '.join(self.names)}"
                raise InvalidInput("column", column.name, "is missing from the request", hint=hint)
            matrix[:, position] = _encode(column, frame.get_column(column.name))
        # Infinite, or beyond float32: most estimators refuse it, and a live request may not bring it.
        matrix[np.isinf(matrix)] = np.nan
        return matrix


def _encode(column: Column, values: pl.Series) -> np.ndarray:
    if column.kind == "category":
        if values.dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Null):
            hint = "send a text"
            raise InvalidInput(
                "column", column.name, "is a category and got numbers", dtype=str(values.dtype), hint=hint
            )
        # Not by way of the query engine: for one request, that would take longer than the model.
        codes = map(column.positions.get, values.to_list(), repeat(np.nan))
        return np.fromiter(codes, np.float32, len(values))
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        hint = "send a number or null"
        raise InvalidInput(
            "column", column.name, "is a number and got something else", dtype=str(values.dtype), hint=hint
        )
    return values.cast(pl.Float32).to_numpy()


def signature_of(frame: pl.DataFrame, names: tuple[str, ...]) -> Signature:
    """Return the signature that the training rows `frame` give the columns `names`.

    Raises
    ------
    InvalidInput
        If a column is neither a number nor a text, or is a text with more than 10,000 values.

    Examples
    --------
    >>> rows = pl.DataFrame({"origin": ["JFK", "EWR"], "wind": [3.0, None]})
    >>> signature = signature_of(rows, ("origin", "wind"))
    >>> signature.encode(pl.DataFrame({"origin": ["JFK", "XXX"], "wind": [1.5, 2.0]})).tolist()
    [[1.0, 1.5], [nan, 2.0]]
    """
    return Signature(tuple(_column(frame.get_column(name)) for name in names))


def _column(values: pl.Series) -> Column:
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return Column(values.name, "number")
    if values.dtype not in (pl.String, pl.Categorical, pl.Enum):
        hint = "derive a number or a text from it"
        raise InvalidInput(
            "column", values.name, "cannot be an input of a model", dtype=str(values.dtype), hint=hint
        )
    categories = values.drop_nulls().cast(pl.String).unique().sort()
    if len(categories) > _MOST_CATEGORIES:
        hint = "group rare values, or use a windowed feature of it instead"
        raise InvalidInput("column", values.name, "has too many categories", n=len(categories), hint=hint)
    return Column(values.name, "category", tuple(categories))

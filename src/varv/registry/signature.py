"""The signature of a model: which columns it reads, in which order, and in which form it is fed.

The same signature feeds training rows and live requests to a model, so the two cannot differ. There are two
forms. A *matrix* of float32 holds every column as a number: a category is its position among the sorted
categories of the training rows, a category never seen, or a null, is missing (NaN), as a number that is
missing or infinite is. *Columns* keep their own types: numbers are float32, missing ones NaN, or int64 where
float32 would not hold them; a text is itself, a missing one is the empty text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import repeat
from typing import Literal

import msgspec
import numpy as np
import polars as pl

from varv.kernel.errors import InvalidInput

MOST_CATEGORIES = 10_000
"""A text of more values is no category, and has no place in a matrix."""
_MANY = 2048
"""Values from which the query engine encodes faster than a loop."""
_EXACT_IN_FLOAT32 = 2**24
"""Float32 holds every whole number up to here."""

Form = Literal["matrix", "columns"]
Rows = np.ndarray | Mapping[str, np.ndarray]
"""Rows as a model is fed them: a float32 matrix of shape (n, d), or the name of each column to its values,
float32, int64 or text, of shape (n,)."""


class Column(msgspec.Struct, frozen=True, dict=True, omit_defaults=True):
    """One input of a model: a number, one of a fixed list of categories, or any text.

    ``dtype`` is the type of a number that is fed as a column.
    """

    name: str
    kind: Literal["number", "category", "text"]
    categories: tuple[str, ...] = ()
    dtype: Literal["float32", "int64"] = "float32"

    @cached_property
    def positions(self) -> dict[str | None, int]:
        """The position of each category."""
        return {category: position for position, category in enumerate(self.categories)}

    @cached_property
    def one_of(self) -> pl.Enum:
        """The type of a text that is one of the categories."""
        return pl.Enum(self.categories)


class Signature(msgspec.Struct, frozen=True, omit_defaults=True):
    """The inputs of a model, in the order of its matrix, and the form in which it is fed."""

    columns: tuple[Column, ...]
    form: Form = "matrix"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return tuple(column.name for column in self.columns)

    def feed(self, frame: pl.DataFrame) -> Rows:
        """Return the rows of `frame` in the form in which the model is fed.

        Raises
        ------
        InvalidInput
            If a column is missing from `frame`, or has a type or a value that does not fit.
        """
        if self.form == "matrix":
            return self.encode(frame)
        return {column.name: _fed(column, self._values(column, frame)) for column in self.columns}

    def encode(self, frame: pl.DataFrame, taken: pl.Series | None = None) -> np.ndarray:
        """Return the matrix of `frame`, float32 of shape (rows, columns), missing values as NaN.

        Parameters
        ----------
        taken
            Which rows are meant, truth values: all of them are not copied first. None for all rows.

        Raises
        ------
        InvalidInput
            If a column is missing from `frame` or has a type that does not fit.
        """
        n = frame.height if taken is None else int(taken.sum())
        matrix = np.empty((n, len(self.columns)), dtype=np.float32)
        for position, column in enumerate(self.columns):
            values = self._values(column, frame)
            matrix[:, position] = _encoded(column, values if taken is None else values.filter(taken))
        # Infinite, or beyond float32: most estimators refuse it, and a live request may not bring it.
        matrix[np.isinf(matrix)] = np.nan
        return matrix

    def frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the columns as they are fed to a model that takes columns, as a frame.

        Raises
        ------
        InvalidInput
            If a column is missing from `frame`, or has a type or a value that does not fit.
        """
        fed = {column.name: _fed(column, self._values(column, frame)) for column in self.columns}
        return frame_of(fed)

    def matrix_of(self, names: Iterable[str]) -> Signature:
        """Return the signature of a model that is fed a matrix of the columns `names`, in their order."""
        return Signature(tuple(self._column(name) for name in names))

    def columns_of(self, names: Iterable[str]) -> Signature:
        """Return the signature of a model that is fed the columns `names` with their own types."""
        kept = (self._column(name) for name in names)
        # Text is fed as it is, so its categories need not be known.
        columns = (column if column.kind == "number" else Column(column.name, "text") for column in kept)
        return Signature(tuple(columns), form="columns")

    def rows(self, values: Iterable[tuple[float | str | None, ...]]) -> Rows:
        """Return rows written as JSON holds them, a missing number as None, as the model is fed them."""
        listed = list(values)
        if self.form == "matrix":
            return np.array(listed, dtype=np.float32).reshape(len(listed), len(self.columns))
        columns = zip(*listed, strict=True) if listed else repeat(())
        return {
            column.name: np.array(column_values, dtype=_fed_dtype(column))
            for column, column_values in zip(self.columns, columns, strict=False)
        }

    def _values(self, column: Column, frame: pl.DataFrame) -> pl.Series:
        if column.name not in frame.columns:
            hint = f"send {', '.join(self.names)}"
            raise InvalidInput("column", column.name, "is missing from the request", hint=hint)
        return frame.get_column(column.name)

    def _column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        hint = f"the columns are {', '.join(self.names)}"
        raise InvalidInput("column", name, "is no input that is declared", hint=hint)


def n_rows(rows: Rows) -> int:
    """Return how many rows a model is fed.

    Examples
    --------
    >>> n_rows({"origin": np.array(["JFK", "EWR"], dtype=object)})
    2
    """
    return len(rows if isinstance(rows, np.ndarray) else next(iter(rows.values()), ()))


def take(rows: Rows, chosen: np.ndarray | slice) -> Rows:
    """Return some of the rows that a model is fed."""
    if isinstance(rows, np.ndarray):
        return rows[chosen]
    return {name: values[chosen] for name, values in rows.items()}


def frame_of(columns: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """Return columns that a model is fed as a frame: Float32, Int64 and String."""
    return pl.DataFrame(
        [
            pl.Series(name, values.tolist(), dtype=pl.String)
            if values.dtype == object
            else pl.Series(name, values)
            for name, values in columns.items()
        ]
    )


def signature_of(frame: pl.DataFrame, names: tuple[str, ...], taken: pl.Series | None = None) -> Signature:
    """Return the signature that the training rows `frame`, or those of them that are taken, give the columns
    `names`.

    Raises
    ------
    InvalidInput
        If a column is neither a number nor a text.

    Examples
    --------
    >>> rows = pl.DataFrame({"origin": ["JFK", "EWR"], "wind": [3.0, None]})
    >>> signature = signature_of(rows, ("origin", "wind"))
    >>> signature.encode(pl.DataFrame({"origin": ["JFK", "XXX"], "wind": [1.5, 2.0]})).tolist()
    [[1.0, 1.5], [nan, 2.0]]
    >>> signature.columns_of(["origin"]).feed(rows)
    {'origin': array(['JFK', 'EWR'], dtype=object)}
    """
    columns = (frame.get_column(name) for name in names)
    return Signature(tuple(_column(one if taken is None else one.filter(taken)) for one in columns))


def _encoded(column: Column, values: pl.Series) -> np.ndarray:
    if column.kind == "number":
        return _numbers(column, values).to_numpy()
    _require_text(column, values)
    if column.kind == "text":
        hint = "train on train.frame, group rare values, or use a windowed feature of it instead"
        raise InvalidInput("column", column.name, "has too many categories", limit=MOST_CATEGORIES, hint=hint)
    if len(values) > _MANY and values.dtype != pl.Null:
        codes = values.cast(column.one_of, strict=False).to_physical()
        return codes.cast(pl.Float32).to_numpy()
    # Not by way of the query engine: for one request, that would take longer than the model.
    codes = map(column.positions.get, values.to_list(), repeat(np.nan))
    return np.fromiter(codes, np.float32, len(values))


def _fed(column: Column, values: pl.Series) -> np.ndarray:
    if column.kind != "number":
        _require_text(column, values)
        texts = ["" if value is None else value for value in values.to_list()]
        return np.array(texts, dtype=object)
    if column.dtype == "int64":
        return _whole_numbers(column, values)
    numbers = _numbers(column, values).to_numpy()
    return np.where(np.isinf(numbers), np.float32(np.nan), numbers)


def _fed_dtype(column: Column) -> type:
    if column.kind != "number":
        return object
    return np.int64 if column.dtype == "int64" else np.float32


def _numbers(column: Column, values: pl.Series) -> pl.Series:
    _require_number(column, values)
    return values.cast(pl.Float32)


def _whole_numbers(column: Column, values: pl.Series) -> np.ndarray:
    _require_number(column, values)
    whole = values.cast(pl.Int64, strict=False)
    if whole.null_count() or (values.dtype.is_float() and (whole != values).any()):
        hint = "send a whole number"
        raise InvalidInput(
            "column", column.name, "is always a whole number and got something else", hint=hint
        )
    return whole.to_numpy()


def _require_number(column: Column, values: pl.Series) -> None:
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        hint = "send a number or null"
        raise InvalidInput(
            "column", column.name, "is a number and got something else", dtype=str(values.dtype), hint=hint
        )


def _require_text(column: Column, values: pl.Series) -> None:
    if values.dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        noun = "a category" if column.kind == "category" else "a text"
        raise InvalidInput(
            "column", column.name, f"is {noun} and got numbers", dtype=str(values.dtype), hint="send a text"
        )


def _column(values: pl.Series) -> Column:
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return Column(values.name, "number", dtype="int64" if _needs_int64(values) else "float32")
    if values.dtype not in (pl.String, pl.Categorical, pl.Enum):
        hint = "derive a number or a text from it"
        raise InvalidInput(
            "column", values.name, "cannot be an input of a model", dtype=str(values.dtype), hint=hint
        )
    categories = values.drop_nulls().cast(pl.String).unique().sort()
    if len(categories) > MOST_CATEGORIES:
        return Column(values.name, "text")
    return Column(values.name, "category", tuple(categories))


def _needs_int64(values: pl.Series) -> bool:
    if not values.dtype.is_integer() or values.null_count() or not len(values):
        return False
    low, high = int(values.min()), int(values.max())  # type: ignore[arg-type]
    return (high > _EXACT_IN_FLOAT32 or low < -_EXACT_IN_FLOAT32) and high < 2**63

"""Values of a request as plain arrays hold them: what is plain is taken, all else is `Unplanned`.

What may be sent for a column is said in `data.values`. These readers take the part of it that requests are
made of day by day; they refuse nothing, and explain nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from varv.data.values import LONGEST_TEXT, ExpectedColumn
from varv.kernel.clock import instant
from varv.kernel.columns import TIME
from varv.kernel.errors import VarvError
from varv.serving.blocks import EXACT, Floats, Layout, Texts
from varv.serving.schema import generated_keys

FRACTIONS = {float, int}
"""Types of what a column of fractions may bring."""
_NONE = type(None)


class Unplanned(Exception):
    """The general way has to answer."""


class NumberReader:
    """Reads a column of numbers, truth values or times.

    Parameters
    ----------
    column
        What is expected.
    dtype
        Its type.
    """

    def __init__(self, column: ExpectedColumn, dtype: pl.DataType) -> None:
        self.name = column.name
        self.kind = _kind_of(dtype)
        self._is_required = column.required
        self._may_be_null = column.may_be_null
        takers = {"fraction": self._fraction, "whole": self._whole, "truth": self._truth, "time": self._time}
        self._taken = takers[self.kind]
        if dtype.is_integer():
            bits, signed = int(str(dtype).rpartition("Int")[2]), dtype.is_signed_integer()
            self._low = max(-(1 << bits - 1), 1 - EXACT) if signed else 0
            self._high = min((1 << (bits - 1 if signed else bits)) - 1, EXACT - 1)

    def absent(self, n: int) -> list[None]:
        """Return the column of requests that do not bring it."""
        if self._is_required:
            raise Unplanned
        return [None] * n

    def read(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return values as numbers, None where there is none."""
        kinds = set(map(type, values))
        if _NONE in kinds:
            if not self._may_be_null:
                raise Unplanned
            kinds.remove(_NONE)
        return self._taken(values, kinds)

    def one(self, value: Any) -> float | None:
        """Return one value as a number, None where there is none."""
        if self.kind == "whole" and type(value) is int and self._low <= value <= self._high:
            return value
        return self.read((value,))[0]

    def _fraction(self, values: Sequence[Any], kinds: set[type]) -> Sequence[Any]:
        if kinds <= FRACTIONS:
            return values
        raise Unplanned

    def _whole(self, values: Sequence[Any], kinds: set[type]) -> Sequence[Any]:
        known = values if None not in values else [value for value in values if value is not None]
        # Dataframes and matrices make fractions of whole numbers.
        if float in kinds and not all(float(value).is_integer() for value in known):
            raise Unplanned
        if kinds <= FRACTIONS and (not known or self._low <= min(known) <= max(known) <= self._high):
            return values
        raise Unplanned

    def _truth(self, values: Sequence[Any], kinds: set[type]) -> Sequence[Any]:
        if kinds <= {bool}:
            return values
        raise Unplanned

    def _time(self, values: Sequence[Any], kinds: set[type]) -> Sequence[Any]:
        if not kinds <= {str}:
            raise Unplanned
        try:
            found = [None if value is None else instant(value) for value in values]
        except (VarvError, OverflowError):
            raise Unplanned from None
        if any(value is not None and abs(value) >= EXACT for value in found):
            raise Unplanned
        return found


class TextReader:
    """Reads a column of texts.

    Parameters
    ----------
    column
        What is expected.
    is_generated
        Whether requests that bring none are named by their request.
    """

    def __init__(self, column: ExpectedColumn, is_generated: bool) -> None:
        self.name = column.name
        self._is_generated = is_generated
        self._is_required = column.required
        self._may_be_null = column.may_be_null

    def absent(self, request_id: str, n: int) -> list[str | None]:
        """Return the column of requests that do not bring it."""
        if self._is_generated:
            return list[str | None](generated_keys(request_id, n))
        if self._is_required:
            raise Unplanned
        return [None] * n

    def read(self, values: Sequence[Any]) -> Sequence[str | None]:
        """Return texts, None where there is none."""
        for value in values:
            if type(value) is not str:
                if value is not None or not self._may_be_null:
                    raise Unplanned
            elif len(value) > LONGEST_TEXT:
                raise Unplanned
        return values


class KeyReader:
    """Reads columns that name something as one text a row.

    Parameters
    ----------
    names
        The columns.
    types
        Of all columns of a request.
    layout
        Where they lie.
    """

    def __init__(self, names: Sequence[str], types: Mapping[str, pl.DataType], layout: Layout) -> None:
        for name in names:
            if not (types[name] == pl.String or types[name].is_integer()):
                # How another type reads as a text is the query engine's to say.
                raise Unplanned
        texts, numbers = layout.texts, layout.numbers
        self._places = [
            (True, texts.index(name)) if name in texts else (False, numbers.index(name)) for name in names
        ]

    def read(self, numbers: Floats, texts: Texts) -> list[str]:
        """Return one text a row, empty where there is nothing."""
        columns = [
            [text or "" for text in texts[place]] if is_text else _as_texts(numbers[:, place])
            for is_text, place in self._places
        ]
        if len(columns) == 1:
            return columns[0]
        return ["|".join(parts) for parts in zip(*columns, strict=True)]


def _as_texts(numbers: Floats) -> list[str]:
    return ["" if value != value else str(int(value)) for value in numbers.tolist()]


def _kind_of(dtype: pl.DataType) -> str:
    if dtype == TIME:
        return "time"
    if dtype == pl.Boolean:
        return "truth"
    return "whole" if dtype.is_integer() else "fraction"

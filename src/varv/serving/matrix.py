"""Requests that came as one matrix of numbers, without names: its columns are those that a request needs."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from varv.serving.blocks import EXACT, LARGEST, Floats, Singles


class MatrixColumns(Mapping[str, Sequence[Any]]):
    """The columns of a matrix, as lists to whoever asks for one.

    Parameters
    ----------
    names
        Of the columns, in their order.
    values
        Shape (n, columns); NaN where there is no number.
    is_plain
        Whether there is a number everywhere, and none that is infinite in single precision.
    """

    def __init__(self, names: tuple[str, ...], values: Floats, *, is_plain: bool = False) -> None:
        self.names = names
        self.values_together = values
        self.is_plain = is_plain

    def __getitem__(self, name: str) -> list[float | None]:
        try:
            column = self.values_together[:, self.names.index(name)]
        except ValueError:
            raise KeyError(name) from None
        values = column.tolist()
        return [None if value != value else value for value in values] if np.isnan(column).any() else values

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def matrix_of(names: tuple[str, ...], values: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
    """Return the columns of a matrix that is given row by row; None is no number."""
    width = len(names)
    known = values if None not in values else [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0, 0)
    if not -EXACT < low <= high < EXACT and int in set(map(type, known)):
        return {name: values[place::width] for place, name in enumerate(names)}
    is_whole = len(known) == len(values)
    plain = values if is_whole else [math.nan if one is None else one for one in values]
    matrix = np.frombuffer(array("d", plain)).reshape(-1, width)
    return MatrixColumns(names, matrix, is_plain=is_whole and -LARGEST <= low <= high <= LARGEST)


def matrix_of_singles(names: tuple[str, ...], values: Singles) -> MatrixColumns:
    """Return the columns of a matrix of numbers in single precision, of shape (n, columns)."""
    # Not so if one is no number: nothing is at most what is none.
    is_plain = bool(values.size) and bool(np.abs(values).max() <= LARGEST)
    return MatrixColumns(names, values, is_plain=is_plain)

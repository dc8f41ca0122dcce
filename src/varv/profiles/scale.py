"""What the profiles of one table have in common, so that they can be merged: where its columns are measured
from, how finely, and in which cells.

A scale follows from the first rows of a table and stays. Later rows may lie elsewhere: sums stay exact, the
cells there are coarser, and quantiles come from the sample of rows (`profiles.sample`).
"""

from __future__ import annotations

import math
from collections.abc import Collection

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.codec import Digest, digest
from varv.kernel.errors import InvalidInput
from varv.profiles.counted import NUMERIC, Counted, Numbers, counted, kind_of

CELLS = 128
"""Cells of equal mass in the first rows; a rank is exact at their edges and off by 1 / 128 at most within."""
_STEEPEST = 200
"""Of a spread, the largest power of two: its fourth power has to be a number."""


class ColumnScale(msgspec.Struct, frozen=True):
    """Of one column: what it holds, where its numbers are measured from, the power of two that they spread
    by, and the upper edges of its cells but the last.

    Nothing of a private column but its name and kind is kept.
    """

    name: str
    kind: str
    private: bool = False
    pivot: float = 0.0
    exponent: int = 0
    edges: tuple[float, ...] = ()


class Scale(msgspec.Struct, frozen=True):
    """Of all columns of a table, and of which columns identify a row."""

    columns: tuple[ColumnScale, ...]
    key: tuple[str, ...] = ()

    @property
    def digest(self) -> Digest:
        """What two scales have in common if they are equal."""
        return digest(msgspec.msgpack.encode(self))


def scale_of(frame: pl.DataFrame, *, key: Collection[str] = (), private: Collection[str] = ()) -> Scale:
    """Return a scale for tables that begin like this one.

    Parameters
    ----------
    frame
        The first rows, some thousands if there are so many.
    key
        The columns that identify a row; all of them together if left out.
    private
        Columns of which only counts are kept: no value, and nothing from which one could be guessed.

    Raises
    ------
    InvalidInput
        If a column that is named is not there, or the key is private.
    """
    for name in (*key, *private):
        if name not in frame.columns:
            hint = f"the columns are {', '.join(frame.columns)}"
            raise InvalidInput("column", name[:80], "does not exist", hint=hint)
    columns = []
    for name, dtype in frame.schema.items():
        kind = kind_of(dtype)
        if name in private or kind not in NUMERIC:
            columns.append(ColumnScale(name, kind, name in private))
        else:
            columns.append(_of_numbers(name, kind, counted(frame[name], kind)))
    return Scale(tuple(columns), tuple(key))


def _of_numbers(name: str, kind: str, found: Counted) -> ColumnScale:
    if not len(found.values):
        return ColumnScale(name, kind)
    below = np.cumsum(found.counts)
    wanted = np.arange(1, CELLS) * below[-1] / CELLS
    edges = np.unique(found.values[np.searchsorted(below, wanted)].astype(np.float64))
    first, middle, last = (
        float(found.values[np.searchsorted(below, q * below[-1])]) for q in (0.25, 0.5, 0.75)
    )
    spread = (last - first) or float(found.values[-1]) - float(found.values[0]) or abs(middle) or 1.0
    exponent = min(max(math.frexp(spread)[1], -_STEEPEST), _STEEPEST)
    pivot = float(round(middle)) if found.values.dtype.kind == "i" else middle
    return ColumnScale(name, kind, False, pivot, exponent, tuple(edges.tolist()))


def cell_counts(found: Counted, scale: ColumnScale) -> npt.NDArray[np.int64]:
    """Return how many values lie in each cell, shape (edges + 1,); a value on an edge lies below it."""
    total = np.concatenate(([0], np.cumsum(found.counts)))
    values: Numbers = found.values
    ends = np.searchsorted(values, np.array(scale.edges, np.float64), side="right")
    return np.diff(total[np.concatenate(([0], ends, [len(values)]))])

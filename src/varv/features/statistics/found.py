"""What every statistic offers: the columns that it needs, and its value between places of sorted runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.history import Piece, PieceOfOne
from varv.features.run import Values


class Found(Protocol):
    """A statistic of the values in windows.

    Values that are null or not finite are in no run, so a window is as many values as it has rows. What is
    found does not depend on how rows are spread over runs, nor on whether `many` or `one` finds it.
    """

    @property
    def columns(self) -> dict[str, npt.DTypeLike]:
        """The columns that it needs of each row."""
        ...

    def taken(self, values: pl.Series) -> dict[str, Values]:
        """Return these columns of values, which are neither null nor infinite."""
        ...

    def many(self, pieces: Sequence[Piece], shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Return the statistic of each window, shape (k, n): NaN, or None of texts, where there is none."""
        ...

    def one(self, pieces: Sequence[PieceOfOne], n_windows: int) -> list[Any]:
        """Return the statistic of each window of one request."""
        ...


def n_rows(pieces: Sequence[PieceOfOne], window: int) -> int:
    """Return how many rows a window of one request holds."""
    found = 0
    for _, lows, high in pieces:
        found += high - lows[window]
    return found


def arrays_of(pieces: Sequence[PieceOfOne], window: int) -> list[Piece]:
    """Return one window of one request as arrays of one."""
    return [
        Piece(run, np.array([[lows[window]]]), np.array([high]))
        for run, lows, high in pieces
        if lows[window] < high
    ]

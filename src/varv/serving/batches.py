"""Predictions in memory, in batches that are neither many nor copied often."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

BLOCK = 1 << 15
"""Neighbours are held together up to so many rows."""
T = TypeVar("T")


class Batch(NamedTuple):
    """Predictions in the order of their requests, the instants of these, and where their truths are."""

    rows: pl.DataFrame
    times: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    last_number: int
    """Of the segments that they came in."""

    def between(self, first: int, last: int) -> Batch:
        """Return its rows from one place up to another."""
        return Batch(self.rows[first:last], self.times[first:last], self.positions[first:last], 0)


def batch_of(rows: pl.DataFrame, positions: npt.NDArray[np.int64], *, last_number: int = 0) -> Batch:
    """Return the batch of rows that are in order, with where their truths are."""
    return Batch(rows, rows["requested_at"].to_physical().to_numpy(), positions, last_number)


def order_of(parts: Iterable[pl.DataFrame]) -> pl.Series:
    """Return the order of the requests in `parts`, one below the other."""
    both = pl.concat([rows.select("requested_at", "key") for rows in parts])
    return both.select(pl.arg_sort_by("requested_at", "key")).to_series()


def merged(one: Batch, other: Batch) -> Batch | None:
    """Return two batches as one, in the order of their requests; None if they have other columns."""
    if one.rows.schema != other.rows.schema:
        return None
    last_number = max(one.last_number, other.last_number)
    if one.times[-1] < other.times[0]:
        positions = np.concatenate([one.positions, other.positions])
        return batch_of(pl.concat([one.rows, other.rows]).rechunk(), positions, last_number=last_number)
    order = order_of([one.rows, other.rows])
    # In one piece: a frame of many chunks would cost as much as many frames.
    rows = pl.concat([one.rows, other.rows])[order].rechunk()
    positions = np.concatenate([one.positions, other.positions])[order.to_numpy()]
    return batch_of(rows, positions, last_number=last_number)


def sorted_together(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the numbers of both in their order."""
    return np.sort(np.concatenate([one, other]))


def tidied(held: list[T], new: T, height: Callable[[T], int], merge: Callable[[T, T], T | None]) -> list[T]:
    """Return `held` with `new` at its end, neighbours there made one, up to a block.

    Live, a batch is what came in five seconds. Three rows in a frame of their own take 20 KB, and a day has
    thousands of such frames; who asks for a window looks into every one. Nothing is merged into what is twice
    as large, so that a row is copied only as often as its batch grows by half. The list is a new one, since
    others may be reading the old.
    """
    held = list(held)
    while held and height(new) + height(held[-1]) <= BLOCK and height(held[-1]) < 2 * height(new):
        both = merge(held[-1], new)
        if both is None:
            break
        held.pop()
        new = both
    return [*held, new]

"""Spill: rows that stay in memory as long as they are few, and go to files by their hashes when they are not.

Rows of one hash come back in the same stretch, so each stretch is worked on without the others.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from varv.features.known_rows import Hashes
from varv.features.run import Ints
from varv.kernel.scratch import Scratch

HASH = "@hash"
"""The column by which rows are put together."""
_BITS = 6
_SHIFT = np.uint64(64 - _BITS)


class Spill:
    """Rows of the same columns, `HASH` among them.

    Parameters
    ----------
    most_bytes
        That stay in memory.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: list[pl.DataFrame] = []
        self._n_bytes = 0
        self._none = pl.DataFrame()
        self._scratch: Scratch | None = None
        self._n_written = 0

    @property
    def is_written(self) -> bool:
        """Whether rows are in files."""
        return self._scratch is not None

    def add(self, rows: pl.DataFrame) -> None:
        """Take in rows."""
        self._none = rows.clear()
        self._held.append(rows)
        self._n_bytes += int(rows.estimated_size())
        if self._n_bytes > self._most_bytes:
            self.write()

    def write(self) -> None:
        """Write what is held to files."""
        self._scratch = self._scratch or Scratch("training-set")
        for rows in self._held:
            of_stretch = split(rows[HASH].to_numpy())
            for number, chosen in enumerate(of_stretch):
                if len(chosen):
                    path = self._scratch.path / f"{number}-{self._n_written}"
                    rows[chosen].write_ipc_stream(path, compression="lz4")
            self._n_written += 1
        self._held.clear()
        self._n_bytes = 0

    def stretches(self) -> Iterator[pl.DataFrame]:
        """Yield all rows: in one stretch, or, once they are written, in those of `split`."""
        if self._scratch is None:
            yield pl.concat([self._none, *self._held])
            return
        self.write()
        for number in range(1 << _BITS):
            paths = (self._scratch.path / f"{number}-{time}" for time in range(self._n_written))
            parts = (pl.read_ipc_stream(path) for path in paths if path.exists())
            yield pl.concat([self._none, *parts])


def split(hashes: Hashes) -> list[Ints]:
    """Return the places of the hashes of each stretch, in their order."""
    stretches = (hashes >> _SHIFT).astype(np.uint8)
    order = np.argsort(stretches, kind="stable")
    return np.split(order, np.searchsorted(stretches[order], np.arange(1, 1 << _BITS)))


def stretches_of(one: Spill, other: Spill) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield the rows of two spills, those of one hash at the same time."""
    if one.is_written or other.is_written:
        one.write()
        other.write()
    yield from zip(one.stretches(), other.stretches(), strict=True)

"""Spill: rows that stay in memory as long as they are few, and go to files by their hashes when they are not.

Rows of one hash come back in the same stretch, so each stretch is worked on without the others; what that
takes is in proportion to a stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.run import Ints
from varv.kernel.hashing import Hashes
from varv.kernel.scratch import Scratch

HASH = "@hash"
STRETCH_ROWS = 1 << 16
"""About so many rows of those in memory come back together."""
_BITS = 6


def _own(rows: pl.DataFrame) -> Hashes:
    return rows[HASH].to_numpy()


class Spill:
    """Rows of the same columns.

    Parameters
    ----------
    most_bytes
        That stay in memory.
    hashes
        Of rows, by which they are put together; the column `HASH` by default.
    """

    def __init__(self, most_bytes: int, hashes: Callable[[pl.DataFrame], Hashes] = _own) -> None:
        self._hashes = hashes
        self._most_bytes = most_bytes
        self._held: list[pl.DataFrame] = []
        self._n_bytes = self._n_rows = 0
        self._none = pl.DataFrame()
        self._scratch: Scratch | None = None
        self._n_written = 0

    @property
    def is_written(self) -> bool:
        """Whether rows are in files."""
        return self._scratch is not None

    @property
    def bits(self) -> int:
        """How many bits of the hash tell the stretches apart."""
        return _BITS if self._scratch else min(_BITS, (self._n_rows // STRETCH_ROWS).bit_length())

    def add(self, rows: pl.DataFrame) -> None:
        """Take in rows."""
        self._none = rows.clear()
        self._held.append(rows)
        self._n_rows += rows.height
        self._n_bytes += int(rows.estimated_size())
        if self._n_bytes > self._most_bytes:
            self.write()

    def write(self) -> None:
        """Write what is held to files."""
        self._scratch = self._scratch or Scratch("training-set")
        for rows in self._held:
            of_stretch = split(self._hashes(rows), _BITS)
            for number, chosen in enumerate(of_stretch):
                if len(chosen):
                    path = self._scratch.path / f"{number}-{self._n_written}"
                    rows[chosen].write_ipc_stream(path, compression="lz4")
            self._n_written += 1
        self._held.clear()
        self._n_bytes = 0

    def stretches(self, bits: int | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows, those of each stretch of `split` together.

        Parameters
        ----------
        bits
            Of the hash; those that it has by default. Rows in files have no others.
        """
        if self._scratch is not None:
            self.write()
            for number in range(1 << _BITS):
                paths = (self._scratch.path / f"{number}-{time}" for time in range(self._n_written))
                parts = (pl.read_ipc_stream(path) for path in paths if path.exists())
                yield pl.concat([self._none, *parts])
            return
        wanted = self.bits if bits is None else bits
        if not wanted:
            yield pl.concat([self._none, *self._held])
            return
        whose = [_stretches(self._hashes(rows), wanted) for rows in self._held]
        for number in range(1 << wanted):
            chosen = zip(self._held, whose, strict=True)
            yield pl.concat([self._none, *(rows[np.flatnonzero(of == number)] for rows, of in chosen)])


def split(hashes: Hashes, bits: int) -> list[Ints]:
    """Return the places of the hashes of each stretch, in their order."""
    if not bits:
        return [np.arange(len(hashes))]
    stretches = _stretches(hashes, bits)
    order = np.argsort(stretches, kind="stable")
    return np.split(order, np.searchsorted(stretches[order], np.arange(1, 1 << bits)))


def _stretches(hashes: Hashes, bits: int) -> npt.NDArray[np.uint8]:
    return (hashes >> np.uint64(64 - bits)).astype(np.uint8)


def stretches_of(one: Spill, other: Spill) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield the rows of two spills, those of one hash at the same time."""
    bits = max(one.bits, other.bits)
    if one.is_written or other.is_written:
        one.write()
        other.write()
    yield from zip(one.stretches(bits), other.stretches(bits), strict=True)

"""Spill: records that stay in memory as long as they are few, and go to files by their hashes when they are
not.

Records of one hash come back in the same stretch, so each stretch is worked on without the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from varv.features.known_rows import Hashes
from varv.kernel.scratch import Scratch

HASH = "hash"
"""The first field of every record."""
_BITS = 6
_SHIFT = np.uint64(64 - _BITS)


class Spill:
    """Records of one type.

    Parameters
    ----------
    dtype
        Of a record; its first field is `HASH`.
    most_bytes
        That stay in memory.
    """

    def __init__(self, dtype: np.dtype[Any], most_bytes: int) -> None:
        self._dtype = dtype
        self._most_bytes = most_bytes
        self._held: list[npt.NDArray[Any]] = []
        self._scratch: Scratch | None = None

    @property
    def is_written(self) -> bool:
        """Whether records are in files."""
        return self._scratch is not None

    def add(self, hashes: Hashes, fields: Sequence[npt.NDArray[Any]] = ()) -> None:
        """Take in records: their hashes, and their other fields in order."""
        records = np.empty(len(hashes), self._dtype)
        for name, values in zip(self._dtype.names or (), (hashes, *fields), strict=True):
            records[name] = values
        self._held.append(records)
        if sum(held.nbytes for held in self._held) > self._most_bytes:
            self.write()

    def write(self) -> None:
        """Write what is held to files, by the first bits of the hashes."""
        self._scratch = self._scratch or Scratch("training-set")
        for records in self._held:
            stretches = (records[HASH] >> _SHIFT).astype(np.uint8)
            order = np.argsort(stretches, kind="stable")
            ends = np.searchsorted(stretches[order], np.arange(1, 1 << _BITS))
            for number, rows in enumerate(np.split(records[order], ends)):
                if len(rows):
                    with (self._scratch.path / str(number)).open("ab") as file:
                        rows.tofile(file)
        self._held = []

    def stretches(self) -> Iterator[npt.NDArray[Any]]:
        """Yield all records: in one stretch, or in as many as there are files."""
        if self._scratch is None:
            yield np.concatenate([np.zeros(0, self._dtype), *self._held])
            return
        self.write()
        for number in range(1 << _BITS):
            path = self._scratch.path / str(number)
            yield np.fromfile(path, self._dtype) if path.exists() else np.zeros(0, self._dtype)


def stretches_of(one: Spill, other: Spill) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yield the records of two spills, those of one hash at the same time."""
    if one.is_written or other.is_written:
        one.write()
        other.write()
    yield from zip(one.stretches(), other.stretches(), strict=True)

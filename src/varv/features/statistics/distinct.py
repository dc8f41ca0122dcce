"""The number of distinct values of a window.

Each row knows the row of its entity that had the same value before. A stretch of a run has as many values as
rows whose predecessor lies before it, which a wavelet matrix counts. Of shorter runs beside it every value is
looked for in the longer ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.history import Piece, PieceOfOne
from varv.features.run import Ints, Run, Values
from varv.features.statistics.found import arrays_of, n_rows
from varv.features.statistics.totals import Floats
from varv.features.statistics.wavelet import Wavelet
from varv.stats.hashing import GOLDEN, Hashes, mixed

_HASH = "hash"
_SHORT = 1024
_PAIRS = 1 << 20


class Distinct:
    """The number of distinct values, up to collisions of 64-bit hashes: one chance in 10^7 for a million."""

    columns: dict[str, npt.DTypeLike] = {_HASH: np.uint64}  # noqa: RUF012

    def taken(self, values: pl.Series) -> dict[str, Values]:
        """Return the hash of each value, the same on every machine."""
        if values.dtype == pl.String:
            each = values.unique()
            hashes = [int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) for text in each]
            return {_HASH: values.replace_strict(each, hashes, return_dtype=pl.UInt64).to_numpy()}
        numbers = values.cast(pl.Float64).to_numpy() + 0.0
        return {_HASH: mixed(numbers.view(np.uint64))}

    def many(self, pieces: Sequence[Piece], shape: tuple[int, int]) -> Floats:
        """Return the number of distinct values of each window."""
        found = np.zeros(shape[0] * shape[1], np.int64)
        longer: list[tuple[_Occurrences, Ints, Ints]] = []
        for piece in sorted(pieces, key=lambda piece: -len(piece.run)):
            lows, highs = piece.lows.ravel(), np.broadcast_to(piece.highs, shape).ravel()
            known = piece.run.table("occurrences", _Occurrences)
            if longer:
                for windows, values in known.first_in(lows, highs):
                    is_new = np.ones(len(values), np.bool_)
                    for other, theirs, until in longer:
                        is_new &= ~other.occur(values, theirs[windows], until[windows])
                    found += np.bincount(windows[is_new], minlength=len(found))
            else:
                found += known.wavelet.n_below(lows, highs, lows + 1)
            longer.append((known, lows, highs))
        return found.reshape(shape).astype(np.float64)

    def one(self, pieces: Sequence[PieceOfOne], n_windows: int) -> list[float]:
        """Return the number of distinct values of each window of one request."""
        found: list[float] = []
        for window in range(n_windows):
            n = n_rows(pieces, window)
            if n <= _SHORT:
                slices = (run.view.columns[_HASH][lows[window] : high] for run, lows, high in pieces)
                found.append(len(set().union(*slices)))
            else:
                found.append(float(self.many(arrays_of(pieces, window), (1, 1))[0, 0]))
        return found


class _Occurrences:
    """Where the values of entities occur in a run."""

    def __init__(self, run: Run) -> None:
        # Whoever has another entity has another value.
        self._values = mixed(run.rows.columns[_HASH] + run.rows.codes.astype(np.uint64) * GOLDEN)
        n = len(self._values)
        self._uniques, ids = np.unique(self._values, return_inverse=True)
        self._stride = n + 1
        keys = ids * self._stride + np.arange(n)
        order = np.argsort(keys)
        self._keys = keys[order]
        same = ids[order[1:]] == ids[order[:-1]]
        self._before = np.zeros(n, np.uint64)
        """One more than the row before that had the value; 0 if there is none."""
        self._before[order[1:][same]] = order[:-1][same] + 1
        self.wavelet = Wavelet(self._before, n.bit_length())

    def occur(self, values: Hashes, lows: Ints, highs: Ints) -> npt.NDArray[np.bool_]:
        """Return whether each value occurs in its stretch."""
        place = np.minimum(np.searchsorted(self._uniques, values), len(self._uniques) - 1)
        first = np.searchsorted(self._keys, place * self._stride + lows)
        last = np.searchsorted(self._keys, place * self._stride + highs)
        return (self._uniques[place] == values) & (first < last)

    def first_in(self, lows: Ints, highs: Ints) -> Iterator[tuple[Ints, Hashes]]:
        """Yield the distinct values of stretches: the number of the stretch, and the value."""
        sizes = highs - lows
        ends = np.cumsum(sizes)
        start = 0
        while start < len(sizes):
            done = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS, side="right")))
            some = np.arange(start, stop)
            windows = np.repeat(some, sizes[start:stop])
            offsets = np.arange(len(windows)) - np.repeat(ends[some] - sizes[some] - done, sizes[some])
            rows = lows[windows] + offsets
            is_first = self._before[rows].astype(np.int64) <= lows[windows]
            yield windows[is_first], self._values[rows[is_first]]
            start = stop

"""What a profile holds of one column."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np

from varv.kernel.hashing import hashed_numbers, hashed_texts
from varv.profiles.counted import NUMERIC, TEXT, Counted
from varv.profiles.distinct import Estimated, kept_below, least, merged_least, n_distinct
from varv.profiles.frequent import Frequent, frequent_of, merged_frequent
from varv.profiles.scale import ColumnScale, cell_counts
from varv.profiles.sums import PowerSums, merged_sums, power_sums
from varv.profiles.tails import NO_TAILS, Tails, merged_tails, tails_of


class Tally(msgspec.Struct, frozen=True):
    """Counts of values; what is neither null, NaN nor infinite is finite, or a text."""

    rows: int = 0
    null: int = 0
    nan: int = 0
    infinite: int = 0
    """Infinite, or beyond 1e60."""
    zero: int = 0
    negative: int = 0
    empty: int = 0
    """Texts without a letter."""
    characters: int = 0
    """In all texts together."""

    @property
    def finite(self) -> int:
        """Values that can be computed with."""
        return self.rows - self.null - self.nan - self.infinite

    @property
    def null_share(self) -> float:
        """The share of rows without a value; NaN counts as none."""
        return (self.null + self.nan) / self.rows if self.rows else 0.0


class ColumnProfile(msgspec.Struct, frozen=True):
    """One column: counts, sums, cells, tails, the least hashes of its values, and the most frequent ones.

    `low` and `high` are the extremes of numbers, and of texts those of their lengths.
    """

    tally: Tally
    low: float | int | None
    high: float | int | None
    sums: PowerSums | None
    cells: np.ndarray
    hashes: np.ndarray
    frequent: Frequent
    tails: Tails

    def n_distinct(self) -> Estimated:
        """Return how many different values there are, which is no more than there are values."""
        value, low, high = n_distinct(self.hashes)
        most = float(max(self.tally.rows - self.tally.null, len(self.hashes)))
        return Estimated(min(value, most), min(low, most), min(high, most))


def column_profile(
    found: Counted, scale: ColumnScale, *, secret: bytes = b"", bound: np.uint64 | None = None
) -> ColumnProfile:
    """Return the profile of the values of a column.

    Parameters
    ----------
    secret
        Of private columns, the key that values are hashed with, so that nobody can try values out.
    bound
        No hash above this is wanted.
    """
    if scale.private:
        return _private(found, scale, secret)
    if scale.kind == TEXT:
        return _of_texts(found)
    if scale.kind not in NUMERIC:
        return _blank(Tally(rows=found.n, null=found.n_null))
    values, counts = found.values, found.counts
    below, upto = np.searchsorted(values, 0), np.searchsorted(values, 0, side="right")
    tally = Tally(
        rows=found.n,
        null=found.n_null,
        nan=found.n_nan,
        infinite=found.n_infinite,
        zero=int(counts[below:upto].sum()),
        negative=int(counts[:below].sum()),
    )
    hashes = hashed_numbers(values)
    return ColumnProfile(
        tally,
        values[0].item() if len(values) else None,
        values[-1].item() if len(values) else None,
        power_sums(found, scale),
        cell_counts(found, scale),
        least(hashes[kept_below(hashes, bound)]),
        frequent_of(found),
        tails_of(found, scale),
    )


def _of_texts(found: Counted) -> ColumnProfile:
    sizes = np.fromiter(map(len, found.texts), np.int64, len(found.texts))
    tally = Tally(
        rows=found.n,
        null=found.n_null,
        empty=int(found.counts[sizes == 0].sum()),
        characters=int(sizes @ found.counts),
    )
    low, high = (int(sizes.min()), int(sizes.max())) if len(sizes) else (None, None)
    hashes = least(hashed_texts(found.texts))
    return ColumnProfile(tally, low, high, None, _NONE, hashes, frequent_of(found), NO_TAILS)


def _private(found: Counted, scale: ColumnScale, secret: bytes) -> ColumnProfile:
    tally = Tally(rows=found.n, null=found.n_null, nan=found.n_nan, infinite=found.n_infinite)
    values = found.texts or [repr(value) for value in found.values.tolist()]
    hashed = [
        hashlib.blake2b(value.encode(), key=secret[:64], person=b"varv.profile", digest_size=8).digest()
        for value in values
    ]
    hashes = np.frombuffer(b"".join(hashed), "<u8").astype(np.uint64)
    return msgspec.structs.replace(_blank(tally), hashes=least(hashes))


_NONE = np.empty(0, np.int64)


def _blank(tally: Tally) -> ColumnProfile:
    return ColumnProfile(tally, None, None, None, _NONE, np.empty(0, np.uint64), Frequent(), NO_TAILS)


def merged_columns(several: Sequence[ColumnProfile]) -> ColumnProfile:
    """Return the profile of the values of several together, all made with one scale."""
    fields = Tally.__struct_fields__
    tally = Tally(*(sum(getattr(one.tally, name) for one in several) for name in fields))
    lows = [one.low for one in several if one.low is not None]
    highs = [one.high for one in several if one.high is not None]
    sums = [one.sums for one in several if one.sums is not None]
    return ColumnProfile(
        tally,
        min(lows, default=None),
        max(highs, default=None),
        merged_sums(sums) if sums else None,
        np.stack([one.cells for one in several]).sum(axis=0),
        merged_least([one.hashes for one in several]),
        merged_frequent([one.frequent for one in several]),
        merged_tails([one.tails for one in several]),
    )

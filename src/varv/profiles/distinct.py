"""How many different values there are, by the least hashes of them.

Exact up to 2,048 values; beyond, the share of all hashes below the 2,048th says how many there are, with a
standard error of 2.2 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from varv.kernel.hashing import Hashes

KEPT = 2048
_LOOKED_AT = 32
_ALL = 2.0**64


class Estimated(NamedTuple):
    """A count with its 95 % interval."""

    value: float
    low: float
    high: float


def least(hashes: Hashes, most: int = KEPT) -> Hashes:
    """Return the least different hashes, in order, `most` at most."""
    if len(hashes) > 4 * most:
        bound = np.partition(hashes, most)[most]
        # Equal hashes may make too few of them: then all are looked at.
        few = _different(hashes[hashes <= bound])
        return few[:most] if len(few) >= most else _different(hashes)[:most]
    return _different(hashes)[:most]


def _different(hashes: Hashes) -> Hashes:
    """Return different hashes, in order; NumPy's own way builds a table, which takes ten times as long."""
    ordered = np.sort(hashes)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered


def common_bound(several: Sequence[Hashes], most: int = KEPT) -> np.uint64 | None:
    """Return a hash that none of the `most` least different ones of all lists together is above; None if it
    may be any. Those of the first few lists say how far down to look in the others.
    """
    first = _different(np.concatenate(several[:_LOOKED_AT]))
    return first[most - 1] if len(first) >= most else None


def merged_least(several: Sequence[Hashes], most: int = KEPT) -> Hashes:
    """Return the least different hashes of several lists of them, each in order."""
    bound = common_bound(several, most)
    below = (
        several if bound is None else [one[: np.searchsorted(one, bound, side="right")] for one in several]
    )
    return _different(np.concatenate(below))[:most]


def n_distinct(hashes: Hashes, most: int = KEPT) -> Estimated:
    """Return how many different values have these least hashes.

    Notes
    -----
    (k - 1) over the k-th least of uniform hashes is unbiased, and its relative standard error is
    1 / sqrt(k - 2) (Bar-Yossef et al., 2002; Giroire, 2009).

    Examples
    --------
    >>> n_distinct(np.arange(5, dtype=np.uint64))
    Estimated(value=5.0, low=5.0, high=5.0)
    """
    k = len(hashes)
    if k < most:
        return Estimated(float(k), float(k), float(k))
    value = (k - 1) * _ALL / (float(hashes[-1]) + 1)
    error = 1.96 / math.sqrt(k - 2)
    return Estimated(value, max(float(k), value * (1 - error)), value * (1 + error))


def kept_below(hashes: Hashes, bound: np.uint64 | None) -> npt.NDArray[np.int64]:
    """Return the places of hashes that are at most a bound; of all where there is none."""
    return np.arange(len(hashes)) if bound is None else np.flatnonzero(hashes <= bound)

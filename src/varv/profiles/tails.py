"""How far out the numbers of a column lie, octave by octave: the least and the greatest value in each, and
how many lie in it.

It merges exactly and shows every gap between values that is wide for its place, so that a stray value is told
from a heavy tail without a second look at the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from varv.profiles.counted import Counted
from varv.profiles.scale import ColumnScale

OCTAVES = 32
"""On each side of the pivot: the first ends one spread away, each is as wide as those before, the last open.
"""

Floats = npt.NDArray[np.float64]


class Tails(msgspec.Struct, frozen=True):
    """Of each octave from the lowest to the highest: least and greatest value, infinite where there is none,
    and the number of values; shape (2 * `OCTAVES`,), or empty where no numbers are.
    """

    least: np.ndarray
    greatest: np.ndarray
    counts: np.ndarray


class Cluster(NamedTuple):
    """Values that lie together in an octave."""

    low: float
    high: float
    n: int


NO_TAILS = Tails(np.empty(0), np.empty(0), np.empty(0, np.int64))


def tails_of(found: Counted, scale: ColumnScale) -> Tails:
    """Return the tails of numbers in rising order."""
    values = found.values
    total = np.concatenate(([0], np.cumsum(found.counts)))
    places = np.searchsorted(values, _edges(scale), side="right")
    first, last = np.concatenate(([0], places)), np.concatenate((places, [len(values)]))
    some = first < last
    least, greatest = np.full(len(first), np.inf), np.full(len(first), -np.inf)
    least[some], greatest[some] = values[first[some]], values[last[some] - 1]
    return Tails(least, greatest, np.diff(total[np.concatenate((first, last[-1:]))]))


def _edges(scale: ColumnScale) -> Floats:
    """Return the upper edges of all octaves but the last."""
    out = np.ldexp(1.0, scale.exponent + np.arange(OCTAVES - 1))
    return scale.pivot + np.concatenate((-out[::-1], [0.0], out))


def merged_tails(several: Sequence[Tails]) -> Tails:
    """Return the tails of all values together."""
    return Tails(
        np.stack([one.least for one in several]).min(axis=0),
        np.stack([one.greatest for one in several]).max(axis=0),
        np.stack([one.counts for one in several]).sum(axis=0),
    )


def clusters(tails: Tails) -> list[Cluster]:
    """Return the values by octave, in rising order."""
    table = zip(tails.least.tolist(), tails.greatest.tolist(), tails.counts.tolist(), strict=True)
    return [Cluster(*one) for one in table if one[2]]


def without_strays(tails: Tails, left: float, right: float, times: float) -> tuple[float, float]:
    """Return the range of values without those beyond a gap, outside of [left, right], of so many times the
    width of everything within; all of it, if there is no such gap.

    Parameters
    ----------
    left, right
        Where the middle of the values begins and ends, with the pivot between them.
    times
        One at least.

    Raises
    ------
    ValueError
        If there are no values.

    Notes
    -----
    An octave is at most as wide as it is far from the pivot, and so from the other end of the middle: a gap
    of more than that lies between octaves, where both of its ends are known.
    """
    found = clusters(tails)
    if not found:
        raise ValueError("no values")
    high = found[-1].high
    for one, further in pairwise(found):
        if one.high >= right and further.low - one.high > times * (one.high - left):
            high = one.high
            break
    low = found[0].low
    for further, one in pairwise(found):
        if one.low <= left and one.low - further.high > times * (high - one.low):
            low = one.low
    return low, high

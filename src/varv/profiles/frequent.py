"""The most frequent values, with intervals that hold.

Of each stretch of rows the values are counted exactly, and those that are rare in it are left out. How often
the most frequent of these was there is added to the slack: no value was there more often than it was counted
by more than that. A column that never has more than 1,024 values is counted exactly, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from varv.profiles.counted import Counted

KEPT = 1024
Value = int | float | str


class Frequency(NamedTuple):
    """A value, and how often it was there at least and at most."""

    value: Value
    low: int
    high: int


class Frequent(msgspec.Struct, frozen=True):
    """Counts of values, each too low by `slack` at most; what is not counted was there so often at most."""

    counts: dict[Value, int] = {}
    slack: int = 0

    def top(self, n: int) -> list[Frequency]:
        """Return the values counted most often; of equal counts in the order of their texts."""
        found = sorted(self.counts.items(), key=lambda one: (-one[1], str(one[0])))[:n]
        return [Frequency(value, low, low + self.slack) for value, low in found]


def frequent_of(found: Counted) -> Frequent:
    """Return the frequent values among some."""
    counts = found.counts
    slack, kept = 0, np.arange(len(counts))
    if len(counts) > KEPT:
        enough = counts > max(1, found.n // KEPT)
        slack = int(counts[~enough].max(initial=0))
        kept = np.flatnonzero(enough)
    if found.texts:
        values: list[Value] = [found.texts[place] for place in kept.tolist()]
    else:
        values = found.values[kept].tolist()
    return Frequent(_in_order(dict(zip(values, counts[kept].tolist(), strict=True))), slack)


def merged_frequent(several: Sequence[Frequent]) -> Frequent:
    """Return the frequent values of all together."""
    counts: dict[Value, int] = {}
    known = counts.get
    for one in several:
        for value, n in one.counts.items():
            counts[value] = known(value, 0) + n
    slack = sum(one.slack for one in several)
    if len(counts) > KEPT:
        # All of one count are kept or none, so that no order among values decides.
        rarest = int(np.partition(np.fromiter(counts.values(), np.int64, len(counts)), -KEPT - 1)[-KEPT - 1])
        counts = {value: n for value, n in counts.items() if n > rarest}
        slack += rarest
    return Frequent(_in_order(counts), slack)


def _in_order(counts: dict[Value, int]) -> dict[Value, int]:
    """Return counts in the order of their values, which are all numbers or all texts."""
    return {value: counts[value] for value in sorted(counts)}

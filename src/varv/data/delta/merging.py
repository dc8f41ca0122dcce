"""Which files of a published part are worth being stored together: many small ones of about one size.

A dataset that is published often grows by a file each time. Files are merged with others of their order of
magnitude only, so a row is written once more for each of the few there are, and dozens of files are left.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from varv.kernel.catalogue import Extent

FEWEST = 16
LARGE_BYTES = 16 << 20
"""A larger file stays as it is."""
MOST_BYTES = 64 << 20
"""Of the files that are merged at once, since nothing else is written meanwhile."""
_SEGMENT_BYTES = 4 << 10
"""A file counts for at least so much by segment that it lists, which takes a reader as long."""


class Mergeable(NamedTuple):
    """A file that may be stored with others: what lies in it, its size, and its columns."""

    extent: Extent
    n_bytes: int
    columns: Hashable

    @property
    def weight(self) -> int:
        """What it counts for, in bytes."""
        return max(self.n_bytes, self.extent.n_segments * _SEGMENT_BYTES)


def worth_merging(files: Iterable[Mergeable]) -> list[Extent]:
    """Return those that are to be stored in one file now; none if there are too few of one kind.

    Parameters
    ----------
    files
        In the order in which they came.
    """
    alike: dict[tuple[int, Hashable], list[Mergeable]] = {}
    for one in files:
        if one.weight < LARGE_BYTES:
            # Four bits are a factor of 16.
            alike.setdefault((one.weight.bit_length() // 4, one.columns), []).append(one)
    for several in alike.values():
        chosen: list[Extent] = []
        weight = 0
        for one in several:
            follows = not chosen or chosen[-1].last_number <= one.extent.number
            if follows and weight + one.weight <= MOST_BYTES:
                chosen.append(one.extent)
                weight += one.weight
        if len(chosen) >= FEWEST:
            return chosen
    return []

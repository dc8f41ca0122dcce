"""How many reads of feature views there were, and how many found a view as fresh as it declares.

A read cannot know of rows that have not come, but it knows the newest one that the view holds: nothing that
became known later can be in its answer. How long ago that was is its age. What was out of date in fact shows
afterwards, in a sample (`features.skew`).

Whoever reads counts for itself and takes no lock, since a read costs microseconds. Where two threads count
at once one of them may be lost, which moves no share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from varv.features.feature_view import FeatureView
from varv.kernel.clock import Duration


class Reads(msgspec.Struct, frozen=True):
    """Reads of one view: an entity each."""

    fresh: Duration
    """The age that the view declares."""
    n: int = 0
    n_fresh: int = 0
    """Those whose newest row had at most that age."""

    @property
    def share(self) -> float:
        """The share of reads that were fresh; of none it is 1."""
        return self.n_fresh / self.n if self.n else 1.0

    def plus(self, other: Reads) -> Reads:
        """Return both together."""
        return Reads(other.fresh, self.n + other.n, self.n_fresh + other.n_fresh)

    def minus(self, other: Reads) -> Reads:
        """Return what came since another."""
        return Reads(self.fresh, self.n - other.n, self.n_fresh - other.n_fresh)


class ViewReads:
    """Counts the reads of one view."""

    __slots__ = ("fresh", "n", "n_fresh")

    def __init__(self, fresh: Duration) -> None:
        self.fresh = fresh
        self.n = 0
        self.n_fresh = 0

    def count(self, n: int, instant: int, newest: int | None) -> None:
        """Count reads at an instant.

        Parameters
        ----------
        newest
            When the newest row became known that the view held; None if it held none.
        """
        self.n += n
        if newest is not None and instant - newest <= self.fresh:
            self.n_fresh += n


class ReadCounts:
    """The counts of one process, by view."""

    def __init__(self) -> None:
        self._views: dict[str, ViewReads] = {}

    def of(self, view: FeatureView) -> ViewReads | None:
        """Return what counts the reads of a view; None if it declares no age."""
        if view.fresh is None:
            return None
        found = self._views.setdefault(view.name, ViewReads(view.fresh))
        found.fresh = view.fresh
        return found

    def totals(self) -> dict[str, Reads]:
        """Return what was counted so far, of views that were read."""
        views = list(self._views.items())
        return {name: Reads(one.fresh, one.n, one.n_fresh) for name, one in views if one.n}


def added(several: Iterable[Mapping[str, Reads]]) -> dict[str, Reads]:
    """Return counts of several processes or stretches of time as those of one."""
    found: dict[str, Reads] = {}
    for counts in several:
        for name, one in counts.items():
            found[name] = found[name].plus(one) if name in found else one
    return found

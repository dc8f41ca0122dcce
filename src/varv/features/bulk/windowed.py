"""Statistics over the windows of many requests.

The rows that windows can reach are brought into one run, of some entities at a time where they are many; what
is found in a run is found by the same code as row by row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from varv.features.bulk.history_rows import Stretch
from varv.features.bulk.spill import HASH, Spill, split
from varv.features.history import History
from varv.features.model import FeatureView
from varv.features.run import Ints
from varv.features.statistics.distinct import mixed
from varv.features.view_history import rows_of

_MOST_KEYS = 2**62
_CODE, _TIME, _TIE = "@code", "@time", "@tie"


class WindowedRows:
    """The rows of views with windows, which are of one part and entity.

    Parameters
    ----------
    views
        With windows.
    first
        The instant of the earliest request.
    most_bytes
        Of rows that are held in memory.
    strictly
        As in `ViewHistory.lookup`.
    """

    def __init__(self, views: Sequence[FeatureView], first: int, most_bytes: int, *, strictly: bool) -> None:
        self._views, self._strictly = views, strictly
        self._rows = Spill(most_bytes)
        self._reach = max((view.windows.kind.reach for view in views if view.windows), default=0)
        self._since = first - self._reach

    def add(self, stretch: Stretch) -> None:
        """Take in rows, in any order."""
        rows, values = stretch
        # Views of last rows, which are read together with these, may look back further.
        reached = rows.times >= self._since
        if not reached.all():
            rows, values = rows.only(reached), values.filter(pl.Series(reached))
        codes, times, _, ties, _ = rows
        # The code is twice there: rows of one entity stay together.
        fields = {HASH: mixed(codes.astype(np.uint64)), _CODE: codes, _TIME: times, _TIE: ties}
        self._rows.add(values.hstack(pl.DataFrame(fields)))

    def features(self, codes: Ints, instants: Ints) -> dict[str, pl.Series]:
        """Return the features of requests, by the codes of their entities and their instants."""
        if not self._views:
            return {}
        if (int(codes.max()) + 1) * int(np.ptp(instants) + self._reach) >= _MOST_KEYS:
            # A run has no room for so many entities over so long a time, and a stretch has fewer.
            self._rows.write()
        together = split(mixed(codes.astype(np.uint64))) if self._rows.is_written else [np.arange(len(codes))]
        parts: dict[str, list[pl.Series]] = {}
        for chosen, rows in zip(together, self._rows.stretches(), strict=True):
            for name, values in self._of(rows, codes[chosen], instants[chosen]).items():
                parts.setdefault(name, []).append(values)
        if len(together) == 1:
            return {name: values for name, [values] in parts.items()}
        back = np.argsort(np.concatenate(together))
        return {name: pl.concat(several).gather(back) for name, several in parts.items()}

    def _of(self, rows: pl.DataFrame, codes: Ints, instants: Ints) -> dict[str, pl.Series]:
        """Return the features of requests whose entities' rows are these."""
        # From the codes of all entities to those of these, without a gap.
        places = np.zeros(int(codes.max(initial=0)) + 1, np.int64)
        places[codes] = 1
        np.cumsum(places, out=places)
        if rows.height:
            rows = rows.with_columns(pl.Series(_CODE, places[rows[_CODE].to_numpy()] - 1))
        found: dict[str, pl.Series] = {}
        for view in self._views:
            found |= _features(view, rows, places[codes] - 1, instants, strictly=self._strictly)
        return found


def _features(
    view: FeatureView, rows: pl.DataFrame, codes: Ints, instants: Ints, *, strictly: bool
) -> dict[str, pl.Series]:
    """Return the features that one view finds in rows."""
    kept = rows_of(view)
    history = History(kept.columns)
    if rows.height:
        counts, columns = kept.taken(rows)
        taken = rows.select(_CODE, _TIME, _TIE)
        if counts is not None:
            taken = taken.filter(pl.Series(counts))
        codes_of, times, ties = (taken[name].to_numpy() for name in (_CODE, _TIME, _TIE))
        history.add(codes_of, times, ties, columns)
    kinds = view.kinds()
    names = [name for name, kind in kinds.items() if kind == "numeric"]
    numbers = np.full((len(names), len(codes)), np.nan, np.float32)
    texts = iter(kept.lookup(history, codes, instants, numbers, strictly=strictly))
    several = dict(zip(names, numbers, strict=True))
    return {
        name: pl.Series(several[name], nan_to_null=True)
        if name in several
        else pl.Series(next(texts), dtype=pl.String)
        for name in kinds
    }

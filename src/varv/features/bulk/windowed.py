"""Statistics over the windows of many requests.

The rows that windows can reach are brought into runs, of some entities at a time; what is found in a run is
found by the same code as row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.bulk.history_rows import Stretch
from varv.features.bulk.spill import Spill, split
from varv.features.feature_view import FeatureView
from varv.features.history import History
from varv.features.run import Ints, Run
from varv.features.view_history import rows_of
from varv.kernel.hashing import Hashes, mixed

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
        self._rows = Spill(most_bytes, _hashes)
        reach = max((view.windows.kind.reach for view in views if view.windows), default=0)
        self._since = first - reach
        self._needs_ties = any(rows_of(view).needs_ties for view in views)

    def add(self, stretch: Stretch) -> None:
        """Take in rows, in any order."""
        rows, values = stretch
        # Views of last rows, which are read together with these, may look back further.
        reached = rows.times >= self._since
        if not reached.all():
            rows, values = rows.only(reached), values.filter(pl.Series(reached))
        fields: dict[str, npt.NDArray[Any]] = {_CODE: rows.codes.astype(np.int32), _TIME: rows.times}
        if self._needs_ties:
            fields[_TIE] = rows.ties
        self._rows.add(values.hstack(pl.DataFrame(fields)))

    def features(self, codes: Ints, instants: Ints) -> dict[str, pl.Series]:
        """Return the features of requests, by the codes of their entities and their instants."""
        if not self._views:
            return {}
        together = split(_mixed(codes), self._rows.bits)
        parts: dict[str, list[pl.Series]] = {}
        for chosen, rows in zip(together, self._rows.stretches(), strict=True):
            for view in self._views:
                found = _features(view, rows, codes[chosen], instants[chosen], strictly=self._strictly)
                for name, values in found.items():
                    parts.setdefault(name, []).append(values)
        if len(together) == 1:
            return {name: values for name, [values] in parts.items()}
        back = np.empty(len(codes), np.int64)
        back[np.concatenate(together)] = np.arange(len(codes))
        return {name: pl.concat(several).gather(back) for name, several in parts.items()}


def _hashes(rows: pl.DataFrame) -> Hashes:
    return _mixed(rows[_CODE].to_numpy())


def _mixed(codes: npt.NDArray[np.integer]) -> Hashes:
    return mixed(codes.astype(np.uint64))


def _features(
    view: FeatureView, rows: pl.DataFrame, codes: Ints, instants: Ints, *, strictly: bool
) -> dict[str, pl.Series]:
    """Return the features that one view finds in rows."""
    kept = rows_of(view)
    history = History(kept.columns)
    if rows.height:
        counts, columns = kept.taken(rows)
        taken = rows if counts is None else rows.filter(pl.Series(counts))
        ties = taken[_TIE].to_numpy() if _TIE in taken.columns else np.zeros(taken.height, np.uint64)
        codes_of = taken[_CODE].cast(pl.Int64).to_numpy()
        history = History.of(Run(codes_of, taken[_TIME].to_numpy(), ties, columns))
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

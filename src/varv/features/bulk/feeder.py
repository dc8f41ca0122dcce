"""The bulk feeder: the features that views give many requests, each as of its own instant, without holding
the history.

Rows are read once for what decides (entity, time, key, what windows sum), in any order, and once more for the
values of the rows that won. What is held is in proportion to the requests. The same bits as
`features.engine`, which is fed row by row and answers at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.bulk.entities import EntityCodes
from varv.features.bulk.history_rows import HistoryRows, Ignored, Mode
from varv.features.bulk.latest import LastRows
from varv.features.bulk.points import Points, distinct
from varv.features.bulk.tables import Reach, Tables, rows_numbered
from varv.features.bulk.windowed import WindowedRows
from varv.features.model import FeatureView, Kind
from varv.features.run import Ints
from varv.kernel.clock import Instant


class Requests(NamedTuple):
    """Requests: the columns that name entities, and when they are made.

    `instants` are microseconds, and where `timed` is false there is none.
    """

    rows: pl.DataFrame
    instants: Ints
    timed: npt.NDArray[np.bool_]


class BulkFeeder:
    """Gives requests the features of views.

    Parameters
    ----------
    tables
        Where rows are read.
    mode
        From when a row counts: since it is known, or since its event.
    most_bytes
        What rows that are joined may take of memory; more lies in files.
    """

    def __init__(self, tables: Tables, mode: Mode = "known", *, most_bytes: int) -> None:
        self._tables = tables
        self._mode: Mode = mode
        self._most_bytes = most_bytes

    def features(
        self, views: Iterable[FeatureView], requests: Requests, own: Collection[FeatureView] = ()
    ) -> dict[str, pl.Series]:
        """Return each feature of the views, numbers as Float32, texts as String, null where there is none.

        Parameters
        ----------
        own
            The views whose rows are these requests; see `FeatureSet.own_views`.
        """
        together: dict[tuple[str, ...], list[FeatureView]] = {}
        for view in views:
            whose = (view.source.name, view.part, *view.entity, *view.asked)
            together.setdefault(whose, []).append(view)
        found: dict[str, pl.Series] = {}
        for alike in together.values():
            found |= self._of(alike, requests, strictly=alike[0] in own)
        return found

    def _of(
        self, views: Sequence[FeatureView], requests: Requests, *, strictly: bool
    ) -> dict[str, pl.Series]:
        """Return the features of views of one part and entity, whose rows are read together."""
        dataset = views[0].source
        types = {name: dataset.types()[name] for name in views[0].entity}
        entities = EntityCodes(views[0].entities_in(requests.rows), types)
        asked = np.flatnonzero(requests.timed)
        if not len(asked):
            return _nothing(views, requests.rows.height)
        codes, instants = entities.requests[asked], requests.instants[asked]
        # A request without an entity is one of an entity without rows: its windows are empty.
        codes = np.where(codes < 0, entities.n, codes)
        rows = HistoryRows(
            self._tables,
            dataset,
            views[0].part,
            entities,
            [view.windows.column for view in views if view.windows],
            _reach(views, instants),
            self._mode,
            self._most_bytes,
        )
        points = Points(codes, instants - 1 if strictly else instants)
        found = _Found(views, points, rows, {}, self._most_bytes // 2, strictly=strictly)
        if repeated := rows.repeated():
            found = _Found(views, points, rows, repeated, self._most_bytes // 2, strictly=strictly)
        latest = self._latest([view for view in views if not view.windows], found.last, instants, rows)
        return _spread(found.windowed.features(codes, instants) | latest, asked, requests.rows.height)

    def _latest(
        self, views: Sequence[FeatureView], last: LastRows, instants: Ints, rows: HistoryRows
    ) -> dict[str, pl.Series]:
        """Return what the last row that each request sees says."""
        if not views:
            return {}
        numbers, times = last.found()
        seen = {view.name: numbers >= 0 for view in views}
        for view in views:
            if view.ttl is not None:
                seen[view.name] &= instants - times <= view.ttl
        winners = distinct(numbers[np.logical_or.reduce(list(seen.values()))])
        columns = list(dict.fromkeys(column for view in views for column in view.columns))
        values = rows_numbered(self._tables, views[0].source, views[0].part, columns, rows.reach, winners)
        places = pl.Series(np.searchsorted(winners, numbers))
        return {
            f"{view.name}.{column}": _fetched(values[column], places, seen[view.name], kind)
            for view in views
            for column, kind in zip(view.columns, view.kinds().values(), strict=True)
        }


class _Found:
    """What rows give requests that have a time.

    Parameters
    ----------
    views
        Of one part and entity.
    points
        Of each request the entity, and the last instant of which it sees rows.
    rows, ignored
        The rows of the part, and those that do not count.
    most_bytes
        Of rows of windows in memory.
    strictly
        As in `ViewHistory.lookup`.
    """

    def __init__(
        self,
        views: Sequence[FeatureView],
        points: Points,
        rows: HistoryRows,
        ignored: Ignored,
        most_bytes: int,
        *,
        strictly: bool,
    ) -> None:
        windowed = [view for view in views if view.windows]
        self.last = LastRows(points)
        self.windowed = WindowedRows(windowed, points.first, most_bytes, strictly=strictly)
        for stretch in rows.stretches(ignored):
            if len(stretch.rows.codes):
                if len(windowed) < len(views):
                    self.last.add(stretch.rows)
                if windowed:
                    self.windowed.add(stretch)


def _reach(views: Sequence[FeatureView], instants: Ints) -> Reach:
    """Return the times of the rows that requests can see."""
    looks = [view.windows.kind.reach if view.windows else view.ttl for view in views]
    back = [look for look in looks if look is not None]
    first = Instant(int(instants.min()) - max(back)) if len(back) == len(looks) else None
    return Reach(first, Instant(int(instants.max())))


def _fetched(values: pl.Series, places: pl.Series, seen: npt.NDArray[np.bool_], kind: Kind) -> pl.Series:
    """Return the values at places, null where nothing is seen."""
    if kind == "categorical":
        return values.gather(pl.select(pl.when(pl.Series(seen)).then(places)).to_series())
    found = np.full(len(seen), np.nan, np.float32)
    found[seen] = values.cast(pl.Float64).to_numpy()[places.to_numpy()[seen]]
    return pl.Series(found, nan_to_null=True)


def _spread(found: dict[str, pl.Series], asked: Ints, n: int) -> dict[str, pl.Series]:
    """Return what was found for some requests for all of them, null for the others."""
    if len(asked) == n:
        return {name: values.alias(name) for name, values in found.items()}
    places = np.full(n, -1, np.int64)
    places[asked] = np.arange(len(asked))
    where = pl.select(pl.when(pl.Series(places >= 0)).then(pl.Series(places))).to_series()
    return {name: values.gather(where).alias(name) for name, values in found.items()}


def _nothing(views: Sequence[FeatureView], n: int) -> dict[str, pl.Series]:
    kinds = {name: kind for view in views for name, kind in view.kinds().items()}
    types = {name: pl.Float32() if kind == "numeric" else pl.String() for name, kind in kinds.items()}
    return {name: pl.Series(name, [None], dtype=dtype).new_from_index(0, n) for name, dtype in types.items()}

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
from varv.features.bulk.points import Points, ranked
from varv.features.bulk.tables import Reach, Tables, rows_numbered
from varv.features.bulk.windowed import WindowedRows
from varv.features.feature_view import FeatureView
from varv.features.kinds import Kind
from varv.features.run import Ints
from varv.kernel.clock import Instant

Kinds = tuple[tuple[str, str, pl.DataType], ...]
"""The columns that name entities of one kind: as the dataset calls them, as requests do, and their types."""


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
            The views of the dataset whose rows are these requests; see `FeatureSet.own_views`.
        """
        together: dict[tuple[str, ...], list[FeatureView]] = {}
        for view in views:
            whose = (view.source.name, view.part, *view.entity, *view.asked)
            together.setdefault(whose, []).append(view)
        found: dict[str, pl.Series] = {}
        asked = _Asked(requests)
        for alike in together.values():
            found |= self._of(alike, asked, is_own=alike[0] in own)
        return found

    def _of(self, views: Sequence[FeatureView], asked: _Asked, *, is_own: bool) -> dict[str, pl.Series]:
        """Return the features of views of one part and entity, whose rows are read together."""
        view, instants = views[0], asked.instants
        is_later = view.part != view.source.event_time
        # By its event an outcome counts from the instant of its row on.
        strictly = is_own and not (is_later and self._mode == "known")
        if not len(instants):
            return _nothing(views, asked.n)
        types = view.source.types()
        kinds = tuple((name, by, types[name]) for name, by in zip(view.entity, view.asked, strict=True))
        entities, codes = asked.entities(kinds)
        rows = HistoryRows(
            self._tables,
            view.source,
            view.part,
            entities,
            [one.windows.column for one in views if one.windows],
            _reach(views, instants),
            self._mode,
            self._most_bytes,
            own_outcomes=is_own and is_later,
        )
        points = asked.points(kinds, strictly=strictly)
        found = _Found(views, points, rows, {}, self._most_bytes // 2, strictly=strictly)
        if repeated := rows.repeated():
            found = _Found(views, points, rows, repeated, self._most_bytes // 2, strictly=strictly)
        latest = self._latest([one for one in views if not one.windows], found.last, instants, rows)
        return asked.spread(found.windowed.features(codes, instants) | latest)

    def _latest(
        self, views: Sequence[FeatureView], last: LastRows, instants: Ints, rows: HistoryRows
    ) -> dict[str, pl.Series]:
        """Return what the last row that each request sees says."""
        if not views:
            return {}
        numbers, times = last.found()
        ages = instants - times
        # Whoever of them is the most patient sees what the others do.
        ttls = [view.ttl for view in views if view.ttl is not None]
        if len(ttls) == len(views):
            numbers[ages > max(ttls)] = -1
        winners, places = ranked(numbers)
        columns = list(dict.fromkeys(column for view in views for column in view.columns))
        values = rows_numbered(self._tables, views[0].source, views[0].part, columns, rows.reach, winners)
        found: dict[str, pl.Series] = {}
        for view in views:
            theirs = places if view.ttl is None else np.where(ages > view.ttl, -1, places)
            for column, kind in zip(view.columns, view.kinds().values(), strict=True):
                found[f"{view.name}.{column}"] = _fetched(values[column], theirs, kind)
        return found


class _Asked:
    """Requests that have a time, as entities and instants; views of equal entities share what is found of
    them.
    """

    def __init__(self, requests: Requests) -> None:
        self.n = requests.rows.height
        """How many there are, those without a time too."""
        self._rows = requests.rows
        self._places = None if requests.timed.all() else np.flatnonzero(requests.timed)
        self.instants = self._timed(requests.instants)
        self._entities: dict[Kinds, tuple[EntityCodes, Ints]] = {}
        self._points: dict[tuple[Kinds, bool], Points] = {}

    def entities(self, kinds: Kinds) -> tuple[EntityCodes, Ints]:
        """Return the entities of the columns of these types, and the code of that of each request."""
        if kinds not in self._entities:
            rows = self._rows
            if any(own != by for own, by, _ in kinds):
                rows = rows.select(pl.col(by).alias(own) for own, by, _ in kinds)
            entities = EntityCodes(rows, {own: dtype for own, _, dtype in kinds})
            codes = self._timed(entities.requests)
            # A request without an entity is one of an entity without rows: its windows are empty.
            self._entities[kinds] = entities, np.where(codes < 0, entities.n, codes)
        return self._entities[kinds]

    def points(self, kinds: Kinds, *, strictly: bool) -> Points:
        """Return of each request the entity, and the last instant of which it sees rows."""
        key = kinds, strictly
        if key not in self._points:
            upto = self.instants - 1 if strictly else self.instants
            self._points[key] = Points(self.entities(kinds)[1], upto)
        return self._points[key]

    def spread(self, found: dict[str, pl.Series]) -> dict[str, pl.Series]:
        """Return what was found for all requests, null for those without a time."""
        if self._places is None:
            return {name: values.alias(name) for name, values in found.items()}
        places = np.full(self.n, -1, np.int64)
        places[self._places] = np.arange(len(self._places))
        where = pl.select(pl.when(pl.Series(places >= 0)).then(pl.Series(places))).to_series()
        return {name: values.gather(where).alias(name) for name, values in found.items()}

    def _timed(self, values: Ints) -> Ints:
        return values if self._places is None else values[self._places]


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
        self.last = LastRows(points, has_seconds=rows.has_seconds)
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


def _fetched(values: pl.Series, places: Ints, kind: Kind) -> pl.Series:
    """Return the values at places, null for the place -1."""
    if kind == "categorical":
        return values.gather(pl.select(pl.when(pl.Series(places >= 0)).then(pl.Series(places))).to_series())
    # The place -1 is that of the last.
    numbers = np.full(len(values) + 1, np.nan, np.float32)
    numbers[:-1] = values.cast(pl.Float64).to_numpy()
    return pl.Series(numbers[places], nan_to_null=True)


def _nothing(views: Sequence[FeatureView], n: int) -> dict[str, pl.Series]:
    kinds = {name: kind for view in views for name, kind in view.kinds().items()}
    types = {name: pl.Float32() if kind == "numeric" else pl.String() for name, kind in kinds.items()}
    return {name: pl.Series(name, [None], dtype=dtype).new_from_index(0, n) for name, dtype in types.items()}

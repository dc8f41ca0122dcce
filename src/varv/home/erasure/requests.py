"""Stored predictions of a subject's requests: how many there are, and how they go.

What was computed later for requests of a file lies in tables beside it, by the place of a row. So a file that
is written once more takes these columns in, and every file that shares such a table is written with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl

from varv.data.shape import span_of
from varv.home.erasure.rows import Store
from varv.kernel.catalogue import Extent, digests
from varv.kernel.columns import SEGMENT, stretches
from varv.kernel.content import rows_digest
from varv.kernel.ids import ModelName
from varv.kernel.sagas import Fact
from varv.loop.views import LoopView
from varv.serving.backfill import Backfilled
from varv.serving.model import Remains, RequestsErased
from varv.serving.stored import predictions_of
from varv.serving.views import RoutingView, stream_of


def models_asked_by(store: Store, dataset: str) -> list[ModelName]:
    """Return the models whose requests are rows of a dataset, retired ones too."""
    with store.views.reading(LoopView) as view:
        return [ModelName(name) for name, one in view.declared.items() if one.requests == dataset]


class SubjectRequests:
    """The stored predictions of one model for a subject.

    Parameters
    ----------
    store
        Of a home that nobody else writes to.
    model
        Whose predictions.
    keys
        The keys of the subject's requests, as text.
    """

    def __init__(self, store: Store, model: ModelName, keys: pl.Series) -> None:
        self._store = store
        self._model = model
        self._keys = keys.to_list()
        self._table = predictions_of(model, store.columns)

    @property
    def table(self) -> str:
        """The table of the predictions."""
        return self._table

    def n_rows(self) -> int:
        """Return how many there are."""
        return sum(int(self._is_theirs(rows).sum()) for _, rows in self._extents())

    def erase(self, erasure: str) -> None:
        """Let them go, and every file that held one."""
        hit = {one.name for one, rows in self._extents() if self._is_theirs(rows).any()}
        with self._store.views.reading(RoutingView) as view:
            later = dict(view.backfilled.get(self._model, {}))

        def tables_of(rows: pl.DataFrame) -> set[str]:
            return {place.table for name in _segments(rows) for place in later.get(name, ())}

        while True:
            several = [(one, rows) for one, rows in self._extents() if one.name in hit]
            tables = {table for _, rows in several for table in tables_of(rows)}
            more = {one.name for one, rows in self._extents() if tables & tables_of(rows)}
            if more <= hit:
                break
            hit |= more
        if several:
            self._replace(erasure, several, later, tables)
        self._remove_unnamed()

    def _replace(
        self,
        erasure: str,
        several: list[tuple[Extent, pl.DataFrame]],
        later: dict[str, list[Backfilled]],
        tables: Collection[str],
    ) -> None:
        remains: dict[str, Remains | None] = {}
        n = 0
        for one, rows in several:
            theirs = self._is_theirs(rows)
            n += int(theirs.sum())
            whole = self._completed(rows, later).filter(~theirs)
            remains[one.name] = None if whole.is_empty() else self._put(one, whole)
        event = RequestsErased(
            model=self._model,
            erasure=erasure,
            remains=remains,
            segments=tuple(name for _, rows in several for name in _segments(rows)),
            later=tuple(sorted(tables)),
            n_requests=n,
        )
        self._store.datasets.commit([Fact(stream_of(self._model), event)])
        self._store.faults.reach("erasure.after_rows")

    def _put(self, of: Extent, rows: pl.DataFrame) -> Remains:
        content = rows_digest(rows)
        name = f"erased-{of.number:09d}.{content[:16]}"
        self._store.columns.append(self._table, name, rows, content=content)
        first, last = span_of(rows, "requested_at")
        return Remains(name=name, n_rows=rows.height, digest=content, first=first, last=last)

    def _completed(self, rows: pl.DataFrame, later: dict[str, list[Backfilled]]) -> pl.DataFrame:
        """Return rows with the features that were computed for them later."""
        parts = []
        for segment, part in stretches(rows):
            for place in later.get(segment, ()):
                [found] = self._store.columns.batches(place.table, {segment: place.digest})
                part = part.hstack(found.select(name for name in found.columns if name not in part.columns))
            parts.append(part)
        return pl.concat(parts, how="diagonal")

    def _remove_unnamed(self) -> None:
        """Remove the files that no entry names any more, of predictions and of what was computed later."""
        columns = self._store.columns
        with self._store.views.reading(RoutingView) as view:
            named = {one.name for one in view.catalogue(self._model).ever()}
            emptied = set(view.emptied.get(self._model, ()))
        stored = columns.files(self._table)
        if named <= set(stored):
            columns.remove(self._table, set(stored) - named)
        for table in sorted(emptied):
            columns.remove(table, columns.files(table))

    def _extents(self) -> Iterator[tuple[Extent, pl.DataFrame]]:
        with self._store.views.reading(RoutingView) as view:
            extents = view.catalogue(self._model).extents()
        for one in extents:
            [rows] = self._store.columns.batches(self._table, digests([one]), segment_as=SEGMENT)
            yield one, rows

    def _is_theirs(self, rows: pl.DataFrame) -> pl.Series:
        return rows["key"].is_in(self._keys).fill_null(value=False)


def _segments(rows: pl.DataFrame) -> list[str]:
    return rows[SEGMENT].unique(maintain_order=True).to_list()

"""The online store of a subject: what it holds of views over rows that were erased is filled anew.

A view that nobody can build again, since its features need code that is not here, goes; whoever has the code
fills it again. A store outside of the home is searched by what the ledger says of it and by the subject's
own keys, since nobody can look through its files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

import polars as pl

from varv.data import Dataset, Datasets
from varv.features import FeatureView
from varv.features.definitions import digest_of_view
from varv.features.online.entity_keys import entity_key
from varv.features.online.materialising import Materialiser
from varv.features.online.model import GenerationDropped, OnlineView, ViewMaterialised, stream_of, table_name
from varv.features.online.ports import KeyValue, Table
from varv.home.change.recorded import recorded_schemas
from varv.home.erasure.subject import Subject
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.sagas import Fact
from varv.kernel.views import Views
from varv.loop.views import LoopView

_BATCH = 1000


class OnlineStore(NamedTuple):
    """The online store of a home, and what fills it."""

    store: KeyValue
    materialiser: Materialiser


class SubjectOnline:
    """What the online store holds of one subject.

    Parameters
    ----------
    ledger, views, datasets
        Of the home.
    online
        Its store; None where nobody has opened it.
    subject, rows
        Whose rows went, and out of which datasets with which keys.
    """

    def __init__(
        self,
        ledger: Ledger,
        views: Views,
        datasets: Datasets,
        online: OnlineStore | None,
        subject: Subject,
        rows: Mapping[str, tuple[Dataset, pl.DataFrame]],
    ) -> None:
        self._ledger, self._views, self._datasets, self._online = ledger, views, datasets, online
        self._subject, self._rows = subject, rows

    def left(self) -> dict[str, int]:
        """Return by view how much the store holds that may be of the subject: entities that are, or else 1 if
        the view holds what came of rows that were replaced since.
        """
        found: dict[str, int] = {}
        named = {table_name(view, digest_of_view(view)): view for view in self._named()}
        for one in self._materialised():
            table = f"{one.view}-{one.digest[:12]}"
            n = self._n_entities(named[table]) if table in named else 0
            dataset, _ = self._rows[one.dataset]
            n = n or int(self._datasets.was_rewritten(dataset, one.upto) or self._has_others(table, one))
            found |= {f"online/{one.view}": n} if n else {}
        return found | {f"online/{table}": 1 for table in self._orphans()}

    def holding(self) -> dict[str, int]:
        """Return the views that are online and over rows of the subject: how many entities are theirs, 1 if
        nobody can tell.
        """
        found: dict[str, int] = {}
        named = {table_name(view, digest_of_view(view)): view for view in self._named()}
        for one in self._materialised():
            view = named.get(f"{one.view}-{one.digest[:12]}")
            if not self._rows[one.dataset][1].is_empty():
                found[f"online/{one.view}"] = max(1, 0 if view is None else self._n_entities(view))
        return found

    def refill(self) -> None:
        """Fill every view anew that holds what came of rows that were replaced since, and remove all that
        readers do not go by.
        """
        if self._online is None:
            return
        views = {table_name(view, digest_of_view(view)): view for view in self._named()}
        stated = self._materialised()
        for one in stated:
            table = f"{one.view}-{one.digest[:12]}"
            self._drop_others(table, one.generation)
            if not self._datasets.was_rewritten(self._rows[one.dataset][0], one.upto):
                continue
            if (view := views.get(table)) is None:
                # The ledger last: what it does not name any more nobody would look for.
                self._drop_others(table, 0)
                gone = GenerationDropped(view=one.view, digest=one.digest, generation=one.generation)
                self._datasets.commit([Fact(stream_of(one.view), gone)])
            else:
                self._online.materialiser.backfill(view, since=one.since, until=one.until, by="erasure")
        for table in self._orphans():
            self._drop_others(table, 0)

    def _materialised(self) -> list[ViewMaterialised]:
        with self._views.reading(OnlineView) as online:
            every = [one.last for several in online.views.values() for one in several.values()]
        return [one for one in every if one.dataset in self._rows]

    def _orphans(self) -> list[str]:
        """Return the tables of these datasets' views that are not online and are there: a crash leaves some
        before they are on record, and some after they are not any more.
        """
        if self._online is None:
            return []
        tables = {table_name(view, digest_of_view(view)) for view in self._named()}
        position = 0
        while entries := self._ledger.read(position, limit=_BATCH):
            events = [one.event for one in entries if one.name == ViewMaterialised.event_name]
            tables |= {
                f"{one.view}-{one.digest[:12]}"
                for one in events
                if isinstance(one, ViewMaterialised) and one.dataset in self._rows
            }
            position = entries[-1].seq
        tables -= {f"{one.view}-{one.digest[:12]}" for one in self._materialised()}
        return [table for table in sorted(tables) if self._online.store.generations(table)]

    def _drop_others(self, table: str, generation: int) -> None:
        assert self._online is not None, "only a store that is open is written"
        for one in self._online.store.generations(table):
            if one != generation:
                self._online.store.drop(Table(table, one))

    def _has_others(self, table: str, stated: ViewMaterialised) -> bool:
        if self._online is None:
            return False
        return not set(self._online.store.generations(table)) <= {stated.generation}

    def _n_entities(self, view: FeatureView) -> int:
        """Return how many entities the store holds that are the subject or a row of theirs."""
        if self._online is None:
            return 0
        dataset, keys = self._rows[view.source.name]
        entities: Collection[tuple[object, ...]] = ()
        if view.entity == (self._subject.column,):
            dtype = dataset.types()[self._subject.column]
            texts = self._subject.texts
            entities = [(int(one) if dtype.is_integer() else one,) for one in texts if _fits(one, dtype)]
        elif view.entity == dataset.key:
            entities = keys.rows()
        asked = [entity_key(one) for one in entities]
        store, table = self._online.store, table_name(view, digest_of_view(view))
        held = [store.get_from(Table(table, one), asked) for one in store.generations(table)] if asked else []
        return sum(value is not None for values in held for value in values)

    def _named(self) -> Iterator[FeatureView]:
        """Yield the views over these datasets that can be built again, of every model."""
        with self._views.reading(LoopView) as loops:
            models = list(loops.declared)
        for model in models:
            with suppress(FailedPrecondition):
                schemas = recorded_schemas(self._views, self._ledger, [ModelName(model)])
                for schema in schemas.values():
                    yield from (one for one in schema.features.views if one.source.name in self._rows)


def _fits(text: str, dtype: pl.DataType) -> bool:
    return not dtype.is_integer() or text.lstrip("-").isdecimal()

"""The history behind a view that a served model reads from the online store, since it does not fit in memory:
what `features.view_history` finds of the same rows, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.feature_view import FeatureView
from varv.features.online.entity_keys import entity_key
from varv.features.online.ports import KeyValue
from varv.features.online.reading import ViewReader
from varv.features.run import Ints
from varv.features.view_history import key_of
from varv.kernel.clock import Instant
from varv.kernel.columns import TIME
from varv.kernel.errors import Unavailable


class StoredHistory:
    """The history behind one view, of all entities.

    Parameters
    ----------
    store
        Where the view is kept up to date by another process.
    """

    def __init__(self, view: FeatureView, store: KeyValue) -> None:
        self.view = view
        self.key = key_of(view)
        self._store, self._reader = store, ViewReader(view)
        kinds = view.kinds()
        self._is_text = [kind == "categorical" for kind in kinds.values()]
        self._text_names = [name for name, kind in kinds.items() if kind == "categorical"]
        self.n_numbers = self._is_text.count(False)
        """How many numeric features it has."""

    @property
    def newest(self) -> int | None:
        """When the newest row became known that the generation holds which was read last; None if it holds
        none.
        """
        return self._reader.newest

    def lookup_one(
        self, entity: Sequence[Any], instant: Instant, numbers: list[float], *, strictly: bool = False
    ) -> list[str | None]:
        """See `ViewHistory.lookup_one`."""
        (value,) = self._values([entity], [instant])
        return self._found(value, instant, numbers, strictly=strictly)

    def lookup_rows(
        self,
        entities: Sequence[Sequence[Any]],
        instants: Ints,
        numbers: npt.NDArray[np.float32],
        *,
        strictly: bool = False,
    ) -> dict[str, pl.Series]:
        """Write the numeric features of entities into `numbers`, a row a feature, and return the others; each
        as of its own instant, `strictly` as in `ViewHistory.lookup`.
        """
        plain = instants.tolist()
        values = self._values(entities, plain)
        texts: list[list[str | None]] = []
        for row, (value, instant) in enumerate(zip(values, plain, strict=True)):
            singles: list[float] = []
            texts.append(self._found(value, instant, singles, strictly=strictly))
            numbers[:, row] = singles
        columns = zip(*texts, strict=True) if texts else [()] * len(self._text_names)
        return {
            name: pl.Series(name, column, dtype=pl.String)
            for name, column in zip(self._text_names, columns, strict=True)
        }

    def lookup(
        self,
        requests: pl.DataFrame,
        instants: Ints,
        numbers: npt.NDArray[np.float32],
        *,
        strictly: bool = False,
    ) -> dict[str, pl.Series]:
        """Do what `lookup_rows` does for the entities that requests name."""
        columns = [requests.get_column(name) for name in self.view.entity]
        lists = [(one.cast(pl.Int64) if one.dtype == TIME else one).to_list() for one in columns]
        entities = list(zip(*lists, strict=True)) if lists else [()] * requests.height
        return self.lookup_rows(entities, instants, numbers, strictly=strictly)

    def _values(self, entities: Sequence[Sequence[Any]], instants: Sequence[int]) -> list[bytes | None]:
        named = [None if None in entity else entity_key(entity) for entity in entities]
        keys = [key for key in named if key is not None]
        held = self._store.get_many({self._reader.table: keys})[self._reader.table]
        if held.pointer is None:
            hint = "it is filled by varv up, which follows the setting online_views"
            raise Unavailable("feature view", self.view.name, "is not online yet", hint=hint)
        note = self._reader.note(held)
        if instants:
            self._reader.require_kept(note, min(instants))
        if len(keys) == len(named):
            return held.values
        found = iter(held.values)
        return [None if key is None else next(found) for key in named]

    def _found(
        self, value: bytes | None, instant: int, numbers: list[float], *, strictly: bool
    ) -> list[str | None]:
        if self.view.windows is not None:
            history = self._reader.history(value)
            return self._reader.rows.lookup_one(history, 0, Instant(instant), numbers, strictly=strictly)
        texts: list[str | None] = []
        found = self._reader.find(value, instant, strictly=strictly).values
        for one, is_text in zip(found, self._is_text, strict=True):
            if is_text:
                texts.append(one if isinstance(one, str) else None)
            else:
                numbers.append(one if isinstance(one, float) else math.nan)
        return texts

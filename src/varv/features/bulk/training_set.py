"""Training sets: requests with the features that were known at each, as many at a time as memory allows.

Request columns stay as they are; features of views are added as ``view__feature`` and derived ones under
their names, in the types in which a model is given them. One row comes out for each that goes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from varv.data.dataset import Dataset
from varv.data.sources import Frame, in_kept_types, kept_type
from varv.features.bulk.feeder import BulkFeeder, Requests
from varv.features.bulk.history_rows import Mode
from varv.features.bulk.tables import Tables
from varv.features.engine import typed_feature
from varv.features.kinds import exported, kept_as
from varv.features.model import Derived, Feature, FeatureSet
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.kernel.machine import memory_bytes

_LEAST_BYTES = 256 << 20
_PER_REQUEST = 256
"""Bytes that a request takes while it is looked up, beside its columns and features."""
_PER_VALUE = 24
_MOST_ROWS = 1 << 24


class TrainingSetMaker:
    """Adds features to requests.

    Parameters
    ----------
    features
        Checked against the requests.
    at
        The column that says when a request is made.
    tables
        Where the rows of views are read.
    mode
        From when a row counts.
    most_bytes
        Of memory that is used for it, about; a quarter of the machine's by default.

    Raises
    ------
    InvalidInput
        If the mode is none, or the memory is too little.
    """

    def __init__(
        self,
        features: FeatureSet,
        at: str,
        tables: Tables,
        *,
        mode: Mode = "known",
        most_bytes: int | None = None,
    ) -> None:
        if mode not in ("known", "event"):
            hint = "use 'known', by when rows became known, or 'event', by when it happened"
            raise InvalidInput("mode", mode, "does not exist", hint=hint)
        budget = memory_bytes() // 4 if most_bytes is None else most_bytes
        if most_bytes is not None and most_bytes < _LEAST_BYTES:
            raise InvalidInput(
                "memory", most_bytes, "is too little", least=_LEAST_BYTES, hint="give more bytes"
            )
        self.features = features
        self._at = at
        # What interpreter and libraries hold, and a stretch of rows while it is read, is not counted.
        self._budget = max(budget, _LEAST_BYTES) // 2
        self._feeder = BulkFeeder(tables, mode, most_bytes=self._budget // 2)

    def most_rows(self, n_columns: int) -> int:
        """Return how many requests are looked up at a time, if they have so many columns."""
        each = _PER_REQUEST + _PER_VALUE * (n_columns + len(self.features.names))
        return min(self._budget // 2 // each, _MOST_ROWS)

    def parts(self, requests: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Yield the training set of requests that come in parts, in their order."""
        held: list[pl.DataFrame] = []
        for rows in requests:
            most = self.most_rows(rows.width)
            for part in rows.iter_slices(most):
                if held and sum(one.height for one in held) + part.height > most:
                    yield self.of(pl.concat(held))
                    held = []
                held.append(part)
        if held:
            yield self.of(pl.concat(held))

    def of(self, requests: pl.DataFrame) -> pl.DataFrame:
        """Return the training set of some requests."""
        needed = dict.fromkeys((*self.features.request_columns(), self._at))
        typed = in_kept_types(requests.select(list(needed)))
        times = typed[self._at].cast(pl.Int64)
        timed = times.is_not_null().to_numpy()
        asked = Requests(typed, times.fill_null(0).to_numpy(), timed)
        own = (*self.features.own_views, *self.features.own_outcome_views)
        found = self._feeder.features(self.features.views, asked, own)
        columns = [values.alias(exported(name)) for name, values in found.items()]
        whole = typed.hstack(columns)
        derived = [one for one in self.features.declared if isinstance(one, Derived)]
        computed = whole.select(one.expr.alias(one.name) for one in derived)
        columns += [typed_feature(one, one.name, self.features.kinds[one.name]) for one in computed]
        by_name = {column.name: column for column in columns}
        return requests.hstack([by_name[name] for name in self.names()])

    def names(self) -> list[str]:
        """Return the names of what is added to requests, in the declared order."""
        plain = {one for one in self.features.declared if isinstance(one, str)}
        return [exported(name) for name in self.features.names if name not in plain]

    def types(self, requests: pl.Schema) -> dict[str, pl.DataType]:
        """Return the columns of the training set of requests with these columns."""
        kinds = {exported(name): kind for name, kind in self.features.kinds.items()}
        return {**requests, **{name: kept_as(kinds[name]) for name in self.names()}}


def features_for(features: Sequence[Feature], requests: Dataset) -> FeatureSet:
    """Return features that are checked against requests.

    Raises
    ------
    InvalidDeclaration
        If they do not fit, or one would leak.
    InvalidInput
        If one has the name of a column that it is not.
    """
    checked = FeatureSet(features, requests)
    sources: dict[str, Dataset] = {}
    for view in checked.views:
        if sources.setdefault(view.source.name, view.source) is not view.source:
            hint = "use one Dataset object in all views"
            raise InvalidDeclaration("dataset", view.source.name, "is declared twice", hint=hint)
    types = requests.types()
    for feature in checked.declared:
        if isinstance(feature, Derived) and feature.name in types:
            hint = "give the derived feature another name"
            raise InvalidInput("request column", feature.name, "is the name of a feature as well", hint=hint)
    return checked


def requests_of(columns: pl.Schema, at: str) -> Dataset:
    """Return the requests of a dataframe or file as a dataset, against which features are checked.

    Raises
    ------
    InvalidInput
        If there is no column of times of that name.
    """
    dtype: Any = columns.get(at)
    if dtype is None or kept_type(dtype) != TIME:
        found = "missing" if dtype is None else str(dtype)
        times = [name for name, one in columns.items() if kept_type(one) == TIME]
        hint = (
            f"name the column of request times: at={times[0]!r}"
            if times
            else "bring the time of each request"
        )
        raise InvalidInput("requests", at, f"hold no instants (found {found})", hint=hint)
    kept = {name: kept_type(one) for name, one in columns.items() if kept_type(one) is not None}
    return Dataset("requests", source=Frame(pl.DataFrame(schema=kept)), key=at, event_time=at)

"""The features of a few requests without a dataframe: what `FeatureEngine.lookup` finds, to the last bit.

A request that is made now needs a handful of numbers from each history. To look these up with arrays of one
takes ten times as long as to look at the numbers, so a few requests go one by one, and many go through the
histories together. Only an expression of a derived feature still needs a frame of its columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.engine import FeatureEngine, typed_feature
from varv.features.feature_view import FeatureView
from varv.features.model import Derived, FeatureSet, names_of
from varv.features.online.stored import StoredHistory
from varv.features.view_history import ViewHistory
from varv.kernel.clock import Instant
from varv.kernel.columns import TIME

FEW = 6
"""Requests up to which histories are looked into one by one."""
Singles = npt.NDArray[np.float32]
Texts = Sequence[Sequence[str | None]]


class Requests(Protocol):
    """Requests in plain arrays."""

    @property
    def numbers(self) -> npt.NDArray[np.floating[Any]]:
        """Shape (n, columns), NaN where there is none."""
        ...

    @property
    def texts(self) -> Texts:
        """A list a column."""
        ...


class FeatureProgram:
    """Computes the features that are no columns of a request.

    Parameters
    ----------
    engine
        Whose features and histories these are.
    types
        Of the columns of requests.
    numbers, texts
        Which columns lie where in `Requests`.
    """

    def __init__(
        self,
        engine: FeatureEngine,
        types: Mapping[str, pl.DataType],
        numbers: Sequence[str],
        texts: Sequence[str],
    ) -> None:
        self._places = {name: (False, place) for place, name in enumerate(numbers)}
        self._places |= {name: (True, place) for place, name in enumerate(texts)}
        self._types = types
        features = engine.features
        pairs = zip(engine.histories, features.views, strict=True)
        own = features.own_views
        self._views = [_OfView(history, view, self, strictly=view in own) for history, view in pairs]
        counted = zip(engine.histories, engine.reads, strict=True)
        self._reads = [(history, reads) for history, reads in counted if reads is not None]
        computed = [name for one in features.declared if not isinstance(one, str) for name in names_of(one)]
        derived = [one for one in features.declared if isinstance(one, Derived)]
        self._derived = _Expressions(derived, features, computed, self) if derived else None

    def compute(self, requests: Requests, at: Instant) -> tuple[Singles, Texts]:
        """Return the features of requests at one instant, in the declared order: numbers, shape (n,
        features), and texts, a list a feature.
        """
        n = len(requests.numbers)
        given = _Given(requests, n, at)
        numbers: list[float] = []
        texts: list[list[str | None]] = []
        for view in self._views:
            view.compute(given, numbers, texts)
        for history, reads in self._reads:
            reads.count(n, at, history.newest)
        if self._derived is not None:
            numbers, texts = self._derived.with_views(given, numbers, texts)
        return np.ascontiguousarray(np.array(numbers, np.float32).reshape(-1, n).T), texts

    def column(self, requests: Requests, name: str) -> pl.Series:
        """Return a column of requests with its own type."""
        is_text, place = self._places[name]
        if is_text:
            return pl.Series(name, requests.texts[place], dtype=pl.String)
        return column_of_doubles(name, requests.numbers[:, place], self._types[name])

    def place(self, name: str) -> tuple[bool, int]:
        """Return whether a column is a text, and its place among those of its kind."""
        return self._places[name]


def column_of_doubles(name: str, values: npt.NDArray[np.floating[Any]], dtype: pl.DataType) -> pl.Series:
    """Return numbers that are kept as doubles as the column that they were; times are microseconds."""
    plain = pl.Series(name, values, nan_to_null=True)
    return plain.cast(pl.Int64).cast(TIME) if dtype == TIME else plain.cast(dtype)


class _Given(NamedTuple):
    """The requests of one call, all made at one instant."""

    requests: Requests
    n: int
    at: Instant


class _OfView:
    """The features of one view; see `ViewHistory.lookup` for `strictly`."""

    def __init__(
        self,
        history: ViewHistory | StoredHistory,
        view: FeatureView,
        program: FeatureProgram,
        *,
        strictly: bool,
    ) -> None:
        self._history, self._strictly = history, strictly
        self._entity = [program.place(column) for column in view.asked]

    def compute(self, given: _Given, numbers: list[float], texts: list[list[str | None]]) -> None:
        """Append the features of all requests, one feature after the other."""
        if given.n == 1:
            found = self._one(given, 0, numbers)
            texts += [[text] for text in found]
        elif given.n <= FEW:
            self._compute_few(given, numbers, texts)
        else:
            self._compute_many(given, numbers, texts)

    def _compute_few(self, given: _Given, numbers: list[float], texts: list[list[str | None]]) -> None:
        rows: list[list[float]] = [[] for _ in range(given.n)]
        found = [self._one(given, row, rows[row]) for row in range(given.n)]
        numbers += chain.from_iterable(zip(*rows, strict=True))
        texts += map(list, zip(*found, strict=True))

    def _one(self, given: _Given, row: int, into: list[float]) -> list[str | None]:
        entity = self._values(given.requests, row)
        return self._history.lookup_one(entity, given.at, into, strictly=self._strictly)

    def _compute_many(self, given: _Given, numbers: list[float], texts: list[list[str | None]]) -> None:
        n, history = given.n, self._history
        entities = [self._values(given.requests, row) for row in range(n)]
        into = np.full((history.n_numbers, n), np.nan, np.float32)
        instants = np.full(n, given.at, np.int64)
        if isinstance(history, StoredHistory):
            found = history.lookup_rows(entities, instants, into, strictly=self._strictly)
        else:
            codes = np.array([history.code(entity) for entity in entities], np.int64)
            found = history.lookup(codes, instants, into, strictly=self._strictly)
        numbers += into.ravel().tolist()
        texts += [column.to_list() for column in found.values()]

    def _values(self, requests: Requests, row: int) -> list[Any]:
        # A whole number is found by the double that equals it; one that is none equals nothing.
        return [
            requests.texts[place][row] if is_text else requests.numbers[row, place].item()
            for is_text, place in self._entity
        ]


class _Expressions:
    """Derived features, all of them by one question to the query engine, which takes a tenth of a millisecond
    whatever it is asked.

    Parameters
    ----------
    computed
        The names of the features of views and of derived ones, in the declared order.
    """

    def __init__(
        self,
        derived: Sequence[Derived],
        features: FeatureSet,
        computed: Sequence[str],
        program: FeatureProgram,
    ) -> None:
        self._expressions = [one.expr.alias(one.name) for one in derived]
        self._program = program
        self._of_views = {name: of for one in derived for name, of in features.read_of_views(one).items()}
        read = {name for one in derived for name in one.reads}
        self._columns = sorted(read - self._of_views.keys())
        self._kinds = {name: features.kinds[name] for name in computed}
        names = {one.name for one in derived}
        self._numbers = [name for name in computed if self._kinds[name] == "numeric" and name not in names]
        self._texts = [name for name in computed if self._kinds[name] != "numeric" and name not in names]

    def with_views(
        self, given: _Given, numbers: Sequence[float], texts: Sequence[list[str | None]]
    ) -> tuple[list[float], list[list[str | None]]]:
        """Return all features in the declared order, from those of views as they were computed; a number
        that is none is NaN.
        """
        n = given.n
        found: dict[str, list[Any]] = dict(zip(self._texts, texts, strict=True))
        found |= {name: list(numbers[i * n : (i + 1) * n]) for i, name in enumerate(self._numbers)}
        columns = [self._program.column(given.requests, name) for name in self._columns]
        columns += [self._of_view(name, found[of], of) for name, of in self._of_views.items()]
        for column in pl.DataFrame(columns).select(self._expressions):
            kind = self._kinds[column.name]
            typed = typed_feature(column, column.name, kind)
            found[column.name] = typed.to_list() if kind == "categorical" else typed.to_numpy().tolist()
        kinds = self._kinds
        return (
            list(chain.from_iterable(found[name] for name in kinds if kinds[name] == "numeric")),
            [found[name] for name in kinds if kinds[name] != "numeric"],
        )

    def _of_view(self, name: str, values: list[Any], of: str) -> pl.Series:
        if self._kinds[of] == "categorical":
            return pl.Series(name, values, dtype=pl.String)
        return pl.Series(name, np.array(values, np.float32), nan_to_null=True)

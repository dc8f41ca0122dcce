"""The features of requests, each as of its own instant: the one computation for a year of training rows and
for a single request alike.

An engine is what one model reads: columns of the request, expressions over them, and the histories of its
views in a `features.store`, which other models may share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.dataset import Dataset
from varv.features.feature_view import FeatureView
from varv.features.kinds import Kind, feature_kind
from varv.features.model import Derived, Feature, FeatureSet
from varv.features.online.stored import StoredHistory
from varv.features.run import Ints
from varv.features.store import FeatureStore, ViewHistory
from varv.kernel.clock import iso
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput

Texts = dict[str, pl.Series]
Shared = dict[tuple[str, tuple[str, ...]], tuple[npt.NDArray[np.float32], Texts]]
"""By the key of a view and the columns that it is asked by, what was found for one frame of requests:
numbers, a row a feature, and texts."""


class FeatureEngine:
    """The features of one model.

    Parameters
    ----------
    features
        As declared for a model.
    requests
        The dataset whose base rows are the requests.
    store
        Where rows are observed; one of its own by default.

    Raises
    ------
    InvalidDeclaration
        If the features do not fit the datasets or would leak; see `FeatureSet`.
    """

    def __init__(
        self,
        features: Sequence[Feature] | FeatureSet,
        requests: Dataset,
        store: FeatureStore | None = None,
    ) -> None:
        self.features = features if isinstance(features, FeatureSet) else FeatureSet(features, requests)
        self.store = store or FeatureStore()
        self._histories: list[tuple[ViewHistory | StoredHistory, FeatureView, slice, bool]] = []
        self._computed: list[str] = []
        own, outcomes = self.features.own_views, self.features.own_outcome_views
        self.reads = [self.store.reads.of(view) for view in self.features.views]
        """What counts the reads of its views, in the declared order; None of those that declare no age."""
        for view in self.features.views:
            numeric = [name for name, kind in view.kinds().items() if kind == "numeric"]
            rows = slice(len(self._computed), len(self._computed) + len(numeric))
            history = self.store.history(view, own_outcomes=view in outcomes)
            self._histories.append((history, view, rows, view in own))
            self._computed += numeric
        declared = self.features.declared
        derived = [item for item in declared if isinstance(item, Derived)]
        self._derived = [item.expr.alias(item.name) for item in derived]
        self._read = {name: of for item in derived for name, of in self.features.read_of_views(item).items()}
        """What expressions read of views, by their names for it."""
        self._needed = self.features.request_columns()

    @property
    def histories(self) -> list[ViewHistory | StoredHistory]:
        """What is behind its views, in the declared order."""
        return [history for history, *_ in self._histories]

    def lookup(self, requests: pl.DataFrame, at: str, *, shared: Shared | None = None) -> pl.DataFrame:
        """Return the features of each request as of its own instant, one row a request in the same order.

        Parameters
        ----------
        requests
            One row a request, with the columns that `FeatureSet.request_columns` names, and `at`.
        at
            The column that holds the instants, in UTC microseconds.
        shared
            What engines of the same dataset of requests on the same store have found for these very requests;
            filled here.

        Returns
        -------
        pl.DataFrame
            A column a feature, in the declared order: numbers and Booleans as Float32, texts as String. Null
            where the request has none, no row is known, or a window holds no value.

        Raises
        ------
        InvalidInput
            If a column is missing or has another type, an instant is null, or it lies before what the store
            has kept.
        """
        brought = set(requests.columns)
        for column in self._needed:
            if column not in brought:
                hint = "a request brings every column that a feature needs"
                raise InvalidInput("request column", column, "is missing", hint=hint)
        instants = self._instants(requests, at)
        numbers = np.full((len(self._computed), requests.height), np.nan, np.float32)
        for history, reads in zip(self.histories, self.reads, strict=True):
            if reads is not None and requests.height:
                reads.count(requests.height, int(instants.max()), history.newest)
        found = self._from_views(requests, instants, numbers, {} if shared is None else shared)
        # One conversion for all numbers: twenty small ones would take most of the time of a single request.
        computed, n = pl.Series(numbers.ravel(), nan_to_null=True), requests.height
        found.update({name: computed.slice(i * n, n).alias(name) for i, name in enumerate(self._computed)})
        for feature in self.features.declared:
            if isinstance(feature, str):
                found[feature] = typed_feature(
                    requests.get_column(feature), feature, self.features.kinds[feature]
                )
        if self._derived:
            known = requests.with_columns(found[of].alias(name) for name, of in self._read.items())
            kinds = self.features.kinds
            for column in known.select(self._derived):
                found[column.name] = typed_feature(column, column.name, kinds[column.name])
        return pl.DataFrame([found[name] for name in self.features.names])

    def _from_views(
        self, requests: pl.DataFrame, instants: Ints, numbers: npt.NDArray[np.float32], shared: Shared
    ) -> Texts:
        """Write the numbers of all views into `numbers`, and return their texts."""
        codes: dict[tuple[str, ...], Ints] = {}
        texts: Texts = {}
        for history, view, rows, strictly in self._histories:
            place = history.key, view.asked
            if place in shared:
                numbers[rows] = shared[place][0]
            elif isinstance(history, StoredHistory):
                found = history.lookup(view.entities_in(requests), instants, numbers[rows], strictly=strictly)
                shared[place] = numbers[rows], found
            else:
                kind = (view.source.name, *view.entity, *view.asked)
                if kind not in codes:
                    codes[kind] = history.codes(view.entities_in(requests))
                found = history.lookup(codes[kind], instants, numbers[rows], strictly=strictly)
                shared[place] = numbers[rows], found
            # A use has names of its own for what the history calls by the view's.
            for name, values in shared[place][1].items():
                own = f"{view.name}.{name.partition('.')[2]}"
                texts[own] = values.alias(own)
        return texts

    def _instants(self, requests: pl.DataFrame, at: str) -> Ints:
        column = requests.get_column(at, default=None)
        if column is None or column.dtype != TIME:
            found = None if column is None else str(column.dtype)
            raise InvalidInput(
                "requests", at, f"hold no instants (found {found})", hint=f"bring {at!r} as {TIME}"
            )
        if column.null_count():
            raise InvalidInput("requests", at, "has a row without an instant")
        instants = column.cast(pl.Int64).to_numpy()
        oldest = self.store.oldest
        if len(instants) and int(instants.min()) < oldest:
            earliest = iso(int(instants.min()))
            problem = "reach back before the history that is kept"
            raise InvalidInput("requests", at, problem, earliest=earliest, kept_from=iso(oldest))
        return instants


def typed_feature(values: pl.Series, name: str, kind: Kind) -> pl.Series:
    """Return values as a feature of a name is kept: Float32 or String, null where there is none.

    Raises
    ------
    InvalidInput
        If they are of another kind.
    """
    if feature_kind(values.dtype) != kind and values.dtype != pl.Null:
        raise InvalidInput("request column", name, f"has the type {values.dtype}", hint=f"it is {kind}")
    if values.dtype.is_float():
        return pl.Series(name, values.cast(pl.Float32).to_numpy(), nan_to_null=True)
    return values.cast(pl.Float32 if kind == "numeric" else pl.String).alias(name)

"""Holds what requests were served with against what they should have been, value by value.

What it should have been is computed by the bulk feeder from what a home has stored, *as known at* the
request's own instant. Where a value is another, the states of the ledger are searched for one that gives it:
so a store that was behind is told from rows that came late, and both from a value that was never right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from varv.data import Datasets
from varv.features.bulk import StoredTables, TrainingSetMaker
from varv.features.feature_view import FeatureView
from varv.features.kinds import exported
from varv.features.model import Derived, FeatureSet
from varv.features.run import Ints
from varv.features.skew.arrivals import Arrivals
from varv.features.skew.classes import (
    DIFFERENT,
    EQUAL,
    LATE,
    MISSING_OFFLINE,
    MISSING_ONLINE,
    STALE,
    Classed,
    Codes,
)
from varv.features.skew.searching import Found, Group, instants_of, out_of_date_since, search
from varv.features.skew.values import Flags, are_missing, are_same
from varv.kernel.clock import DAY, Duration, Instant
from varv.kernel.ids import DatasetName, Version

LOOKS_BACK = Duration(2 * DAY)
"""How far back of a request states of the ledger are told apart."""
_MOST_BYTES = 256 << 20
_MOST_SWAPS, _MOST_ENTITIES = 64, 256
"""Different values that are looked for among other entities, and how many entities these are."""
Comparison = dict[str, Classed]
"""By feature, what became of its values."""


class Served(NamedTuple):
    """Requests, and the features that they were served with.

    `rows` has the columns that features need and `at`, when each was made; `values` has a column a feature,
    as prediction logs keep them.
    """

    rows: pl.DataFrame
    at: str
    values: pl.DataFrame


def compare(
    datasets: Datasets,
    features: FeatureSet,
    served: Served,
    versions: Mapping[DatasetName, Version] | None = None,
) -> Comparison:
    """Return the class of every served value of every feature of a view, and of every computed one.

    Parameters
    ----------
    datasets
        Of the home.
    features
        By the definitions that served; others beside them may say what a different value is.
    served
        Requests of one stretch of time, in any order; one of an instant later than the rows that are stored
        is compared with less than it should.
    versions
        As of which version each dataset is read; the last one for others.

    Raises
    ------
    InvalidInput
        If a column is missing or has another type.
    """
    order = np.argsort(instants_of(served.rows, served.at), kind="stable")
    ordered = Served(served.rows[order], served.at, served.values[order])
    back = np.argsort(order, kind="stable")
    found = _Comparing(datasets, features, ordered, dict(versions or {})).classed()
    return {
        name: Classed(
            one.codes[back],
            one.lags[back],
            one.other_entity[back],
            {other: same[back] for other, same in one.alike.items()},
        )
        for name, one in found.items()
    }


class _Comparing:
    """One comparison; its requests are in the order of time."""

    def __init__(
        self, datasets: Datasets, features: FeatureSet, served: Served, versions: dict[DatasetName, Version]
    ) -> None:
        self._features = features
        self._served = served
        self._arrivals = Arrivals(datasets, versions)
        tables = StoredTables(datasets, versions)
        self._maker = TrainingSetMaker(features, served.at, tables, most_bytes=_MOST_BYTES)
        self._offline = self._computed(served.rows)

    def classed(self) -> Comparison:
        """Return the class of every value."""
        groups = _groups(self._features, self._served.values.columns)
        same = {
            name: are_same(self._served.values[name], self._offline[name])
            for group in groups
            for name in group.names
        }
        apart = [~np.logical_and.reduce([same[name] for name in group.names]) for group in groups]
        searched = self._searched(groups, apart)
        found: Comparison = {}
        for group, rows, (states, lags) in zip(groups, apart, searched, strict=True):
            for name in group.names:
                codes = self._codes(name, same[name], states)
                found[name] = Classed(
                    codes, np.where(codes == EQUAL, 0, lags), np.zeros(len(codes), bool), {}
                )
            if rows.any():
                found |= self._explained(group, {name: found[name] for name in group.names})
        return found

    def _computed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the features of requests as known at each, under their own names."""
        computed = [name for name in self._features.names if exported(name) in self._maker.names()]
        return self._maker.of(rows).select(pl.col(exported(name)).alias(name) for name in computed)

    def _searched(self, groups: Sequence[Group], apart: Sequence[Flags]) -> list[tuple[Found, Ints]]:
        """Return of each group which states give what was served, and how long it had been out of date."""
        n = self._served.rows.height
        nothing = np.full(n, -1, np.int64)
        places = np.flatnonzero(np.logical_or.reduce(apart)) if groups else np.zeros(0, np.int64)
        if not len(places):
            return [(Found(nothing, nothing - 1), np.zeros(n, np.int64)) for _ in groups]
        rows, at = self._served.rows[places], self._served.at
        instants = instants_of(rows, at)
        since = Instant(int(instants.min()) - LOOKS_BACK)
        views = list(dict.fromkeys(view for group in groups for view in group.views))
        steps = self._arrivals.steps(views, rows, instants, since)
        states = search(steps, self._features, rows, at, self._served.values[places], groups)
        found = []
        for group, own in zip(groups, states, strict=True):
            lags = np.zeros(n, np.int64)
            lags[places] = instants - out_of_date_since(steps, group.views, rows, at, own.state)
            whole = Found(nothing.copy(), nothing - 1)
            whole.state[places], whole.current[places] = own.state, own.current
            nothing_given = np.logical_and.reduce([are_missing(self._served.values[x]) for x in group.names])
            # Nothing at all is right of the time before the first row, which says little.
            whole.state[nothing_given & (whole.state < whole.current)] = -1
            found.append((whole, lags))
        return found

    def _codes(self, name: str, same: Flags, found: Found) -> Codes:
        given, right = are_missing(self._served.values[name]), are_missing(self._offline[name])
        cases = [same, found.state == found.current, found.state >= 0, given & ~right, ~given & right]
        kinds = [EQUAL, LATE, STALE, MISSING_ONLINE, MISSING_OFFLINE]
        return np.select(cases, kinds, DIFFERENT).astype(np.uint8)

    def _explained(self, group: Group, values: Comparison) -> Comparison:
        """Return values with what different ones are otherwise: those of another entity or feature."""
        different = np.logical_or.reduce([one.codes == DIFFERENT for one in values.values()])
        others = self._of_another_entity(group, np.flatnonzero(different)[:_MOST_SWAPS])
        found = {}
        for name, one in values.items():
            own = one.codes == DIFFERENT
            found[name] = Classed(one.codes, one.lags, others & own, self._like_others(name, own))
        return found

    def _like_others(self, name: str, different: Flags) -> dict[str, Flags]:
        """Return by feature which different values are its."""
        served, found = self._served.values[name], dict[str, Flags]()
        for other in self._offline.get_columns():
            if other.name != name and other.dtype == served.dtype and different.any():
                alike = different & ~are_missing(other) & are_same(served, other)
                if alike.any():
                    found[other.name] = alike
        return found

    def _of_another_entity(self, group: Group, places: Ints) -> Flags:
        """Return which requests were served with what is right for another entity of these requests."""
        rows = self._served.rows
        found = np.zeros(rows.height, np.bool_)
        entity = list(dict.fromkeys(name for view in group.views for name in view.asked))
        others = (
            rows.select(entity).unique(maintain_order=True).head(_MOST_ENTITIES) if entity else rows.clear()
        )
        if not len(places) or others.height < 2:
            return found
        asked = rows[places].with_columns(pl.Series("@place", places))
        swapped = asked.drop(entity).join(others, how="cross")
        values = self._computed(swapped.select(rows.columns))
        own = swapped["@place"].to_numpy()
        same = [are_same(values[name], self._served.values[name][own]) for name in group.names]
        missing = [are_missing(values[name]) for name in group.names]
        found[own[np.logical_and.reduce(same) & ~np.logical_and.reduce(missing)]] = True
        return found


def _groups(features: FeatureSet, served: Sequence[str]) -> list[Group]:
    """Return the served features that are read together: those of one view, and each computed one."""
    of_views: dict[str, list[FeatureView]] = {}
    for view in features.views:
        of_views.setdefault(view.name, []).append(view)
    there = set(served)
    groups = [
        Group(tuple(name for view in views for name in view.feature_names() if name in there), tuple(views))
        for views in of_views.values()
    ]
    for one in features.declared:
        if isinstance(one, Derived) and one.name in there:
            reads = set(features.read_of_views(one).values())
            views = [view for view in features.views if not reads.isdisjoint(view.feature_names())]
            groups.append(Group((one.name,), tuple(views)))
    return [group for group in groups if group.names]

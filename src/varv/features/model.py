"""The features of a model: columns of its requests, what is derived from them, and feature views, checked
together so that no value is used before it is known. Views are in `features.feature_view`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from varv.data.dataset import Dataset
from varv.features.feature_view import FeatureView
from varv.features.kinds import Kind, declared_name, exported, feature_kind, kept_as
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.expressions import is_by_row


@dataclass(frozen=True)
class Derived:
    """A feature computed from one request: from its columns, and from what views know at its instant."""

    name: str
    expr: pl.Expr

    @property
    def reads(self) -> list[str]:
        """The columns and features of views that it looks at, in order."""
        return sorted(self.expr.meta.root_names())


def derived(name: str, expr: pl.Expr) -> Derived:
    """Return a feature that is computed when a request is made, by a polars expression of one row.

    Parameters
    ----------
    expr
        Of columns of the request, and of features of views in the same list: `late_mean_6h` of the view
        `recent` is ``pl.col("recent__late_mean_6h")``, in single precision.

    Raises
    ------
    InvalidDeclaration
        If the name is not valid or the expression looks at other rows, such as a mean or a shift.
    """
    declared_name("feature", name)
    if not isinstance(expr, pl.Expr):
        raise InvalidDeclaration("feature", name, f"is made of {type(expr).__name__}", hint="use pl.col(...)")
    try:
        by_row = is_by_row(expr) and not expr.meta.has_multiple_outputs()
    except pl.exceptions.PolarsError:
        by_row = False
    if not by_row or not expr.meta.root_names():
        hint = (
            "use only functions of single values, of columns named one by one: what a request has is one row"
        )
        raise InvalidDeclaration("feature", name, "is not a function of one row", hint=hint)
    return Derived(name, expr)


Feature = str | Derived | FeatureView


class FeatureSet:
    """The features of a model, checked against the dataset of its requests.

    Parameters
    ----------
    features
        Columns of the request by name, `derived` features, and feature views.
    requests
        The dataset whose base rows are the requests.

    Raises
    ------
    InvalidDeclaration
        If a name is given twice, a column is unknown or is only known after the request, or an entity of a
        view is not among the columns of the request.
    """

    def __init__(self, features: Sequence[Feature], requests: Dataset) -> None:
        self.requests = requests
        self.declared = tuple(features)
        self._types = requests.part_types(requests.event_time)
        self._of_views = self._exported()
        self.kinds: dict[str, Kind] = {}
        for feature in self.declared:
            for name, kind in self._kinds_of(feature).items():
                if name in self.kinds:
                    raise InvalidDeclaration("feature", name, "is declared twice", hint="keep one of them")
                self.kinds[name] = kind
        if not self.kinds:
            raise InvalidDeclaration(
                "features", requests.name, "are empty", hint="name a column or a feature view"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all features in the declared order, those of views as ``view.feature``."""
        return tuple(self.kinds)

    @property
    def views(self) -> tuple[FeatureView, ...]:
        """The feature views, in the declared order."""
        return tuple(feature for feature in self.declared if isinstance(feature, FeatureView))

    @property
    def own_views(self) -> tuple[FeatureView, ...]:
        """The views whose rows are the requests themselves. Of these a request sees rows of before its own
        instant only: when it is served, its own row is kept after its features were looked up.
        """
        return tuple(view for view in self._of_requests() if view.part == self.requests.event_time)

    @property
    def own_outcome_views(self) -> tuple[FeatureView, ...]:
        """The views of what becomes known of the requests later. No request sees what comes of a row of its
        own instant, though it is known at once, for that row is not kept yet.
        """
        return tuple(view for view in self._of_requests() if view.part != self.requests.event_time)

    def _of_requests(self) -> list[FeatureView]:
        asked = self.requests
        whose = asked.name, asked.key, asked.event_time
        return [
            view
            for view in self.views
            if (view.source.name, view.source.key, view.source.event_time) == whose
        ]

    def read_of_views(self, feature: Derived) -> dict[str, str]:
        """Return the features of views that a derived one looks at, by the names that it has for them."""
        return {name: self._of_views[name][0] for name in feature.reads if name in self._of_views}

    def computing(self, names: Iterable[str]) -> list[Feature]:
        """Return the declared features that compute any of these names, and the views that they read."""
        wanted = set(names)
        for feature in self.declared:
            if isinstance(feature, Derived) and feature.name in wanted:
                wanted |= set(self.read_of_views(feature).values())
        return [feature for feature in self.declared if not wanted.isdisjoint(names_of(feature))]

    def definition(self) -> list[list[str]]:
        """Return what every feature is, as texts: equal definitions compute equal features."""
        return [_definition(feature) for feature in self.declared]

    def request_columns(self) -> tuple[str, ...]:
        """Return the columns that a request must bring: features, entities, and what derived features look
        at.
        """
        needed: dict[str, None] = {}
        for feature in self.declared:
            if isinstance(feature, FeatureView):
                needed.update(dict.fromkeys(feature.asked))
            elif isinstance(feature, Derived):
                needed.update((name, None) for name in feature.reads if name not in self._of_views)
            else:
                needed[feature] = None
        return tuple(needed)

    def _kinds_of(self, feature: Feature) -> Mapping[str, Kind]:
        if isinstance(feature, FeatureView):
            for column, own in zip(feature.asked, feature.entity, strict=True):
                self._require(column, f"feature view {feature.name!r}")
                here, there = self._types[column], feature.source.types()[own]
                if feature_kind(here) != feature_kind(there):
                    problem = f"has {here} in {column!r} where dataset {feature.source.name!r} has {there}"
                    raise InvalidDeclaration("dataset", self.requests.name, problem, hint="cast one of them")
            return feature.kinds()
        if isinstance(feature, Derived):
            for column in feature.reads:
                if column not in self._of_views:
                    self._require(column, f"feature {feature.name!r}")
            return {feature.name: self._derived_kind(feature)}
        if not isinstance(feature, str):
            hint = "give a column's name, derived(...) or a FeatureView"
            raise InvalidDeclaration("feature", repr(feature)[:80], "is of no known kind", hint=hint)
        self._require(feature, "the features")
        kind = feature_kind(self._types[feature])
        if kind is None:
            hint = f"derive a number from it: derived('{feature}_hour', pl.col('{feature}').dt.hour())"
            raise InvalidDeclaration("feature", feature, f"has the type {self._types[feature]}", hint=hint)
        return {feature: kind}

    def _derived_kind(self, feature: Derived) -> Kind:
        try:
            views = {name: kept_as(kind) for name, (_, kind) in self._of_views.items()}
            dtype = pl.DataFrame(schema={**self._types, **views}).select(feature.expr).dtypes[0]
        except pl.exceptions.PolarsError as error:
            why = str(error).split("\n")[0][:200]
            raise InvalidDeclaration("feature", feature.name, "cannot be computed", why=why) from None
        kind = feature_kind(dtype)
        if kind is None:
            raise InvalidDeclaration(
                "feature", feature.name, f"gives {dtype}", hint="make it a number or a text"
            )
        return kind

    def _exported(self) -> dict[str, tuple[str, Kind]]:
        """Return the features of views, by the names under which they leave."""
        found = {exported(name): (name, kind) for view in self.views for name, kind in view.kinds().items()}
        for name in found:
            if name in self._types:
                hint = "rename the view, or the column"
                problem = f"has a column {name!r}, which is a feature of a view as well"
                raise InvalidDeclaration("dataset", self.requests.name, problem, hint=hint)
        return found

    def _require(self, column: str, by: str) -> None:
        if "__" in column and column not in self._types:
            names = ", ".join(self._of_views) or "none"
            hint = f"declare the view among the features; features of views are: {names}"
            raise InvalidDeclaration("column", column, f"is no feature of a view, for {by}", hint=hint)
        known = self.requests.known_when(column)
        if known != self.requests.event_time:
            asked = self.requests.event_time
            problem = f"would leak into {by}: it is known at {known!r}, the request is made at {asked!r}"
            hint = "use what was known of earlier rows: a FeatureView with windows(..., over=[...])"
            raise InvalidDeclaration("column", column, problem, hint=hint)


def _definition(feature: Feature) -> list[str]:
    if isinstance(feature, str):
        return [feature]
    if isinstance(feature, Derived):
        return [feature.name, str(feature.expr)]
    return feature.definition()


def names_of(feature: Feature) -> tuple[str, ...]:
    """Return the names of what a declared feature computes: several of a view, else one."""
    if isinstance(feature, FeatureView):
        return feature.feature_names()
    return (feature.name if isinstance(feature, Derived) else feature,)

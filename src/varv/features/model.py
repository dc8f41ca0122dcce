"""The nouns of features, and the checks that make a declaration safe: no unknown column, no value used before
it is known.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from varv.data.dataset import Dataset
from varv.features.window_kinds import Windows
from varv.kernel.clock import Duration, duration
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.kernel.expressions import is_by_row
from varv.kernel.ids import checked_name

Kind = Literal["numeric", "categorical"]


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
    _checked("feature", name)
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


class FeatureView:
    """Features of an entity, taken from what a dataset had made known by the instant of the request.

    Parameters
    ----------
    name
        The first half of the names of its features: ``origin_weather`` gives ``origin_weather.wind_speed``.
    source
        The dataset.
    entity
        The column or columns, of the dataset and of the request, that say whose features these are; None for
        one history that all requests share.
    features
        Columns, of which the last row known gives the values; or `windows`.
    ttl
        With columns: how old the last row may be, such as ``"3h"``; older rows count as absent.
    available_at
        The time column at which the columns are known; stated for the reader, it must be the right one.
    lateness
        How much later than others rows may come; those that come later still count, and are counted
        (`ViewHistory.progress`).
    fresh
        How long a value that is served may have been out of date, such as ``"1h"``. Nothing is refused for
        it; the share of values that keep it is reported (`features.skew`).

    Raises
    ------
    InvalidDeclaration
        If a column does not exist, has a type that cannot be used, or is known later than `available_at`
        says.
    """

    def __init__(
        self,
        name: str,
        *,
        source: Dataset,
        features: Sequence[str] | Windows,
        entity: str | Sequence[str] | None = None,
        ttl: str | None = None,
        available_at: str | None = None,
        lateness: str | None = None,
        fresh: str | None = None,
    ) -> None:
        self.name = _checked("feature view", name)
        self.is_kept = False
        """Whether no declaration names it any more; one of its name may then be declared otherwise."""
        self.source = source
        self.entity = () if entity is None else (entity,) if isinstance(entity, str) else tuple(entity)
        self.asked = self.entity
        """The columns of a request that name the entity, in the order of `entity`."""
        self.of = self
        """The view whose history it reads: itself, or the one that it is a use of."""
        self.windows = features if isinstance(features, Windows) else None
        columns = (features.column,) if isinstance(features, Windows) else tuple(features)
        if isinstance(features, str) or not columns or len(set(columns)) < len(columns):
            raise self._wrong(
                "needs a list of columns, each once, or windows(...)", "write features=['wind_speed']"
            )
        self.columns = columns
        self.ttl = None if ttl is None else _duration(name, "ttl", ttl)
        self.lateness = Duration(0) if lateness is None else _duration(name, "lateness", lateness)
        self.fresh = None if fresh is None else _duration(name, "fresh", fresh)
        if self.windows and ttl is not None:
            raise self._wrong(
                "has a ttl beside its windows", "leave ttl out: a window says how far back it looks"
            )
        self.part = self._part(available_at)
        self._check_entity()
        self.column_kinds = {column: self._kind(column) for column in self.columns}
        """Of each column that it reads."""

    def used_as(self, name: str, *, asked_by: Mapping[str, str]) -> FeatureView:
        """Return the same view for requests that call its entity otherwise, under a name of its own.

        A request may name two entities of one kind, such as the airports at both ends of a flight: each has
        its use of the view of airports, and both read one history.

        Parameters
        ----------
        name
            The first half of the names of the features.
        asked_by
            The column of the request for each column of the entity that has another name there.

        Raises
        ------
        InvalidDeclaration
            If the name is that of the view, or a column is none of the entity, or two are asked by one.

        Examples
        --------
        >>> from datetime import datetime
        >>> from varv.data import Frame
        >>> rows = pl.DataFrame({"airport": ["JFK"], "at": [datetime(2013, 1, 1)], "wind": [3.0]})
        >>> weather = Dataset("weather", source=Frame(rows), key=["airport", "at"], event_time="at")
        >>> last = FeatureView("last_weather", source=weather, entity="airport", features=["wind"])
        >>> last.used_as("weather_there", asked_by={"airport": "dest"}).feature_names()
        ('weather_there.wind',)
        """
        if self.of is not self:
            raise self._wrong(f"is a use of {self.of.name!r}", f"use {self.of.name} itself")
        use = copy.copy(self)
        use.name, use.of = _checked("feature view", name), self
        if name == self.name:
            raise self._wrong("has a use of its own name", "give the use another name")
        if strange := [column for column in asked_by if column not in self.entity]:
            hint = f"its entity is {', '.join(self.entity) or 'none'}"
            raise self._wrong(f"has no {strange[0]!r} in its entity, for the use {name!r}", hint)
        use.asked = tuple(asked_by.get(column, column) for column in self.entity)
        if len(set(use.asked)) < len(use.asked):
            raise self._wrong(f"has two columns asked by one in {name!r}", "name a column for each")
        return use

    def entities_in(self, requests: pl.DataFrame) -> pl.DataFrame:
        """Return requests with the columns that name entities, as the dataset calls them."""
        if self.asked == self.entity:
            return requests
        return requests.select(
            pl.col(asked).alias(own) for own, asked in zip(self.entity, self.asked, strict=True)
        )

    def feature_names(self) -> tuple[str, ...]:
        """Return the full names of its features, in the declared order."""
        own = self.windows.feature_names() if self.windows else self.columns
        return tuple(f"{self.name}.{feature}" for feature in own)

    def kinds(self) -> dict[str, Kind]:
        """Return whether each feature, by its full name, is numeric or categorical."""
        if self.windows is None:
            return {f"{self.name}.{column}": kind for column, kind in self.column_kinds.items()}
        kind = self.column_kinds[self.windows.column]
        return {
            f"{self.name}.{name}": kind if statistic in ("first", "last") else "numeric"
            for name, _, statistic in self.windows.features()
        }

    def definition(self) -> list[str]:
        """Return what it is, as texts: views of equal definitions have equal histories."""
        if self.of is not self:
            return [self.name, *self.asked, *self.of.definition()]
        looks = list(self.columns)
        if self.windows:
            looks = [*self.windows.feature_names(), *self.windows.said()]
        reads = [self.source.name, self.part, *self.entity]
        return [self.name, *reads, *looks, "" if self.ttl is None else str(self.ttl)]

    def _part(self, available_at: str | None) -> str:
        try:
            known = {column: self.source.known_when(column) for column in self.columns}
        except InvalidDeclaration as error:
            raise self._wrong(error.problem + f" in dataset {self.source.name!r}", error.hint) from None
        if available_at is not None and available_at not in self.source.parts:
            raise self._wrong(
                f"has no time {available_at!r} in {self.source.name!r}",
                f"its known times are {', '.join(self.source.parts)}",
            )
        for column, time in known.items():
            if available_at is not None and time != available_at:
                problem = f"would leak: {column!r} is known at {time!r}, not at {available_at!r}"
                raise self._wrong(problem, f"write available_at={time!r}")
        if len(set(known.values())) > 1:
            raise self._wrong(
                f"mixes columns known at different times ({known})", "make one view for each time"
            )
        return known[self.columns[0]]

    def _check_entity(self) -> None:
        for column in self.entity:
            try:
                known = self.source.known_when(column)
            except InvalidDeclaration as error:
                raise self._wrong(error.problem + f" in dataset {self.source.name!r}", error.hint) from None
            if known != self.source.event_time:
                raise self._wrong(
                    f"has the entity {column!r}, known only at {known!r}", "use a column known with the row"
                )

    def _kind(self, column: str) -> Kind:
        dtype = self.source.types()[column]
        kind = feature_kind(dtype)
        if kind is None:
            raise self._wrong(f"uses {column!r} of type {dtype}", "it takes numbers, Booleans or texts")
        is_text = kind == "categorical"
        if self.windows and (statistic := self.windows.misfit(is_text=is_text)) is not None:
            hint = (
                "texts have count, distinct, first, last and share('...')" if is_text else "give it a number"
            )
            wanted = "numbers or Booleans" if is_text else "a text"
            raise self._wrong(f"uses {column!r} of type {dtype} for {statistic}, which is of {wanted}", hint)
        return kind

    def _wrong(self, problem: str, hint: str) -> InvalidDeclaration:
        return InvalidDeclaration("feature view", self.name, problem, hint=hint)


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
        asked = self.requests
        whose = asked.name, asked.key, asked.event_time
        return tuple(
            view
            for view in self.views
            if (view.source.name, view.source.key, view.part) == whose
            and view.source.event_time == asked.event_time
        )

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


def exported(name: str) -> str:
    """Return the name under which a feature leaves, or an expression reads it.

    Examples
    --------
    >>> exported("recent.late_mean_6h")
    'recent__late_mean_6h'
    """
    return name.replace(".", "__", 1)


def kept_as(kind: Kind) -> pl.DataType:
    """Return the type in which features of a kind are kept."""
    return pl.Float32() if kind == "numeric" else pl.String()


def feature_kind(dtype: pl.DataType) -> Kind | None:
    """Return how values of a type enter a model, or None if they cannot."""
    if dtype.is_numeric() or dtype == pl.Boolean:
        return "numeric"
    return "categorical" if dtype == pl.String else None


def _checked(kind: str, name: str) -> str:
    try:
        return checked_name(kind, name)
    except InvalidInput as error:
        raise InvalidDeclaration(kind, error.name, error.problem, hint=error.hint) from None


def _duration(name: str, argument: str, text: str) -> Duration:
    try:
        return duration(text)
    except InvalidInput as error:
        problem = f"has {argument}={text!r}, which {error.problem}"
        raise InvalidDeclaration("feature view", name, problem, hint=error.hint) from None

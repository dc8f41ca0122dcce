"""Feature views: what a request may know of an entity, out of a dataset; none of it before it is known."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import polars as pl

from varv.data.dataset import Dataset
from varv.features.kinds import Kind, declared_name, feature_kind
from varv.features.window_kinds import Windows
from varv.kernel.clock import Duration, duration
from varv.kernel.errors import InvalidDeclaration, InvalidInput


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
        self.name = declared_name("feature view", name)
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
        use.name, use.of = declared_name("feature view", name), self
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


def _duration(name: str, argument: str, text: str) -> Duration:
    try:
        return duration(text)
    except InvalidInput as error:
        problem = f"has {argument}={text!r}, which {error.problem}"
        raise InvalidDeclaration("feature view", name, problem, hint=error.hint) from None

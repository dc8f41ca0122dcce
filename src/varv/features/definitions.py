"""Definitions of single features, as ledgers keep them: compared by value, and built again when their file is
gone.

A feature that no declaration names any more is still computed while a version in force reads it; what it is
has to outlive the file that declared it. One with an expression that holds a function of Python is not kept
(`kernel.expressions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import msgspec
import polars as pl

from varv.data.model import Dataset
from varv.features.model import Derived, Feature, FeatureSet, FeatureView, Kind, Windows
from varv.kernel.clock import Duration, spoken
from varv.kernel.errors import FailedPrecondition
from varv.kernel.expressions import read_expression, written_expression
from varv.kernel.ids import DatasetName


class FeatureDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """What one feature is: a column of the request, an expression over columns, or a feature of a view."""

    name: str
    kind: Kind
    column: str = ""
    """Of the request, or of the view's dataset."""
    expression: str = ""
    """How a derived feature reads."""
    written: str = ""
    """The expression as polars writes it; empty where it cannot be built again."""
    view: str = ""
    dataset: str = ""
    part: str = ""
    entity: tuple[str, ...] = ()
    statistic: Literal["", "mean", "count"] = ""
    """Of a window; empty for the last row known."""
    window: str = ""
    """The window's length as it is declared, which is part of the name."""
    span: Duration | None = None
    ttl: Duration | None = None

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether the feature can be built from this alone."""
        return bool(self.column or self.written)

    def is_same(self, other: FeatureDefinition) -> bool:
        """Return whether both compute the same; how a library writes an expression does not matter."""
        return msgspec.structs.replace(self, written="") == msgspec.structs.replace(other, written="")

    def line(self) -> str:
        """Return what it is, in words.

        Examples
        --------
        >>> FeatureDefinition(name="heat", kind="numeric", column="heat").line()
        'column heat of the request'
        """
        if self.expression:
            return self.expression
        if not self.view:
            return f"column {self.column} of the request"
        whose = f" by {', '.join(self.entity)}" if self.entity else ""
        if self.span is not None:
            return f"{self.statistic} of {self.dataset}.{self.column} over {spoken(self.span)}{whose}"
        old = f", at most {spoken(self.ttl)} old" if self.ttl is not None else ""
        return f"last {self.dataset}.{self.column}{whose}{old}"


def definitions_of(features: FeatureSet) -> tuple[FeatureDefinition, ...]:
    """Return the definition of every feature, in the declared order."""
    return tuple(found for feature in features.declared for found in _defined(feature, features.kinds))


def rebuilt(
    definitions: Iterable[FeatureDefinition], datasets: Mapping[DatasetName, Dataset]
) -> tuple[Feature, ...]:
    """Return features that compute exactly what `definitions` say.

    Parameters
    ----------
    datasets
        Those that views read, by name.

    Raises
    ------
    FailedPrecondition
        If one cannot be built again.
    InvalidDeclaration
        If a dataset does not have what a view reads.
    """
    found: list[Feature] = []
    views: dict[tuple[object, ...], list[FeatureDefinition]] = {}
    for one in definitions:
        if one.view:
            place = (one.view, one.dataset, one.entity, one.ttl)
            windowed = (one.column, one.statistic) if one.span is not None else ()
            views.setdefault((*place, *windowed), []).append(one)
        else:
            found.append(one.column if one.column else Derived(one.name, _expression(one)))
    return (*found, *(_view(several, datasets) for several in views.values()))


def _defined(feature: Feature, kinds: Mapping[str, Kind]) -> list[FeatureDefinition]:
    if isinstance(feature, str):
        return [FeatureDefinition(name=feature, kind=kinds[feature], column=feature)]
    if isinstance(feature, Derived):
        said, written = str(feature.expr), written_expression(feature.expr)
        return [
            FeatureDefinition(name=feature.name, kind=kinds[feature.name], expression=said, written=written)
        ]
    return _of_view(feature)


def _of_view(view: FeatureView) -> list[FeatureDefinition]:
    whose = {"view": view.name, "dataset": view.source.name, "part": view.part, "entity": view.entity}
    kinds = view.kinds()
    if view.windows is None:
        return [
            FeatureDefinition(
                name=f"{view.name}.{column}",
                kind=kinds[f"{view.name}.{column}"],
                column=column,
                ttl=view.ttl,
                **whose,
            )
            for column in view.columns
        ]
    windows = view.windows
    return [
        FeatureDefinition(
            name=f"{view.name}.{windows.column}_{statistic}_{text}",
            kind="numeric",
            column=windows.column,
            statistic=statistic,
            window=text,
            span=span,
            **whose,
        )
        for text, span in windows.spans.items()
        for statistic in windows.statistics
    ]


def _view(several: list[FeatureDefinition], datasets: Mapping[DatasetName, Dataset]) -> FeatureView:
    first = several[0]
    source = datasets.get(DatasetName(first.dataset))
    if source is None:
        hint = "declare it again, or bring a version in force that does without"
        raise FailedPrecondition("dataset", first.dataset, f"is gone, and {first.name} needs it", hint=hint)
    wanted: Windows | list[str]
    if first.span is None:
        wanted = [one.column for one in several]
    else:
        spans = {one.window: one.span for one in several if one.span is not None}
        only = first.statistic == "count"
        wanted = Windows(first.column, MappingProxyType(spans), count=only, mean=not only)
    view = FeatureView(
        first.view,
        source=source,
        entity=first.entity or None,
        features=wanted,
        ttl=None if first.ttl is None else spoken(first.ttl),
    )
    view.is_kept = True
    return view


def _expression(definition: FeatureDefinition) -> pl.Expr:
    try:
        return read_expression(definition.written)
    except ValueError as error:
        hint = f"declare {definition.name} again, or bring a version in force that does without"
        facts = {"why": str(error)} if str(error) else {}
        raise FailedPrecondition(
            "feature", definition.name, "cannot be built again", hint=hint, **facts
        ) from None

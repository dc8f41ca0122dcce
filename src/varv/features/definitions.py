"""Definitions of single features, as ledgers keep them: compared by value, and built again when their file is
gone.

A feature that no declaration names any more is still computed while a version in force reads it; what it is
has to outlive the file that declared it. One with an expression that holds a function of Python is not kept
(`kernel.expressions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec
import polars as pl

from varv.data.dataset import Dataset
from varv.features.feature_view import FeatureView
from varv.features.kinds import Kind
from varv.features.model import Derived, Feature, FeatureSet
from varv.features.statistics import Share
from varv.features.statistics.asked import name_of
from varv.features.window_kinds import Sessions, Sliding, Tumbling, WindowKind, Windows
from varv.kernel.clock import Duration, spoken
from varv.kernel.codec import Digest, digest_of
from varv.kernel.errors import FailedPrecondition
from varv.kernel.expressions import read_expression, written_expression
from varv.kernel.ids import DatasetName

KERNEL = 3
"""Counts how values are computed: 2 since a row as old as its ttl still counts, 3 since keys decide between
rows of one time by `features.ties`, and no request sees an outcome of a row of its own instant.
"""


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
    of: str = ""
    """The view that `view` is a use of; nothing where it is none."""
    asked: tuple[str, ...] = ()
    """Of a use, the columns of the request that name the entity, in its order."""
    reads: tuple[str, ...] = ()
    """The features of views that an expression looks at."""
    statistic: str = ""
    """Of a window, as names have it; empty for the last row known."""
    share: Share | None = None
    """Whose statistic it is, of a share."""
    window: str = ""
    """The window's length as it is declared, which is part of the name."""
    span: Duration | None = None
    """Its length; of tumbling windows that of an interval, of sessions the gap."""
    zone: str = ""
    """Of the calendar of tumbling windows; others have none."""
    offset: Duration | None = None
    """Of tumbling windows."""
    longest: Duration | None = None
    """Of sessions."""
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
        whose = f" by {', '.join(self.asked or self.entity)}" if self.entity else ""
        if self.span is not None:
            what = self.statistic if self.share is None else str(self.share)
            return f"{what} of {self.dataset}.{self.column} over {self._stretch(self.span)}{whose}"
        old = f", at most {spoken(self.ttl)} old" if self.ttl is not None else ""
        return f"last {self.dataset}.{self.column}{whose}{old}"

    def kind_of_windows(self) -> WindowKind:
        """Return the window, as the only one of its kind."""
        length = Duration(self.span or 0)
        if self.zone:
            return Tumbling(self.window, length, Duration(self.offset or 0), self.zone)
        if self.longest is not None:
            return Sessions(self.window, length, self.longest)
        return Sliding(MappingProxyType({self.window: length}))

    def _stretch(self, span: Duration) -> str:
        if self.zone:
            begins = f" from {spoken(self.offset)}" if self.offset else ""
            return f"the last whole {spoken(span)}{begins} in {self.zone}"
        return spoken(span) if self.longest is None else f"a session with gaps of at most {spoken(span)}"


def definitions_of(features: FeatureSet) -> tuple[FeatureDefinition, ...]:
    """Return the definition of every feature, in the declared order."""
    return tuple(found for feature in features.declared for found in _defined(feature, features))


def digest_of_view(view: FeatureView) -> Digest:
    """Return what identifies the content of a view: its definition, and how this version of varv computes it.

    Values under one digest are the same wherever they are computed; a view that looks at the same under
    another name has another digest, since names are part of what it gives.
    """
    found = [msgspec.to_builtins(one) for one in _of_view(view)]
    for one in found if view.of is view else ():
        # Views had digests before they had uses.
        del one["of"], one["asked"]
    return digest_of([KERNEL, found])


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
            place = (one.view, one.dataset, one.entity, one.ttl, one.of, one.asked)
            is_sliding = one.span is not None and not one.zone and one.longest is None
            alone = () if one.span is None or is_sliding else (one.window,)
            windowed = (one.column, *alone) if one.span is not None else ()
            views.setdefault((*place, *windowed), []).append(one)
        else:
            found.append(one.column if one.column else Derived(one.name, _expression(one)))
    return (*found, *(view for several in views.values() for view in _views(several, datasets)))


def _defined(feature: Feature, features: FeatureSet) -> list[FeatureDefinition]:
    kinds = features.kinds
    if isinstance(feature, str):
        return [FeatureDefinition(name=feature, kind=kinds[feature], column=feature)]
    if isinstance(feature, Derived):
        return [
            FeatureDefinition(
                name=feature.name,
                kind=kinds[feature.name],
                expression=str(feature.expr),
                written=written_expression(feature.expr),
                reads=tuple(features.read_of_views(feature).values()),
            )
        ]
    return _of_view(feature)


def _of_view(view: FeatureView) -> list[FeatureDefinition]:
    found = _kept_of(view)
    if view.of is view:
        return found
    return [msgspec.structs.replace(one, of=view.of.name, asked=view.asked) for one in found]


def _kept_of(view: FeatureView) -> list[FeatureDefinition]:
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
    kind = view.windows.kind
    if isinstance(kind, Tumbling):
        spans = {kind.labels[0]: kind.every}
    else:
        spans = {kind.labels[0]: kind.gap} if isinstance(kind, Sessions) else dict(kind.spans)
    return [
        FeatureDefinition(
            name=f"{view.name}.{name}",
            kind=kinds[f"{view.name}.{name}"],
            column=view.windows.column,
            statistic=name_of(statistic) if isinstance(statistic, Share) else statistic,
            share=statistic if isinstance(statistic, Share) else None,
            window=label if isinstance(kind, Sliding) else kind.text,
            span=spans[label],
            zone=kind.zone if isinstance(kind, Tumbling) else "",
            offset=kind.offset if isinstance(kind, Tumbling) else None,
            longest=kind.longest if isinstance(kind, Sessions) else None,
            **whose,
        )
        for name, label, statistic in view.windows.features()
    ]


def _views(several: list[FeatureDefinition], datasets: Mapping[DatasetName, Dataset]) -> list[FeatureView]:
    """Return the view that has these features; of windows of which some are not wanted, one a statistic."""
    whole = _view(several, datasets)
    if whole.feature_names() == tuple(one.name for one in several):
        return [whole]
    by_statistic: dict[object, list[FeatureDefinition]] = {}
    for one in several:
        by_statistic.setdefault(one.share or one.statistic, []).append(one)
    return [_view(those, datasets) for those in by_statistic.values()]


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
        kind = first.kind_of_windows()
        if isinstance(kind, Sliding):
            spans = {one.window: one.span for one in several if one.span is not None}
            kind = Sliding(MappingProxyType(spans))
        statistics = tuple(dict.fromkeys(one.share or one.statistic for one in several))
        wanted = Windows(first.column, statistics, kind)
    view = FeatureView(
        first.of or first.view,
        source=source,
        entity=first.entity or None,
        features=wanted,
        ttl=None if first.ttl is None else spoken(first.ttl),
    )
    view.is_kept = True
    return (
        view.used_as(first.view, asked_by=dict(zip(first.entity, first.asked, strict=True)))
        if first.of
        else view
    )


def _expression(definition: FeatureDefinition) -> pl.Expr:
    try:
        return read_expression(definition.written)
    except ValueError as error:
        hint = f"declare {definition.name} again, or bring a version in force that does without"
        facts = {"why": str(error)} if str(error) else {}
        raise FailedPrecondition(
            "feature", definition.name, "cannot be built again", hint=hint, **facts
        ) from None

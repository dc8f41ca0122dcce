"""A registry of Feast, read as data: its file, the rows of its database, or its dump in JSON.

Nothing of it is run, imported or unpickled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from varv.features.moving.messages import MOST_OBJECTS, decoded
from varv.features.moving.model import (
    Aggregation,
    FeastField,
    FeastRegistry,
    FeastService,
    FeastSource,
    FeastView,
    OnDemandView,
    Projection,
)
from varv.kernel.clock import SECOND, Duration
from varv.kernel.errors import InvalidInput
from varv.kernel.protobuf_reading import fields

LARGEST_BYTES = 256 << 20
KINDS: Mapping[int, str] = {
    1: "entity",
    6: "view",
    7: "service",
    8: "on-demand view",
    12: "source",
    14: "stream view",
}
"""The kinds of objects that are read, by their field of the registry."""
_OTHERS = {
    2: "feature tables",
    9: "request views",
    11: "saved datasets",
    13: "validation references",
    19: "label views",
}
_SILENT = frozenset({3, 4, 5, 10, 15, 16, 17, 18})
"""Versions, times, infrastructure, projects, permissions and history."""
_IN_DUMP = {
    "entities": "entity",
    "featureViews": "view",
    "featureServices": "service",
    "onDemandFeatureViews": "on-demand view",
    "dataSources": "source",
    "streamFeatureViews": "stream view",
}
_NO_ENTITY = "__dummy"
_Said = dict[str, Any]


class Item(NamedTuple):
    """An object of a registry: the field that it is in, and its message."""

    field: int
    message: bytes


def items_of(data: bytes) -> list[Item]:
    """Return the objects of a registry's file.

    Raises
    ------
    InvalidInput
        If it is none, or is too large.
    """
    if len(data) > LARGEST_BYTES:
        raise InvalidInput("registry", "", "is too large", size_bytes=len(data), limit=LARGEST_BYTES)
    found: list[Item] = []
    for tag, value in fields(data):
        if isinstance(value, bytes):
            found.append(Item(tag, value))
        if len(found) > MOST_OBJECTS:
            raise InvalidInput("registry", "", "has too many objects", limit=MOST_OBJECTS)
    return found


def registry_of(items: Iterable[Item], project: str) -> FeastRegistry:
    """Return what a registry says of one project.

    Raises
    ------
    InvalidInput
        If an object of it cannot be read.
    """
    unknown: Counter[str] = Counter()
    others: Counter[str] = Counter()
    said: list[tuple[str, _Said]] = []
    for item in items:
        kind = KINDS.get(item.field)
        if kind is not None:
            said.append((kind, decoded(item.message, kind, unknown)))
        elif item.field in _OTHERS:
            others[_OTHERS[item.field]] += 1
        elif item.field not in _SILENT:
            unknown[f"registry {item.field}"] += 1
    return _registry(said, project, unknown, others)


def registry_in_dump(data: bytes, project: str) -> FeastRegistry:
    """Return what ``feast registry-dump`` wrote of one project.

    Raises
    ------
    InvalidInput
        If it is no such document.
    """
    start = data.find(b"{")
    try:
        document = msgspec.json.decode(data[max(start, 0) :], type=dict[str, Any])
        said = [(kind, one) for name, kind in _IN_DUMP.items() for one in document.get(name, ())]
        others = Counter({"saved datasets": len(document.get("savedDatasets", ()))})
        return _registry(said, project, Counter(), +others)
    except (msgspec.MsgspecError, TypeError, AttributeError, ValueError, RecursionError) as error:
        hint = "give what feast registry-dump writes"
        raise InvalidInput("registry", "", "is no dump of Feast", why=str(error)[:100], hint=hint) from None


def project_of(item: Item) -> str:
    """Return the project that an object belongs to; nothing if it does not say."""
    said = decoded(item.message, KINDS[item.field], Counter())
    return _spec(said).get("project", "")


def _registry(
    said: list[tuple[str, _Said]], project: str, unknown: Counter[str], others: Counter[str]
) -> FeastRegistry:
    specs: dict[str, list[_Said]] = {}
    for kind, one in said:
        spec = one if kind == "source" else _spec(one)
        if spec.get("project", project) in (project, ""):
            specs.setdefault(kind, []).append(spec)
    join_keys = {
        one.get("name", ""): one.get("joinKey") or one.get("name", "") for one in specs.get("entity", ())
    }
    views = [_view(one, join_keys) for kind in ("view", "stream view") for one in specs.get(kind, ())]
    return FeastRegistry(
        project=project,
        views=tuple(sorted(views, key=lambda one: one.name)),
        on_demand=tuple(map(_on_demand, _by_name(specs.get("on-demand view", ())))),
        services=tuple(map(_service, _by_name(specs.get("service", ())))),
        sources=tuple(_source(one) for one in _by_name(specs.get("source", ()))),
        n_unknown=unknown.total(),
        others=dict(others),
    )


def _spec(said: _Said) -> _Said:
    return said.get("spec") or {}


def _by_name(specs: Iterable[_Said]) -> list[_Said]:
    return sorted(specs, key=lambda one: one.get("name", ""))


def _view(spec: _Said, join_keys: Mapping[str, str]) -> FeastView:
    entities = tuple(one for one in spec.get("entities", ()) if one != _NO_ENTITY)
    stream = spec.get("streamSource")
    batch = spec.get("batchSource") or (stream or {}).get("batchSource")
    keys = tuple(dict.fromkeys(join_keys.get(one, one) for one in entities))
    features = dict.fromkeys(_fields(spec.get("features", ())))
    return FeastView(
        name=spec.get("name", ""),
        entities=entities,
        join_keys=keys,
        features=tuple(one for one in features if one.name not in keys),
        ttl=_span(spec.get("ttl")) or None,
        source=_source(batch) if batch else None,
        stream=_source(stream) if stream else None,
        aggregations=tuple(map(_aggregation, spec.get("aggregations", ()))),
        is_computed=bool(
            spec.get("featureTransformation") or spec.get("userDefinedFunction") or spec.get("sourceViews")
        ),
        is_disabled=bool(spec.get("disabled")),
    )


def _source(said: _Said) -> FeastSource:
    file = said.get("fileOptions") or {}
    batch = said.get("batchSource")
    time, created = said.get("timestampField", ""), said.get("createdTimestampColumn", "")
    return FeastSource(
        name=said.get("name", ""),
        kind=said.get("type", "INVALID"),
        time=time,
        created="" if created == time else created,
        mapping=dict(said.get("fieldMapping") or {}),
        place=file.get("uri") or next(_places(said), ""),
        is_delta="deltaFormat" in (file.get("fileFormat") or {}),
        is_custom=not said.get("dataSourceClassType", "feast.").startswith("feast."),
        request=_fields((said.get("requestDataOptions") or {}).get("schema", ())),
        batch=_source(batch) if batch else None,
    )


def _places(said: _Said) -> Iterator[str]:
    for name, options in said.items():
        if name.endswith("Options") and isinstance(options, dict):
            place = options.get("table") or options.get("query") or options.get("topic")
            if place:
                yield str(place)


def _on_demand(spec: _Said) -> OnDemandView:
    views: list[Projection] = []
    request: list[FeastField] = []
    for source in (spec.get("sources") or {}).values():
        if "requestDataSource" in source:
            request += _source(source["requestDataSource"]).request
        elif "featureViewProjection" in source:
            views.append(_projection(source["featureViewProjection"]))
        elif "featureView" in source:
            view = _view(_spec(source["featureView"]), {})
            columns = tuple(one.name for one in view.features)
            views.append(Projection(view=view.name, alias="", columns=columns))
    transformation = (spec.get("featureTransformation") or {}).get("userDefinedFunction") or {}
    function = spec.get("userDefinedFunction") or {}
    return OnDemandView(
        name=spec.get("name", ""),
        features=_fields(spec.get("features", ())),
        views=tuple(views),
        request=tuple(request),
        mode=spec.get("mode") or "pandas",
        text=transformation.get("bodyText") or function.get("bodyText") or "",
        has_aggregations=bool(spec.get("aggregations")),
    )


def _projection(said: _Said) -> Projection:
    return Projection(
        view=said.get("featureViewName", ""),
        alias=said.get("featureViewNameAlias", ""),
        columns=tuple(one.name for one in _fields(said.get("featureColumns", ()))),
        join_key_map=dict(said.get("joinKeyMap") or {}),
    )


def _service(spec: _Said) -> FeastService:
    return FeastService(
        name=spec.get("name", ""), projections=tuple(map(_projection, spec.get("features", ())))
    )


def _aggregation(said: _Said) -> Aggregation:
    return Aggregation(
        column=said.get("column", ""),
        function=said.get("function", ""),
        window=_span(said.get("timeWindow")) or None,
        slide=_span(said.get("slideInterval")) or None,
        name=said.get("name", ""),
    )


def _fields(said: Iterable[_Said]) -> tuple[FeastField, ...]:
    return tuple(FeastField(one.get("name", ""), one.get("valueType", "INVALID")) for one in said)


def _span(said: object) -> Duration | None:
    """Return a duration: microseconds of a message, ``"7200.500s"`` in JSON."""
    if said is None:
        return None
    if isinstance(said, int):
        return Duration(said)
    return Duration(round(float(str(said).removesuffix("s")) * SECOND))

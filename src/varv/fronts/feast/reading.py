"""``POST /get-online-features``: features of entities in Feast's shape, a column each.

A value that is too old is null with the status OUTSIDE_MAX_AGE, as the ttl applies at every read. Columns
that the dataset has as whole numbers or truths leave as such, all other numbers in single precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from varv.features.feature_view import FeatureView
from varv.features.kinds import exported
from varv.features.online.reading import OnlineReader, Status, ViewRead
from varv.features.online.verbs import MOST_READ, chosen_features, typed_entities
from varv.fronts.problems import status_of
from varv.kernel.clock import Instant, iso
from varv.kernel.errors import InvalidInput, NotFound, VarvError

EPOCH = "1970-01-01T00:00:00Z"
_CLASSES = {
    "not_found": "FeatureViewNotFoundException",
    "permission_denied": "FeastPermissionError",
    "unauthenticated": "FeastPermissionError",
}
_WORDS = {one: one.name for one in Status}
_ODD = {math.inf: "Infinity", -math.inf: "-Infinity"}


class OnlineRequest(msgspec.Struct, frozen=True):
    """What Feast's clients send."""

    entities: dict[str, list[Any]] | list[dict[str, Any]]
    features: list[str] = []
    feature_service: str | None = None
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False


Services = Callable[[str], Sequence[FeatureView]]
"""Returns the views of a model by its name: a model is what Feast calls a feature service."""
May = Callable[[Sequence[str]], None]
"""Refuses views that a caller may not read."""


def read_request(body: bytes) -> OnlineRequest:
    """Return the request that a body holds.

    Raises
    ------
    InvalidInput
        If it holds none.
    """
    try:
        return msgspec.json.decode(body, type=OnlineRequest)
    except (msgspec.MsgspecError, RecursionError) as error:
        hint = 'send {"entities": {"id": [1]}, "features": ["view:feature"]}'
        raise InvalidInput("request", "", "is not valid", why=str(error)[:200], hint=hint) from None


def answer(
    reader: OnlineReader, services: Services, request: OnlineRequest, now: Instant, may: May = lambda _: None
) -> bytes:
    """Return the features that a request asks for, as JSON.

    Raises
    ------
    NotFound
        If a view, a feature or a model does not exist, or a view is not online.
    InvalidInput
        If entities are not columns of one length, or have values of another type.
    """
    entities = _columns_of(request.entities)
    asked = list(request.features)
    if request.feature_service:
        asked += [view.name for view in services(request.feature_service)]
    views, names = chosen_features(reader, asked)
    may(views)
    found = reader.read(views, typed_entities(reader, views, entities), now)
    columns = {name: column for one in found for name, column in _columns(one).items() if name in set(names)}
    n = max(map(len, entities.values()))
    results = [_given(values, n) for values in entities.values()]
    results += [columns[name] for name in names]
    shown = names if request.full_feature_names else _short(names)
    metadata: dict[str, Any] = {"feature_names": [*entities, *shown]}
    if request.include_feature_view_version_metadata:
        metadata["feature_view_metadata"] = [
            {"name": one.view.name, "version": one.note.upto} for one in found
        ]
    return msgspec.json.encode({"metadata": metadata, "results": results})


def refused(error: VarvError) -> tuple[bytes, int]:
    """Return an error as Feast's clients read it, and its status: a JSON text that holds JSON."""
    name = _CLASSES.get(error.code, "FeastError")
    said = {"module": "feast.errors", "class": name, "message": str(error)}
    return msgspec.json.encode(msgspec.json.encode(said).decode()), status_of(error)


def _columns_of(entities: Mapping[str, list[Any]] | list[dict[str, Any]]) -> dict[str, list[Any]]:
    if isinstance(entities, list):
        names = list(entities[0]) if entities else []
        entities = {name: [row.get(name) for row in entities] for name in names}
    lengths = {len(values) for values in entities.values()}
    if len(lengths) != 1 or not 0 < max(lengths) <= MOST_READ:
        hint = f"give columns of one length, {MOST_READ} entities at most"
        raise InvalidInput("entities", "", "are not columns of one length", hint=hint)
    return dict(entities)


def _given(values: list[Any], n: int) -> dict[str, Any]:
    return {"values": values, "statuses": ["PRESENT"] * n, "event_timestamps": [EPOCH] * n}


def _columns(read: ViewRead) -> dict[str, dict[str, Any]]:
    times = [EPOCH if one.at is None else _when(one.at) for one in read.entities]
    found = {}
    for place, (name, convert) in enumerate(
        zip(read.view.feature_names(), _converters(read.view), strict=True)
    ):
        values: list[Any] = []
        statuses: list[str] = []
        for one in read.entities:
            value = one.values[place]
            values.append(None if value is None else convert(value))
            statuses.append(_WORDS[one.missing] if value is None else "PRESENT")
        found[exported(name)] = {"values": values, "statuses": statuses, "event_timestamps": times}
    return found


def _converters(view: FeatureView) -> list[Callable[[Any], Any]]:
    if view.windows is not None:
        return [_plain] * len(view.feature_names())
    types = view.source.types()
    return [
        int if types[one].is_integer() else bool if str(types[one]) == "Boolean" else _plain
        for one in view.columns
    ]


def _plain(value: Any) -> Any:
    return _ODD.get(value, value)


@lru_cache(maxsize=4096)
def _when(at: int) -> str:
    return iso(at)


def _short(names: Sequence[str]) -> list[str]:
    short = [name.partition("__")[2] for name in names]
    twice = [one for one in short if short.count(one) > 1]
    if twice:
        hint = "set full_feature_names"
        raise InvalidInput("feature", twice[0], "is asked for of several views", hint=hint)
    return short


def services_of(models: Mapping[str, Sequence[FeatureView]]) -> Services:
    """Return what finds the views of a model."""

    def views_of(name: str) -> Sequence[FeatureView]:
        found = models.get(name)
        if found is None:
            hint = f"the models are {', '.join(models) or 'none'}"
            raise NotFound("model", name[:80], "is no feature service", hint=hint)
        return found

    return views_of

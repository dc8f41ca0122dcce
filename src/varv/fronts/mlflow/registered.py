"""Registered models with their tags and aliases, as the protocol has them."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from varv.fronts.mlflow.experiments import Tag, given
from varv.fronts.mlflow.routes import Route, Written, pairs
from varv.fronts.mlflow.versions import document as version_document
from varv.home.tracking import registry_search
from varv.home.tracking.desk import TrackingDesk
from varv.home.tracking.versions import version_number
from varv.registry import reading
from varv.registry.model import STAGES
from varv.registry.rules import stage_named


class Create(msgspec.Struct):
    """Registers a name."""

    name: str = ""
    tags: list[Tag] = []
    description: str | None = None


class ByName(msgspec.Struct):
    """Names a registered model."""

    name: str = ""


class Rename(msgspec.Struct):
    """Gives a registered model another name."""

    name: str = ""
    new_name: str = ""


class Update(msgspec.Struct):
    """Gives a registered model another description."""

    name: str = ""
    description: str | None = None


class SetTag(msgspec.Struct):
    """Sets a tag of a registered model."""

    name: str = ""
    key: str = ""
    value: str | None = ""


class DeleteTag(msgspec.Struct):
    """Takes a tag from a registered model."""

    name: str = ""
    key: str = ""


class SetAlias(msgspec.Struct):
    """Points an alias at a version."""

    name: str = ""
    alias: str = ""
    version: str = ""


class ByAlias(msgspec.Struct):
    """Names an alias of a registered model."""

    name: str = ""
    alias: str = ""


class Latest(msgspec.Struct):
    """Asks for the latest version in each of some stages; of all, if none is named."""

    name: str = ""
    stages: list[str] = []


class Search(msgspec.Struct):
    """Asks for registered models."""

    filter: str = ""
    max_results: int | None = None
    order_by: list[str] = []
    page_token: str = ""


def document(one: reading.RegisteredModel) -> dict[str, Any]:
    """Return a registered model as the protocol has it."""
    told: dict[str, Any] = {
        "name": one.name,
        "creation_timestamp": one.created_ms,
        "last_updated_timestamp": one.updated_ms,
    }
    if one.description:
        told["description"] = one.description
    if one.latest:
        told["latest_versions"] = [version_document(version, aliases=False) for version in one.latest]
    if one.tags:
        told["tags"] = pairs(one.tags)
    if one.aliases:
        told["aliases"] = [
            {"alias": alias, "version": str(version)} for alias, version in one.aliases.items()
        ]
    return told


def tags_of(tags: list[Tag]) -> dict[str, str]:
    """Return tags by name; the last one of a name holds."""
    return {tag.key: tag.text for tag in tags}


def _told(db: sqlite3.Connection, name: str) -> dict[str, Any]:
    return {"registered_model": document(reading.registered_model(db, name))}


def _create(desk: TrackingDesk, asked: Create) -> Written:
    given(asked, "name")
    write = desk.models.create(asked.name, tags=tags_of(asked.tags), description=asked.description or "")
    return Written(write, lambda db, done: _told(db, asked.name))


def _get(desk: TrackingDesk, asked: ByName) -> dict[str, Any]:
    given(asked, "name")
    with desk.recorder.reading() as db:
        return _told(db, asked.name)


def _rename(desk: TrackingDesk, asked: Rename) -> Written:
    given(asked, "name", "new_name")
    return Written(desk.models.rename(asked.name, asked.new_name), lambda db, done: _told(db, asked.new_name))


def _update(desk: TrackingDesk, asked: Update) -> Written:
    given(asked, "name")
    return Written(
        desk.models.change(asked.name, description=asked.description or ""),
        lambda db, done: _told(db, asked.name),
    )


def _delete(desk: TrackingDesk, asked: ByName) -> Written:
    given(asked, "name")
    return Written(desk.models.delete(asked.name))


def _set_tag(desk: TrackingDesk, asked: SetTag) -> Written:
    given(asked, "name", "key")
    return Written(desk.models.change(asked.name, tags={asked.key: asked.value or ""}))


def _delete_tag(desk: TrackingDesk, asked: DeleteTag) -> Written:
    given(asked, "name", "key")
    return Written(desk.models.change(asked.name, without=asked.key))


def _set_alias(desk: TrackingDesk, asked: SetAlias) -> Written:
    given(asked, "name", "alias", "version")
    write = desk.models.set_alias(asked.name, asked.alias, version_number(asked.version))
    return Written(write)


def _delete_alias(desk: TrackingDesk, asked: ByAlias) -> Written:
    given(asked, "name", "alias")
    return Written(desk.models.drop_alias(asked.name, asked.alias))


def _by_alias(desk: TrackingDesk, asked: ByAlias) -> dict[str, Any]:
    given(asked, "name", "alias")
    with desk.recorder.reading() as db:
        found = reading.version_by_alias(db, asked.name, asked.alias)
    return {"model_version": version_document(found)}


def _latest(desk: TrackingDesk, asked: Latest) -> dict[str, Any]:
    given(asked, "name")
    stages = [stage_named(stage) for stage in asked.stages] or STAGES
    with desk.recorder.reading() as db:
        found = reading.latest_versions(db, asked.name, stages)
    return {"model_versions": [version_document(one, aliases=False) for one in found]} if found else {}


def _search(desk: TrackingDesk, asked: Search) -> dict[str, Any]:
    with desk.recorder.reading() as db:
        page = registry_search.models(
            db, asked.filter, asked.order_by, most=asked.max_results, token=asked.page_token
        )
        found = reading.registered_models(db, page.numbers)
    told: dict[str, Any] = {"registered_models": [document(one) for one in found]} if found else {}
    return told | ({"next_page_token": page.token} if page.token else {})


routes = (
    Route("POST", "registered-models/create", Create, _create),
    Route("GET", "registered-models/get", ByName, _get),
    Route("POST", "registered-models/rename", Rename, _rename),
    Route("PATCH", "registered-models/update", Update, _update),
    Route("DELETE", "registered-models/delete", ByName, _delete),
    Route("POST", "registered-models/set-tag", SetTag, _set_tag),
    Route("DELETE", "registered-models/delete-tag", DeleteTag, _delete_tag),
    Route("POST", "registered-models/alias", SetAlias, _set_alias),
    Route("DELETE", "registered-models/alias", ByAlias, _delete_alias),
    Route("GET", "registered-models/alias", ByAlias, _by_alias),
    Route("POST", "registered-models/get-latest-versions", Latest, _latest, reads=True),
    Route("GET", "registered-models/get-latest-versions", Latest, _latest),
    Route("GET", "registered-models/search", Search, _search, slow=True),
)

"""Versions of registered models, as the protocol has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope, Send

from varv.fronts.mlflow.experiments import Tag, given
from varv.fronts.mlflow.routes import Route, Written, pairs
from varv.home.tracking import registry_search
from varv.home.tracking.desk import TrackingDesk
from varv.home.tracking.versions import create_version, location, version_number
from varv.kernel.errors import InvalidInput
from varv.registry import reading
from varv.runs.artifacts import require_path


class Create(msgspec.Struct):
    """Makes a version."""

    name: str = ""
    source: str = ""
    run_id: str | None = None
    tags: list[Tag] = []
    run_link: str | None = None
    description: str | None = None
    model_id: str | None = None


class ByVersion(msgspec.Struct):
    """Names a version."""

    name: str = ""
    version: str = ""

    @property
    def number(self) -> int:
        """The version's number."""
        return version_number(self.version)


class Update(ByVersion):
    """Gives a version another description."""

    description: str | None = None


class Transition(ByVersion):
    """Gives a version a stage."""

    stage: str = ""
    archive_existing_versions: bool | None = None


class SetTag(ByVersion):
    """Sets a tag of a version."""

    key: str = ""
    value: str | None = ""


class DeleteTag(ByVersion):
    """Takes a tag from a version."""

    key: str = ""


class Search(msgspec.Struct):
    """Asks for versions."""

    filter: str = ""
    max_results: int | None = None
    order_by: list[str] = []
    page_token: str = ""


def document(one: reading.ModelVersion, *, aliases: bool = True) -> dict[str, Any]:
    """Return a version as the protocol has it, which within a registered model leaves its aliases out."""
    told: dict[str, Any] = {
        "name": one.model,
        "version": str(one.number),
        "creation_timestamp": one.created_ms,
        "last_updated_timestamp": one.updated_ms,
        "current_stage": one.stage,
        "description": one.description,
        "source": one.source,
        "run_id": one.run,
        "status": "READY",
        "run_link": one.run_link,
    }
    if one.tags:
        told["tags"] = pairs(one.tags)
    if one.aliases and aliases:
        told["aliases"] = one.aliases
    return told


def _told(db: sqlite3.Connection, name: str, number: int) -> dict[str, Any]:
    return {"model_version": document(reading.version(db, name, number))}


def _create(desk: TrackingDesk, asked: Create) -> Written:
    given(asked, "name", "source")
    write = create_version(
        desk.models,
        desk.logged,
        asked.name,
        asked.source,
        run=asked.run_id or "",
        logged_model=asked.model_id or "",
        run_link=asked.run_link or "",
        tags={tag.key: tag.text for tag in asked.tags},
        description=asked.description or "",
    )
    return Written(write, known=lambda made: {"model_version": document(made)})


def _get(desk: TrackingDesk, asked: ByVersion) -> dict[str, Any]:
    given(asked, "name", "version")
    with desk.recorder.reading() as db:
        return _told(db, asked.name, asked.number)


def _update(desk: TrackingDesk, asked: Update) -> Written:
    given(asked, "name", "version")
    write = desk.models.change_version(asked.name, asked.number, description=asked.description or "")
    return Written(write, lambda db, done: _told(db, asked.name, asked.number))


def _delete(desk: TrackingDesk, asked: ByVersion) -> Written:
    given(asked, "name", "version")
    return Written(desk.models.delete_version(asked.name, asked.number))


def _transition(desk: TrackingDesk, asked: Transition) -> Written:
    given(asked, "name", "version", "stage")
    write = desk.models.move_stage(
        asked.name, asked.number, asked.stage, archive_existing=bool(asked.archive_existing_versions)
    )
    return Written(write, lambda db, done: _told(db, asked.name, asked.number))


def _set_tag(desk: TrackingDesk, asked: SetTag) -> Written:
    given(asked, "name", "version", "key")
    write = desk.models.change_version(asked.name, asked.number, tags={asked.key: asked.value or ""})
    return Written(write)


def _delete_tag(desk: TrackingDesk, asked: DeleteTag) -> Written:
    given(asked, "name", "version", "key")
    return Written(desk.models.change_version(asked.name, asked.number, without=asked.key))


def _download_uri(desk: TrackingDesk, asked: ByVersion) -> dict[str, Any]:
    given(asked, "name", "version")
    with desk.recorder.reading() as db:
        found = reading.version(db, asked.name, asked.number)
    if not found.storage:
        hint = "a prompt is in the tags of its version"
        raise InvalidInput("model version", f"{asked.name} v{asked.number}", "has no files", hint=hint)
    return {"artifact_uri": found.storage}


def _search(desk: TrackingDesk, asked: Search) -> dict[str, Any]:
    with desk.recorder.reading() as db:
        page = registry_search.versions(
            db, asked.filter, asked.order_by, most=asked.max_results, token=asked.page_token
        )
        found = reading.versions(db, page.numbers)
    told: dict[str, Any] = {"model_versions": [document(one) for one in found]} if found else {}
    return told | ({"next_page_token": page.token} if page.token else {})


class VersionFiles:
    """Answers a page that asks for a file of a version by its path below what the version is stored as.

    Parameters
    ----------
    send
        Sends the file under a whole path.
    """

    def __init__(self, desk: TrackingDesk, send: Callable[[str, Send], Awaitable[None]]) -> None:
        self._desk, self._send = desk, send

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        name, number, path = (asked.get(field, [""])[0] for field in ("name", "version", "path"))
        require_path(path)
        with self._desk.recorder.reading() as db:
            found = reading.version(db, name, version_number(number))
            place = location(db, found.storage)
        await self._send(f"{place}/{path}", send)


routes = (
    Route("POST", "model-versions/create", Create, _create),
    Route("GET", "model-versions/get", ByVersion, _get),
    Route("PATCH", "model-versions/update", Update, _update),
    Route("DELETE", "model-versions/delete", ByVersion, _delete),
    Route("POST", "model-versions/transition-stage", Transition, _transition),
    Route("POST", "model-versions/set-tag", SetTag, _set_tag),
    Route("DELETE", "model-versions/delete-tag", DeleteTag, _delete_tag),
    Route("GET", "model-versions/get-download-uri", ByVersion, _download_uri),
    Route("GET", "model-versions/search", Search, _search, slow=True),
)

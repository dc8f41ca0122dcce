"""What an event of the registry is in the words that webhooks are told. Nothing here calls anybody.

Source: MLflow's documentation of webhooks, for names and payloads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple

from varv.kernel.blobs import Blobs
from varv.kernel.codec import Event
from varv.kernel.errors import NotFound
from varv.kernel.texts import Text, whole
from varv.registry import AliasMoved, VersionRegistered
from varv.registry.model import ModelChanged, ModelCreated, VersionChanged, VersionLogged
from varv.registry.rules import PROMPT, is_prompt
from varv.registry.tables import model_no

_TEXT = "mlflow.prompt.text"
_INTERNAL = (PROMPT, _TEXT, "_mlflow_prompt_type")
"""Tags of prompts that say what they are, and are told otherwise."""


class Told(NamedTuple):
    """What happened, as ``entity.action``, and what there is to say of it."""

    event: str
    data: Mapping[str, Any]


def told_of(db: sqlite3.Connection, blobs: Blobs, event: Event) -> list[Told]:
    """Return what there is to be told of an event; nothing of most."""
    match event:
        case ModelCreated():
            return [_created(blobs, event)]
        case VersionLogged():
            return [_logged(blobs, event)]
        case VersionRegistered():
            data = _version(event.model, event.version, f"varv:/{event.package}", "", {}, "")
            return [Told("model_version.created", data)]
        case ModelChanged() if _is_prompt(db, event.model):
            return _tags(blobs, "prompt_tag", {"name": event.model}, event.tags, event.without)
        case VersionChanged():
            entity = "prompt_version_tag" if _is_prompt(db, event.model) else "model_version_tag"
            named = {"name": event.model, "version": str(event.version)}
            return _tags(blobs, entity, named, event.tags, event.without)
        case AliasMoved():
            entity = "prompt_alias" if _is_prompt(db, event.model) else "model_version_alias"
            named = {"name": event.model, "alias": event.alias}
            if event.version is None:
                return [Told(f"{entity}.deleted", named)]
            return [Told(f"{entity}.created", named | {"version": str(event.version)})]
        case _:
            return []


def example(event: str) -> Mapping[str, Any]:
    """Return what a webhook is told when it is tried."""
    entity, _, action = event.partition(".")
    named = {"name": "example"}
    version = {"version": "1"}
    tag = {"key": "example_key"} | ({"value": "example_value"} if action == "set" else {})
    match entity:
        case "registered_model" | "prompt":
            return named | {"tags": {"example_key": "example_value"}, "description": "An example"}
        case "model_version":
            return _version("example", 1, "models:/example/1", "", {"example_key": "example_value"}, "")
        case "prompt_version":
            tags = {"example_key": "example_value"}
            return named | version | {"template": "Hello {{name}}!", "tags": tags, "description": None}
        case "prompt_tag":
            return named | tag
        case "model_version_tag" | "prompt_version_tag":
            return named | version | tag
        case _:
            return named | {"alias": "example_alias"} | (version if action == "created" else {})


def _created(blobs: Blobs, event: ModelCreated) -> Told:
    tags = _texts(blobs, event.tags)
    kind = "prompt" if is_prompt(tags) else "registered_model"
    data = {"name": event.model, "tags": _plain(tags), "description": _text(blobs, event.description) or None}
    return Told(f"{kind}.created", data)


def _logged(blobs: Blobs, event: VersionLogged) -> Told:
    tags, description = _texts(blobs, event.tags), _text(blobs, event.description)
    if not is_prompt(tags):
        data = _version(event.model, event.version, event.source, event.run, tags, description)
        return Told("model_version.created", data)
    data = {
        "name": event.model,
        "version": str(event.version),
        "template": tags.get(_TEXT),
        "tags": _plain(tags),
        "description": description or None,
    }
    return Told("prompt_version.created", data)


def _version(
    model: str, version: int, source: str, run: str, tags: Mapping[str, str], description: str
) -> Mapping[str, Any]:
    return {
        "name": model,
        "version": str(version),
        "source": source,
        "run_id": run or None,
        "tags": tags,
        "description": description or None,
    }


def _tags(
    blobs: Blobs, entity: str, named: Mapping[str, str], tags: Mapping[str, Text], without: str
) -> list[Told]:
    told = [
        Told(f"{entity}.set", {**named, "key": name, "value": value})
        for name, value in _texts(blobs, tags).items()
    ]
    return [*told, Told(f"{entity}.deleted", {**named, "key": without})] if without else told


def _is_prompt(db: sqlite3.Connection, model: str) -> bool:
    query = "SELECT value FROM registered_tag WHERE model = ? AND name = ?"
    row = db.execute(query, (model_no(db, model), PROMPT)).fetchone()
    return row is not None and is_prompt({PROMPT: row[0]})


def _plain(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if name not in _INTERNAL}


def _texts(blobs: Blobs, values: Mapping[str, Text]) -> dict[str, str]:
    return {name: _text(blobs, value) for name, value in values.items()}


def _text(blobs: Blobs, value: Text) -> str:
    try:
        return whole(blobs, value)
    except NotFound:
        return ""  # it was deleted meanwhile

"""A repository of Feast, read as data: ``feature_store.yaml`` and its registry, a file, a database or a dump.

None of its Python is run.

Source: Feast 0.67, its configuration and the tables of its SQL registry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from varv.adapters.moving.database import open_database
from varv.features.moving.model import FeastRegistry
from varv.features.moving.registry import (
    LARGEST_BYTES,
    Item,
    items_of,
    registry_in_dump,
    registry_of,
)
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.yaml_reading import Node, read_yaml

CONFIGURATION = "feature_store.yaml"
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_TABLES = (
    (17, "projects", "project_proto"),
    (1, "entities", "entity_proto"),
    (12, "data_sources", "data_source_proto"),
    (6, "feature_views", "feature_view_proto"),
    (14, "stream_feature_views", "feature_view_proto"),
    (8, "on_demand_feature_views", "feature_view_proto"),
    (7, "feature_services", "feature_service_proto"),
    (19, "label_views", "feature_view_proto"),
    (11, "saved_datasets", "saved_dataset_proto"),
)
"""The field of the registry's file, the table, and the column that holds the same message."""
_DUMP = "write it with feast registry-dump, and give that file with --registry FILE.json"


class FeastRepository(NamedTuple):
    """What a repository declares."""

    folder: Path
    registry: FeastRegistry
    items: tuple[Item, ...]
    """The registry's messages; none of a dump."""
    offline_store: str
    """Its kind of offline store, such as ``file``."""


def open_feast(folder: Path, variables: Mapping[str, str], registry: Path | None = None) -> FeastRepository:
    """Return what a repository declares.

    Parameters
    ----------
    folder
        The one with ``feature_store.yaml``.
    variables
        The environment, which the configuration may name.
    registry
        The registry's file or dump, where the configuration names no place that can be read.

    Raises
    ------
    NotFound
        If a file is not there.
    InvalidInput
        If one cannot be understood.
    """
    said = _configuration(folder / CONFIGURATION)
    project = _expanded(said.get("project"), variables, "project")
    offline = said.get("offline_store")
    kind = offline.get("type") if isinstance(offline, dict) else offline
    whole = folder.resolve()
    if registry is not None and registry.suffix == ".json":
        found = registry_in_dump(_bytes(registry), project)
        return FeastRepository(whole, found, (), str(kind or "file"))
    items = items_of(_bytes(registry)) if registry is not None else _items(said, folder, project, variables)
    found = registry_of(items, project)
    if not found.views and not found.sources:
        hint = f"is it the project of {CONFIGURATION}, and has feast apply run?"
        raise InvalidInput("project", project, "has nothing in the registry", hint=hint)
    return FeastRepository(whole, found, tuple(items), str(kind or "file"))


def _configuration(path: Path) -> dict[str, Node]:
    def refused(problem: str, **facts: object) -> InvalidInput:
        return InvalidInput("file", path.name, problem, hint="give the one that Feast reads", **facts)

    if not path.is_file():
        raise NotFound("file", str(path), hint="give the folder of a repository of Feast")
    found = read_yaml(_bytes(path), refused)
    if not isinstance(found, dict):
        raise refused("is no mapping")
    return found


def _expanded(value: Node, variables: Mapping[str, str], what: str) -> str:
    """Return a text with the variables of the environment that it names.

    Raises
    ------
    InvalidInput
        If it is no text, or a variable is not set.
    """
    if not isinstance(value, str) or not value:
        raise InvalidInput("file", CONFIGURATION, f"names no {what}", hint=_DUMP)

    def valued(named: re.Match[str]) -> str:
        name = named[1] or named[2]
        if name not in variables:
            hint = "set it as for Feast"
            raise InvalidInput("variable", name, f"is not set, and the {what} names it", hint=hint)
        return variables[name]

    return _VARIABLE.sub(valued, value)


def _items(said: dict[str, Node], folder: Path, project: str, variables: Mapping[str, str]) -> list[Item]:
    """Return the messages of the registry that a configuration names."""
    registry = said.get("registry")
    options = registry if isinstance(registry, dict) else {"path": registry}
    kind = options.get("registry_type") or "file"
    if kind not in ("file", "sql"):
        raise InvalidInput("registry", str(kind), "cannot be read directly", hint=_DUMP)
    place = _expanded(options.get("path"), variables, "registry")
    if kind == "sql":
        return _rows(place, folder, project)
    plain = place.removeprefix("file://")
    if "://" in plain:
        hint = "copy it here, and give it with --registry FILE"
        raise InvalidInput("registry", plain.partition("://")[0], "lies elsewhere", hint=hint)
    return items_of(_bytes(folder / plain))


def _rows(uri: str, folder: Path, project: str) -> list[Item]:
    scheme, mark, path = uri.partition(":///")
    if mark and scheme.partition("+")[0] == "sqlite" and not path.startswith("/"):
        uri = f"sqlite:///{(folder / path).absolute()}"
    database = open_database(uri)
    try:
        if not database.columns("feature_views"):
            hint = "is it the registry of a Feast of 0.26 or later?"
            raise InvalidInput("registry", database.name, "has no table feature_views", hint=hint)
        found: list[Item] = []
        for field, table, column in _TABLES:
            if column in database.columns(table):
                query = f"SELECT {column} FROM {table} WHERE project_id = ?"
                found += (Item(field, bytes(blob)) for (blob,) in database.rows(query, (project,)))
        return found
    finally:
        database.close()


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InvalidInput("file", str(path), "is too large", limit=LARGEST_BYTES)
        return path.read_bytes()
    except OSError as error:
        raise NotFound("file", str(path), "cannot be read", why=error.strerror, hint=_DUMP) from None

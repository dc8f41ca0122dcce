"""The files that dbt writes to its ``target`` folder: where a model is, its tests, and whether it was built.

Sources: dbt's documentation of its artifacts, ``manifest.json`` (schema v4 to v12), ``run_results.json`` and
``sources.json``, which ``dbt source freshness`` writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from varv.data.sources.steps import Upstream
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound

_MOST_BYTES = 256 << 20
_SCHEMA = re.compile(r"/dbt/(manifest|run-results|sources)/v(\d+)\.json$")
_OLDEST = {"manifest": 4, "run-results": 4, "sources": 1}
_SPANS = {"minute": "m", "hour": "h", "day": "d"}
_BUILT = ("success", "pass")


class DbtTest(NamedTuple):
    """A test of dbt on one model: its kind, the column, and what it is given."""

    kind: str
    column: str
    given: Mapping[str, Any]
    severity: str
    where: str = ""
    """A condition of SQL on the rows that it is about."""


class DbtModel(NamedTuple):
    """A model of dbt: where its rows are, what it is made of, and its tests."""

    unique_id: str
    relation: str
    columns: tuple[str, ...]
    depends_on: tuple[str, ...]
    tests: tuple[DbtTest, ...]


def dbt_model(target: Path, name: str) -> DbtModel:
    """Return what a manifest says of a model.

    Raises
    ------
    NotFound
        If there is no manifest, or no such model in it.
    InvalidInput
        If it is of a schema that is not read.
    """
    manifest = _artifact(target / "manifest.json", "manifest")
    nodes: Mapping[str, Any] = {**manifest.get("nodes", {}), **manifest.get("sources", {})}
    found = [one for key, one in nodes.items() if key == name or (one.get("name") == name and _is_table(one))]
    if len(found) != 1:
        known = ", ".join(sorted(str(one["name"]) for one in nodes.values() if _is_table(one))[:20])
        problem = "is not in the manifest" if not found else "is the name of several models"
        raise NotFound("dbt model", name[:80], problem, hint=f"there are {known}; a unique id names one")
    node = found[0]
    tests = [
        *_freshness(node),
        *(
            test
            for one in nodes.values()
            if one.get("resource_type") == "test" and (test := _test_of(one, node["unique_id"])) is not None
        ),
    ]
    return DbtModel(
        unique_id=str(node["unique_id"]),
        relation=str(node.get("relation_name") or f"{node['schema']}.{node.get('alias') or node['name']}"),
        columns=tuple(node.get("columns", {})),
        depends_on=tuple(node.get("depends_on", {}).get("nodes", ())),
        tests=tuple(tests),
    )


def invocation_of(target: Path, unique_id: str) -> str:
    """Return the last run of dbt that built a model.

    Raises
    ------
    FailedPrecondition
        If the run did not build it well, or not at all.
    """
    found = _artifact(target / "run_results.json", "run-results")
    for one in found.get("results", ()):
        if one.get("unique_id") == unique_id:
            if one.get("status") in _BUILT:
                return str(found["metadata"]["invocation_id"])
            problem = f"was not built by dbt's last run: {one.get('status')}"
            why = str(one.get("message") or "")[:200]
            raise FailedPrecondition("dbt model", unique_id, problem, why=why, hint="run dbt build again")
    hint = f"run dbt build --select {unique_id.rpartition('.')[2]}"
    raise FailedPrecondition("dbt model", unique_id, "is not in dbt's last run", hint=hint)


def upstreams_of(target: Path, unique_id: str) -> tuple[Upstream, ...]:
    """Return how fresh dbt found the sources that a model is made of, through any models between; none if it
    did not look.
    """
    if not (target / "sources.json").exists():
        return ()
    manifest = _artifact(target / "manifest.json", "manifest")
    nodes: Mapping[str, Any] = {**manifest.get("nodes", {}), **manifest.get("sources", {})}
    reached, waiting = {unique_id}, [unique_id]
    while waiting:
        parents = set(nodes.get(waiting.pop(), {}).get("depends_on", {}).get("nodes", ()))
        waiting += parents - reached
        reached |= parents
    results = _artifact(target / "sources.json", "sources").get("results", ())
    return tuple(
        Upstream(
            name=str(one["unique_id"]),
            loaded_at=str(one.get("max_loaded_at") or ""),
            checked_at=str(one.get("snapshotted_at") or ""),
            status=str(one.get("status") or "unknown"),
        )
        for one in sorted(results, key=lambda one: str(one["unique_id"]))
        if one["unique_id"] in reached
    )


def _freshness(node: Mapping[str, Any]) -> Iterator[DbtTest]:
    """Yield the test that a source's declared freshness is."""
    declared, column = node.get("freshness") or {}, node.get("loaded_at_field")
    for name, severity in (("warn_after", "warn"), ("error_after", "error")):
        span = declared.get(name) or {}
        if column and span.get("count") and span.get("period") in _SPANS:
            within = f"{span['count']}{_SPANS[span['period']]}"
            where = str(declared.get("filter") or "")
            yield DbtTest("freshness", str(column), {"within": within}, severity, where)
            return


def _is_table(node: Mapping[str, Any]) -> bool:
    return node.get("resource_type") in ("model", "seed", "snapshot", "source")


def _test_of(node: Mapping[str, Any], unique_id: str) -> DbtTest | None:
    """Return a test if it is attached to a model; of two that it reads, dbt names its own last."""
    if node.get("attached_node", _last_of(node)) != unique_id:
        return None
    said = node.get("test_metadata") or {}
    given = {
        key: value for key, value in said.get("kwargs", {}).items() if key not in ("model", "column_name")
    }
    column = node.get("column_name") or said.get("kwargs", {}).get("column_name") or ""
    config = node.get("config") or {}
    severity, where = str(config.get("severity") or "error").lower(), str(config.get("where") or "")
    return DbtTest(str(said.get("name") or node.get("name")), str(column), given, severity, where)


def _last_of(node: Mapping[str, Any]) -> str:
    depends = node.get("depends_on", {}).get("nodes", ())
    return str(depends[-1]) if depends else ""


def _artifact(place: Path, kind: str) -> Mapping[str, Any]:
    try:
        if place.stat().st_size > _MOST_BYTES:
            raise InvalidInput("file", place.name, "is too large", most=_MOST_BYTES)
        found = msgspec.json.decode(place.read_bytes())
    except FileNotFoundError:
        raise NotFound("file", place.as_posix(), hint="run dbt build; it writes to target/") from None
    except msgspec.DecodeError as error:
        raise InvalidInput("file", place.as_posix(), "is not JSON", why=str(error)) from None
    said = str(found.get("metadata", {}).get("dbt_schema_version", "")) if isinstance(found, dict) else ""
    schema = _SCHEMA.search(said)
    if schema is None or schema[1] != kind or int(schema[2]) < _OLDEST[kind]:
        problem = f"is no {kind} of dbt that is read"
        hint = f"it must be of schema v{_OLDEST[kind]} or later"
        raise InvalidInput("file", place.as_posix(), problem, schema=said[:80], hint=hint)
    return found

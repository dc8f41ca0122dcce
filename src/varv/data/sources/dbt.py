"""What dbt builds as a source: a relation whose address its manifest knows, read when a run has built it
anew.

Only the JSON files in dbt's ``target`` folder are read; dbt itself is not needed.

Sources: dbt's documentation of its artifacts: ``manifest.json`` (schema v4 to v12), ``run_results.json``,
``sources.json``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from varv.data.sources.databases import Sql
from varv.data.sources.steps import Asked, Step
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound

INVOCATION = "invocation"
"""The place of the cursor that holds the run of dbt whose rows were read."""
_MOST_BYTES = 256 << 20
_SCHEMA = re.compile(r"/dbt/(manifest|run-results|sources)/v(\d+)\.json$")
_OLDEST = {"manifest": 4, "run-results": 4, "sources": 3}
_BUILT = ("success", "pass")


class DbtTest(NamedTuple):
    """A test of dbt on one model: its kind, the column, and what it is given."""

    kind: str
    column: str
    given: Mapping[str, Any]
    severity: str


class DbtModel(NamedTuple):
    """A model of dbt: where its rows are, what it is made of, and its tests."""

    unique_id: str
    relation: str
    columns: tuple[str, ...]
    depends_on: tuple[str, ...]
    tests: tuple[DbtTest, ...]


@dataclass(frozen=True)
class Dbt:
    """A model that dbt builds.

    Parameters
    ----------
    target
        The folder that dbt writes its artifacts to.
    model
        The model, by its name or its unique id.
    url, watermark, lag, times
        Of the database, as `Sql` takes them.

    Notes ----- A pull reads nothing unless the last run of dbt built the model well, and is another run than
    the one whose rows were read; a run that failed is an error.
    """

    target: str
    model: str
    url: str
    watermark: str = ""
    lag: str = ""
    times: Sequence[str] = ()

    def __post_init__(self) -> None:
        Sql(self.model, self.url, self.watermark, self.lag, self.times)

    @property
    def identity(self) -> str:
        """What the source is."""
        by = f" by {self.watermark}" if self.watermark else ""
        return f"dbt {self.target} {self.model}{by}"

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return self._sql.guesses

    @property
    def technical(self) -> tuple[str, ...]:
        """Columns that say nothing of what a row is about."""
        return self._sql.technical

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns of the relation and their types."""
        return self._sql.types()

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return self._sql.load()

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows, some hundred thousand at a time."""
        return self._sql.batches(columns)

    def keys(self, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Yield the columns of the key of all rows that there are."""
        return self._sql.keys(columns)

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield what is new, if dbt has built the model since."""
        built = invocation_of(Path(self.target), self.described.unique_id)
        if built == asked.cursor.get(INVOCATION):
            return
        yield from self._sql.steps(asked)
        # Last of all: a pull that ends before goes on reading.
        yield Step(pl.DataFrame(), {INVOCATION: built})

    @property
    def described(self) -> DbtModel:
        """What the manifest says of the model."""
        return dbt_model(Path(self.target), self.model)

    @cached_property
    def _sql(self) -> Sql:
        query = f"SELECT * FROM {self.described.relation}"
        return Sql(query, self.url, self.watermark, self.lag, self.times)


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
        test
        for one in nodes.values()
        if one.get("resource_type") == "test" and (test := _test_of(one, node["unique_id"])) is not None
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
    severity = str(node.get("config", {}).get("severity", "ERROR")).lower()
    return DbtTest(str(said.get("name") or node.get("name")), str(column), given, severity)


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

"""What can be asked about registered models and versions, of the file as it is committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from varv.kernel.errors import InvalidInput, NotFound
from varv.registry.model import STAGES, Stage
from varv.registry.rules import LATEST, PROMPT, require_model_name
from varv.registry.tables import model_no

_AT_ONCE = 500
_VERSION = (
    "version.no, registered.name, number, stage, trained, source, storage, run, run_link, logged,"
    " version.description, version.created_ms, version.updated_ms"
)
_FROM = "FROM version JOIN registered ON registered.no = version.model"


@dataclass(slots=True)
class ModelVersion:
    """A version of a registered model as it is now."""

    no: int
    model: str
    number: int
    stage: Stage
    trained: bool
    """Whether a loop registered it; otherwise it was logged."""
    source: str
    storage: str
    run: str
    run_link: str
    logged_model: str
    description: str
    created_ms: int
    updated_ms: int
    tags: dict[str, str] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RegisteredModel:
    """A registered model as it is now, with the latest version of each stage."""

    no: int
    name: str
    description: str
    created_ms: int
    updated_ms: int
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    latest: list[ModelVersion] = field(default_factory=list)


def registered_model(db: sqlite3.Connection, name: str) -> RegisteredModel:
    """Return a registered model by its name.

    Raises
    ------
    NotFound
        If there is none.
    """
    return registered_models(db, [_model(db, name)])[0]


def registered_models(db: sqlite3.Connection, numbers: Sequence[int]) -> list[RegisteredModel]:
    """Return registered models by their numbers in the file, in that order."""
    found: dict[int, RegisteredModel] = {}
    for some in _parts(numbers):
        marks = ",".join("?" * len(some))
        columns = "no, name, description, created_ms, updated_ms"
        for row in db.execute(f"SELECT {columns} FROM registered WHERE no IN ({marks})", some):
            found[row[0]] = RegisteredModel(*row)
        query = f"SELECT model, name, value FROM registered_tag WHERE model IN ({marks})"
        for no, name, value in db.execute(query, some):
            found[no].tags[name] = value
        query = f"SELECT model, name, version FROM alias WHERE model IN ({marks})"
        for no, name, version in db.execute(query, some):
            found[no].aliases[name] = version
    latest = {no: _latest(db, no, STAGES) for no in found}
    made = iter(versions(db, [version for some in latest.values() for version in some]))
    for no, some in latest.items():
        found[no].latest = [next(made) for _ in some]
    return [found[no] for no in numbers]


def changed_last(db: sqlite3.Connection, most: int) -> list[RegisteredModel]:
    """Return at most so many registered models, the one that changed last first; prompts are none."""
    prompts = "SELECT model FROM registered_tag WHERE name = ? AND value = 'true'"
    query = f"SELECT no FROM registered WHERE no NOT IN ({prompts}) ORDER BY updated_ms DESC, no DESC LIMIT ?"
    return registered_models(db, [no for (no,) in db.execute(query, (PROMPT, most))])


def versions_of(db: sqlite3.Connection, name: str, most: int) -> list[ModelVersion]:
    """Return at most so many versions of a registered model, the highest number first.

    Raises
    ------
    NotFound
        If there is no such model.
    """
    query = "SELECT no FROM version WHERE model = ? ORDER BY number DESC LIMIT ?"
    return versions(db, [no for (no,) in db.execute(query, (_model(db, name), most))])


def latest_versions(db: sqlite3.Connection, name: str, stages: Sequence[Stage]) -> list[ModelVersion]:
    """Return the latest version of a registered model in each of some stages, by number.

    Raises
    ------
    NotFound
        If there is no such model.
    """
    return versions(db, _latest(db, _model(db, name), stages))


def _latest(db: sqlite3.Connection, model: int, stages: Sequence[Stage]) -> list[int]:
    query = "SELECT no, number FROM version WHERE model = ? AND stage = ? ORDER BY number DESC LIMIT 1"
    rows = (db.execute(query, (model, STAGES.index(stage))).fetchone() for stage in dict.fromkeys(stages))
    return [no for no, _ in sorted((row for row in rows if row is not None), key=lambda row: row[1])]


def version(db: sqlite3.Connection, name: str, number: int) -> ModelVersion:
    """Return one version.

    Raises
    ------
    NotFound
        If there is none of that name and number.
    """
    query = f"SELECT version.no {_FROM} WHERE registered.name = ? AND number = ?"
    row = db.execute(query, (name, number)).fetchone()
    if row is None:
        raise NotFound("model version", f"(name={name[:80]}, version={number})")
    return versions(db, [row[0]])[0]


def version_by_alias(db: sqlite3.Connection, name: str, alias: str) -> ModelVersion:
    """Return the version that an alias names; ``latest`` is the one with the highest number.

    Raises
    ------
    NotFound
        If there is no such model.
    InvalidInput
        If it has no such alias.
    """
    if alias.lower() == LATEST:
        query, asked = (
            "SELECT max(number) FROM version WHERE model = ? HAVING max(number)",
            (_model(db, name),),
        )
    else:
        query, asked = "SELECT version FROM alias WHERE model = ? AND name = ?", (_model(db, name), alias)
    row = db.execute(query, asked).fetchone()
    if row is None:
        # A client takes any other status than 400 for a reason to give up.
        problem = f"Registered model alias {alias} not found."
        raise InvalidInput("registered model", name[:80], problem)
    return version(db, name, row[0])


def versions(db: sqlite3.Connection, numbers: Sequence[int]) -> list[ModelVersion]:
    """Return versions by the numbers of their rows in the file, in that order."""
    found: dict[int, ModelVersion] = {}
    for some in _parts(numbers):
        marks = ",".join("?" * len(some))
        for row in db.execute(f"SELECT {_VERSION} {_FROM} WHERE version.no IN ({marks})", some):
            no, model, number, stage, trained, *rest = row
            found[no] = ModelVersion(no, model, number, STAGES[stage], bool(trained), *rest)
        query = f"SELECT version, name, value FROM version_tag WHERE version IN ({marks})"
        for no, name, value in db.execute(query, some):
            found[no].tags[name] = value
        joined = "version JOIN alias ON alias.model = version.model AND alias.version = version.number"
        query = f"SELECT version.no, alias.name FROM {joined} WHERE version.no IN ({marks})"
        for no, name in db.execute(query, some):
            found[no].aliases.append(name)
    return [found[no] for no in numbers]


def _model(db: sqlite3.Connection, name: str) -> int:
    if no := model_no(db, name):
        return no
    require_model_name(name)
    raise NotFound("registered model", name[:80])


def _parts(numbers: Sequence[int]) -> Iterable[Sequence[int]]:
    return (numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE))

"""What can be asked about logged models, of the file as it is committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from varv.kernel.errors import NotFound
from varv.runs.logged.model import LOGGED_STATUSES, MODELS_FOLDER, LoggedStatus
from varv.runs.logged.tables import logged_row
from varv.runs.tables import PARAM

_AT_ONCE = 500
_COLUMNS = "logged.no, logged.id, experiment.id, logged.name, type, run, status, logged.deleted"
_TIMES = "logged.created_ms, logged.updated_ms, experiment.artifacts"
_FROM = "FROM logged JOIN experiment ON experiment.no = logged.experiment"


@dataclass(slots=True)
class ModelMetric:
    """The latest value of a metric of a logged model, by the run that logged it and the dataset it is of."""

    name: str
    value: float | None
    """None if it is no number."""
    at_ms: int
    step: int
    run: str
    dataset: str
    digest: str


@dataclass(slots=True)
class LoggedModel:
    """A logged model as it is now."""

    no: int
    id: str
    experiment: str
    name: str
    type: str
    run: str
    status: LoggedStatus
    deleted: bool
    created_ms: int
    updated_ms: int
    artifacts: str
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[ModelMetric] = field(default_factory=list)


def logged_model(db: sqlite3.Connection, id: str, *, deleted_too: bool = False) -> LoggedModel:
    """Return a logged model by its id.

    Raises
    ------
    NotFound
        If there is none, or it is deleted and that is not asked for.
    """
    row = logged_row(db, id)
    if row is None or (row.deleted and not deleted_too):
        raise NotFound("logged model", id[:80])
    return logged_models(db, [row.no])[0]


def logged_models(db: sqlite3.Connection, numbers: Sequence[int]) -> list[LoggedModel]:
    """Return logged models by their numbers in the file, in that order."""
    found: dict[int, LoggedModel] = {}
    for some in _parts(numbers):
        marks = ",".join("?" * len(some))
        query = f"SELECT {_COLUMNS}, {_TIMES} {_FROM} WHERE logged.no IN ({marks})"
        for row in db.execute(query, some):
            no, id, experiment, name, type, run, status, deleted, created, updated, place = row
            artifacts = f"{place}/{MODELS_FOLDER}/{id}/artifacts"
            found[no] = LoggedModel(
                no,
                id,
                experiment,
                name,
                type,
                run,
                LOGGED_STATUSES[status],
                bool(deleted),
                created,
                updated,
                artifacts,
            )
        query = f"SELECT logged, kind, name, value FROM logged_word WHERE logged IN ({marks})"
        for no, kind, name, value in db.execute(query, some):
            (found[no].params if kind == PARAM else found[no].tags)[name] = value
        _add_metrics(db, found, some, marks)
    return [found[no] for no in numbers]


def _add_metrics(
    db: sqlite3.Connection, found: dict[int, LoggedModel], some: Sequence[int], marks: str
) -> None:
    columns = "logged.no, key.name, value, at, step, run.id, dataset, digest"
    joined = (
        "logged JOIN link ON link.model = logged.id JOIN linked ON linked.link = link.no"
        " JOIN key ON key.no = linked.key JOIN run ON run.no = linked.run"
    )
    query = (
        f"SELECT {columns} FROM {joined} WHERE logged.no IN ({marks}) ORDER BY logged.no, key.name, run.no"
    )
    for no, *metric in db.execute(query, some):
        found[no].metrics.append(ModelMetric(*metric))


def _parts(numbers: Sequence[int]) -> Iterable[Sequence[int]]:
    return (numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE))

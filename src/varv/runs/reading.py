"""What can be asked about experiments and runs, of the file as it is committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from varv.kernel.errors import NotFound
from varv.runs.model import STATUSES, DatasetInput, ModelInput, ModelOutput, Status
from varv.runs.rules import require_experiment_id
from varv.runs.series import Glance, joined, unfolded
from varv.runs.tables import PARAM, TAG

_AT_ONCE = 500
_RUN = (
    "run.no, run.id, experiment.id, run.name, run.user, run.status, run.deleted, run.started_ms, run.ended_ms"
)
_FROM = "FROM run JOIN experiment ON experiment.no = run.experiment"


@dataclass(slots=True)
class Experiment:
    """An experiment as it is now."""

    no: int
    id: str
    name: str
    artifacts: str
    deleted: bool
    created_ms: int
    updated_ms: int
    tags: dict[str, str] = field(default_factory=dict)


class Metric(msgspec.Struct, gc=False):
    """The last value of a metric, with what it is linked to, and what is known of the ones before."""

    name: str
    glance: Glance
    model: str = ""
    dataset: str = ""
    digest: str = ""


@dataclass(slots=True)
class Run:
    """A run as it is now."""

    no: int
    id: str
    experiment: str
    name: str
    user: str
    status: Status
    deleted: bool
    started_ms: int
    ended_ms: int | None
    artifacts: str
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    datasets: list[DatasetInput] = field(default_factory=list)
    models: list[ModelInput] = field(default_factory=list)
    outputs: list[ModelOutput] = field(default_factory=list)


def experiment(db: sqlite3.Connection, *, id: str = "", name: str = "") -> Experiment:
    """Return an experiment by its id, or by its name.

    Raises
    ------
    NotFound
        If there is none.
    """
    if id:
        require_experiment_id(id)
    column, asked = ("id", id) if id else ("name", name)
    row = db.execute(f"SELECT no FROM experiment WHERE {column} = ?", (asked,)).fetchone()
    if row is None:
        raise NotFound("experiment" if id else "experiment name", asked[:80])
    return experiments(db, [row[0]])[0]


def experiments(db: sqlite3.Connection, numbers: Sequence[int]) -> list[Experiment]:
    """Return experiments by their numbers in the file, in that order."""
    found: dict[int, Experiment] = {}
    for some in _parts(numbers):
        marks = ",".join("?" * len(some))
        columns = "no, id, name, artifacts, deleted, created_ms, updated_ms"
        query = f"SELECT {columns} FROM experiment WHERE no IN ({marks})"
        for no, id, name, artifacts, deleted, created, updated in db.execute(query, some):
            found[no] = Experiment(no, id, name, artifacts, bool(deleted), created, updated)
        query = f"SELECT experiment, name, value FROM experiment_tag WHERE experiment IN ({marks})"
        for no, name, value in db.execute(query, some):
            found[no].tags[name] = value
    return [found[no] for no in numbers]


def run(db: sqlite3.Connection, id: str) -> Run:
    """Return a run by its id.

    Raises
    ------
    NotFound
        If there is none.
    """
    row = db.execute("SELECT no FROM run WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise NotFound("run", id)
    return runs_now(db, [row[0]])[0]


def runs_now(db: sqlite3.Connection, numbers: Sequence[int]) -> list[Run]:
    """Return runs by their numbers in the file, in that order, with all points of their metrics."""
    found = runs(db, numbers)
    for one in found:
        if later := unfolded(db, one.no)[0]:
            names = {metric.glance.key: metric.name for metric in one.metrics}
            new = _named(db, "no, name FROM key", later.keys() - names)
            names |= {no: name for no, (name,) in new.items()}
            known = joined((metric.glance for metric in one.metrics), later)
            links = _links(db, (glance.link for glance in known))
            one.metrics = [Metric(names[glance.key], glance, *links[glance.link]) for glance in known]
    return found


def runs(db: sqlite3.Connection, numbers: Sequence[int]) -> list[Run]:
    """Return runs by their numbers in the file, in that order, with what is known of their metrics by the
    last folding.
    """
    found: dict[int, Run] = {}
    for some in _parts(numbers):
        marks = ",".join("?" * len(some))
        for row in db.execute(f"SELECT {_RUN}, experiment.artifacts {_FROM} WHERE run.no IN ({marks})", some):
            no, id, experiment, name, user, status, deleted, started, ended, artifacts = row
            place = f"{artifacts}/{id}/artifacts"
            found[no] = Run(
                no, id, experiment, name, user, STATUSES[status], bool(deleted), started, ended, place
            )
        _add_words(db, found, some, marks)
        _add_metrics(db, found, some, marks)
        _add_links(db, found, some, marks)
    return [found[no] for no in numbers]


def tagged(db: sqlite3.Connection, experiment: str, tag: str) -> list[int]:
    """Return the numbers of the runs of an experiment that have a tag and are not deleted, in the order in
    which they began.
    """
    joined = "run JOIN experiment ON experiment.no = run.experiment JOIN word ON word.run = run.no"
    where = "experiment.id = ? AND NOT run.deleted AND key.kind = ? AND key.name = ?"
    query = f"SELECT run.no FROM {joined} JOIN key ON key.no = word.key WHERE {where} ORDER BY run.no"
    return [no for (no,) in db.execute(query, (experiment, TAG, tag))]


def _add_words(db: sqlite3.Connection, found: dict[int, Run], some: Sequence[int], marks: str) -> None:
    # Crossed, so that the runs are gone through, in the order of their names' numbers.
    query = f"SELECT run, kind, name, value FROM word CROSS JOIN key ON no = key WHERE run IN ({marks})"
    for no, kind, name, value in db.execute(query, some):
        (found[no].params if kind == PARAM else found[no].tags)[name] = value


def _add_metrics(db: sqlite3.Connection, found: dict[int, Run], some: Sequence[int], marks: str) -> None:
    columns = "run, name, key, value, step, at, link, n, low, high, first"
    query = f"SELECT {columns} FROM latest CROSS JOIN key ON no = key WHERE run IN ({marks})"
    rows = db.execute(query, some).fetchall()
    links = _links(db, (row[6] for row in rows))
    for row in rows:
        found[row[0]].metrics.append(Metric(row[1], Glance(*row[2:]), *links[row[6]]))


def _add_links(db: sqlite3.Connection, found: dict[int, Run], some: Sequence[int], marks: str) -> None:
    for no, body in db.execute(f"SELECT run, body FROM input WHERE run IN ({marks}) ORDER BY rowid", some):
        found[no].datasets.append(msgspec.json.decode(body, type=DatasetInput))
    query = f"SELECT run, made, model, step FROM run_model WHERE run IN ({marks})"
    for no, made, model, step in db.execute(query, some):
        if made:
            found[no].outputs.append(ModelOutput(model, step))
        else:
            found[no].models.append(ModelInput(model))


def _links(db: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, tuple[Any, ...]]:
    """Return what points are linked to by the numbers of their links, of which 0 is none."""
    return {0: (), **_named(db, "no, model, dataset, digest FROM link", set(numbers) - {0})}


def _named(db: sqlite3.Connection, columns: str, numbers: set[int]) -> dict[int, tuple[Any, ...]]:
    """Return rows of a table of names by their numbers."""
    found: dict[int, tuple[Any, ...]] = {}
    for some in _parts(sorted(numbers)):
        for no, *row in db.execute(f"SELECT {columns} WHERE no IN ({','.join('?' * len(some))})", some):
            found[no] = tuple(row)
    return found


def _parts(numbers: Sequence[int]) -> Iterable[Sequence[int]]:
    return (numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE))

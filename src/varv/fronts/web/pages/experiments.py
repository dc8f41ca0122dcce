"""Experiments, and the runs of one as a table: what varies first, filtered, ordered, in groups and folders.

A page asks the search for the runs it shows and no others; everything that it depends on is in its URL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from varv.fronts.web.page import Asking, Page, Reading
from varv.home.tracking.looking import group_of
from varv.kernel.errors import InvalidInput
from varv.runs import reading
from varv.runs.comparing import Measured, RunLine, line_of, varying
from varv.runs.experiment_search import ExperimentQuery, experiment_page
from varv.runs.filters import Part
from varv.runs.model import RUN_NAME
from varv.runs.tables import TAG

EXPERIMENTS = 50
RUNS = 50
MOST_PARAMS, MOST_METRICS = 8, 8
MOST_FOLDERS = 40
MOST_HOPS = 2000
"""Names that are looked at to find folders."""
MOST_COUNTED = 10_000
FOLDER = "folder"
PARTS: tuple[Part, ...] = ("last", "min", "max")


class ExperimentLine(msgspec.Struct, frozen=True):
    """An experiment, how many runs it has, up to `MOST_COUNTED`, and when the last one began."""

    id: str
    name: str
    n_runs: int
    created_ms: int
    last_started_ms: int | None
    deleted: bool


class Column(msgspec.Struct, frozen=True):
    """A column of the table of runs: what it shows, how it is ordered now, and what orders by it."""

    kind: str
    name: str
    sorted: str
    href: str


class RunRows(msgspec.Struct, frozen=True):
    """Runs that have something in common, with the mean of each metric that is shown."""

    name: str
    rows: list[RunLine]
    means: list[float | None]


class Folder(msgspec.Struct, frozen=True):
    """A folder of runs, by how their names begin."""

    name: str
    href: str


class Asked(msgspec.Struct, frozen=True):
    """What the URL says of the table."""

    where: str = ""
    order: str = ""
    group: str = ""
    folder: str = ""
    values: str = "last"
    """Of metrics: the last, the least or the greatest."""

    @classmethod
    def of(cls, query: Asking) -> Asked:
        """Return what a query asks for.

        Raises
        ------
        InvalidInput
            If it asks for values that there are not.
        """
        found = cls(**{name: query.get(name, "") for name in ("where", "order", "group", "folder")})
        values = query.get("values", "") or "last"
        if values not in PARTS:
            raise InvalidInput(
                "query", "values", "does not exist", given=values[:40], hint="use last, min or max"
            )
        return msgspec.structs.replace(found, values=values)

    def whole_filter(self) -> str:
        """Return the filter with the folder in it."""
        if not self.folder:
            return self.where
        begins = "attributes.run_name LIKE '{}%'".format(self.folder.replace("'", "''"))
        return f"({self.where}) and {begins}" if self.where else begins

    def address(self, path: str, **changed: str) -> str:
        """Return the address of the same table with something changed."""
        fields = {**msgspec.structs.asdict(self), **changed}
        kept = {
            name: value for name, value in fields.items() if value and (name, value) != ("values", "last")
        }
        return f"{path}?{urlencode(kept)}" if kept else path


def experiments_page(now: Reading, query: Asking) -> Page:
    """Return experiments, the latest made first; with ``name`` those whose names hold it."""
    desk = now.require_runs()
    name = query.get("name", "")[:200]
    deleted = query.get("deleted", "") == "1"
    quoted = name.replace("'", "''")
    asked = ExperimentQuery(
        filter=f"name ILIKE '%{quoted}%'" if name else "",
        view="DELETED_ONLY" if deleted else "ACTIVE_ONLY",
        most=EXPERIMENTS,
        token=query.get("after", ""),
    )
    with desk.search.reading() as db:
        page = experiment_page(db, asked)
        found = [_experiment_line(db, one) for one in reading.experiments(db, page.runs)]
    data: dict[str, object] = {
        "experiments": found,
        "name": name,
        "deleted": deleted,
        "most_counted": MOST_COUNTED,
        "after": page.token,
    }
    return Page("Experiments", "experiments.html", data)


def _experiment_line(db: sqlite3.Connection, one: reading.Experiment) -> ExperimentLine:
    where = "run INDEXED BY run_by_start WHERE experiment = ? AND deleted = ?"
    query = f"SELECT count(*) FROM (SELECT 1 FROM {where} LIMIT ?)"
    n_runs = db.execute(query, (one.no, one.deleted, MOST_COUNTED + 1)).fetchone()[0]
    query = f"SELECT started_ms FROM {where} ORDER BY started_ms DESC LIMIT 1"
    last = db.execute(query, (one.no, one.deleted)).fetchone()
    return ExperimentLine(one.id, one.name, n_runs, one.created_ms, last[0] if last else None, one.deleted)


def runs_page(now: Reading, experiment: str, query: Asking) -> Page:
    """Return the runs of an experiment.

    Raises
    ------
    NotFound
        If there is no such experiment.
    InvalidInput
        If the filter, the order or the group is not understood.
    """
    desk = now.require_runs()
    asked = Asked.of(query)
    with desk.search.reading() as db:
        found = desk.experiment(db, experiment)
        view = "DELETED_ONLY" if found.deleted else "ACTIVE_ONLY"
        page = desk.page(
            db,
            experiments=(found.id,),
            where=asked.whole_filter(),
            order=(asked.order,) if asked.order else (),
            limit=RUNS,
            token=query.get("after", ""),
            view=view,
        )
        folders = _folders(db, found, asked)
    data = _table(found, page.runs, asked)
    data |= {
        "experiment": found,
        "asked": asked,
        "folders": folders,
        "after": page.token,
        "is_first": not query.get("after", ""),
        "parts": {part: asked.address(_path(found), values=part, order="") for part in PARTS},
        "live": f"/live?{urlencode({'experiment': found.id})}",
    }
    return Page(found.name, "experiment.html", data, scripts=("live.js",))


def _path(experiment: reading.Experiment) -> str:
    return f"/experiments/{experiment.id}"


def _table(experiment: reading.Experiment, runs: Sequence[reading.Run], asked: Asked) -> dict[str, object]:
    lines = [line_of(one) for one in runs]
    vary, metrics = varying(lines)
    params, metrics = vary[:MOST_PARAMS], metrics[:MOST_METRICS]
    equal = {
        name: lines[0].params[name]
        for name in sorted({name for one in lines for name in one.params} - set(vary))
    }
    groups: dict[str, list[RunLine]] = {}
    for run, line in zip(runs, lines, strict=True):
        groups.setdefault(_group(run, asked), []).append(line)
    return {
        "params": [_column("params", name, experiment, asked) for name in params],
        "metrics": [_column("metrics", name, experiment, asked) for name in metrics],
        "groups": [
            RunRows(name, rows, [_mean(rows, metric, asked.values) for metric in metrics])
            for name, rows in groups.items()
        ],
        "n_shown": len(lines),
        "equal": equal,
        "n_hidden": len(vary) - len(params),
    }


def _group(run: reading.Run, asked: Asked) -> str:
    if asked.group == FOLDER:
        return run.name.rpartition("/")[0] or "no folder"
    return group_of(run, asked.group)


def _column(kind: str, name: str, experiment: reading.Experiment, asked: Asked) -> Column:
    field = f"{kind}.`{name}`"
    if kind == "metrics" and asked.values != "last":
        field = f"{asked.values}({field})"
    way = {f"{field} DESC": "descending", f"{field} ASC": "ascending"}.get(asked.order, "")
    then = "ASC" if way == "descending" else "DESC"
    return Column(kind, name, way, asked.address(_path(experiment), order=f"{field} {then}"))


def value_of(one: Measured | None, values: str) -> float | None:
    """Return a value of a metric: its last, its least or its greatest."""
    found: float | None = None if one is None else getattr(one, values)
    return found


def _mean(rows: Sequence[RunLine], metric: str, values: str) -> float | None:
    known = [value for one in rows if (value := value_of(one.metrics.get(metric), values)) is not None]
    return sum(known) / len(known) if known else None


def _folders(db: sqlite3.Connection, experiment: reading.Experiment, asked: Asked) -> list[Folder]:
    """Return the folders that are directly in the present one, found by hops over the index of names."""
    query = "SELECT no FROM key WHERE experiment = ? AND kind = ? AND name = ?"
    key = db.execute(query, (experiment.no, TAG, RUN_NAME)).fetchone()
    if key is None:
        return []
    found: list[str] = []
    after, begin = asked.folder, asked.folder
    query = (
        "SELECT value FROM word INDEXED BY word_by_value WHERE key = ? AND value > ? ORDER BY value LIMIT 1"
    )
    for _ in range(MOST_HOPS):
        row = db.execute(query, (key[0], after)).fetchone()
        if row is None or not row[0].startswith(begin) or len(found) == MOST_FOLDERS:
            break
        name, slash, _ = row[0][len(begin) :].partition("/")
        if slash:
            found.append(f"{begin}{name}/")
            # Past everything in it: the character after the slash.
            after = f"{begin}{name}0"
        else:
            after = row[0]
    return [Folder(name, asked.address(_path(experiment), folder=name, order="")) for name in found]

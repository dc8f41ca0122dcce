"""The rows of experiments and runs, folded from their events."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.texts import Text, whole_or_gone
from varv.runs import purged
from varv.runs.model import (
    RUN_NAME,
    STATUSES,
    DatasetInput,
    ExperimentChanged,
    ExperimentCreated,
    ExperimentMoved,
    ExperimentPurged,
    PointsSealed,
    RunCreated,
    RunDescribed,
    RunLinked,
    RunMoved,
    RunPurged,
    RunReproduced,
    RunUpdated,
    experiment_stream,
    run_stream,
)

METRIC, PARAM, TAG = range(3)
REPRODUCED = "varv.reproduced"
"""The tag of a run that says what rerunning it has shown."""
CHANGES_KEPT = 50_000
"""Latest changes of runs that the file knows of."""
EVERY_RUN = 0
"""Stands in the changes of an experiment for all of its runs."""
MOST_REMEMBERED = 20_000
"""Names, runs, and experiments, that are remembered beside the file."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS experiment (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, artifacts TEXT NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS experiment_tag (
    experiment INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (experiment, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS run (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, experiment INTEGER NOT NULL, name TEXT NOT NULL,
    user TEXT NOT NULL, status INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0,
    started_ms INTEGER NOT NULL, ended_ms INTEGER, folded INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS run_open ON run (status) WHERE ended_ms IS NULL;
CREATE INDEX IF NOT EXISTS run_by_start ON run (experiment, deleted, started_ms DESC, id);
CREATE TABLE IF NOT EXISTS key (
    no INTEGER PRIMARY KEY, experiment INTEGER NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL,
    UNIQUE (experiment, kind, name));
CREATE TABLE IF NOT EXISTS word (
    run INTEGER NOT NULL, key INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS word_by_value ON word (key, value, run);
CREATE TABLE IF NOT EXISTS input (
    run INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, context TEXT, body BLOB NOT NULL,
    PRIMARY KEY (run, name, digest));
CREATE INDEX IF NOT EXISTS input_by_name ON input (name, run);
CREATE INDEX IF NOT EXISTS input_by_digest ON input (digest, run);
CREATE TABLE IF NOT EXISTS changed (
    no INTEGER PRIMARY KEY, experiment INTEGER NOT NULL, run INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS run_model (
    run INTEGER NOT NULL, made INTEGER NOT NULL, model TEXT NOT NULL, step INTEGER NOT NULL,
    PRIMARY KEY (run, made, model)) WITHOUT ROWID;
"""
_OF_RUN = ("word", "input", "run_model", "points", "chunk", "sealed", "latest", "linked")
"""Tables of this room with a column that says of which run a row is."""
_NEW_EXPERIMENT = """
INSERT OR IGNORE INTO experiment (id, name, artifacts, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?)
"""
_NEW_RUN = """
INSERT OR IGNORE INTO run (id, experiment, name, user, status, started_ms, ended_ms)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""


class RunRow(NamedTuple):
    """What is looked at before a run is written to."""

    no: int
    experiment: int
    deleted: bool
    status: int
    name: str


class RunTables:
    """Folds what happens to experiments and runs; a `kernel.recorder.Fold`.

    Parameters
    ----------
    blobs
        Hold the texts that are too long for entries.
    """

    schema = _SCHEMA + purged.SCHEMA
    events = (
        ExperimentCreated,
        ExperimentChanged,
        ExperimentMoved,
        RunCreated,
        RunDescribed,
        RunUpdated,
        RunMoved,
        RunLinked,
        RunPurged,
        ExperimentPurged,
        PointsSealed,
        RunReproduced,
    )

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._keys: dict[tuple[int, int, str], int] = {}
        self._runs: dict[str, RunRow] = {}
        self._experiments: dict[str, int] = {}
        self._applying: dict[type[Event], Callable[[sqlite3.Connection, Any, int], None]] = {
            ExperimentCreated: self._experiment_created,
            ExperimentChanged: self._experiment_changed,
            ExperimentMoved: self._experiment_moved,
            RunCreated: self._run_created,
            RunDescribed: self._run_described,
            RunUpdated: self._run_updated,
            RunMoved: self._run_moved,
            RunLinked: self._run_linked,
            RunPurged: self._run_purged,
            ExperimentPurged: self._experiment_purged,
            RunReproduced: self._run_reproduced,
        }

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Take in one event; again changes nothing."""
        if apply := self._applying.get(type(event)):
            apply(db, event, at // 1000)

    def forget(self) -> None:
        """Throw away what is remembered of rows."""
        self._keys.clear()
        self._runs.clear()
        self._experiments.clear()

    # Looking up, for the thread that writes

    def run(self, db: sqlite3.Connection, run: str) -> RunRow | None:
        """Return what is known of a run; None if there is none."""
        if found := self._runs.get(run):
            return found
        query = "SELECT no, experiment, deleted, status, name FROM run WHERE id = ?"
        row = db.execute(query, (run,)).fetchone()
        return None if row is None else self._remember(run, RunRow(*row))

    def experiment(self, db: sqlite3.Connection, experiment: str) -> int:
        """Return the number of an experiment; 0 if there is none."""
        if found := self._experiments.get(experiment):
            return found
        if no := experiment_no(db, experiment):
            if len(self._experiments) >= MOST_REMEMBERED:
                self._experiments.clear()
            self._experiments[experiment] = no
        return no

    def key(self, db: sqlite3.Connection, experiment: int, kind: int, name: str) -> int:
        """Return the number of a name in an experiment, given to it if it is new."""
        asked = (experiment, kind, name)
        if found := self._keys.get(asked):
            return found
        db.execute("INSERT OR IGNORE INTO key (experiment, kind, name) VALUES (?, ?, ?)", asked)
        row = db.execute(
            "SELECT no FROM key WHERE experiment = ? AND kind = ? AND name = ?", asked
        ).fetchone()
        if len(self._keys) >= MOST_REMEMBERED:
            self._keys.clear()
        self._keys[asked] = row[0]
        return row[0]

    def knows(self, experiment: int, kind: int, name: str) -> bool:
        """Return whether a name is remembered to have a number."""
        return (experiment, kind, name) in self._keys

    def _remember(self, run: str, row: RunRow) -> RunRow:
        if len(self._runs) >= MOST_REMEMBERED:
            self._runs.clear()
        self._runs[run] = row
        return row

    def _text(self, value: Text) -> str:
        return whole_or_gone(self._blobs, value)

    # Experiments

    def _experiment_created(self, db: sqlite3.Connection, event: ExperimentCreated, ms: int) -> None:
        purged.come_again(db, experiment_stream(event.experiment))
        db.execute(
            _NEW_EXPERIMENT,
            (event.experiment, event.name, event.artifacts, ms, ms),
        )
        self._tag_experiment(db, experiment_no(db, event.experiment), event.tags)

    def _experiment_changed(self, db: sqlite3.Connection, event: ExperimentChanged, ms: int) -> None:
        no = experiment_no(db, event.experiment)
        if event.name:
            db.execute("UPDATE experiment SET name = ? WHERE no = ?", (event.name, no))
        self._tag_experiment(db, no, event.tags)
        db.execute("DELETE FROM experiment_tag WHERE experiment = ? AND name = ?", (no, event.without))
        db.execute("UPDATE experiment SET updated_ms = ? WHERE no = ?", (ms, no))

    def _experiment_moved(self, db: sqlite3.Connection, event: ExperimentMoved, ms: int) -> None:
        no = experiment_no(db, event.experiment)
        db.execute("UPDATE experiment SET deleted = ?, updated_ms = ? WHERE no = ?", (event.deleted, ms, no))
        db.execute("UPDATE run SET deleted = ? WHERE experiment = ?", (event.deleted, no))
        _note(db, no, EVERY_RUN)
        self._runs.clear()

    def _tag_experiment(self, db: sqlite3.Connection, no: int, tags: Mapping[str, Text]) -> None:
        rows = [(no, name, self._text(value)) for name, value in tags.items()]
        db.executemany("INSERT OR REPLACE INTO experiment_tag VALUES (?, ?, ?)", rows)

    # Runs

    def _run_created(self, db: sqlite3.Connection, event: RunCreated, ms: int) -> None:
        experiment = self.experiment(db, event.experiment)
        purged.come_again(db, run_stream(event.run))
        status = STATUSES.index(event.status)
        times = event.started_ms, event.ended_ms
        made = db.execute(_NEW_RUN, (event.run, experiment, event.name, event.user, status, *times))
        if made.rowcount:
            row = RunRow(made.lastrowid or 0, experiment, False, status, event.name)
            self._remember(event.run, row)
        self._describe(db, event.run, event.params, {**event.tags, RUN_NAME: event.name})

    def _run_described(self, db: sqlite3.Connection, event: RunDescribed, ms: int) -> None:
        self._describe(db, event.run, event.params, event.tags)
        if event.without and (row := self.run(db, event.run)):
            key = self.key(db, row.experiment, TAG, event.without)
            db.execute("DELETE FROM word WHERE run = ? AND key = ?", (row.no, key))
        if RUN_NAME in event.tags:
            self._rename(db, event.run, self._text(event.tags[RUN_NAME]))

    def _describe(
        self, db: sqlite3.Connection, run: str, params: Mapping[str, Text], tags: Mapping[str, Text]
    ) -> None:
        row = self.run(db, run)
        if row is None:
            return
        words = [
            (row.no, self.key(db, row.experiment, kind, name), self._text(value))
            for kind, values in ((PARAM, params), (TAG, tags))
            for name, value in values.items()
        ]
        db.executemany("INSERT OR REPLACE INTO word VALUES (?, ?, ?)", words)
        _note(db, row.experiment, row.no)

    def _run_updated(self, db: sqlite3.Connection, event: RunUpdated, ms: int) -> None:
        if event.status is not None:
            status = STATUSES.index(event.status)
            db.execute("UPDATE run SET status = ? WHERE id = ?", (status, event.run))
        if event.ended_ms is not None:
            db.execute("UPDATE run SET ended_ms = ? WHERE id = ?", (event.ended_ms, event.run))
        if event.name:
            self._rename(db, event.run, event.name)
        self._describe(db, event.run, {}, {RUN_NAME: event.name} if event.name else {})
        self._runs.pop(event.run, None)

    def _run_reproduced(self, db: sqlite3.Connection, event: RunReproduced, ms: int) -> None:
        self._describe(db, event.run, {}, {REPRODUCED: event.verdict})

    def _rename(self, db: sqlite3.Connection, run: str, name: str) -> None:
        db.execute("UPDATE run SET name = ? WHERE id = ?", (name, run))
        self._runs.pop(run, None)

    def _run_moved(self, db: sqlite3.Connection, event: RunMoved, ms: int) -> None:
        db.execute("UPDATE run SET deleted = ? WHERE id = ?", (event.deleted, event.run))
        self._runs.pop(event.run, None)
        if row := self.run(db, event.run):
            _note(db, row.experiment, row.no)

    def _run_linked(self, db: sqlite3.Connection, event: RunLinked, ms: int) -> None:
        row = self.run(db, event.run)
        if row is None:
            return
        for one in event.datasets:
            context = next((tag.value for tag in one.tags if tag.key == "mlflow.data.context"), None)
            read = msgspec.structs.replace(
                one,
                source=self._text(one.source),
                schema=self._text(one.schema),
                profile=self._text(one.profile),
            )
            body = msgspec.json.encode(read)
            db.execute(
                "INSERT OR IGNORE INTO input VALUES (?, ?, ?, ?, ?)",
                (row.no, one.name, one.digest, context, body),
            )
        models = [(row.no, 0, one.model_id, 0) for one in event.models]
        models += [(row.no, 1, one.model_id, one.step) for one in event.outputs]
        db.executemany("INSERT OR IGNORE INTO run_model VALUES (?, ?, ?, ?)", models)
        _note(db, row.experiment, row.no)

    def _run_purged(self, db: sqlite3.Connection, event: RunPurged, ms: int) -> None:
        row = self.run(db, event.run)
        if row is None:
            return
        texts = [value for (value,) in db.execute("SELECT value FROM word WHERE run = ?", (row.no,))]
        for (body,) in db.execute("SELECT body FROM input WHERE run = ?", (row.no,)):
            read = msgspec.json.decode(body, type=DatasetInput)
            texts += [text for text in (read.source, read.schema, read.profile) if isinstance(text, str)]
        purged.orphan(db, run_stream(event.run), f"runs/{event.run}", texts)
        for table in _OF_RUN:
            db.execute(f"DELETE FROM {table} WHERE run = ?", (row.no,))
        db.execute("DELETE FROM run WHERE no = ?", (row.no,))
        self._runs.pop(event.run, None)
        _note(db, row.experiment, row.no)

    def _experiment_purged(self, db: sqlite3.Connection, event: ExperimentPurged, ms: int) -> None:
        no = experiment_no(db, event.experiment)
        texts = [
            value for (value,) in db.execute("SELECT value FROM experiment_tag WHERE experiment = ?", (no,))
        ]
        purged.orphan(db, experiment_stream(event.experiment), "", texts)
        for table in ("experiment_tag", "key"):
            db.execute(f"DELETE FROM {table} WHERE experiment = ?", (no,))
        db.execute("DELETE FROM experiment WHERE no = ?", (no,))
        self._keys.clear()
        self._experiments.clear()


def first_and_last_change(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the numbers of the first and the last change of a run that the file knows of; 0 for none."""
    # Asked for together in one query, they would be looked for in every row.
    query = "SELECT ifnull((SELECT min(no) FROM changed), 0), ifnull((SELECT max(no) FROM changed), 0)"
    return db.execute(query).fetchone()


def experiment_no(db: sqlite3.Connection, experiment: str) -> int:
    """Return the number of an experiment in the file; 0 if there is none."""
    row = db.execute("SELECT no FROM experiment WHERE id = ?", (experiment,)).fetchone()
    return 0 if row is None else row[0]


def _note(db: sqlite3.Connection, experiment: int, run: int) -> None:
    """Put down that a run has changed, for those who hold values of many in memory."""
    made = db.execute("INSERT INTO changed (experiment, run) VALUES (?, ?)", (experiment, run))
    if (made.lastrowid or 0) % CHANGES_KEPT == 0:
        db.execute("DELETE FROM changed WHERE no <= ?", ((made.lastrowid or 0) - CHANGES_KEPT,))

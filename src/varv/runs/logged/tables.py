"""The rows of logged models, folded from their events."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.texts import Text, whole_or_gone
from varv.runs.logged.model import (
    LOGGED_STATUSES,
    MODELS_FOLDER,
    LoggedStatus,
    ModelDescribed,
    ModelFinalized,
    ModelLogged,
    ModelMoved,
    ModelPurged,
    logged_stream,
)
from varv.runs.purged import come_again, orphan
from varv.runs.tables import PARAM, TAG, experiment_no

_SCHEMA = """
CREATE TABLE IF NOT EXISTS logged (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, experiment INTEGER NOT NULL, name TEXT NOT NULL,
    type TEXT NOT NULL, run TEXT NOT NULL, status INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS logged_by_time ON logged (experiment, deleted, created_ms DESC, no DESC);
CREATE INDEX IF NOT EXISTS logged_by_run ON logged (run);
CREATE TABLE IF NOT EXISTS logged_word (
    logged INTEGER NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (logged, kind, name)) WITHOUT ROWID;
"""
_NEW = """
INSERT INTO logged (id, experiment, name, type, run, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING
"""


class LoggedRow(NamedTuple):
    """What is looked at before a logged model is written to."""

    no: int
    run: str
    artifacts: str
    """Of its experiment."""
    deleted: bool
    status: LoggedStatus


class LoggedTables:
    """Folds what happens to logged models; a `kernel.recorder.Fold`.

    Parameters
    ----------
    blobs
        Hold the texts that are too long for entries.
    """

    schema = _SCHEMA
    events = (ModelLogged, ModelDescribed, ModelFinalized, ModelMoved, ModelPurged)

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Take in one event; again changes nothing."""
        ms = at // 1000
        match event:
            case ModelLogged():
                come_again(db, logged_stream(event.logged_model))
                experiment = experiment_no(db, event.experiment)
                db.execute(_NEW, (event.logged_model, experiment, event.name, event.type, event.run, ms, ms))
                self._describe(db, event.logged_model, event.params, event.tags)
            case ModelDescribed():
                self._describe(db, event.logged_model, event.params, event.tags)
                no = logged_no(db, event.logged_model)
                query = "DELETE FROM logged_word WHERE logged = ? AND kind = ? AND name = ?"
                db.execute(query, (no, TAG, event.without))
            case ModelFinalized():
                status = LOGGED_STATUSES.index(event.status)
                query = "UPDATE logged SET status = ?, updated_ms = ? WHERE id = ?"
                db.execute(query, (status, ms, event.logged_model))
            case ModelMoved():
                query = "UPDATE logged SET deleted = ?, updated_ms = ? WHERE id = ?"
                db.execute(query, (event.deleted, ms, event.logged_model))
            case ModelPurged():
                self._purge(db, event.logged_model)
            case _:
                pass

    def _purge(self, db: sqlite3.Connection, id: str) -> None:
        no = logged_no(db, id)
        words = [value for (value,) in db.execute("SELECT value FROM logged_word WHERE logged = ?", (no,))]
        orphan(db, logged_stream(id), f"{MODELS_FOLDER}/{id}", words)
        db.execute("DELETE FROM logged_word WHERE logged = ?", (no,))
        db.execute("DELETE FROM logged WHERE no = ?", (no,))

    def forget(self) -> None:
        """Throw away what is remembered of rows, which is nothing."""

    def _describe(
        self, db: sqlite3.Connection, id: str, params: Mapping[str, Text], tags: Mapping[str, Text]
    ) -> None:
        no = logged_no(db, id)
        rows = [
            (no, kind, name, whole_or_gone(self._blobs, value))
            for kind, values in ((PARAM, params), (TAG, tags))
            for name, value in values.items()
        ]
        db.executemany("INSERT OR REPLACE INTO logged_word VALUES (?, ?, ?, ?)", rows)


def logged_no(db: sqlite3.Connection, id: str) -> int:
    """Return the number of a logged model in the file; 0 if there is none."""
    row = db.execute("SELECT no FROM logged WHERE id = ?", (id,)).fetchone()
    return 0 if row is None else row[0]


def root_of(db: sqlite3.Connection, id: str) -> str | None:
    """Return where the artifacts of a logged model are, deleted or not; None if there is none."""
    row = logged_row(db, id)
    return None if row is None else f"{row.artifacts}/{MODELS_FOLDER}/{id}/artifacts"


def logged_row(db: sqlite3.Connection, id: str) -> LoggedRow | None:
    """Return what is known of a logged model; None if there is none."""
    joined = "logged JOIN experiment ON experiment.no = logged.experiment"
    columns = "logged.no, run, artifacts, logged.deleted, status"
    row = db.execute(f"SELECT {columns} FROM {joined} WHERE logged.id = ?", (id,)).fetchone()
    if row is None:
        return None
    no, run, artifacts, deleted, status = row
    return LoggedRow(no, run, artifacts, bool(deleted), LOGGED_STATUSES[status])

"""The rows of registered models and versions, folded from what loops register and from what is logged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.stated_tags import BECAME, CAME_FROM, FILES, FLAVORS, RUNTIME, SCAN, with_one_more
from varv.kernel.texts import Text, whole
from varv.registry.model import (
    STAGES,
    AliasMoved,
    ModelChanged,
    ModelCreated,
    ModelDeleted,
    ModelRenamed,
    RegistryImported,
    StageMoved,
    VersionChanged,
    VersionDeleted,
    VersionLogged,
    VersionRegistered,
    VersionScanned,
    training_run,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS registered (
    no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL DEFAULT '',
    last INTEGER NOT NULL DEFAULT 0, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS registered_tag (
    model INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alias (
    model INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (model, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS version (
    no INTEGER PRIMARY KEY, model INTEGER NOT NULL, number INTEGER NOT NULL, stage INTEGER NOT NULL DEFAULT 0,
    trained INTEGER NOT NULL DEFAULT 0, source TEXT NOT NULL, storage TEXT NOT NULL, run TEXT NOT NULL,
    run_link TEXT NOT NULL, logged TEXT NOT NULL, description TEXT NOT NULL, created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL, UNIQUE (model, number));
CREATE INDEX IF NOT EXISTS version_by_stage ON version (model, stage, number);
CREATE INDEX IF NOT EXISTS version_by_run ON version (run);
CREATE INDEX IF NOT EXISTS version_by_logged ON version (logged);
CREATE INDEX IF NOT EXISTS version_by_source ON version (source);
CREATE INDEX IF NOT EXISTS version_by_change ON version (updated_ms DESC);
CREATE TABLE IF NOT EXISTS version_tag (
    version INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (version, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS registry_imported (
    model INTEGER NOT NULL, number INTEGER NOT NULL, source TEXT NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (model, number)) WITHOUT ROWID;
"""
OF_MODEL = 0
"""Stands for the number of a version in what was taken over of a registered model itself."""
_NEW_MODEL = """
INSERT INTO registered (name, description, created_ms, updated_ms) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO NOTHING
"""
_NEW_VERSION = """
INSERT INTO version (model, number, trained, source, storage, run, run_link, logged, description, created_ms,
    updated_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (model, number) DO NOTHING
"""


class RegistryTables:
    """Folds what happens to registered models and versions; a `kernel.recorder.Fold`.

    Parameters
    ----------
    blobs
        Hold the texts that are too long for entries.
    """

    schema = _SCHEMA
    events = (
        ModelCreated,
        ModelChanged,
        ModelRenamed,
        ModelDeleted,
        VersionLogged,
        VersionRegistered,
        VersionChanged,
        VersionDeleted,
        VersionScanned,
        StageMoved,
        AliasMoved,
        RegistryImported,
    )

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._applying: dict[type[Event], Callable[[sqlite3.Connection, Any, int], None]] = {
            ModelCreated: self._created,
            ModelChanged: self._changed,
            ModelRenamed: self._renamed,
            ModelDeleted: self._deleted,
            VersionLogged: self._logged,
            VersionRegistered: self._registered,
            VersionChanged: self._version_changed,
            VersionDeleted: self._version_deleted,
            VersionScanned: self._scanned,
            StageMoved: self._stage_moved,
            AliasMoved: self._alias_moved,
            RegistryImported: self._imported,
        }

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Take in one event; again changes nothing."""
        self._applying[type(event)](db, event, at // 1000)

    def forget(self) -> None:
        """Throw away what is remembered of rows, which is nothing."""

    # Models

    def _created(self, db: sqlite3.Connection, event: ModelCreated, ms: int) -> None:
        db.execute(_NEW_MODEL, (event.model, whole(self._blobs, event.description), ms, ms))
        self._tag(db, "registered_tag", model_no(db, event.model), event.tags)

    def _changed(self, db: sqlite3.Connection, event: ModelChanged, ms: int) -> None:
        no = model_no(db, event.model)
        if event.description is not None:
            text = whole(self._blobs, event.description)
            db.execute("UPDATE registered SET description = ? WHERE no = ?", (text, no))
        self._tag(db, "registered_tag", no, event.tags)
        db.execute("DELETE FROM registered_tag WHERE model = ? AND name = ?", (no, event.without))
        _touch(db, no, ms)

    def _renamed(self, db: sqlite3.Connection, event: ModelRenamed, ms: int) -> None:
        db.execute("UPDATE registered SET name = ? WHERE name = ?", (event.to, event.model))
        no = model_no(db, event.to)
        db.execute("UPDATE version SET updated_ms = ? WHERE model = ?", (ms, no))
        _touch(db, no, ms)

    def _deleted(self, db: sqlite3.Connection, event: ModelDeleted, ms: int) -> None:
        no = model_no(db, event.model)
        db.execute("DELETE FROM version_tag WHERE version IN (SELECT no FROM version WHERE model = ?)", (no,))
        for table in ("version", "alias", "registered_tag", "registry_imported"):
            db.execute(f"DELETE FROM {table} WHERE model = ?", (no,))
        db.execute("DELETE FROM registered WHERE no = ?", (no,))

    # Versions

    def _logged(self, db: sqlite3.Connection, event: VersionLogged, ms: int) -> None:
        no = model_no(db, event.model)
        text = whole(self._blobs, event.description)
        row = (event.source, event.storage, event.run, event.run_link, event.logged_model, text, ms, ms)
        db.execute(_NEW_VERSION, (no, event.version, 0, *row))
        self._tag(db, "version_tag", version_no(db, no, event.version), event.tags)
        self._counted(db, no, event.version, ms)

    def _registered(self, db: sqlite3.Connection, event: VersionRegistered, ms: int) -> None:
        db.execute(_NEW_MODEL, (event.model, "", ms, ms))
        no = model_no(db, event.model)
        place = f"varv:/{event.package}"
        run = training_run(event.model, event.version)
        db.execute(_NEW_VERSION, (no, event.version, 1, place, place, run, "", "", "", ms, ms))
        self._counted(db, no, event.version, ms)
        source = "" if event.imported is None else event.imported.source
        if source:
            self._tag(db, "version_tag", version_no(db, no, event.version), {CAME_FROM: source})
            self._became(db, source, f"{event.model} v{event.version}")

    def _became(self, db: sqlite3.Connection, source: str, name: str) -> None:
        """Note of a logged version what came of it."""
        model, _, number = source.removeprefix("models:/").rpartition("/")
        no = version_no(db, model_no(db, model), int(number)) if model and number.isdecimal() else 0
        if no:
            query = "SELECT value FROM version_tag WHERE version = ? AND name = ?"
            before = db.execute(query, (no, BECAME)).fetchone()
            self._tag(db, "version_tag", no, {BECAME: with_one_more(before[0] if before else "", name)})

    def _scanned(self, db: sqlite3.Connection, event: VersionScanned, ms: int) -> None:
        # Nobody changed the version, so its times stay.
        no = version_no(db, model_no(db, event.model), event.version)
        tags = {FLAVORS: event.flavors, RUNTIME: event.runtime, SCAN: event.scan, FILES: event.root}
        if no:
            self._tag(db, "version_tag", no, tags)

    def _counted(self, db: sqlite3.Connection, no: int, version: int, ms: int) -> None:
        db.execute("UPDATE registered SET last = max(last, ?) WHERE no = ?", (version, no))
        _touch(db, no, ms)

    def _version_changed(self, db: sqlite3.Connection, event: VersionChanged, ms: int) -> None:
        model = model_no(db, event.model)
        no = version_no(db, model, event.version)
        if event.description is not None:
            text = whole(self._blobs, event.description)
            db.execute("UPDATE version SET description = ? WHERE no = ?", (text, no))
        self._tag(db, "version_tag", no, event.tags)
        db.execute("DELETE FROM version_tag WHERE version = ? AND name = ?", (no, event.without))
        db.execute("UPDATE version SET updated_ms = ? WHERE no = ?", (ms, no))
        _touch(db, model, ms)

    def _version_deleted(self, db: sqlite3.Connection, event: VersionDeleted, ms: int) -> None:
        model = model_no(db, event.model)
        no = version_no(db, model, event.version)
        db.execute("DELETE FROM version_tag WHERE version = ?", (no,))
        db.execute("DELETE FROM alias WHERE model = ? AND version = ?", (model, event.version))
        db.execute("DELETE FROM version WHERE no = ?", (no,))
        _touch(db, model, ms)

    def _stage_moved(self, db: sqlite3.Connection, event: StageMoved, ms: int) -> None:
        model = model_no(db, event.model)
        moves = [(STAGES.index("Archived"), ms, model, number) for number in event.archived]
        moves.append((STAGES.index(event.stage), ms, model, event.version))
        db.executemany("UPDATE version SET stage = ?, updated_ms = ? WHERE model = ? AND number = ?", moves)
        _touch(db, model, ms)

    def _alias_moved(self, db: sqlite3.Connection, event: AliasMoved, ms: int) -> None:
        model = model_no(db, event.model)
        if event.version is None:
            db.execute("DELETE FROM alias WHERE model = ? AND name = ?", (model, event.alias))
        elif model:
            db.execute("INSERT OR REPLACE INTO alias VALUES (?, ?, ?)", (model, event.alias, event.version))
        _touch(db, model, ms)

    def _imported(self, db: sqlite3.Connection, event: RegistryImported, ms: int) -> None:
        no = model_no(db, event.model)
        times = (event.created_ms, event.updated_ms)
        if event.version is None:
            query = "UPDATE registered SET created_ms = ?, updated_ms = ?, last = max(last, ?) WHERE no = ?"
            db.execute(query, (*times, event.last, no))
        else:
            query = "UPDATE version SET created_ms = ?, updated_ms = ? WHERE model = ? AND number = ?"
            db.execute(query, (*times, no, event.version))
        number = OF_MODEL if event.version is None else event.version
        row = (no, number, event.source, event.content)
        db.execute("INSERT OR REPLACE INTO registry_imported VALUES (?, ?, ?, ?)", row)

    def _tag(self, db: sqlite3.Connection, table: str, no: int, tags: Mapping[str, Text]) -> None:
        rows = [(no, name, whole(self._blobs, value)) for name, value in tags.items()]
        db.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", rows)


def _touch(db: sqlite3.Connection, no: int, ms: int) -> None:
    db.execute("UPDATE registered SET updated_ms = ? WHERE no = ?", (ms, no))


def model_no(db: sqlite3.Connection, name: str) -> int:
    """Return the number of a registered model in the file; 0 if there is none."""
    row = db.execute("SELECT no FROM registered WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else row[0]


def version_no(db: sqlite3.Connection, model: int, number: int) -> int:
    """Return the number of a version's row in the file; 0 if there is none."""
    row = db.execute("SELECT no FROM version WHERE model = ? AND number = ?", (model, number)).fetchone()
    return 0 if row is None else row[0]

"""The rows of traces: those that are stored as they come, and those that are folded from events.

What is folded names a trace by its id, so it can be folded again whether or not the trace is still there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.texts import whole
from varv.runs.traces.model import (
    TRACES_FOLDER,
    AssessmentDeleted,
    TraceAssessed,
    TracesDeleted,
    TracesLinked,
    TraceTagged,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trace (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, experiment INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    took_ms INTEGER, state INTEGER NOT NULL, client_request TEXT, request TEXT, response TEXT,
    spans INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS trace_by_time ON trace (experiment, at_ms DESC, id);
CREATE TABLE IF NOT EXISTS trace_metadata (
    trace INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (trace, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS trace_metadata_by_value ON trace_metadata (name, value, trace);
CREATE TABLE IF NOT EXISTS span (
    no INTEGER PRIMARY KEY, trace INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, type TEXT,
    status INTEGER NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (trace, id));
CREATE TABLE IF NOT EXISTS trace_tag (
    trace TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (trace, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS trace_tag_by_value ON trace_tag (name, value, trace);
CREATE TABLE IF NOT EXISTS assessment (
    no INTEGER PRIMARY KEY, trace TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    valid INTEGER NOT NULL, value TEXT, number REAL, body BLOB NOT NULL, UNIQUE (trace, id));
CREATE TABLE IF NOT EXISTS trace_link (
    target TEXT NOT NULL, trace TEXT NOT NULL, PRIMARY KEY (target, trace)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS trace_link_by_trace ON trace_link (trace);
"""
_KEEP_ASSESSMENT = """
INSERT INTO assessment (trace, id, kind, name, valid, value, number, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (trace, id) DO UPDATE SET
    kind = excluded.kind, name = excluded.name, valid = excluded.valid, value = excluded.value,
    number = excluded.number, body = excluded.body
"""


class TraceTables:
    """Folds what is said of traces; a `kernel.recorder.Fold`.

    Parameters
    ----------
    blobs
        Hold the texts that are too long for entries.
    """

    schema = _SCHEMA
    events = (TraceTagged, TraceAssessed, AssessmentDeleted, TracesLinked, TracesDeleted)

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._applying: dict[type[Event], Callable[[sqlite3.Connection, Any], None]] = {
            TraceTagged: self._tagged,
            TraceAssessed: self._assessed,
            AssessmentDeleted: _assessment_deleted,
            TracesLinked: _linked,
            TracesDeleted: _deleted,
        }

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Take in one event; again changes nothing."""
        self._applying[type(event)](db, event)

    def forget(self) -> None:
        """Forget nothing: nothing is remembered."""

    def _tagged(self, db: sqlite3.Connection, event: TraceTagged) -> None:
        rows = [(event.trace, name, whole(self._blobs, value)) for name, value in event.tags.items()]
        db.executemany("INSERT OR REPLACE INTO trace_tag VALUES (?, ?, ?)", rows)
        db.execute("DELETE FROM trace_tag WHERE trace = ? AND name = ?", (event.trace, event.without))

    def _assessed(self, db: sqlite3.Connection, event: TraceAssessed) -> None:
        given = event.assessment
        body = whole(self._blobs, given.body)
        spelled = msgspec.structs.replace(
            given,
            body=body,
            rationale=whole(self._blobs, given.rationale),
            metadata={name: whole(self._blobs, value) for name, value in given.metadata.items()},
        )
        row = (given.id, given.kind, given.name, given.valid, *compared(body))
        db.execute(_KEEP_ASSESSMENT, (event.trace, *row, msgspec.json.encode(spelled)))
        if given.overrides:
            db.execute(_REPLACED, (False, event.trace, given.overrides))


_REPLACED = "UPDATE assessment SET valid = ? WHERE trace = ? AND id = ?"


def compared(body: str) -> tuple[str | None, float | None]:
    """Return what the value of an assessment is compared as: a text as it is, anything else as JSON, and a
    number besides.

    Examples
    --------
    >>> compared('{"value": "good"}'), compared('{"value": 0.5}'), compared('{"error": {}}')
    (('good', None), ('0.5', 0.5), (None, None))
    """
    said = msgspec.json.decode(body)
    value = said.get("value")
    if isinstance(kept := said.get("serialized_value"), dict):
        value = kept.get("value")
    if value is None or isinstance(value, str):
        return value, None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return msgspec.json.encode(value).decode(), float(value) if is_number else None


def _assessment_deleted(db: sqlite3.Connection, event: AssessmentDeleted) -> None:
    asked = (event.trace, event.assessment)
    row = db.execute("SELECT body FROM assessment WHERE trace = ? AND id = ?", asked).fetchone()
    if row is not None:
        replaced = msgspec.json.decode(row[0]).get("overrides", "")
        db.execute(_REPLACED, (True, event.trace, replaced))
    db.execute("DELETE FROM assessment WHERE trace = ? AND id = ?", asked)


def _linked(db: sqlite3.Connection, event: TracesLinked) -> None:
    targets = [run_target(event.run)] if event.run else [prompt_target(one) for one in event.prompts]
    rows = [(target, trace) for target in targets for trace in event.traces]
    db.executemany("INSERT OR IGNORE INTO trace_link VALUES (?, ?)", rows)


def _deleted(db: sqlite3.Connection, event: TracesDeleted) -> None:
    for trace in event.traces:
        row = db.execute("SELECT no FROM trace WHERE id = ?", (trace,)).fetchone()
        if row is not None:
            for table in ("span", "trace_metadata"):
                db.execute(f"DELETE FROM {table} WHERE trace = ?", row)
            db.execute("DELETE FROM trace WHERE no = ?", row)
        for table in ("trace_tag", "assessment", "trace_link"):
            db.execute(f"DELETE FROM {table} WHERE trace = ?", (trace,))
        db.execute("DELETE FROM artifact WHERE owner = ?", (f"{TRACES_FOLDER}/{trace}",))


def run_target(run: str) -> str:
    """Return how a link names a run."""
    return f"run/{run}"


def prompt_target(prompt: str) -> str:
    """Return how a link names a version of a prompt, ``name/version``."""
    return f"prompt/{prompt}"


def trace_no(db: sqlite3.Connection, trace: str) -> int:
    """Return the number of a trace in the file; 0 if there is none."""
    row = db.execute("SELECT no FROM trace WHERE id = ?", (trace,)).fetchone()
    return 0 if row is None else row[0]

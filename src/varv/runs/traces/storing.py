"""How spans, and what a client knows of a trace as a whole, become rows, whether a client sends them or they
are brought from elsewhere.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import NamedTuple

from varv.kernel.errors import InvalidInput
from varv.runs.traces.model import HERE, SPANS_AT, STATES, WHOLE, TraceId, TraceInfo
from varv.runs.traces.rules import LONGEST_PREVIEW, LONGEST_TAG, MOST_TAGS, require_room
from varv.runs.traces.spans import Taken
from varv.runs.traces.tables import trace_no

_BEGIN = """
INSERT INTO trace (id, experiment, at_ms, took_ms, state, client_request, request, response)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    at_ms = excluded.at_ms, took_ms = excluded.took_ms, state = excluded.state,
    client_request = excluded.client_request, request = ifnull(excluded.request, request),
    response = ifnull(excluded.response, response)
"""
_TAKE = """
INSERT INTO trace (id, experiment, at_ms, took_ms, state, request, response, spans, size)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    at_ms = excluded.at_ms, took_ms = excluded.took_ms, state = excluded.state,
    request = ifnull(request, excluded.request), response = ifnull(response, excluded.response),
    spans = excluded.spans, size = excluded.size
"""
_SPAN = """
INSERT INTO span (trace, id, name, type, status, size, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (trace, id) DO UPDATE SET
    name = excluded.name, type = excluded.type, status = excluded.status, size = excluded.size,
    body = excluded.body
"""


class TraceRow(NamedTuple):
    """What is looked at before a trace is written to."""

    experiment: int
    at_ms: int
    took_ms: int | None
    state: int
    spans: int
    size: int
    is_whole: bool


def begin_trace(db: sqlite3.Connection, experiment: int, info: TraceInfo) -> None:
    """Write what is known of a trace, in the place of what its spans said; its tags and metadata apart."""
    previews = (None if text is None else text[:LONGEST_PREVIEW] for text in (info.request, info.response))
    state = STATES.index(info.state)
    db.execute(_BEGIN, (info.id, experiment, info.at_ms, info.took_ms, state, info.client_request, *previews))


def planned(
    db: sqlite3.Connection, experiment: int, trace: TraceId, some: Taken, tags: Mapping[str, str]
) -> Callable[[sqlite3.Connection], None]:
    """Return what writes spans of a trace, once it is certain that it may have them."""
    before = trace_row(db, trace)
    require_of(before, experiment, trace)
    require_room_for_tags(db, trace)
    kept = _sizes(db, trace, some)
    n_spans = (before.spans if before else 0) + len(some.rows) - len(kept)
    size = (before.size if before else 0) + sum(row.size for row in some.rows) - sum(kept)
    require_room(trace, n_spans, size)
    row = (trace, experiment, *_course(before, some), some.request, some.response, n_spans, size)

    def write(db: sqlite3.Connection) -> None:
        db.execute(_TAKE, row)
        no = trace_no(db, trace)
        db.executemany(_SPAN, [(no, *one) for one in some.rows])
        add_tags(db, trace, {**tags, **some.tags, SPANS_AT: HERE})
        add_metadata(db, trace, some.metadata, keeping=True)

    return write


def _course(before: TraceRow | None, some: Taken) -> tuple[int, int | None, int]:
    """Return when a trace began, how long it took, and its state, once these spans have come."""
    took = None if some.ended_ms is None else some.ended_ms - some.begun_ms
    if before is None:
        return some.begun_ms, took, STATES.index(some.state or "IN_PROGRESS")
    state = before.state
    if some.state is not None and STATES[state] in ("IN_PROGRESS", "STATE_UNSPECIFIED"):
        state = STATES.index(some.state)
    if before.is_whole:
        return before.at_ms, before.took_ms, state
    begun = min(before.at_ms, some.begun_ms)
    ends = [some.ended_ms, None if before.took_ms is None else before.at_ms + before.took_ms]
    known = [end for end in ends if end is not None]
    return begun, max(known) - begun if known else None, state


def _sizes(db: sqlite3.Connection, trace: str, some: Taken) -> list[int]:
    """Return the sizes of those spans that are there already."""
    no = trace_no(db, trace)
    query = "SELECT size FROM span WHERE trace = ? AND id = ?"
    rows = (db.execute(query, (no, row.id)).fetchone() for row in some.rows) if no else ()
    return [row[0] for row in rows if row is not None]


def trace_row(db: sqlite3.Connection, trace: str) -> TraceRow | None:
    """Return what is there of a trace; None if it is not."""
    whole = "EXISTS (SELECT 1 FROM trace_metadata WHERE trace = trace.no AND name = ?)"
    query = f"SELECT experiment, at_ms, took_ms, state, spans, size, {whole} FROM trace WHERE id = ?"
    row = db.execute(query, (WHOLE, trace)).fetchone()
    return None if row is None else TraceRow(*row)


def require_of(row: TraceRow | None, experiment: int, trace: str) -> None:
    """Raise `InvalidInput` if a trace is of another experiment."""
    if row is not None and row.experiment != experiment:
        raise InvalidInput("trace", trace[:80], "already exists in another experiment")


def require_room_for_tags(db: sqlite3.Connection, trace: str) -> None:
    """Raise `InvalidInput` if a trace takes no more tags."""
    n = db.execute("SELECT count(*) FROM trace_tag WHERE trace = ?", (trace,)).fetchone()[0]
    if n > MOST_TAGS:
        raise InvalidInput("trace", trace[:80], "has too many tags", most=MOST_TAGS, found=n)


def add_tags(db: sqlite3.Connection, trace: str, tags: Mapping[str, str]) -> None:
    """Write tags of a trace, cut where they are long."""
    rows = [(trace, name, value[:LONGEST_TAG]) for name, value in tags.items()]
    db.executemany("INSERT OR REPLACE INTO trace_tag VALUES (?, ?, ?)", rows)


def add_metadata(
    db: sqlite3.Connection, trace: str, metadata: Mapping[str, str], *, keeping: bool = False
) -> None:
    """Write metadata of a trace that is there.

    Parameters
    ----------
    keeping
        Whether what is there already stays.
    """
    no = trace_no(db, trace)
    rows = [(no, name, value) for name, value in metadata.items()]
    db.executemany(
        f"INSERT OR {'IGNORE' if keeping else 'REPLACE'} INTO trace_metadata VALUES (?, ?, ?)", rows
    )

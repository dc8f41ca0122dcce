"""What takes over traces that were recorded elsewhere, with their spans and what was judged of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from varv.kernel.blobs import Blobs
from varv.kernel.errors import Conflict, NotFound
from varv.kernel.recorder import Write, Writing
from varv.runs.imports.model import Imported, SourceTrace, content_of, name_of
from varv.runs.imports.rules import HINT
from varv.runs.imports.service import Taken
from varv.runs.imports.tables import Mark, mark_of, put_mark
from varv.runs.model import RunId, run_stream
from varv.runs.tables import experiment_no
from varv.runs.traces.assessing import dated, restored, stated
from varv.runs.traces.model import Assessment, Span, TraceInfo, TracesLinked, trace_stream
from varv.runs.traces.rules import (
    require_assessment_id,
    require_assessments,
    require_room,
    require_trace_id,
    require_words,
)
from varv.runs.traces.spans import packed, read, taken
from varv.runs.traces.storing import TraceRow, add_metadata, add_tags, begin_trace, planned, trace_row
from varv.runs.traces.tables import prompt_target, run_target


def packed_spans(one: SourceTrace, spans: Sequence[Span]) -> tuple[bytes, ...]:
    """Return the spans of a trace as they are handed on.

    Raises
    ------
    InvalidInput
        If the trace, or something that was said of it, is more than is taken here.
    """
    id = require_trace_id(one.info.id)
    require_words("tags", one.info.tags)
    require_words("metadata", one.info.metadata)
    require_assessments(id, len(one.assessments))
    for assessment in one.assessments:
        require_assessment_id(assessment.id)
    rows = taken(spans).rows if spans else ()
    require_room(id, len(rows), sum(row.size for row in rows))
    return tuple(row.body for row in rows)


def take_trace(
    one: SourceTrace, bodies: Sequence[bytes], source: str, blobs: Blobs, *, is_last: bool = True
) -> Write[Taken]:
    """Return the work that takes over a trace with its spans.

    Parameters
    ----------
    bodies
        Its spans, as of `packed_spans`.
    is_last
        Whether no more spans of it are to come; until then it counts as half brought.

    Raises
    ------
    NotFound
        If its experiment was not taken over.
    Conflict
        If there is another trace of this id here.
    """
    id, info, content = require_trace_id(one.info.id), one.info, content_of(one)
    tags, metadata = require_words("tags", info.tags), require_words("metadata", info.metadata)
    given = taken([read(body) for body in bodies]) if bodies else None
    events = {made.id: stated(id, made, blobs) for made in one.assessments}

    def work(writing: Writing) -> Taken:
        db, known = writing.db, mark_of(writing.db, name_of(one))
        no = experiment_no(db, info.experiment)
        if not no:
            raise NotFound("experiment", info.experiment, hint="bring the experiment before its traces")
        here = trace_row(db, id)
        _require_same(info, here, no, known, source)
        plan = None if given is None else planned(db, no, id, given, {})
        fresh = [events[made.id] for made in one.assessments if made != _judged(db, id, made.id)]
        if known is not None and known.content == content and here is not None and not fresh:
            return "same"
        if plan is not None:
            writing.store(plan)
        writing.store(lambda db: begin_trace(db, no, info))
        writing.store(lambda db: add_tags(db, id, tags))
        writing.store(lambda db: add_metadata(db, id, metadata))
        for event in fresh:
            writing.record(trace_stream(id), dated(event, writing.now // 1000))
        _link(writing, one)
        if is_last:
            writing.record(trace_stream(id), Imported(thing=name_of(one), source=source, content=content))
            writing.store(lambda db: put_mark(db, name_of(one), Mark(source, content)))
        return "new" if here is None else "changed"

    return Write(work, stores=True)


def same_spans(here: Sequence[Span], there: Sequence[Span]) -> bool:
    """Return whether two lists hold the same spans, in whichever order."""
    return sorted(map(packed, here)) == sorted(map(packed, there))


def _require_same(info: TraceInfo, here: TraceRow | None, no: int, known: Mark | None, source: str) -> None:
    """Raise `Conflict` if the trace that has this id is another."""
    if here is not None and (here.experiment != no or (known is None and here.at_ms != info.at_ms)):
        problem = "is another one here than at the source"
        raise Conflict("trace", info.id, problem, source=source, hint=HINT)


def _judged(db: sqlite3.Connection, trace: str, id: str) -> Assessment | None:
    query = "SELECT body, valid FROM assessment WHERE trace = ? AND id = ?"
    row = db.execute(query, (trace, id)).fetchone()
    return None if row is None else restored(*row)


def _link(writing: Writing, one: SourceTrace) -> None:
    """Record which runs a trace belongs to and which prompts it has used, as far as that is new."""
    id = one.info.id
    query = "SELECT target FROM trace_link WHERE trace = ?"
    linked = {target for (target,) in writing.db.execute(query, (id,))}
    for run in one.runs:
        is_here = writing.db.execute("SELECT 1 FROM run WHERE id = ?", (run,)).fetchone()
        if is_here and run_target(run) not in linked:
            writing.record(run_stream(run), TracesLinked(traces=(id,), run=RunId(run)))
    if prompts := tuple(prompt for prompt in one.prompts if prompt_target(prompt) not in linked):
        writing.record(trace_stream(id), TracesLinked(traces=(id,), prompts=prompts))

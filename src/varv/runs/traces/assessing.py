"""Assessments of traces: what a person, a model or code judged, how it is changed, and how it is withdrawn.

Each is an event, since models are chosen and changed for what was judged. What replaces another assessment
names it; that one is kept, and no longer valid.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from varv.kernel.blobs import Blobs
from varv.kernel.errors import AlreadyExists, InvalidInput, NotFound
from varv.kernel.recorder import Write, Writing
from varv.kernel.texts import Text, all_kept, kept
from varv.runs.traces.model import (
    Assessment,
    AssessmentDeleted,
    AssessmentId,
    TraceAssessed,
    TraceId,
    trace_stream,
)
from varv.runs.traces.rules import LONGEST_JUDGED_BYTES, require_assessments
from varv.runs.traces.tables import trace_no


@dataclass(frozen=True, slots=True)
class Change:
    """What of an assessment is to be another; None where it stays, and what `metadata` names is added."""

    name: str | None = None
    kind: str | None = None
    """Of the value; that of an assessment never changes."""
    body: str | None = None
    rationale: str | None = None
    metadata: Mapping[str, str] | None = None


def assess(trace: str, assessment: Assessment, blobs: Blobs) -> Write[str]:
    """Return the work that puts an assessment on record, and returns its id.

    Raises
    ------
    NotFound
        If there is no such trace, or not the assessment that this one replaces.
    AlreadyExists
        If the trace has an assessment of that id.
    """
    event = stated(TraceId(trace), assessment, blobs)

    def work(writing: Writing) -> str:
        if not trace_no(writing.db, trace):
            raise NotFound("trace", trace[:80])
        query = "SELECT count(*) FROM assessment WHERE trace = ?"
        require_assessments(trace, writing.db.execute(query, (trace,)).fetchone()[0] + 1)
        if _found(writing.db, trace, assessment.id):
            raise AlreadyExists("assessment", assessment.id[:80], trace=trace)
        if assessment.overrides:
            assessment_of(writing.db, trace, assessment.overrides)
        writing.record(trace_stream(trace), dated(event, writing.now // 1000))
        return assessment.id

    return Write(work)


def change(trace: str, id: str, changed: Change, blobs: Blobs) -> Write[str]:
    """Return the work that changes an assessment, and returns its id.

    Raises
    ------
    NotFound
        If there is none.
    InvalidInput
        If its value would be of another kind.
    """

    def work(writing: Writing) -> str:
        before = assessment_of(writing.db, trace, id)
        if changed.kind is not None and changed.kind != before.kind:
            raise InvalidInput("assessment", id, f"is {before.kind}", hint=f"give it no {changed.kind}")
        added = changed.metadata or {}
        after = msgspec.structs.replace(
            before,
            name=before.name if changed.name is None else changed.name,
            body=before.body if changed.body is None else changed.body,
            rationale=before.rationale if changed.rationale is None else changed.rationale,
            metadata={**before.metadata, **added},
            updated_ms=writing.now // 1000,
        )
        writing.record(trace_stream(trace), stated(TraceId(trace), after, blobs))
        return id

    return Write(work)


def withdraw(trace: str, id: str) -> Write[None]:
    """Return the work that deletes an assessment; that there is none is no failure."""

    def work(writing: Writing) -> None:
        if not trace_no(writing.db, trace):
            raise NotFound("trace", trace[:80])
        if _found(writing.db, trace, id):
            event = AssessmentDeleted(trace=TraceId(trace), assessment=AssessmentId(id))
            writing.record(trace_stream(trace), event)

    return Write(work)


def assessment_of(db: sqlite3.Connection, trace: str, id: str) -> Assessment:
    """Return an assessment of a trace.

    Raises
    ------
    NotFound
        If there is no such trace, or it has none of that id.
    """
    if not trace_no(db, trace):
        raise NotFound("trace", trace[:80])
    row = _found(db, trace, id)
    if row is None:
        raise NotFound("assessment", id[:80], trace=trace)
    return restored(*row)


def restored(body: bytes, valid: int) -> Assessment:
    """Return an assessment from its row: whether it is valid may have changed since it was written."""
    return msgspec.structs.replace(msgspec.json.decode(body, type=Assessment), valid=bool(valid))


def stated(trace: TraceId, assessment: Assessment, blobs: Blobs) -> TraceAssessed:
    """Return the event that states an assessment.

    Raises
    ------
    InvalidInput
        If it says too much.
    """
    texts = [assessment.body, assessment.rationale, *assessment.metadata.values()]
    size = sum(len(str(text)) for text in texts)
    if size > LONGEST_JUDGED_BYTES:
        problem = "says too much"
        raise InvalidInput("assessment", assessment.name[:80], problem, most=LONGEST_JUDGED_BYTES, found=size)
    compact = msgspec.structs.replace(
        assessment,
        body=_compact(assessment.body, blobs),
        rationale=_compact(assessment.rationale, blobs),
        metadata=all_kept(blobs, {name: str(value) for name, value in assessment.metadata.items()}),
    )
    return TraceAssessed(trace=trace, assessment=compact)


def dated(event: TraceAssessed, now_ms: int) -> TraceAssessed:
    """Return an event with the times that its client left out."""
    given = event.assessment
    created = given.created_ms or now_ms
    updated = given.updated_ms or created
    spelled = msgspec.structs.replace(given, created_ms=created, updated_ms=updated)
    return msgspec.structs.replace(event, assessment=spelled)


def _compact(text: Text, blobs: Blobs) -> Text:
    return kept(blobs, text) if isinstance(text, str) else text


def _found(db: sqlite3.Connection, trace: str, id: str) -> tuple[bytes, int] | None:
    query = "SELECT body, valid FROM assessment WHERE trace = ? AND id = ?"
    return db.execute(query, (trace, id)).fetchone()

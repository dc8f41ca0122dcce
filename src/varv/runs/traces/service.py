"""What can be done to traces. Each function returns a piece of work for the recorder's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from varv.kernel.blobs import Blobs
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound
from varv.kernel.recorder import Recorder, Write, Writing
from varv.kernel.texts import all_kept
from varv.runs import reading
from varv.runs.model import RunId, experiment_stream, run_stream
from varv.runs.rules import require_long
from varv.runs.traces.assessing import dated, stated
from varv.runs.traces.model import (
    OURS,
    WHOLE,
    Assessment,
    Span,
    TraceId,
    TraceInfo,
    TracesDeleted,
    TracesLinked,
    TraceTagged,
    trace_stream,
)
from varv.runs.traces.rules import (
    MOST_DELETED,
    MOST_LINKED,
    require_assessments,
    require_trace_id,
    require_word,
    require_words,
    trace_id_of,
)
from varv.runs.traces.spans import Taken, tags_of, taken
from varv.runs.traces.storing import (
    add_metadata,
    add_tags,
    begin_trace,
    planned,
    require_of,
    require_room_for_tags,
    trace_row,
)
from varv.runs.traces.tables import run_target, trace_no

_DELETED_TOGETHER = 500
"""Traces that one entry of the ledger names."""


class Exported(NamedTuple):
    """Spans that came together, and what says where they are from, which becomes tags of their traces."""

    resource: dict[str, Any]
    spans: list[Span]


class Traces:
    """The traces of a home, as one writes to them.

    Parameters
    ----------
    recorder
        Writes the file that their tables are in.
    blobs
        Hold texts that are too long for entries of the ledger.
    """

    def __init__(self, recorder: Recorder, blobs: Blobs) -> None:
        self.recorder = recorder
        self.blobs = blobs

    def begin(self, info: TraceInfo, assessments: Sequence[Assessment] = ()) -> Write[TraceId]:
        """Put on record what a client knows of a trace, in the place of what its spans said.

        Raises
        ------
        NotFound
            If there is no such experiment.
        FailedPrecondition
            If it is deleted.
        InvalidInput
            If the trace is of another experiment, or has too much.
        """
        require_trace_id(info.id)
        tags, metadata = require_words("tags", info.tags), require_words("metadata", info.metadata)
        require_assessments(info.id, len(assessments))
        stated_events = [stated(info.id, one, self.blobs) for one in assessments]

        def work(writing: Writing) -> TraceId:
            no = _experiment(writing.db, info.experiment)
            require_of(trace_row(writing.db, info.id), no, info.id)
            require_room_for_tags(writing.db, info.id)
            writing.store(lambda db: begin_trace(db, no, info))
            writing.store(lambda db: add_tags(db, info.id, tags))
            writing.store(lambda db: add_metadata(db, info.id, {**metadata, WHOLE: "true"}))
            for event in stated_events:
                writing.record(trace_stream(info.id), dated(event, writing.now // 1000))
            return info.id

        return Write(work, stores=True)

    def take(self, experiment: str, exported: Sequence[Exported], *, run: str = "") -> Write[list[TraceId]]:
        """Put spans on record, and the traces that they are of where these are not there yet.

        Parameters
        ----------
        run
            The run that traces whose root is among the spans belong to; nothing for none.

        Raises
        ------
        NotFound
            If there is no such experiment or run.
        InvalidInput
            If a span or a trace would be too large, or a trace is of another experiment.
        """
        of_trace: dict[str, list[Span]] = {}
        tags: dict[str, dict[str, str]] = {}
        for part in exported:
            of_resource = require_words("tags", tags_of(part.resource))
            for span in part.spans:
                of_trace.setdefault(span.trace, []).append(span)
                tags[span.trace] = of_resource
        given = {trace_id_of(trace): (taken(some), tags[trace]) for trace, some in of_trace.items()}

        def work(writing: Writing) -> list[TraceId]:
            no = _experiment(writing.db, experiment)
            link = TracesLinked(traces=_ended(given), run=_run(writing.db, run)) if run else None
            plans = [planned(writing.db, no, trace, some, of) for trace, (some, of) in given.items()]
            for plan in plans:
                writing.store(plan)
            if link is not None and link.traces:
                writing.record(run_stream(run), link)
            return list(given)

        return Write(work, stores=True)

    def tag(self, trace: str, tags: Mapping[str, str]) -> Write[None]:
        """Set tags of a trace.

        Raises
        ------
        NotFound
            If there is no such trace.
        InvalidInput
            If a tag is not valid, or is the server's own.
        """
        for name in tags:
            _require_theirs(name)
        kept = all_kept(self.blobs, require_words("tags", tags))

        def work(writing: Writing) -> None:
            event = TraceTagged(trace=require_trace(writing.db, trace), tags=kept)
            require_room_for_tags(writing.db, trace)
            writing.record(trace_stream(trace), event)

        return Write(work)

    def untag(self, trace: str, tag: str) -> Write[None]:
        """Take a tag from a trace."""
        _require_theirs(tag)

        def work(writing: Writing) -> None:
            query = "SELECT 1 FROM trace_tag WHERE trace = ? AND name = ?"
            if not writing.db.execute(query, (trace, tag)).fetchone():
                raise NotFound("tag", tag[:80], "is not set", trace=trace[:80])
            event = TraceTagged(trace=require_trace(writing.db, trace), without=tag)
            writing.record(trace_stream(trace), event)

        return Write(work)

    def link(self, traces: Sequence[str], run: str) -> Write[None]:
        """Put on record that traces belong to a run; those that do not exist, or do already, are left out."""
        if len(traces) > MOST_LINKED:
            problem = f"are too many: Cannot link more than {MOST_LINKED} traces to a run"
            raise InvalidInput("traces", "", problem, found=len(traces), hint="send them in parts")

        def work(writing: Writing) -> None:
            run_id = _run(writing.db, run)
            query = "SELECT 1 FROM trace_link WHERE target = ? AND trace = ?"
            known = tuple(
                TraceId(one)
                for one in dict.fromkeys(traces)
                if trace_no(writing.db, one)
                and not writing.db.execute(query, (run_target(run), one)).fetchone()
            )
            if known:
                writing.record(run_stream(run), TracesLinked(traces=known, run=run_id))

        return Write(work)

    def link_prompts(self, trace: str, prompts: Sequence[str]) -> Write[None]:
        """Put on record which versions of prompts a trace has used, each as ``name/version``."""
        if len(prompts) > MOST_LINKED:
            raise InvalidInput("prompts", "", "are too many", most=MOST_LINKED, found=len(prompts))

        def work(writing: Writing) -> None:
            made = require_trace(writing.db, trace)
            if prompts:
                event = TracesLinked(traces=(made,), prompts=tuple(dict.fromkeys(prompts)))
                writing.record(trace_stream(trace), event)

        return Write(work)

    def delete(
        self,
        experiment: str,
        *,
        traces: Sequence[str] = (),
        before_ms: int | None = None,
        most: int | None = None,
    ) -> Write[int]:
        """Delete traces by their ids, or the oldest up to an instant; return how many these were.

        At most `MOST_DELETED` go at once: whoever waits for others should not wait for a million rows.
        """
        require_long("time", before_ms or 0)
        limit = MOST_DELETED if most is None else min(most, MOST_DELETED)

        def work(writing: Writing) -> int:
            no = reading.experiment(writing.db, id=experiment).no
            found = _to_delete(writing.db, no, traces, before_ms, limit)
            for start in range(0, len(found), _DELETED_TOGETHER):
                some = tuple(found[start : start + _DELETED_TOGETHER])
                event = TracesDeleted(experiment=experiment, traces=some)
                writing.record(experiment_stream(experiment), event)
            return len(found)

        return Write(work)


def require_trace(db: sqlite3.Connection, trace: str) -> TraceId:
    """Return the id of a trace.

    Raises
    ------
    NotFound
        If there is none.
    """
    if not trace_no(db, trace):
        raise NotFound("trace", trace[:80])
    return TraceId(trace)


def _ended(given: Mapping[TraceId, tuple[Taken, object]]) -> tuple[TraceId, ...]:
    return tuple(trace for trace, (some, _) in given.items() if some.state is not None)


def _experiment(db: sqlite3.Connection, experiment: str) -> int:
    found = reading.experiment(db, id=experiment)
    if found.deleted:
        problem, hint = "must be in the 'active' state and is deleted", "restore it first"
        raise FailedPrecondition("experiment", experiment, problem, hint=hint)
    return found.no


def _run(db: sqlite3.Connection, run: str) -> RunId:
    if db.execute("SELECT 1 FROM run WHERE id = ?", (run,)).fetchone() is None:
        raise NotFound("run", run)
    return RunId(run)


def _require_theirs(tag: str) -> None:
    require_word("tag", tag)
    if tag in OURS:
        raise InvalidInput("tag", tag, "is set by the server alone", hint="choose another name")


def _to_delete(
    db: sqlite3.Connection, experiment: int, traces: Iterable[str], before_ms: int | None, limit: int
) -> list[TraceId]:
    if before_ms is not None:
        query = "SELECT id FROM trace WHERE experiment = ? AND at_ms <= ? ORDER BY at_ms LIMIT ?"
        return [TraceId(row[0]) for row in db.execute(query, (experiment, before_ms, limit))]
    query = "SELECT 1 FROM trace WHERE id = ? AND experiment = ?"
    asked = dict.fromkeys(traces)
    return [TraceId(one) for one in asked if db.execute(query, (one, experiment)).fetchone()][:limit]

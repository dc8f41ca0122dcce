"""Traces in MLflow's database: their rows, what was judged of them, and spans, which are in rows or files.

Source: the tables as a server of 3.18 makes them; before 3.0 there are traces without assessments, before 3.6
spans are in files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from varv.adapters.moving.artifact_folders import ArtifactFolders
from varv.adapters.moving.database import AT_ONCE, Database, by_first
from varv.adapters.moving.mlflow_traces import (
    SPANS_FILE,
    assessment,
    prompts_of,
    runs_of,
    span_written,
    spans_in,
    trace_state,
)
from varv.kernel.errors import NotFound, Unavailable
from varv.runs.imports import SourceTrace
from varv.runs.traces.model import ARTIFACTS_AT, HERE, SPANS_AT, Assessment, Span, TraceId, TraceInfo

SPANS_AT_ONCE = 20
"""Traces whose spans are held at the same time."""
_ASSESSMENTS = """
SELECT trace_id, assessment_id, assessment_type, value, error, name, source_type, source_id, span_id,
    rationale, assessment_metadata, overrides, valid, created_timestamp, last_updated_timestamp
FROM assessments WHERE trace_id IN
"""
_LINKS = """
SELECT source_id, destination_type, destination_id FROM entity_associations
WHERE source_type = 'trace' AND source_id IN
"""
_RUN_LINKS = """
SELECT destination_id, source_id FROM entity_associations
WHERE source_type = 'run' AND destination_type = 'trace' AND destination_id IN
"""
_Row = tuple[Any, ...]


class TraceRows:
    """The traces of a database.

    Parameters
    ----------
    artifacts
        Reads the files that spans may be in.
    """

    def __init__(self, database: Database, artifacts: ArtifactFolders) -> None:
        self._db, self._artifacts = database, artifacts
        columns = database.columns("trace_info")
        self._is_there = bool(columns)
        later = ("client_request_id", "request_preview", "response_preview")
        named = ", ".join(name if name in columns else "NULL" for name in later)
        self._infos = (
            f"SELECT request_id, timestamp_ms, execution_time_ms, status, {named} FROM trace_info "
            "WHERE experiment_id = ? ORDER BY timestamp_ms, request_id"
        )
        self._has_assessments = bool(database.columns("assessments"))
        self._has_links = bool(database.columns("entity_associations"))
        self._has_spans = bool(database.columns("spans"))

    def of(self, experiment: str) -> Iterator[list[SourceTrace]]:
        """Yield the traces of an experiment without their spans."""
        if not self._is_there:
            return
        rows = list(self._db.rows(self._infos, (int(experiment),)))
        for start in range(0, len(rows), AT_ONCE):
            yield list(self._told(experiment, rows[start : start + AT_ONCE]))

    def spans(self, traces: Sequence[SourceTrace]) -> Iterator[tuple[SourceTrace, list[Span]]]:
        """Yield traces with all their spans."""
        for start in range(0, len(traces), SPANS_AT_ONCE):
            some = traces[start : start + SPANS_AT_ONCE]
            here = [one.info.id for one in some if one.info.tags.get(SPANS_AT) == HERE and self._has_spans]
            query = "SELECT trace_id, content FROM spans WHERE trace_id IN"
            found = by_first(self._db, query, here)
            for one in some:
                if one.info.tags.get(SPANS_AT) == HERE:
                    yield one, [span_written(json.loads(content)) for (content,) in found[one.info.id]]
                else:
                    yield one, self._in_file(one)

    def _in_file(self, one: SourceTrace) -> list[Span]:
        place = one.info.tags.get(ARTIFACTS_AT, "")
        try:
            return spans_in(b"".join(self._artifacts.chunks(place, SPANS_FILE))) if place else []
        except (NotFound, Unavailable):
            return []

    def _told(self, experiment: str, rows: Sequence[_Row]) -> Iterator[SourceTrace]:
        ids = [row[0] for row in rows]
        of_traces = "WHERE request_id IN"
        tags = by_first(self._db, f"SELECT request_id, key, value FROM trace_tags {of_traces}", ids)
        query = f"SELECT request_id, key, value FROM trace_request_metadata {of_traces}"
        metadata = by_first(self._db, query, ids)
        judged = by_first(self._db, _ASSESSMENTS, ids if self._has_assessments else [])
        links = by_first(self._db, _LINKS, ids if self._has_links else [])
        run_links = by_first(self._db, _RUN_LINKS, ids if self._has_links else [])
        for id, at, took, status, client_request, request, response in rows:
            info = TraceInfo(
                id=TraceId(id),
                experiment=experiment,
                at_ms=at or 0,
                took_ms=took,
                state=trace_state(status),
                client_request=client_request,
                request=request,
                response=response,
                metadata=_texts(metadata[id]),
                tags=_texts(tags[id]),
            )
            runs = [to for kind, to in links[id] if kind == "run"] + [run for (run,) in run_links[id]]
            prompts = [to for kind, to in links[id] if kind == "prompt_version"]
            yield SourceTrace(
                info=info,
                assessments=tuple(_assessment(row) for row in sorted(judged[id], key=lambda row: row[-2])),
                runs=runs_of(info, runs),
                prompts=prompts_of(info, prompts),
            )


def _texts(rows: Sequence[_Row]) -> dict[str, str]:
    return {name: value or "" for name, value in sorted(rows)}


def _assessment(row: _Row) -> Assessment:
    id, kind, value, error, name, source, source_id, span, rationale, metadata, overrides, valid, *times = row
    said: dict[str, Any] = {"value": json.loads(value)}
    if error:
        said["error"] = json.loads(error)
    if kind == "issue":
        said = {"issue_name": said["value"]} if said["value"] else said
    elif kind == "expectation" and value.lstrip()[:1] in ("[", "{"):
        said = {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": value}}
    return assessment(
        kind,
        said,
        id=id,
        name=name,
        source=(source, source_id),
        span=span,
        rationale=rationale,
        metadata=json.loads(metadata) if metadata else None,
        overrides=overrides,
        valid=valid,
        times_ms=(times[0], times[1]),
    )

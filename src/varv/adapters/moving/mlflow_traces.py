"""Traces as MLflow tells them: infos, assessments, and spans in the three forms that it has given them.

Spans of its protocol hold typed values. Those of its database and of the files beside traces hold each
attribute as JSON in a text; files of MLflow 2 name the fields of spans otherwise.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from varv.kernel.clock import instant
from varv.runs.imports import SourceTrace
from varv.runs.traces.model import (
    ERROR,
    OK,
    STATES,
    UNKNOWN_SOURCE,
    UNSET,
    Assessment,
    AssessmentId,
    Source,
    Span,
    SpanEvent,
    SpanLink,
    State,
    TraceId,
    TraceInfo,
)

SPANS_FILE = "traces.json"
"""The artifact that holds the spans of a trace, where they are in no table."""
RUN_OF_TRACE = "mlflow.sourceRun"
_PROMPTS = "mlflow.linkedPrompts"
_Json = Mapping[str, Any]
_STATUSES = {"OK": OK, "ERROR": ERROR}
_TRACE_BYTES, _SPAN_BYTES = 16, 8


def trace_told(told: _Json) -> SourceTrace:
    """Return a trace as the protocol tells it."""
    metadata = dict(sorted(told.get("trace_metadata", {}).items()))
    took = told.get("execution_duration")
    info = TraceInfo(
        id=TraceId(told["trace_id"]),
        experiment=told["trace_location"]["mlflow_experiment"]["experiment_id"],
        at_ms=instant(told["request_time"]) // 1000,
        took_ms=None if took is None else int(Decimal(took.removesuffix("s")) * 1000),
        state=trace_state(told.get("state")),
        client_request=told.get("client_request_id"),
        request=told.get("request_preview"),
        response=told.get("response_preview"),
        metadata=metadata,
        tags=dict(sorted(told.get("tags", {}).items())),
    )
    return SourceTrace(
        info=info,
        assessments=tuple(_assessment_told(one) for one in told.get("assessments", ())),
        runs=runs_of(info),
        prompts=prompts_of(info),
    )


def runs_of(info: TraceInfo, linked: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the runs that a trace belongs to: the one that it was made in, and those it is linked to."""
    made_in = info.metadata.get(RUN_OF_TRACE, "")
    return tuple(dict.fromkeys(run for run in (made_in, *linked) if run))


def prompts_of(info: TraceInfo, linked: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the versions of prompts that a trace has used, each as ``name/version``."""
    listed = _from_json(info.tags.get(_PROMPTS, "[]"))
    tagged = [f"{one['name']}/{one['version']}" for one in listed] if isinstance(listed, list) else []
    return tuple(dict.fromkeys((*tagged, *linked)))


def trace_state(told: str | None) -> State:
    """Return the state of a trace; what is not known is unspecified."""
    return next((state for state in STATES if state == told), STATES[0])


def _assessment_told(told: _Json) -> Assessment:
    kind: Literal["feedback", "expectation", "issue"] = next(
        kind for kind in ("feedback", "expectation", "issue") if kind in told
    )
    source = told.get("source", {})
    return assessment(
        kind,
        told[kind],
        id=told["assessment_id"],
        name=told.get("assessment_name"),
        source=(source.get("source_type"), source.get("source_id")),
        span=told.get("span_id"),
        rationale=told.get("rationale"),
        metadata=told.get("metadata"),
        overrides=told.get("overrides"),
        valid=told.get("valid", True),
        times_ms=(instant(told["create_time"]) // 1000, instant(told["last_update_time"]) // 1000),
    )


def assessment(
    kind: Literal["feedback", "expectation", "issue"],
    said: _Json,
    *,
    id: str,
    name: str | None,
    source: tuple[str | None, str | None],
    span: str | None,
    rationale: str | None,
    metadata: Mapping[str, str] | None,
    overrides: str | None,
    valid: bool,
    times_ms: tuple[int, int],
) -> Assessment:
    """Return an assessment; `said` is what was judged, in the protocol's words."""
    body = {field: said[field] for field in ("error", "serialized_value", "issue_name") if said.get(field)}
    if kind == "feedback" or not body:
        body["value"] = said.get("value")
    return Assessment(
        id=AssessmentId(id),
        kind=kind,
        name=name or "",
        body=msgspec.json.encode(body).decode(),
        source=Source(source[0] or UNKNOWN_SOURCE, source[1] or ""),
        span=span or "",
        rationale=rationale or "",
        metadata=dict(sorted((metadata or {}).items())),
        overrides=overrides or "",
        valid=bool(valid),
        created_ms=times_ms[0],
        updated_ms=times_ms[1],
    )


# Spans


def span_told(told: _Json) -> Span:
    """Return a span as the protocol tells it."""
    return _span(told, attributes=_pairs, of_others=_pairs)


def span_written(told: _Json) -> Span:
    """Return a span as the database and the files beside traces have it."""
    return _span_of_2(told) if "context" in told else _span(told, attributes=_spelled, of_others=dict)


def _span(
    told: _Json, *, attributes: Callable[[Any], dict[str, Any]], of_others: Callable[[Any], dict[str, Any]]
) -> Span:
    """Return a span of MLflow 3.

    Parameters
    ----------
    attributes, of_others
        Read those of the span itself, and those of its events and links.
    """
    status = told.get("status") or {}
    return Span(
        trace=_hex(told["trace_id"], _TRACE_BYTES),
        id=_hex(told["span_id"], _SPAN_BYTES),
        parent=_hex(told.get("parent_span_id"), _SPAN_BYTES),
        name=told.get("name") or "",
        started_ns=int(told.get("start_time_unix_nano") or 0),
        ended_ns=int(told.get("end_time_unix_nano") or 0),
        status=_status(status.get("code")),
        message=status.get("message") or "",
        attributes=attributes(told.get("attributes") or ()),
        events=tuple(
            SpanEvent(
                one.get("name", ""),
                int(one.get("time_unix_nano") or 0),
                of_others(one.get("attributes") or ()),
            )
            for one in told.get("events") or ()
        ),
        links=tuple(_link(one, of_others(one.get("attributes") or ())) for one in told.get("links") or ()),
    )


def spans_in(data: bytes) -> list[Span]:
    """Return the spans of the file beside a trace."""
    return [span_written(one) for one in json.loads(data).get("spans", ())]


def _span_of_2(told: _Json) -> Span:
    return Span(
        trace=_hex(told["context"]["trace_id"], _TRACE_BYTES),
        id=_hex(told["context"]["span_id"], _SPAN_BYTES),
        parent=_hex(told.get("parent_id"), _SPAN_BYTES),
        name=told.get("name") or "",
        started_ns=int(told.get("start_time") or 0),
        ended_ns=int(told.get("end_time") or 0),
        status=_status(told.get("status_code")),
        message=told.get("status_message") or "",
        attributes=_spelled(told.get("attributes")),
        events=tuple(
            SpanEvent(one.get("name", ""), int(one.get("timestamp") or 0), one.get("attributes") or {})
            for one in told.get("events") or ()
        ),
    )


def _link(told: _Json, attributes: dict[str, Any]) -> SpanLink:
    return SpanLink(_hex(told["trace_id"], _TRACE_BYTES), _hex(told["span_id"], _SPAN_BYTES), attributes)


def _hex(told: str | None, n_bytes: int) -> str:
    """Return an id in hexadecimal from base64, from a number of Python, or from hexadecimal.

    Examples
    --------
    >>> _hex("lUUrfO3kCuE=", 8), _hex("0x95452b7cede40ae1", 8), _hex("tr-" + "0a" * 16, 16)[:4], _hex("", 8)
    ('95452b7cede40ae1', '95452b7cede40ae1', '0a0a', '')
    """
    if not told:
        return ""
    plain = told.removeprefix("tr-").removeprefix("0x")
    if plain != told or len(told) == 2 * n_bytes:
        return f"{int(plain, 16):0{2 * n_bytes}x}"
    id = base64.b64decode(told, validate=True)
    if len(id) != n_bytes:
        raise ValueError(f"the id {told[:40]} of a span has {len(id)} bytes")
    return id.hex()


def _status(told: str | None) -> int:
    return _STATUSES.get((told or "").removeprefix("STATUS_CODE_"), UNSET)


def _spelled(attributes: Any) -> dict[str, Any]:
    return {
        name: _from_json(value) if isinstance(value, str) else value
        for name, value in dict(attributes or ()).items()
    }


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _pairs(pairs: Sequence[_Json]) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value") or {}) for pair in pairs}


def _value(told: _Json) -> Any:
    for kind, value in told.items():
        match kind:
            case "array_value":
                return [_value(one) for one in value.get("values", ())]
            case "kvlist_value":
                return _pairs(value.get("values", ()))
            case "bytes_value":
                return base64.b64decode(value)
            case "int_value":
                return int(value)
            case "double_value":
                return float(value)
            case _:
                return value
    return None

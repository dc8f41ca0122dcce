"""Spans as they come and go: OpenTelemetry's messages, and the JSON that MLflow answers them in.

An attribute that is a text which holds JSON's list, object or text is taken for what it says, since clients
of MLflow send most values so.

Source: opentelemetry-proto, trace/v1/trace.proto, common/v1/common.proto and
collector/trace/v1/trace_service.proto.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from varv.kernel.errors import InvalidInput
from varv.kernel.protobuf_reading import Field, as_double, fields, number, part, signed, text
from varv.runs.traces.model import STATUS_NAMES, Span, SpanEvent, SpanLink
from varv.runs.traces.rules import trace_id_of
from varv.runs.traces.service import Exported

DEEPEST = 32
"""Values within each other."""
TRACE_ID = "mlflow.traceRequestId"
"""The attribute that says which trace a span is of; what a client says there is not asked for."""
KINDS = ("INTERNAL", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_TRACE_BYTES, _SPAN_BYTES = 16, 8
# A whole number of more than 64 bits fits no attribute but a text.
_LONG_NUMBER = re.compile(r"\d{19}")


def exported(message: bytes) -> list[Exported]:
    """Return what a client exports, from the message of its request.

    Raises
    ------
    InvalidInput
        If it is none, or exports no spans.
    """
    found = [_resource(part(value)) for field, value in fields(message) if field == 1]
    require_spans(found)
    return found


def require_spans(found: Iterable[Exported]) -> None:
    """Raise `InvalidInput` if there are no spans in an export."""
    if not any(one.spans for one in found):
        raise InvalidInput(
            "export", "", "holds no spans", hint="send OpenTelemetry's ExportTraceServiceRequest"
        )


def attributes(pairs: Iterable[tuple[str, Any]], of: str = "") -> dict[str, Any]:
    """Return attributes by their names; those of a span say which trace it is `of`."""
    found = {name: _unwrapped(value) for name, value in pairs}
    if of:
        found[TRACE_ID] = trace_id_of(of)
    return found


def require_ids(trace: bytes, span: bytes) -> tuple[str, str]:
    """Return the ids of a trace and of a span in hexadecimal.

    Raises
    ------
    InvalidInput
        If one of them is none.
    """
    if len(trace) != _TRACE_BYTES or len(span) != _SPAN_BYTES or not any(trace) or not any(span):
        raise InvalidInput("span", "", "has no valid ids", trace=trace.hex()[:64], span=span.hex()[:64])
    return trace.hex(), span.hex()


def _resource(message: bytes) -> Exported:
    resource: dict[str, Any] = {}
    spans: list[Span] = []
    for field, value in fields(message):
        if field == 1:
            resource = attributes(_pairs(part(value), 1))
        elif field == 2:
            spans += [_span(part(one)) for inner, one in fields(part(value)) if inner == 2]
    return Exported(resource, spans)


def _span(message: bytes) -> Span:
    known: dict[int, Field] = {}
    events: list[SpanEvent] = []
    links: list[SpanLink] = []
    for field, value in fields(message):
        if field == 11:
            events.append(_event(part(value)))
        elif field == 13:
            links.append(_link(part(value)))
        elif field != 9:
            known[field] = value
    trace, id = require_ids(part(known.get(1, b"")), part(known.get(2, b"")))
    status = dict(fields(part(known.get(15, b""))))
    return Span(
        trace=trace,
        id=id,
        parent=part(known.get(4, b"")).hex(),
        name=text(known.get(5, b"")),
        kind=number(known.get(6, 0)),
        started_ns=number(known.get(7, 0)),
        ended_ns=number(known.get(8, 0)),
        status=number(status.get(3, 0)),
        message=text(status.get(2, b"")),
        attributes=attributes(_pairs(message, 9), trace),
        events=tuple(events),
        links=tuple(links),
    )


def _event(message: bytes) -> SpanEvent:
    known = dict(fields(message))
    return SpanEvent(text(known.get(2, b"")), number(known.get(1, 0)), dict(_pairs(message, 3)))


def _link(message: bytes) -> SpanLink:
    known = dict(fields(message))
    trace, id = require_ids(part(known.get(1, b"")), part(known.get(2, b"")))
    return SpanLink(trace, id, dict(_pairs(message, 4)))


def _pairs(message: bytes, of: int, depth: int = 0) -> Iterable[tuple[str, Any]]:
    for field, value in fields(message):
        if field == of:
            pair = dict(fields(part(value)))
            yield text(pair.get(1, b"")), _value(part(pair.get(2, b"")), depth)


def _value(message: bytes, depth: int) -> Any:
    if depth > DEEPEST:
        raise InvalidInput("attribute", "", "holds too many values within each other", deepest=DEEPEST)
    for field, value in fields(message):
        match field:
            case 1:
                return text(value)
            case 2:
                return bool(number(value))
            case 3:
                return signed(number(value))
            case 4:
                return as_double(number(value))
            case 5:
                return [_value(part(one), depth + 1) for inner, one in fields(part(value)) if inner == 1]
            case 6:
                return dict(_pairs(part(value), 1, depth + 1))
            case 7:
                return part(value)
    return None


def _unwrapped(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in ("{", "[", '"') or _LONG_NUMBER.search(value):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return value


# As JSON


def document(span: Span) -> dict[str, Any]:
    """Return a span as the protocol has it."""
    told: dict[str, Any] = {"trace_id": _base64(span.trace), "span_id": _base64(span.id)}
    if span.parent:
        told["parent_span_id"] = _base64(span.parent)
    told["name"] = span.name
    told["kind"] = f"SPAN_KIND_{KINDS[span.kind] if 0 <= span.kind < len(KINDS) else KINDS[0]}"
    told |= _some(start_time_unix_nano=span.started_ns, end_time_unix_nano=span.ended_ns)
    told["attributes"] = _listed(span.attributes)
    told |= _some(
        events=[
            {"name": one.name} | _some(time_unix_nano=one.at_ns, attributes=_listed(one.attributes))
            for one in span.events
        ],
        links=[
            {"trace_id": _base64(one.trace), "span_id": _base64(one.span)}
            | _some(attributes=_listed(one.attributes))
            for one in span.links
        ],
    )
    code = f"STATUS_CODE_{STATUS_NAMES[span.status]}" if 0 < span.status < len(STATUS_NAMES) else ""
    told["status"] = _some(code=code, message=span.message)
    return told


def _some(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _listed(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name} | _some(value=_any(value)) for name, value in values.items()]


def _any(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {}
        case bool():
            return {"bool_value": value}
        case str():
            return {"string_value": value}
        case int():
            return {"int_value": value}
        case float():
            return {"double_value": value if math.isfinite(value) else _spelled(value)}
        case bytes():
            return {"bytes_value": base64.b64encode(value).decode()}
        case list():
            return {"array_value": _some(values=[_any(one) for one in value])}
    return {"kvlist_value": _some(values=_listed(value))}


def _spelled(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()

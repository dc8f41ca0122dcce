"""Exports of spans in the JSON form of OpenTelemetry's protocol: ids in hexadecimal, long numbers as texts.

Source: OpenTelemetry, OTLP specification, JSON Protobuf Encoding.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from varv.fronts.mlflow.spans import DEEPEST, attributes, require_ids, require_spans
from varv.kernel.errors import InvalidInput
from varv.runs.traces.model import Span, SpanEvent, SpanLink
from varv.runs.traces.service import Exported


class _Struct(msgspec.Struct, rename="camel"):
    pass


class _Pair(_Struct):
    key: str = ""
    value: dict[str, Any] = {}


class _Event(_Struct):
    time_unix_nano: int = 0
    name: str = ""
    attributes: list[_Pair] = []


class _Link(_Struct):
    trace_id: str = ""
    span_id: str = ""
    attributes: list[_Pair] = []


class _Status(_Struct):
    code: int | str = 0
    message: str = ""


class _Span(_Struct):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int | str = 0
    start_time_unix_nano: int = 0
    end_time_unix_nano: int = 0
    attributes: list[_Pair] = []
    events: list[_Event] = []
    links: list[_Link] = []
    status: _Status = msgspec.field(default_factory=_Status)


class _Scope(_Struct):
    spans: list[_Span] = []


class _Resource(_Struct):
    attributes: list[_Pair] = []


class _OfResource(_Struct):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    scope_spans: list[_Scope] = []


class _Request(_Struct):
    resource_spans: list[_OfResource] = []


_KINDS = tuple(
    f"SPAN_KIND_{name}" for name in ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
)
_CODES = ("STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR")


def exported_json(body: bytes) -> list[Exported]:
    """Return what a client exports, from the JSON of its request.

    Raises
    ------
    InvalidInput
        If it is none, or exports no spans.
    """
    try:
        asked = msgspec.json.decode(body, type=_Request, strict=False)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidInput("export", "", "is not OpenTelemetry's JSON", why=str(error)[:200]) from None
    found = [
        Exported(
            attributes(_pairs(one.resource.attributes).items()),
            [_span(span) for scope in one.scope_spans for span in scope.spans],
        )
        for one in asked.resource_spans
    ]
    require_spans(found)
    return found


def _span(said: _Span) -> Span:
    trace, id = require_ids(_bytes(said.trace_id), _bytes(said.span_id))
    return Span(
        trace=trace,
        id=id,
        parent=_bytes(said.parent_span_id).hex(),
        name=said.name,
        kind=_number(said.kind, _KINDS),
        started_ns=said.start_time_unix_nano,
        ended_ns=said.end_time_unix_nano,
        status=_number(said.status.code, _CODES),
        message=said.status.message,
        attributes=attributes(_pairs(said.attributes).items(), trace),
        events=tuple(SpanEvent(one.name, one.time_unix_nano, _pairs(one.attributes)) for one in said.events),
        links=tuple(
            SpanLink(*require_ids(_bytes(one.trace_id), _bytes(one.span_id)), _pairs(one.attributes))
            for one in said.links
        ),
    )


def _pairs(pairs: list[_Pair]) -> dict[str, Any]:
    return {pair.key: _value(pair.value, 0) for pair in pairs}


def _value(said: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise InvalidInput("attribute", "", "holds too many values within each other", deepest=DEEPEST)
    match said:
        case {"stringValue": str(value)} | {"boolValue": bool(value)}:
            return value
        case {"intValue": int(value) | str(value)}:
            return _whole(value)
        case {"doubleValue": int(value) | float(value) | str(value)}:
            return _double(value)
        case {"bytesValue": str(value)}:
            return _decoded(value)
        case {"arrayValue": dict(array)}:
            return [_value(one, depth + 1) for one in _objects(array)]
        case {"kvlistValue": dict(pairs)}:
            return {
                str(pair.get("key", "")): _value(pair.get("value") or {}, depth + 1)
                for pair in _objects(pairs)
            }
    return None


def _objects(several: dict[str, Any]) -> list[dict[str, Any]]:
    listed = several.get("values")
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _whole(value: int | str) -> int:
    try:
        number = int(value)
    except ValueError:
        raise InvalidInput("attribute", str(value)[:40], "is no whole number") from None
    if not -(2**63) <= number < 2**63:
        raise InvalidInput("attribute", str(value)[:40], "has more than 64 bits")
    return number


def _double(value: float | str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InvalidInput("attribute", str(value)[:40], "is no number") from None


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise InvalidInput("attribute", value[:40], "is not base64") from None


def _bytes(hexadecimal: str) -> bytes:
    try:
        return bytes.fromhex(hexadecimal)
    except ValueError:
        raise InvalidInput("span id", hexadecimal[:64], "is not hexadecimal") from None


def _number(said: int | str, names: tuple[str, ...]) -> int:
    """Return a choice by its number or its name; what is not known is the first."""
    if isinstance(said, str):
        return names.index(said) if said in names else 0
    return said

"""Spans as rows: their bytes, and what they say of the trace that they are of."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from varv.runs.traces.model import ERROR as FAILED
from varv.runs.traces.model import Span, State
from varv.runs.traces.previews import preview
from varv.runs.traces.rules import LONGEST_TAG, require_span, require_times, require_words

INPUTS, OUTPUTS, TYPE = "mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.spanType"
"""Attributes of a span that MLflow gives a meaning."""
_TAG_OF_TRACE = "mlflow.traceTag."
_SESSION = ("session.id", "gen_ai.conversation.id")
_USER = ("user.id",)
_LEVEL = 1
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Span)


class SpanRow(NamedTuple):
    """A span as it is stored: what is searched, and all of it compressed."""

    id: str
    name: str
    type: str | None
    status: int
    size: int
    """Bytes before they were compressed."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """Spans of one trace that came together, and what they say of it.

    ``ended_ms`` is None while none has ended, and ``state`` while there is no root.
    """

    rows: tuple[SpanRow, ...]
    begun_ms: int
    ended_ms: int | None
    state: State | None
    request: str | None
    response: str | None
    metadata: dict[str, str]
    tags: dict[str, str]


def taken(spans: Sequence[Span]) -> Taken:
    """Return spans of one trace as they are stored, and what they say of it.

    Raises
    ------
    InvalidInput
        If a span holds too much.
    """
    # Of two with one id the later holds.
    rows = {span.id: _row(span) for span in spans}
    root = next((span for span in spans if not span.parent), None)
    ends = [span.ended_ns for span in spans if span.ended_ns]
    attributes: dict[str, Any] = {} if root is None else root.attributes
    metadata = {
        "mlflow.trace.session": _first(spans, _SESSION),
        "mlflow.trace.user": _first(spans, _USER),
    }
    tags = {
        name.removeprefix(_TAG_OF_TRACE): plain(value)
        for name, value in attributes.items()
        if name.startswith(_TAG_OF_TRACE)
    }
    return Taken(
        rows=tuple(rows.values()),
        begun_ms=min(span.started_ns for span in spans) // 1_000_000,
        ended_ms=max(ends) // 1_000_000 if ends else None,
        state=None if root is None else "ERROR" if root.status == FAILED else "OK",
        request=preview(attributes.get(INPUTS), "user"),
        response=preview(attributes.get(OUTPUTS), "assistant"),
        metadata={name: value for name, value in metadata.items() if value},
        tags=require_words("tags", tags),
    )


def packed(span: Span) -> bytes:
    """Return all that a span says, as bytes that are equal for equal ones."""
    return _ENCODER.encode(span)


def read(body: bytes) -> Span:
    """Return a span that was stored."""
    return _DECODER.decode(zlib.decompress(body))


def whole_text(body: bytes) -> str:
    """Return what a stored span says, as JSON, which searches for texts look through."""
    return json.dumps(msgspec.to_builtins(read(body)), ensure_ascii=False)


def attribute_text(body: bytes, name: str) -> str | None:
    """Return an attribute of a stored span as a text; None if it has none of that name."""
    attributes = read(body).attributes
    return plain(attributes[name]) if name in attributes else None


def plain(value: Any) -> str:
    """Return the value of an attribute as a text: one as it is, anything else as JSON.

    Examples
    --------
    >>> plain("a"), plain({"b": [1, None]})
    ('a', '{"b": [1, null]}')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def tags_of(resource: dict[str, Any]) -> dict[str, str]:
    """Return what says where spans are from as tags of their traces."""
    skipped = ("telemetry.sdk.", "mlflow.")
    return {
        name: plain(value)[:LONGEST_TAG] for name, value in resource.items() if not name.startswith(skipped)
    }


def _row(span: Span) -> SpanRow:
    require_times(span)
    encoded = packed(span)
    require_span(span, len(encoded))
    kind = span.attributes.get(TYPE)
    body = zlib.compress(encoded, _LEVEL)
    return SpanRow(span.id, span.name, None if kind is None else plain(kind), span.status, len(encoded), body)


def _first(spans: Iterable[Span], names: Sequence[str]) -> str:
    found = (span.attributes[name] for span in spans for name in names if span.attributes.get(name))
    return plain(next(found, ""))[:LONGEST_TAG]

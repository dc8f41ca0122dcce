"""What traces, spans and assessments may be: the limits that keep one client from filling a server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from varv.kernel.errors import InvalidInput
from varv.kernel.ids import new_secret
from varv.runs.rules import LONGEST_KEY, require_long, require_short
from varv.runs.traces.model import OURS, AssessmentId, Span, TraceId

MOST_SPANS = 10_000
"""Of a trace."""
MOST_TRACE_BYTES = 32 << 20
MOST_SPAN_BYTES = 8 << 20
LONGEST_NAME = 1000
MOST_ATTRIBUTES = 1000
"""Of a span, an event or a link."""
MOST_EVENTS = 1000
"""Of a span; as many links."""
MOST_WORDS = 200
"""Tags that come together, and as many pieces of metadata."""
MOST_TAGS = 1000
"""Of a trace that still takes more."""
LONGEST_TAG = 8000
"""Characters of a tag or of a piece of metadata; what is longer is cut, as clients expect."""
LONGEST_PREVIEW = 1000
LONGEST_JUDGED_BYTES = 1 << 20
MOST_LINKED = 100
MOST_DELETED = 10_000
"""In one request, which says how many it were."""
MOST_ASKED = 500
"""Traces that are asked for at once."""
MOST_BYTES_ASKED = 64 << 20
"""Of their spans, where these are asked for too."""
_ID = re.compile(r"[A-Za-z0-9][\w-]{0,127}", re.ASCII)
_MOST_ASSESSMENTS = 1000


def require_trace_id(trace: str) -> TraceId:
    """Return the id of a trace, which is one part of the path of its artifacts.

    Raises
    ------
    InvalidInput
        If it cannot be one.
    """
    if not _ID.fullmatch(trace):
        hint = "use letters, digits, _ and -, 128 at most"
        raise InvalidInput("trace id", ascii(trace[:80])[1:-1], "is not valid", hint=hint)
    return TraceId(trace)


def trace_id_of(trace: str) -> TraceId:
    """Return the id under which a trace of OpenTelemetry is known, from its own in hexadecimal."""
    return TraceId(f"tr-{trace}")


def require_assessment_id(assessment: str) -> AssessmentId:
    """Return the id of an assessment.

    Raises
    ------
    InvalidInput
        If it cannot be one.
    """
    if not _ID.fullmatch(assessment):
        hint = "leave it out, or use letters, digits, _ and -, 128 at most"
        raise InvalidInput("assessment id", ascii(assessment[:80])[1:-1], "is not valid", hint=hint)
    return AssessmentId(assessment)


def new_assessment_id() -> AssessmentId:
    """Return an id that no other assessment has."""
    return AssessmentId(f"a-{new_secret(16).hex()}")


def require_words(kind: str, words: Mapping[str, str]) -> dict[str, str]:
    """Return tags or metadata as they are stored: without what the server sets, and cut where they are long.

    Raises
    ------
    InvalidInput
        If there are too many, or a name is too long.
    """
    if len(words) > MOST_WORDS:
        raise InvalidInput("trace", "", f"has too much {kind}", most=MOST_WORDS, found=len(words))
    for name in words:
        require_word(kind, name)
    return {name: value[:LONGEST_TAG] for name, value in words.items() if name not in OURS}


def require_word(kind: str, name: str) -> None:
    """Raise `InvalidInput` unless a tag or a piece of metadata may be called `name`."""
    if not name:
        raise InvalidInput(kind, "", "has no name", hint="give it one")
    require_short(f"{kind} name", name, name, LONGEST_KEY)


def require_span(span: Span, n_bytes: int) -> None:
    """Raise `InvalidInput` if a span holds too much.

    Parameters
    ----------
    n_bytes
        What it takes as it is stored, before it is compressed.
    """
    for kind, n, most in (
        ("bytes", n_bytes, MOST_SPAN_BYTES),
        ("events", len(span.events), MOST_EVENTS),
        ("links", len(span.links), MOST_EVENTS),
        ("attributes", max(map(len, _attributes(span))), MOST_ATTRIBUTES),
        ("letters in its name", len(span.name), LONGEST_NAME),
    ):
        if n > most:
            raise InvalidInput("span", span.name[:80], f"has too many {kind}", most=most, found=n)


def require_times(span: Span) -> None:
    """Raise `InvalidInput` if a span says a time that the file cannot hold."""
    for at in (span.started_ns, span.ended_ns, *(one.at_ns for one in span.events)):
        require_long("time of a span", at, least=0)


def require_room(trace: str, n_spans: int, n_bytes: int) -> None:
    """Raise `InvalidInput` if a trace would have too many spans, or they would take too much."""
    for kind, n, most in (("spans", n_spans, MOST_SPANS), ("bytes", n_bytes, MOST_TRACE_BYTES)):
        if n > most:
            raise InvalidInput("trace", trace, f"has too many {kind}", most=most, found=n)


def require_few_bytes(n_bytes: int) -> None:
    """Raise `InvalidInput` if the spans of several traces are too much for one answer."""
    if n_bytes > MOST_BYTES_ASKED:
        hint = "ask for fewer at once"
        raise InvalidInput("traces", "", "are too large", most=MOST_BYTES_ASKED, found=n_bytes, hint=hint)


def require_assessments(trace: str, n: int) -> None:
    """Raise `InvalidInput` if a trace would have too many assessments."""
    if n > _MOST_ASSESSMENTS:
        raise InvalidInput("trace", trace, "has too many assessments", most=_MOST_ASSESSMENTS, found=n)


def _attributes(span: Span) -> Iterable[dict[str, Any]]:
    yield span.attributes
    for part in (*span.events, *span.links):
        yield part.attributes

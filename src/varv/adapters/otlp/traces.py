"""Spans in OTLP's form.

Source: opentelemetry-proto, trace/v1/trace.proto and collector/trace/v1/trace_service.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from varv.adapters.otlp.protobuf import Value, attributes, fixed32, fixed64, number, sized, text
from varv.kernel.trace_context import TraceContext
from varv.kernel.tracing import Span

PATH = "/v1/traces"
_KINDS = {"internal": 1, "server": 2}
_ERROR = 2
_SAMPLED = 1


def traces_request(resource: bytes, scope: bytes, spans: Iterable[Span]) -> bytes:
    """Return the request that exports spans.

    Parameters
    ----------
    resource, scope
        Where they are from, as `resource_of` and `scope_of` give it.
    """
    of_scope = sized(1, scope) + b"".join([sized(2, span_message(span)) for span in spans])
    return sized(1, sized(1, resource) + sized(2, of_scope))


def resource_of(given: Mapping[str, Value]) -> bytes:
    """Return the message of what all telemetry of a process is from."""
    return attributes(1, given)


def scope_of(name: str, version: str) -> bytes:
    """Return the message of who measures."""
    return text(1, name) + text(2, version)


def span_message(span: Span) -> bytes:
    """Return a span as a message."""
    context = span.context
    parts = [
        sized(1, context.trace_id),
        sized(2, context.span_id),
        text(3, context.state),
        sized(4, span.parent) if span.parent else b"",
        text(5, span.name),
        number(6, _KINDS[span.kind]),
        fixed64(7, span.start_ns),
        fixed64(8, max(span.start_ns, span.end_ns)),
        attributes(9, span.attributes),
        *(sized(13, _link(one)) for one in span.links),
        sized(15, text(2, span.error) + number(3, _ERROR)) if span.error else b"",
        fixed32(16, _SAMPLED),
    ]
    return b"".join(parts)


def _link(context: TraceContext) -> bytes:
    return sized(1, context.trace_id) + sized(2, context.span_id) + text(3, context.state)

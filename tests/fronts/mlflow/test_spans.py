"""Spans are answered as protobuf's own JSON has them, and both forms of the protocol say the same."""

from __future__ import annotations

import json

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from varv.fronts.mlflow.otlp_json import exported_json
from varv.fronts.mlflow.spans import TRACE_ID, document, exported
from varv.kernel.errors import InvalidInput

TRACE, SPAN = bytes(range(1, 17)), bytes(range(1, 9))
LONG = st.integers(-(2**63), 2**63 - 1)
PLAIN = st.one_of(
    # A text that is JSON is taken for what it says, which is asked below.
    st.builds(AnyValue, string_value=st.text(max_size=6).filter(lambda text: text[:1] not in '{["')),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=LONG),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(AnyValue, bytes_value=st.binary(max_size=6)),
)


def pairs(values, most=3):
    named = st.dictionaries(st.text(min_size=1, max_size=4), values, max_size=most)
    return named.map(lambda found: [KeyValue(key=key, value=value) for key, value in found.items()])


VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: AnyValue(array_value=ArrayValue(values=values))),
        pairs(inner).map(lambda found: AnyValue(kvlist_value=KeyValueList(values=found))),
    ),
    max_leaves=6,
)


@st.composite
def exports(draw):
    export = ExportTraceServiceRequest()
    of_resource = export.resource_spans.add()
    of_resource.resource.attributes.extend(draw(pairs(PLAIN)))
    span = of_resource.scope_spans.add().spans.add(
        trace_id=TRACE,
        span_id=SPAN,
        name=draw(st.text(max_size=8)),
        kind=draw(st.integers(1, 5)),
        start_time_unix_nano=draw(st.integers(0, 2**62)),
        end_time_unix_nano=draw(st.integers(0, 2**62)),
        parent_span_id=draw(st.sampled_from([b"", SPAN])),
    )
    span.attributes.extend(draw(pairs(VALUES)))
    span.status.code, span.status.message = draw(st.integers(0, 2)), draw(st.text(max_size=5))
    if draw(st.booleans()):
        span.events.add(name="e", time_unix_nano=draw(LONG.map(abs))).attributes.extend(draw(pairs(PLAIN)))
        span.links.add(trace_id=TRACE, span_id=SPAN).attributes.extend(draw(pairs(PLAIN)))
    return export


def with_numbers(value):
    """Whole numbers as numbers, which protobuf's JSON writes as texts."""
    match value:
        case dict():
            return {
                key: int(part) if key in ("int_value", *TIMES) else with_numbers(part)
                for key, part in value.items()
            }
        case list():
            return [with_numbers(part) for part in value]
    return value


TIMES = ("start_time_unix_nano", "end_time_unix_nano", "time_unix_nano")


@settings(max_examples=60)
@given(exports())
def test_a_span_is_told_as_protobuf_tells_it(export):
    ((_, (span,)),) = exported(export.SerializeToString())
    told = document(span)
    expected = MessageToDict(export, preserving_proto_field_name=True)["resource_spans"][0]
    expected = with_numbers(expected["scope_spans"][0]["spans"][0])
    assert told["attributes"].pop() == {"key": TRACE_ID, "value": {"string_value": f"tr-{TRACE.hex()}"}}
    expected.setdefault("attributes", [])
    expected.setdefault("status", {})
    expected.setdefault("name", "")
    assert json.dumps(told, sort_keys=True) == json.dumps(expected, sort_keys=True)


@settings(max_examples=40)
@given(exports())
def test_both_forms_of_an_export_say_the_same(export):
    said = MessageToDict(export)
    for span in said["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for part in (span, *span.get("links", ())):
            part["traceId"] = TRACE.hex()
            for name in {"spanId", "parentSpanId"} & part.keys():
                part[name] = SPAN.hex()
    assert repr(exported_json(json.dumps(said).encode())) == repr(exported(export.SerializeToString()))


def only(**value):
    export = ExportTraceServiceRequest()
    span = export.resource_spans.add().scope_spans.add().spans.add(trace_id=TRACE, span_id=SPAN)
    span.attributes.append(KeyValue(key="a", value=AnyValue(**value)))
    ((_, (found,)),) = exported(export.SerializeToString())
    return found.attributes["a"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        ('"text"', "text"),
        ("[1", "[1"),
        ("12", "12"),
        ("true", "true"),
        ("[123456789012345678901234567890]", "[123456789012345678901234567890]"),
        ("[" * 5000, "[" * 5000),
    ],
)
def test_a_text_that_is_json_is_taken_for_what_it_says(sent, kept):
    assert only(string_value=sent) == kept


def test_values_that_are_too_deep_are_refused():
    value = AnyValue(int_value=1)
    for _ in range(40):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    with pytest.raises(InvalidInput, match="within each other"):
        only(array_value=value.array_value)


@pytest.mark.parametrize(
    ("trace", "span"),
    [(b"", SPAN), (TRACE, b""), (bytes(16), SPAN), (TRACE, bytes(8)), (b"\1" * 3, SPAN), (TRACE * 2, SPAN)],
)
def test_a_span_without_ids_is_refused(trace, span):
    export = ExportTraceServiceRequest()
    export.resource_spans.add().scope_spans.add().spans.add(trace_id=trace, span_id=span)
    with pytest.raises(InvalidInput, match="no valid ids"):
        exported(export.SerializeToString())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xy"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": "late"}]}]}]}',
        b'{"resourceSpans": ' + b"[" * 100_000,
    ],
)
def test_json_that_is_no_export_is_refused(body):
    with pytest.raises(InvalidInput):
        exported_json(body)

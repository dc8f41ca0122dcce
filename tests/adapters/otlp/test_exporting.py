"""What is traced and counted reaches a collector as its protocol has it, and nobody waits for that."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2
from tests.adapters.collector import Collector as Receiver
from tests.adapters.collector import values_of
from tests.app.serving import eventually

from varv.adapters.otlp import Collector, MetricExport, SpanCounts, SpanExport
from varv.adapters.otlp import sending as module
from varv.adapters.otlp.metrics import samples_in, since
from varv.adapters.otlp.protobuf import first_number
from varv.adapters.otlp.traces import resource_of, scope_of, traces_request
from varv.kernel.clock import VirtualClock, instant
from varv.kernel.metrics import Distribution, Family, Sample
from varv.kernel.outbox import Outbox
from varv.kernel.trace_context import TraceContext
from varv.kernel.tracing import Span

AT = 1_700_000_000_000_000_000
RESOURCE = {"service.name": "arrivals"}


def context(number=1, state=""):
    return TraceContext(number.to_bytes(16), number.to_bytes(8), True, state)


def a_span(number=1, **more):
    return Span(context(number), "act", AT, AT + 5, **more)


@contextmanager
def receiving(*answers, n_rejected=0):
    receiver = Receiver(answers, n_rejected)
    try:
        yield receiver
    finally:
        receiver.close()


@contextmanager
def exporting(url, box, **more):
    export = SpanExport(box, Collector(url=url, **more), RESOURCE, "1.2", every_s=0.01)
    export.start()
    try:
        yield export
    finally:
        export.close()


values = st.text() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans()
times = st.integers(0, 2**63)
trace_ids, span_ids = st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8)
spans = st.builds(
    Span,
    st.builds(
        TraceContext, st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.just(True)
    ),
    st.text(),
    times,
    times,
    parent=st.just(b"") | st.binary(min_size=8, max_size=8),
    kind=st.sampled_from(["internal", "server"]),
    attributes=st.dictionaries(st.text(min_size=1), values, max_size=4),
    error=st.text(),
)


@settings(max_examples=50)
@given(st.lists(spans, max_size=4))
def test_what_is_written_is_read_by_the_protocols_own_messages(given_spans):
    message = traces_request(resource_of(RESOURCE), scope_of("varv", "1"), given_spans)
    [of_resource] = ExportTraceServiceRequest.FromString(message).resource_spans
    [of_scope] = of_resource.scope_spans
    assert (values_of(of_resource.resource.attributes), of_scope.scope.name) == (RESOURCE, "varv")
    for span, read in zip(given_spans, of_scope.spans, strict=True):
        assert (read.trace_id, read.span_id) == (span.context.trace_id, span.context.span_id)
        assert (read.parent_span_id, read.name) == (span.parent, span.name)
        assert (read.start_time_unix_nano, read.end_time_unix_nano) == (
            span.start_ns,
            max(span.start_ns, span.end_ns),
        )
        assert values_of(read.attributes) == dict(span.attributes)
        assert (read.status.message, read.status.code) == (span.error, 2 if span.error else 0)
        assert read.kind == (trace_pb2.Span.SPAN_KIND_SERVER if span.kind == "server" else 1)


@given(st.binary(max_size=40))
def test_an_answer_that_is_no_message_says_nothing(answer):
    assert isinstance(first_number(answer, 1, 1), int)


def test_spans_arrive_over_one_connection_with_headers_links_and_states():
    box = Outbox(10)
    with receiving() as receiver, exporting(receiver.url + "/otlp", box, headers={"api-key": "k"}) as export:
        box.put(a_span(1, links=(context(7, "a=1"),)))
        eventually(lambda: receiver.spans or None)
        box.put(Span(context(2, "b=2"), "late", AT, AT))
        eventually(lambda: export.counts.n_sent == 2 or None)
    assert receiver.n_connections == 1
    assert receiver.headers[0]["api-key"] == "k"
    assert (receiver.resources[0], receiver.spans[1].trace_state) == (RESOURCE, "b=2")
    [link] = receiver.spans[0].links
    assert (link.trace_id, link.trace_state) == (context(7).trace_id, "a=1")


def test_a_collector_that_is_busy_is_asked_again(monkeypatch):
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.01)
    box = Outbox(10)
    with (
        receiving((503, {}), (429, {"retry-after": "0"})) as receiver,
        exporting(receiver.url, box) as export,
    ):
        box.put(a_span())
        eventually(lambda: receiver.spans or None)
        eventually(lambda: export.counts == SpanCounts(1, 0, 0) or None)
    assert receiver.n_requests == 3


def test_what_is_refused_is_counted_and_not_sent_again():
    box = Outbox(10)
    with receiving((400, {})) as receiver, exporting(receiver.url, box) as export:
        box.put(a_span())
        eventually(lambda: export.counts.n_failed == 1 or None)
        receiver.n_rejected = 1
        box.put(a_span(2))
        eventually(lambda: export.counts == SpanCounts(0, 2, 0) or None)
    assert receiver.n_requests == 2


def test_a_collector_that_is_gone_costs_what_has_no_room_and_the_end_no_time(monkeypatch):
    monkeypatch.setattr(module, "FIRST_RETRY_S", 60.0)
    with receiving() as receiver:
        url = receiver.url
    box = Outbox(3)
    with exporting(url, box) as export:
        for number in range(9):
            box.put(a_span(number + 1))
    # It waits a minute for its second try, and three more have room meanwhile.
    assert export.counts.n_failed + export.counts.n_dropped == 9
    assert export.counts.n_dropped >= 3


REQUESTS = Family("varv_requests_total", "counter", "Requests.", [Sample(3, {"model": "late"})])
MEMORY = Family("varv_process_resident_memory_bytes", "gauge", "Memory.", [Sample(0.5)])
TIMES = Family(
    "varv_request_duration_seconds",
    "histogram",
    "Times.",
    [Distribution([(0.001, 4), (0.002, 0), (math.inf, 1)], 0.25, {"stage": "read"})],
)
EMPTY = Family("varv_none_total", "counter", "None.", [])


def exported(rounds, *, is_delta, answers=()):
    """Return what a collector is told of families, one round after the other."""
    clock, at, done = VirtualClock(instant("2013-02-01")), [0], threading.Event()

    def families():
        at[0] += 1
        clock.move_to(instant(f"2013-02-{1 + at[0]:02}"))
        if at[0] >= len(rounds):
            done.set()
        return rounds[min(at[0], len(rounds)) - 1]

    with receiving(*answers) as receiver:
        export = MetricExport(
            families,
            Collector(url=receiver.url),
            RESOURCE,
            "1",
            every_s=0.005,
            is_delta=is_delta,
            clock=clock,
        )
        export.start()
        assert done.wait(30)
        export.close()
    return receiver.metrics


def test_metrics_are_sums_gauges_and_histograms():
    found = exported([[REQUESTS, MEMORY, TIMES, EMPTY]], is_delta=False)[0]
    assert set(found) == {"varv.requests", "varv.process_resident_memory", "varv.request_duration"}
    requests = found["varv.requests"]
    assert (requests.sum.is_monotonic, requests.sum.aggregation_temporality) == (True, 2)
    [point] = requests.sum.data_points
    assert (point.as_int, values_of(point.attributes)) == (3, {"model": "late"})
    assert point.start_time_unix_nano == 1000 * instant("2013-02-01")
    assert point.time_unix_nano == 1000 * instant("2013-02-02")
    [point] = found["varv.process_resident_memory"].gauge.data_points
    assert (point.as_double, point.start_time_unix_nano) == (0.5, 0)
    assert found["varv.process_resident_memory"].unit == "By"
    durations = found["varv.request_duration"]
    [point] = durations.histogram.data_points
    assert (durations.unit, durations.histogram.aggregation_temporality) == ("s", 2)
    assert (list(point.bucket_counts), list(point.explicit_bounds)) == ([4, 0, 1], [0.001, 0.002])
    assert (point.count, point.sum, values_of(point.attributes)) == (5, 0.25, {"stage": "read"})


def later(family, **more):
    return family._replace(samples=[one._replace(**more) for one in family.samples])


def test_what_came_since_is_what_came_since_it_was_taken_last():
    after = later(TIMES, buckets=[(0.001, 4), (0.002, 2), (math.inf, 1)], total=0.5)
    rounds = [[REQUESTS, TIMES], [later(REQUESTS, value=5), TIMES], [later(REQUESTS, value=9), after]]
    first, second = exported(rounds, is_delta=True, answers=[(200, {}), (400, {})])[:2]
    [point] = first["varv.requests"].sum.data_points
    assert (point.as_int, first["varv.requests"].sum.aggregation_temporality) == (3, 1)
    # The second was not taken, so it is in the third.
    [point] = second["varv.requests"].sum.data_points
    assert (point.as_int, point.start_time_unix_nano) == (6, 1000 * instant("2013-02-02"))
    [point] = second["varv.request_duration"].histogram.data_points
    assert (list(point.bucket_counts), point.sum) == ([0, 2, 0], 0.25)


def test_a_process_that_has_begun_anew_counts_from_nothing():
    before = samples_in([REQUESTS, TIMES])
    anew = later(TIMES, buckets=[(0.001, 1), (0.002, 9), (math.inf, 1)])
    assert since([later(REQUESTS, value=2), anew], before) == [later(REQUESTS, value=2), anew]

"""Which requests are traced, and what is kept of commands."""

from __future__ import annotations

from contextlib import closing

import pytest

from varv.kernel.clock import VirtualClock
from varv.kernel.errors import Unavailable
from varv.kernel.ledger_sqlite import MEMORY, SqliteLedger
from varv.kernel.outbox import Outbox
from varv.kernel.sagas import Message
from varv.kernel.secret import Secret
from varv.kernel.trace_context import TraceContext
from varv.kernel.tracing import Sampler, Tracer, outgoing

from .samples import NOON, Ordered, engine_on

LOW, HIGH = bytes(15) + b"\x01", b"\xff" * 16


def parent(sampled, trace_id=HIGH):
    return TraceContext(trace_id, b"parent!!", sampled, "a=1")


@pytest.mark.parametrize(
    ("name", "alone", "of_kept", "of_dropped"),
    [
        ("always_on", True, True, True),
        ("always_off", False, False, False),
        ("parentbased_always_on", True, True, False),
        ("parentbased_always_off", False, True, False),
    ],
)
def test_a_caller_decides_where_it_is_to(name, alone, of_kept, of_dropped):
    sampler = Sampler(name, 0.5)
    for caller, is_kept in ((None, alone), (parent(True), of_kept), (parent(False), of_dropped)):
        found = sampler.begun(caller)
        assert (found is not None) is is_kept
        if found is not None and caller is not None:
            assert (found.trace_id, found.state) == (caller.trace_id, "a=1")
            assert found.span_id != caller.span_id


def test_a_share_is_taken_by_the_id_of_the_trace():
    sampler = Sampler("traceidratio", 0.25)
    assert sampler.begun(parent(False, LOW)) is not None
    assert sampler.begun(parent(True, HIGH)) is None
    begun = [found for _ in range(4000) if (found := sampler.begun(None)) is not None]
    assert 800 < len(begun) < 1200
    # Whoever takes a larger share takes all of these.
    larger = Sampler("traceidratio", 0.3)
    assert all(larger.begun(one) is not None for one in begun)
    assert len({one.trace_id for one in begun}) == len(begun)


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 0), (1.0, 100)])
def test_all_and_none_are_shares_too(ratio, kept):
    sampler = Sampler("parentbased_traceidratio", ratio)
    assert sum(sampler.begun(None) is not None for _ in range(100)) == kept


def test_spans_of_one_correlation_are_of_one_trace_in_one_home(tmp_path):
    box = Outbox(10)
    homes = [Secret(tmp_path / name) for name in ("one", "one", "two")]
    for secret in homes:
        with Tracer(box, VirtualClock(NOON), secret.digest).span("act", "rollout/late/7", {"n": 1}) as noted:
            noted["more"] = True
            told = outgoing()["traceparent"]
    spans = box.take(10)
    assert len({span.context.trace_id for span in spans}) == 2
    assert spans[0].context.trace_id == spans[1].context.trace_id
    assert len({span.context.span_id for span in spans}) == 3
    assert (told, outgoing()) == (spans[2].context.header(), {})
    assert (spans[0].attributes, spans[0].error) == ({"n": 1, "more": True}, "")
    assert spans[0].start_ns == 1000 * NOON <= spans[0].end_ns


def test_a_span_that_fails_says_so(tmp_path):
    box = Outbox(10)
    tracer = Tracer(box, VirtualClock(NOON), Secret(tmp_path / "key").digest)
    with pytest.raises(Unavailable), tracer.span("act"):
        raise Unavailable("disk", "", "is away")
    [span] = box.take(10)
    assert (span.error, span.attributes) == ("unavailable", {"error.type": "unavailable"})


def test_commands_are_spans_that_say_who_decided_them(tmp_path):
    box = Outbox(10)
    tracer = Tracer(box, VirtualClock(NOON), Secret(tmp_path / "key").digest)
    with closing(SqliteLedger(MEMORY)) as ledger:
        engine = engine_on(ledger, VirtualClock(NOON), tracer=tracer)
        engine.tell(Message("yard/1", Ordered(1)), Message("yard/for-ever", Ordered(2)))
        engine.tell(Message("yard/1", Ordered(3)))
        engine.settle()
        head = ledger.head().version
    by_saga = {}
    for span in box.take(10):
        assert span.name == "sample.build"
        assert 0 < span.attributes["varv.cause"] <= head
        by_saga.setdefault(span.attributes["varv.saga"], []).append(span.context.trace_id)
    # Two commands of one version are of one trace.
    assert [len(by_saga[name]) for name in ("yard/1", "yard/for-ever")] == [2, 1]
    assert len({*by_saga["yard/1"]}) == 1
    assert by_saga["yard/for-ever"][0] not in by_saga["yard/1"]

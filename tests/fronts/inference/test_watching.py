"""What is kept of requests for whoever traces or logs them, whichever way they came."""

from __future__ import annotations

import grpc
import msgspec
import pytest
from opentelemetry.proto.trace.v1 import trace_pb2
from tests.adapters.collector import values_of
from tests.fronts.asking import asking
from tests.fronts.inference.rpc.test_service import Loop, typed
from tests.fronts.inference.test_hot import INFER, JSON, MATRIX, MLFLOW, TYPED, Asked, infer
from tests.serving.said import all_answering
from tritonclient.grpc import service_pb2, service_pb2_grpc

from varv.adapters.otlp.traces import span_message
from varv.fronts.access import Client, Door
from varv.fronts.access.clients import digest_of
from varv.fronts.inference import Inference, create_inference
from varv.fronts.inference.oip import LONGEST_ID
from varv.fronts.inference.watching import AccessPlan, Watcher
from varv.kernel.clock import SystemClock
from varv.kernel.outbox import Outbox
from varv.kernel.tracing import Sampler, outgoing

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEPT, LEFT = f"00-{TRACE}-{CALLER}-01".encode(), f"00-{TRACE}-{CALLER}-00".encode()
STAGES = ["read", "queue", "answer", "write"]
GOOD = infer([MATRIX])


class Kept:
    """A watcher, and what waits behind it."""

    def __init__(self, sampler="parentbased_always_off", ratio=0.0, plan=None, most=100):
        self.traced, self.lines = Outbox(most), Outbox(most)
        self.watcher = Watcher(
            SystemClock(),
            sampler=None if sampler is None else Sampler(sampler, ratio),
            spans=self.traced,
            plan=plan,
            lines=self.lines,
        )

    def spans(self):
        """Return all spans that wait, as whoever receives them sees them."""
        found = [span for one in self.traced.take(1000) for span in one.spans()]
        return [trace_pb2.Span.FromString(span_message(span)) for span in found]

    def facts(self):
        """Return the lines that wait."""
        return [one.line() for one in self.lines.take(1000)]


@pytest.fixture
def asked(tmp_path):
    """Return a function that lets both ways be watched."""

    def watched(**options):
        kept = Kept(**options)
        made = Asked(tmp_path, lambda: Door([Client(name="shop", token=digest_of(b"shop"))]))
        made.hot_inference.watcher = kept.watcher
        made.inference.watcher = kept.watcher
        # The application is told of it as it is made.
        made.app = create_inference(made.inference)
        return made, kept

    return watched


TOKEN = (b"authorization", b"Bearer shop")


def once(made, way, target, headers, body):
    """Return what one way says to a request."""
    if way == "hot":
        return made.replies((target, headers, body))[0]
    given = [(name.decode(), value.decode()) for name, value in headers]
    with asking(made.app) as client:
        response = client.post(target.decode(), content=body, headers=[*given, ("host", "127.0.0.1:8480")])
    return response.status_code, dict(response.headers), response.content


@pytest.mark.parametrize("way", ["hot", "application"])
def test_a_request_is_a_span_of_its_callers_trace_with_its_stages(asked, way):
    made, kept = asked()
    state = (b"tracestate", b"vendor=1")
    headers = [JSON, TOKEN, (b"traceparent", KEPT), state]
    status, told, _ = once(made, way, INFER, headers, GOOD)
    root, *stages = kept.spans()
    assert (status, root.kind) == (200, trace_pb2.Span.SPAN_KIND_SERVER)
    assert (root.trace_id.hex(), root.parent_span_id.hex(), root.trace_state) == (TRACE, CALLER, "vendor=1")
    assert told["traceresponse"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert root.name == "POST /v2/models/{model}/infer"
    assert values_of(root.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "url.path": "/v2/models/wide/infer",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "varv.model": "wide",
        "varv.version": "1",
        "varv.arm": "champion",
        "varv.rows": 2,
        "varv.call.requests": 1,
        "varv.client": "shop",
        "varv.request_id": "one",
    }
    assert root.status.code == trace_pb2.Status.STATUS_CODE_UNSET
    assert [one.name for one in stages] == STAGES
    assert {one.parent_span_id for one in stages} == {root.span_id}
    ends = [root.start_time_unix_nano, *(one.end_time_unix_nano for one in stages)]
    assert [one.start_time_unix_nano for one in stages] == ends[:-1]
    assert ends == sorted(ends)
    assert ends[-1] <= root.end_time_unix_nano


@pytest.mark.parametrize("way", ["hot", "application"])
def test_nothing_is_kept_of_what_its_caller_does_not_keep(asked, way):
    made, kept = asked(sampler="parentbased_always_on")
    status, told, _ = once(made, way, INFER, [JSON, TOKEN, (b"traceparent", LEFT)], GOOD)
    assert (status, "traceresponse" in told, kept.spans()) == (200, False, [])


@pytest.mark.parametrize("way", ["hot", "application"])
@pytest.mark.parametrize("header", [b"", b"00-zz", KEPT.upper(), KEPT + b"-x"])
def test_a_trace_that_is_malformed_begins_anew(asked, way, header):
    made, kept = asked(sampler="parentbased_always_on")
    assert once(made, way, INFER, [JSON, TOKEN, (b"traceparent", header)], GOOD)[0] == 200
    root = kept.spans()[0]
    assert (root.parent_span_id, root.trace_id.hex() != TRACE) == (b"", True)


def test_two_parents_are_none_and_two_states_are_one(asked):
    made, kept = asked(sampler="parentbased_always_on")
    twice = [(b"traceparent", KEPT), (b"traceparent", KEPT)]
    once(made, "application", INFER, [JSON, TOKEN, *twice], GOOD)
    assert kept.spans()[0].parent_span_id == b""
    states = [(b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    once(made, "application", INFER, [JSON, TOKEN, (b"traceparent", KEPT), *states], GOOD)
    assert kept.spans()[0].trace_state == "a=1,b=2"


def test_requests_that_were_answered_together_refer_to_their_call(asked):
    made, kept = asked()
    heads = [[JSON, TOKEN, (b"traceparent", KEPT)], [JSON, TOKEN], [JSON, TOKEN, (b"traceparent", KEPT)]]
    assert [reply[0] for reply in made.replies(*((INFER, head, GOOD) for head in heads))] == [200] * 3
    call, *others = kept.spans()
    roots = [one for one in others if one.kind == trace_pb2.Span.SPAN_KIND_SERVER]
    assert [values_of(one.attributes)["varv.call.requests"] for one in roots] == [3, 3]
    told = {"varv.model": "wide", "varv.requests": 3, "varv.rows": 6}
    assert (call.name, call.parent_span_id, values_of(call.attributes)) == ("call", b"", told)
    assert [link.span_id for link in call.links] == [one.span_id for one in roots]
    answers = [one for one in others if one.name == "answer"]
    assert [[link.span_id for link in one.links] for one in answers] == [[call.span_id]] * 2


@pytest.mark.parametrize("way", ["hot", "application"])
def test_whoever_is_asked_for_a_request_is_told_its_span(asked, monkeypatch, way):
    made, kept = asked()
    seen = []
    inference = made.hot_inference if way == "hot" else made.inference
    answering = next(iter(inference.models.values()))
    for name in ("answer_together", "answer_generally", "answer"):
        before = getattr(answering, name)

        def noting(*given, before=before):
            seen.append(outgoing())
            return before(*given)

        monkeypatch.setattr(answering, name, noting)
    traced = [JSON, TOKEN, (b"traceparent", KEPT), (b"tracestate", b"vendor=1")]
    once(made, way, INFER, traced, GOOD)
    root = kept.spans()[0]
    assert {one["traceparent"] for one in seen} == {f"00-{TRACE}-{root.span_id.hex()}-01"}
    assert {one["tracestate"] for one in seen} == {"vendor=1"}
    seen.clear()
    once(made, way, INFER, [JSON, TOKEN], GOOD)
    assert seen == [{}] * len(seen) != []
    seen.clear()
    if way == "hot":
        made.replies((INFER, traced, GOOD), (INFER, [JSON, TOKEN], GOOD))
        call = kept.spans()[0]
        assert seen == [{"traceparent": f"00-{call.trace_id.hex()}-{call.span_id.hex()}-01"}]


REFUSED = {
    "unauthenticated": (INFER, [JSON], GOOD, 401),
    "not JSON": (INFER, [JSON, TOKEN], b"{", 400),
    "another type": (TYPED, [TOKEN, (b"content-type", b"text/csv")], b"", 400),
    "no model": (b"/v2/models/none/infer", [JSON, TOKEN], GOOD, 404),
}


@pytest.mark.parametrize(
    ("way", "name"),
    [
        *(("application", name) for name in REFUSED),
        *(("hot", name) for name in REFUSED if name != "no model"),
    ],
)
def test_a_request_that_is_refused_is_kept_without_stages_and_is_no_fault(asked, way, name):
    made, kept = asked(plan=AccessPlan(share=0.0, slow_s=60.0))
    target, headers, body, expected = REFUSED[name]
    more = [(b"traceparent", KEPT), (b"x-request-id", b"r 1")]
    status, told, _ = once(made, way, target, [*headers, *more], body)
    assert (status, told["x-request-id"]) == (expected, "r1")
    [root] = kept.spans()
    assert values_of(root.attributes)["http.response.status_code"] == expected
    assert root.status.code == trace_pb2.Status.STATUS_CODE_UNSET
    [line] = kept.facts()
    assert (line["status"], line["request"], line["trace"]) == (expected, "r1", TRACE)
    assert told["traceresponse"].startswith(f"00-{TRACE}-{root.span_id.hex()}")


@pytest.mark.parametrize("way", ["hot", "application"])
def test_a_line_says_who_asked_what_and_how_long_it_took(asked, way):
    made, kept = asked(sampler=None, plan=AccessPlan(slow_s=60.0))
    once(made, way, MLFLOW, [JSON, TOKEN, (b"traceparent", LEFT), (b"x-request-id", b"r-1")], MATRIX_FRAME)
    [line] = kept.facts()
    at, took_ms = line.pop("at"), line.pop("ms")
    assert (at.startswith("20"), 0 < took_ms < 60_000) == (True, True)
    assert line == {
        "request": "r-1",
        "method": "POST",
        "route": "/invocations",
        "status": 200,
        "model": "wide",
        "version": "1",
        "arm": "champion",
        "rows": 1,
        "client": "shop",
        "trace": TRACE,
    }


MATRIX_FRAME = b'{"dataframe_records":[{"a":1,"b":2,"c":3}]}'


@pytest.mark.parametrize(("share", "slow_s", "n_lines"), [(1.0, 60.0, 5), (0.0, 60.0, 0), (0.0, 0.0, 5)])
def test_what_is_slow_gets_a_line_and_a_share_of_the_rest(asked, share, slow_s, n_lines):
    made, kept = asked(sampler=None, plan=AccessPlan(share=share, slow_s=slow_s))
    made.replies(*[(INFER, [JSON, TOKEN], GOOD)] * 5)
    assert len(kept.facts()) == n_lines


def test_lines_and_spans_without_room_are_counted(asked):
    made, kept = asked(sampler="always_on", plan=AccessPlan(), most=3)
    replies = made.replies(*[(INFER, [JSON, TOKEN], GOOD)] * 5)
    assert [one[0] for one in replies] == [200] * 5
    # The call of the five is a span as well.
    assert (kept.traced.n_dropped, kept.lines.n_dropped) == (3, 2)


@pytest.mark.parametrize("target", [INFER, TYPED, MLFLOW])
@pytest.mark.parametrize("header", [b"from-a-proxy", b" sp\x00aced", b"x" * 5000])
def test_a_request_without_a_name_of_its_own_has_that_of_the_header(tmp_path, target, header):
    made = Asked(tmp_path)
    body = {
        INFER: b'{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}',
        TYPED: b'{"rows":[{"a":1,"b":2,"c":3}]}',
        MLFLOW: MATRIX_FRAME,
    }[target]
    [(status, told, answer)] = made.replies((target, [JSON, (b"x-request-id", header)], body))
    name = header.replace(b" ", b"").replace(b"\x00", b"").decode()[:LONGEST_ID]
    assert (status, told["x-request-id"]) == (200, name)
    if target != MLFLOW:
        assert msgspec.json.decode(answer)["id"] == name


def test_probes_are_not_kept(asked):
    made, kept = asked(sampler="always_on", plan=AccessPlan())
    with asking(made.app) as client:
        assert client.get("/v2/health/ready").status_code == 200
        assert (kept.spans(), kept.facts()) == ([], [])
        client.get("/v2/models/wide", headers={"authorization": "Bearer shop"})
        client.get("/nowhere/at/all", headers={"authorization": "Bearer shop"})
    found = [(span.name, values_of(span.attributes).get("varv.model")) for span in kept.spans()]
    assert found == [("GET /v2/models/{model}", "wide"), ("GET", None)]


def test_a_fault_is_an_error(asked, monkeypatch):
    made, kept = asked(sampler="always_on", plan=AccessPlan(share=0.0, slow_s=60.0))
    answering = next(iter(made.hot_inference.models.values()))
    monkeypatch.setattr(answering, "ready", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.replies((INFER, [JSON, TOKEN], GOOD))
    [root] = kept.spans()
    assert root.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert values_of(root.attributes)["error.type"] == "500"
    assert kept.facts()[0]["status"] == 500


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return all_answering(tmp_path_factory.mktemp("served"))


@pytest.fixture
def calls(models):
    """Return a stub of a server that is watched, and what is kept."""
    kept = Kept(plan=AccessPlan(share=0.0, slow_s=60.0))
    inference = Inference(watcher=kept.watcher)
    inference.models = dict(models)
    loop = Loop(inference)
    channel = grpc.insecure_channel(loop.place)
    yield service_pb2_grpc.GRPCInferenceServiceStub(channel), kept
    channel.close()
    loop.close()


METADATA = (("traceparent", KEPT.decode()), ("tracestate", "vendor=1"), ("x-request-id", "r-1"))


def test_a_call_over_grpc_is_a_span_of_its_callers_trace(calls):
    stub, kept = calls
    asked = typed("FP64", "fp64_contents", [1.0])
    asked.id = ""
    response, call = stub.ModelInfer.with_call(asked, metadata=METADATA)
    root, *stages = kept.spans()
    assert (root.trace_id.hex(), root.parent_span_id.hex(), root.trace_state) == (TRACE, CALLER, "vendor=1")
    told = dict(call.trailing_metadata())
    assert told["traceresponse"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert (response.id, told["x-request-id"]) == ("r-1", "r-1")
    attributes = values_of(root.attributes)
    assert root.name == attributes["rpc.method"] == "inference.GRPCInferenceService/ModelInfer"
    assert (attributes["rpc.system.name"], attributes["rpc.response.status_code"]) == ("grpc", "OK")
    assert (attributes["varv.model"], attributes["varv.rows"]) == ("binary", 1)
    assert [one.name for one in stages] == STAGES
    assert {one.parent_span_id for one in stages} == {root.span_id}


def test_a_call_that_is_refused_says_its_status(calls):
    stub, kept = calls
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(service_pb2.ModelInferRequest(model_name="none"), metadata=METADATA)
    [root], [line] = kept.spans(), kept.facts()
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    told = dict(caught.value.trailing_metadata())
    assert told["traceresponse"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert values_of(root.attributes)["rpc.response.status_code"] == "NOT_FOUND"
    # The caller's mistake is no failure of the server.
    assert root.status.code == trace_pb2.Status.STATUS_CODE_UNSET
    assert (line["status"], line["request"], line["method"]) == ("NOT_FOUND", "r-1", "gRPC")


def test_each_request_of_a_stream_is_a_span(calls):
    stub, kept = calls
    several = [typed("FP64", "fp64_contents", [1.0]), service_pb2.ModelInferRequest(model_name="none")]
    replies = list(stub.ModelStreamInfer(iter(several), metadata=METADATA))
    assert [bool(one.error_message) for one in replies] == [False, True]
    roots = [one for one in kept.spans() if one.kind == trace_pb2.Span.SPAN_KIND_SERVER]
    statuses = [values_of(one.attributes)["rpc.response.status_code"] for one in roots]
    assert statuses == ["OK", "NOT_FOUND"]
    assert {one.parent_span_id.hex() for one in roots} == {CALLER}

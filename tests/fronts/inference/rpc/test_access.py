"""Who may call for what, how much and for how long, over gRPC."""

from __future__ import annotations

import grpc
import pytest
from tests.fronts.inference.rpc.test_service import Loop, health, typed
from tests.serving.said import all_answering
from tritonclient.grpc import service_pb2, service_pb2_grpc

from varv.fronts.access import Client, Door
from varv.fronts.access.clients import digest_of
from varv.fronts.access.concurrency import GradientLimit
from varv.fronts.access.limits import rate_of
from varv.fronts.inference import Inference
from varv.fronts.inference.rpc.messages import SERVICE
from varv.kernel.clock import wall_seconds
from varv.kernel.ids import ModelName

BINARY = ModelName("binary")
Code = grpc.StatusCode


def client(name, **more):
    return Client(name=name, token=digest_of(name.encode()), **more)


CLIENTS = (
    client("shop", models=(BINARY,)),
    client("asker", roles=("predict",)),
    client("reader", roles=("read",)),
    client("slow", rate=rate_of("3/h")),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return all_answering(tmp_path_factory.mktemp("served"))


@pytest.fixture
def served(models):
    """Return a function that serves behind a door, and gives a stub, the channel and the inference."""
    opened = []

    def serve(door, **limits):
        inference = Inference(door)
        inference.models = dict(models)
        loop = Loop(inference, **limits)
        channel = grpc.insecure_channel(loop.place)
        opened.append((loop, channel))
        return service_pb2_grpc.GRPCInferenceServiceStub(channel), channel, inference

    yield serve
    for loop, channel in opened:
        channel.close()
        loop.close()


def token(name):
    return (("authorization", f"Bearer {name}"),)


def request(n=1, **more):
    return typed("FP64", "fp64_contents", [1.0] * n, **more)


def refused(act, asked, **more):
    with pytest.raises(grpc.RpcError) as caught:
        act(asked, **more)
    return caught.value.code(), dict(caught.value.trailing_metadata())


def test_calls_need_a_token_and_its_rights(served):
    stub, channel, inference = served(Door(CLIENTS))
    assert stub.ModelInfer(request(), metadata=token("shop")).model_name == "binary"
    assert stub.ModelInfer(request(), metadata=token("asker")).model_name == "binary"
    for metadata in ((), token("none")):
        code, told = refused(stub.ModelInfer, request(), metadata=metadata)
        assert (code, told["www-authenticate"]) == (Code.UNAUTHENTICATED, "Bearer")
    assert refused(stub.ModelInfer, request(), metadata=token("reader"))[0] == Code.PERMISSION_DENIED
    other = service_pb2.ModelInferRequest(model_name="score")
    assert refused(stub.ModelInfer, other, metadata=token("shop"))[0] == Code.PERMISSION_DENIED
    assert inference.door.refusals == {
        ("unauthenticated", ""): 2,
        ("role", "reader"): 1,
        ("model", "shop"): 1,
    }
    assert inference.door.n_under_way == 0
    assert stub.ServerLive(service_pb2.ServerLiveRequest()).live
    assert stub.ServerReady(service_pb2.ServerReadyRequest()).ready
    assert health(channel, "Check", SERVICE).status == 1


def test_reading_needs_its_own_right_and_shows_what_may_be_asked(served):
    stub, _, _ = served(Door(CLIENTS))
    asked = service_pb2.ModelMetadataRequest(name="score")
    assert refused(stub.ModelMetadata, asked)[0] == Code.UNAUTHENTICATED
    assert refused(stub.ModelMetadata, asked, metadata=token("asker"))[0] == Code.PERMISSION_DENIED
    assert refused(stub.ModelMetadata, asked, metadata=token("shop"))[0] == Code.PERMISSION_DENIED
    assert stub.ModelMetadata(asked, metadata=token("reader")).name == "score"
    index = stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), metadata=token("shop"))
    assert [one.name for one in index.models] == ["binary"]
    told = stub.ModelStatistics(service_pb2.ModelStatisticsRequest(), metadata=token("shop"))
    assert [one.name for one in told.model_stats] == ["binary"]


def test_rows_beyond_the_rate_are_refused_and_what_is_left_is_told(served):
    stub, _, _ = served(Door(CLIENTS))
    answer, call = stub.ModelInfer.with_call(request(2), metadata=token("slow"))
    told = dict(call.trailing_metadata())
    assert len(answer.outputs) > 0
    assert (told["ratelimit-policy"], told["ratelimit"][:10]) == ('"rows";q=3;w=3600', '"rows";r=1')
    code, told = refused(stub.ModelInfer, request(2), metadata=token("slow"))
    assert code == Code.RESOURCE_EXHAUSTED
    assert 1100 < int(told["retry-after"]) <= 1200


def test_a_stream_is_refused_as_a_whole_or_request_by_request(served):
    stub, _, inference = served(Door(CLIENTS))
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.ModelStreamInfer(iter([request()])))
    assert caught.value.code() == Code.UNAUTHENTICATED
    several = [request(), service_pb2.ModelInferRequest(model_name="score"), request()]
    answers = list(stub.ModelStreamInfer(iter(several), metadata=token("shop")))
    assert [bool(one.error_message) for one in answers] == [False, True, False]
    assert "may not ask" in answers[1].error_message
    assert inference.door.n_under_way == 0


def test_what_nobody_waits_for_is_not_computed(served):
    stub, _, inference = served(Door())
    before = inference.statistics[BINARY].described()
    late = request()
    late.parameters["timeout"].int64_param = 1
    assert refused(stub.ModelInfer, late)[0] == Code.DEADLINE_EXCEEDED
    waits = (("x-varv-timeout-ms", "0"),)
    assert refused(stub.ModelInfer, request(), metadata=waits)[0] == Code.DEADLINE_EXCEEDED
    soon = (("x-varv-timeout-ms", "soon"),)
    assert refused(stub.ModelInfer, request(), metadata=soon)[0] == Code.INVALID_ARGUMENT
    after = inference.statistics[BINARY].described()
    assert after["inference_count"] == before["inference_count"]
    assert after["inference_stats"]["fail"]["count"] >= before["inference_stats"]["fail"]["count"] + 2
    assert stub.ModelInfer(request(), timeout=60).model_name == "binary"


def test_what_a_call_itself_allows_is_its_deadline(served, monkeypatch):
    stub, _, inference = served(Door())
    before = inference.statistics[BINARY].described()["inference_count"]
    # A clock that runs ahead: by the time that the request is read, its caller has given up.
    monkeypatch.setattr("varv.fronts.inference.turns.wall_seconds", lambda: wall_seconds() + 90)
    assert refused(stub.ModelInfer, request(), timeout=60)[0] == Code.DEADLINE_EXCEEDED
    assert inference.statistics[BINARY].described()["inference_count"] == before
    assert stub.ModelInfer(request(), timeout=600).model_name == "binary"


def test_too_much_at_a_time_is_refused(served):
    stub, _, inference = served(Door(limit=GradientLimit(least=0, most=0)))
    code, told = refused(stub.ModelInfer, request())
    assert (code, told["retry-after"]) == (Code.UNAVAILABLE, "1")
    assert inference.door.refusals == {("overload", ""): 1}


def test_too_many_bytes_at_a_time_are_refused_and_leave_nothing_behind(served):
    stub, _, inference = served(Door(), most_bytes_together=2000)
    for _ in range(3):
        assert stub.ModelInfer(request()).model_name == "binary"
        code, told = refused(stub.ModelInfer, request(1000))
        assert (code, told["retry-after"]) == (Code.RESOURCE_EXHAUSTED, "1")
    answers = list(stub.ModelStreamInfer(iter([request(1000), request()])))
    assert ["too many bytes" in one.error_message for one in answers] == [True, False]
    assert inference.door.n_under_way == 0


def test_only_so_many_watch_the_health(served, monkeypatch):
    monkeypatch.setattr("varv.fronts.inference.rpc.service.MOST_WATCHING", 2)
    _, channel, _ = served(Door())
    watching = [health(channel, "Watch", "", stream=True) for _ in range(2)]
    for calls in watching:
        next(calls)
    with pytest.raises(grpc.RpcError) as caught:
        next(health(channel, "Watch", "", stream=True))
    assert caught.value.code() == Code.RESOURCE_EXHAUSTED
    for calls in watching:
        calls.cancel()


def test_calls_of_one_moment_are_scored_together_once_there_are_enough(served, monkeypatch):
    # A moment that holds however busy the machine is.
    monkeypatch.setattr("varv.fronts.inference.rpc.gathering.WAIT_S", 0.05)
    stub, _, inference = served(Door())
    for _ in range(40):
        calls = [stub.ModelInfer.future(request()) for _ in range(50)]
        assert all(call.result().model_name == "binary" for call in calls)
    told = inference.statistics[BINARY].described()
    assert told["inference_count"] == 2000
    assert told["execution_count"] < 1500

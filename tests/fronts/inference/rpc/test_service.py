"""Triton's own clients over gRPC, and what the protocol asks beside them."""

from __future__ import annotations

import asyncio
import threading

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fronts.asking import asking
from tests.serving.said import CLASSES, all_answering
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from varv.fronts.inference import Inference, create_inference
from varv.fronts.inference.rpc.messages import HEALTH_SERVICE, SERVICE, messages
from varv.fronts.inference.rpc.service import create_server

MOST_BYTES = 1 << 20


class Loop:
    """A server on an event loop of its own."""

    def __init__(self, inference, **limits):
        self._limits = {"most_bytes": MOST_BYTES, "most_calls": 64, **limits}
        self._ready, self._stop = threading.Event(), None
        self.place, self._inference = "", inference
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._ready.wait()

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = create_server(self._inference, **self._limits)
        self.place = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        self._ready.set()
        await self._stop.wait()
        await server.stop(1)

    def close(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture(scope="module")
def inference(tmp_path_factory):
    made = Inference()
    made.models = all_answering(tmp_path_factory.mktemp("served"))
    return made


@pytest.fixture(scope="module")
def place(inference):
    loop = Loop(inference)
    yield loop.place
    loop.close()


@pytest.fixture(scope="module")
def client(place):
    with triton.InferenceServerClient(place) as made:
        yield made


@pytest.fixture(scope="module")
def stub(place):
    with grpc.insecure_channel(place) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def inputs_of(n):
    x = triton.InferInput("x", [n], "FP64").set_data_from_numpy(np.arange(n, dtype=float))
    lists = triton.InferInput("query", [n], "BYTES").set_data_from_numpy(np.array(["q7"] * n, np.object_))
    return [x, lists]


@pytest.mark.parametrize("n", [1, 3, 2000])
def test_bytes_are_answered_with_bytes_as_over_rest(client, inference, n):
    outputs = [triton.InferRequestedOutput(name) for name in ("probabilities", "label", "version")]
    answer = client.infer("multiclass", inputs_of(n), outputs=outputs, request_id="from-afar")
    assert answer.as_numpy("probabilities").tolist() == [[0.5, 0.25, 0.25]] * n
    assert answer.as_numpy("label").tolist() == [CLASSES[0].encode()] * n
    assert answer.as_numpy("version").tolist() == [1] * n
    told = answer.get_response()
    assert (told.id, told.model_name, told.model_version) == ("from-afar", "multiclass", "1")
    assert told.parameters["captured"].bool_param
    assert told.parameters["epoch"].int64_param == 1


def typed(datatype, field, values, **more):
    request = service_pb2.ModelInferRequest(model_name="binary", id="r", **more)
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[len(values)])
    getattr(tensor.contents, field).extend(values)
    return request


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("FP64", "fp64_contents"),
        ("FP32", "fp32_contents"),
        ("INT8", "int_contents"),
        ("INT64", "int64_contents"),
        ("UINT16", "uint_contents"),
        ("UINT64", "uint64_contents"),
    ],
)
def test_typed_values_are_answered_typed(stub, datatype, field):
    answer = stub.ModelInfer(typed(datatype, field, [1, 2]))
    outputs = {one.name: one for one in answer.outputs}
    assert not answer.raw_output_contents
    assert list(outputs["probability"].contents.fp32_contents) == [0.25, 0.25]
    assert list(outputs["key"].contents.bytes_contents) == [b"r-0", b"r-1"]
    assert list(outputs["version"].contents.int_contents) == [1, 1]


def both(request):
    request.raw_input_contents.append(b"\x00" * 16)
    return request


def with_raw(*parts, datatype="FP64"):
    request = service_pb2.ModelInferRequest(model_name="binary")
    request.inputs.add(name="x", datatype=datatype, shape=[2])
    request.raw_input_contents.extend(parts)
    return request


BAD = {
    "both forms": (both(typed("FP64", "fp64_contents", [1, 2])), "not both"),
    "an entry too many": (with_raw(b"\x00" * 16, b""), "2 entries for 1 inputs"),
    "bytes that are too few": (with_raw(b"\x00" * 8), "1 values for the shape"),
    "no data": (with_raw(), "0 values for the shape"),
    "no inputs": (service_pb2.ModelInferRequest(model_name="binary"), "is empty"),
    "a half typed": (typed("FP16", "fp32_contents", [1.0]), "no typed contents"),
    "another datatype": (typed("BYTES", "bytes_contents", [b"a"]), "is of the datatype FP64"),
    "a text that is none": (typed("BYTES", "bytes_contents", [b"\xff"]), "not UTF-8"),
    "an unknown output": (
        typed("FP64", "fp64_contents", [1.0], outputs=[{"name": "logits"}]),
        "asks for 'logits'",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_an_invalid_argument_and_told(stub, kind):
    request, said = BAD[kind]
    with pytest.raises(grpc.RpcError, match=said) as caught:
        stub.ModelInfer(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_version_that_is_named_answers_and_is_not_captured(stub):
    found = stub.ModelInfer(typed("FP64", "fp64_contents", [1.0], model_version="1"))
    assert found.model_version == "1"
    assert found.parameters["arm"].string_param == "named"
    assert found.parameters["captured"].bool_param is False
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(typed("FP64", "fp64_contents", [1.0], model_version="9"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_what_is_not_there_or_too_large_has_its_status(stub):
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(service_pb2.ModelInferRequest(model_name="other"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelReady(service_pb2.ModelReadyRequest(name="binary", version="9"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(with_raw(b"\x00" * (MOST_BYTES + 1)))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(with_raw(b"\x00" * 200_000))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_the_client_asks_what_there_is(client, inference):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("binary")
    assert client.get_server_metadata().name == "varv"
    with asking(create_inference(inference)) as rest:
        told = rest.get("/v2/models/multiclass").json()
    metadata = client.get_model_metadata("multiclass", as_json=True)
    assert [one["name"] for one in metadata["inputs"]] == [one["name"] for one in told["inputs"]]
    assert [one["shape"] for one in metadata["outputs"]] == [
        list(map(str, one["shape"])) for one in told["outputs"]
    ]
    config = client.get_model_config("multiclass").config
    assert {(one.name, one.data_type) for one in config.input} >= {("x", 12), ("query", 13)}
    before = client.get_inference_statistics("score").model_stats[0]
    client.infer("score", inputs_of(3))
    after = client.get_inference_statistics("score").model_stats[0]
    assert after.inference_count - before.inference_count == 3
    assert after.inference_stats.success.ns > before.inference_stats.success.ns
    assert {one.name for one in client.get_inference_statistics().model_stats} >= {"binary", "score"}
    assert {(one.name, one.state) for one in client.get_model_repository_index().models} >= {
        ("binary", "READY")
    }
    client.load_model("binary")
    with pytest.raises(InferenceServerException, match="goes by what is declared"):
        client.unload_model("binary")
    with pytest.raises(InferenceServerException, match="as it was registered"):
        client.load_model("binary", config="{}")


def test_a_stream_answers_each_request_and_goes_on_after_one_that_is_wrong(place):
    answers, done = [], threading.Event()

    def take(result, error):
        answers.append(str(error) if error else result.as_numpy("prediction").tolist())
        if len(answers) == 3:
            done.set()

    with triton.InferenceServerClient(place) as client:
        client.start_stream(take)
        client.async_stream_infer("regression", inputs_of(1))
        client.async_stream_infer("other", inputs_of(1))
        client.async_stream_infer("regression", inputs_of(2))
        assert done.wait(30)
        client.stop_stream()
    assert (answers[0], answers[2]) == ([12.5], [12.5, 12.5])
    assert "is not served here" in answers[1]


def test_the_asynchronous_client_is_answered_too(place):
    async def ask():
        async with triton_aio.InferenceServerClient(place) as client:
            return await asyncio.gather(*(client.infer("regression", inputs_of(n)) for n in range(1, 9)))

    answers = asyncio.run(ask())
    assert [one.as_numpy("prediction").tolist() for one in answers] == [[12.5] * n for n in range(1, 9)]


def health(channel, act, service, *, stream=False):
    made = messages()
    call = channel.unary_stream if stream else channel.unary_unary
    ask = call(
        f"/{HEALTH_SERVICE}/{act}",
        made["HealthCheckRequest"].SerializeToString,
        made["HealthCheckResponse"].FromString,
    )
    return ask(made["HealthCheckRequest"](service=service), timeout=10)


def test_the_health_of_the_server_is_told_and_watched(place):
    with grpc.insecure_channel(place) as channel:
        assert health(channel, "Check", "").status == 1
        assert health(channel, "Check", SERVICE).status == 1
        with pytest.raises(grpc.RpcError) as caught:
            health(channel, "Check", "other")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        watched = health(channel, "Watch", SERVICE, stream=True)
        assert next(watched).status == 1
        watched.cancel()
        assert next(health(channel, "Watch", "other", stream=True)).status == 3


def test_a_server_without_models_is_not_serving():
    loop = Loop(Inference())
    try:
        with grpc.insecure_channel(loop.place) as channel:
            assert health(channel, "Check", "").status == 2
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            assert not stub.ServerReady(service_pb2.ServerReadyRequest()).ready
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelInfer(service_pb2.ModelInferRequest(model_name="binary"))
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    finally:
        loop.close()


@settings(max_examples=50, deadline=None)
@given(
    name=st.sampled_from(["x", "query", "id", "?"]),
    datatype=st.sampled_from(["FP64", "INT64", "BYTES", "BOOL", "FP16", "BF16", "?"]),
    shape=st.lists(st.integers(-3, 5), max_size=3),
    data=st.binary(max_size=48),
)
def test_whatever_comes_is_answered_or_refused(stub, name, datatype, shape, data):
    request = service_pb2.ModelInferRequest(model_name="binary", raw_input_contents=[data])
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    try:
        stub.ModelInfer(request)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT  # noqa: PT017


def test_bytes_that_are_no_message_are_their_senders_fault(place, caplog):
    with grpc.insecure_channel(place) as channel:
        for act in (f"{SERVICE}/ModelInfer", f"{SERVICE}/ModelMetadata", f"{HEALTH_SERVICE}/Check"):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/{act}")(b"\x0a\xff")
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        stream = channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            response_deserializer=messages()["ModelStreamInferResponse"].FromString,
        )
        good = typed("FP64", "fp64_contents", [1.0]).SerializeToString()
        broken, answered = stream(iter([b"\x0a\xff", good]))
    assert "is not of this call" in broken.error_message
    assert answered.infer_response.model_name == "binary"
    assert not caplog.records

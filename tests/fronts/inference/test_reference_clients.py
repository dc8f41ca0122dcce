"""Triton's own clients against a server over real connections, with tensors as bytes in both directions."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
import uvicorn
from tests.serving.said import CLASSES, all_answering
from tritonclient.utils import InferenceServerException

from varv.app.server.listening import listener
from varv.app.server.protocol import bounded_protocol
from varv.fronts.inference import Inference, create_inference


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    inference = Inference()
    inference.models = all_answering(tmp_path_factory.mktemp("served"))
    config = uvicorn.Config(
        create_inference(inference), http=bounded_protocol(), ws="none", log_config=None, lifespan="off"
    )
    server, socket = uvicorn.Server(config), listener("127.0.0.1", 0, "port")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    yield "{}:{}".format(*socket.getsockname())
    server.should_exit = True
    thread.join()


def inputs_of(module, n, *, binary):
    x = module.InferInput("x", [n], "FP64").set_data_from_numpy(np.arange(n, dtype=float), binary_data=binary)
    lists = np.array(["q7"] * n, np.object_)
    query = module.InferInput("query", [n], "BYTES").set_data_from_numpy(lists, binary_data=binary)
    return [x, query]


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "json"])
@pytest.mark.parametrize("compressed", [None, "gzip", "deflate"])
def test_the_client_is_answered_in_every_form(place, binary, compressed):
    with triton.InferenceServerClient(place) as client:
        outputs = [
            triton.InferRequestedOutput("probabilities", binary_data=binary),
            triton.InferRequestedOutput("label", binary_data=binary),
        ]
        answer = client.infer(
            "multiclass",
            inputs_of(triton, 1000, binary=binary),
            request_id="from-afar",
            outputs=outputs,
            request_compression_algorithm=compressed,
            response_compression_algorithm=compressed,
        )
    assert answer.as_numpy("probabilities").tolist() == [[0.5, 0.25, 0.25]] * 1000
    labels = answer.as_numpy("label").tolist()
    assert {one.decode() if isinstance(one, bytes) else one for one in labels} == {CLASSES[0]}
    assert answer.get_response()["id"] == "from-afar"


def test_the_client_gets_all_outputs_as_bytes_if_it_names_none(place):
    with triton.InferenceServerClient(place) as client:
        answer = client.infer("binary", inputs_of(triton, 2, binary=True), request_id="r")
        assert answer.as_numpy("probability").tolist() == [0.25, 0.25]
        assert answer.as_numpy("key").tolist() == [b"r-0", b"r-1"]
        assert answer.as_numpy("version").tolist() == [1, 1]
        wanted = [triton.InferRequestedOutput("probability", class_count=1)]
        best = client.infer("binary", inputs_of(triton, 1, binary=True), outputs=wanted)
    assert [text.decode().split(":")[:2] for text in best.as_numpy("probability")[0]] == [["0.250000", "0"]]


def test_the_client_asks_what_there_is(place):
    with triton.InferenceServerClient(place) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("binary")
        assert client.is_model_ready("binary", "1")
        assert not client.is_model_ready("binary", "9")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        assert client.get_model_metadata("binary")["name"] == "binary"
        assert client.get_model_config("binary")["backend"] == "varv"
        assert {one["name"] for one in client.get_model_repository_index()} >= {"binary", "multiclass"}
        before = client.get_inference_statistics("regression")["model_stats"][0]
        client.infer("regression", inputs_of(triton, 3, binary=True))
        after = client.get_inference_statistics("regression")["model_stats"][0]
        assert after["inference_count"] - before["inference_count"] == 3
        client.load_model("binary")
        with pytest.raises(InferenceServerException, match="goes by what is declared"):
            client.unload_model("binary")


def test_the_client_reads_our_errors(place):
    with triton.InferenceServerClient(place) as client:
        with pytest.raises(InferenceServerException, match="is missing"):
            client.infer("ranking", inputs_of(triton, 1, binary=True)[:1])
        with pytest.raises(InferenceServerException, match="is not served here"):
            client.infer("other", inputs_of(triton, 1, binary=True))
        with pytest.raises(InferenceServerException, match="is not served"):
            client.infer("binary", inputs_of(triton, 1, binary=True), model_version="9")


def test_a_version_that_is_named_answers_and_is_not_captured(place):
    with triton.InferenceServerClient(place) as client:
        found = client.infer("binary", inputs_of(triton, 2, binary=True), model_version="1")
    assert found.as_numpy("probability").tolist() == [0.25, 0.25]
    told = found.get_response()
    assert (told["model_version"], told["parameters"]["arm"]) == ("1", "named")
    assert told["parameters"]["captured"] is False


def test_the_asynchronous_client_is_answered_too(place):
    async def ask():
        async with triton_aio.InferenceServerClient(place) as client:
            assert await client.is_server_ready()
            several = [
                client.infer("regression", inputs_of(triton_aio, n, binary=n % 2 == 0)) for n in range(1, 9)
            ]
            return await asyncio.gather(*several)

    answers = asyncio.run(ask())
    assert [one.as_numpy("prediction").tolist() for one in answers] == [[12.5] * n for n in range(1, 9)]

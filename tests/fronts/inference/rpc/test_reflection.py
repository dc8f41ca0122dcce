"""What a client that brings no description learns of the services."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tests.fronts.inference.rpc.test_access import CLIENTS, token
from tests.fronts.inference.rpc.test_service import Loop
from tests.serving.said import all_answering

from varv.fronts.access import Door
from varv.fronts.inference import Inference
from varv.fronts.inference.rpc.messages import HEALTH_SERVICE, REFLECTION_SERVICES, SERVICE, messages


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    inference = Inference()
    inference.models = all_answering(tmp_path_factory.mktemp("served"))
    loop = Loop(inference)
    yield loop.place
    loop.close()


def asked(channel, service, *questions, **more):
    made = messages()
    call = channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        made["ServerReflectionRequest"].SerializeToString,
        made["ServerReflectionResponse"].FromString,
    )
    return list(call(iter(made["ServerReflectionRequest"](**one) for one in questions), **more))


@pytest.mark.parametrize("service", REFLECTION_SERVICES)
def test_a_client_that_knows_nothing_can_call_what_is_listed(place, service):
    with grpc.insecure_channel(place) as channel:
        [told] = asked(channel, service, {"list_services": "*"})
        names = [one.name for one in told.list_services_response.service]
        assert names == [SERVICE, HEALTH_SERVICE, *REFLECTION_SERVICES]
        pool = descriptor_pool.DescriptorPool()
        for answer in asked(channel, service, *({"file_containing_symbol": name} for name in names)):
            [file] = answer.file_descriptor_response.file_descriptor_proto
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(file))
        act = pool.FindServiceByName(SERVICE).methods_by_name["ModelMetadata"]
        asks = message_factory.GetMessageClass(act.input_type)
        gives = message_factory.GetMessageClass(act.output_type)
        call = channel.unary_unary(f"/{SERVICE}/{act.name}", asks.SerializeToString, gives.FromString)
        assert [one.name for one in call(asks(name="binary")).inputs] == ["x", "id", "query"]


def test_a_file_is_found_by_its_name_and_by_what_is_in_it_and_nothing_else_is(place):
    with grpc.insecure_channel(place) as channel:
        first, second, third, unknown, extension = asked(
            channel,
            REFLECTION_SERVICES[0],
            {"file_by_filename": "open_inference.proto"},
            {"file_containing_symbol": "inference.ModelInferRequest", "host": "here"},
            {"file_containing_symbol": f"{SERVICE}.ModelInfer"},
            {"file_containing_symbol": "inference.Nothing"},
            {"all_extension_numbers_of_type": "inference.ModelInferRequest"},
        )
    files = {tuple(one.file_descriptor_response.file_descriptor_proto) for one in (first, second, third)}
    assert len(files) == 1
    assert (second.valid_host, second.original_request.host) == ("here", "here")
    assert {unknown.error_response.error_code, extension.error_response.error_code} == {5}


def test_whoever_may_not_read_learns_nothing(tmp_path):
    loop = Loop(Inference(Door(CLIENTS)))
    with grpc.insecure_channel(loop.place) as channel:
        for metadata, code in (
            ((), grpc.StatusCode.UNAUTHENTICATED),
            (token("asker"), grpc.StatusCode.PERMISSION_DENIED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                asked(channel, REFLECTION_SERVICES[0], {"list_services": ""}, metadata=metadata)
            assert caught.value.code() == code
        assert asked(channel, REFLECTION_SERVICES[0], {"list_services": ""}, metadata=token("reader"))
    loop.close()

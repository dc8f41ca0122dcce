"""Our messages against those that Triton's client was generated from."""

from __future__ import annotations

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from varv.fronts.inference.rpc.messages import ACTS, DATA_TYPES, files, messages, request_of

THEIRS = {
    message.name: message
    for file in (service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR)
    for message in [
        *file.message_types_by_name.values(),
        *(inner for outer in file.message_types_by_name.values() for inner in outer.nested_types),
    ]
}
OURS = [message.name for message in files()[0].message_type]
ENUM, INT32 = 14, 5


@pytest.mark.parametrize("name", OURS)
def test_every_field_has_the_name_number_and_type_that_clients_know(name):
    theirs = {field.name: field for field in THEIRS[name].fields}
    for field in messages()[name].DESCRIPTOR.fields:
        their = theirs[field.name]
        kind = INT32 if their.type == ENUM else their.type  # an enumeration is a number on the wire
        assert (field.number, field.type, field.is_repeated) == (their.number, kind, their.is_repeated)
        if field.message_type is not None:
            assert field.message_type.name == their.message_type.name


def test_every_datatype_has_its_number():
    assert {f"TYPE_{name}": number for name, number in DATA_TYPES.items()} == dict(
        model_config_pb2.DataType.items()
    )


def test_every_act_is_one_of_the_service():
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    [ours] = files()[0].service
    assert [method.name for method in ours.method] == list(ACTS)
    for method in ours.method:
        their = theirs[method.name]
        assert method.input_type == f".{their.input_type.full_name}"
        assert method.output_type == f".{their.output_type.full_name}"
        streams = method.client_streaming, method.server_streaming
        assert streams == (their.client_streaming, their.server_streaming)
        assert their.input_type.name == request_of(method.name)

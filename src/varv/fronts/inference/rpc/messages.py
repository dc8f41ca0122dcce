"""The messages of the protocol over gRPC, made from one table: no code is generated, so no tool is needed.

A line of the table is a message, its fields with their numbers below it. They lie in a pool of their own, so
that a process may also hold a client that brings the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
FILE = "open_inference.proto"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_TABLE = """
ServerLiveRequest
ServerLiveResponse
  bool live 1
ServerReadyRequest
ServerReadyResponse
  bool ready 1
ModelReadyRequest
  string name 1
  string version 2
ModelReadyResponse
  bool ready 1
ServerMetadataRequest
ServerMetadataResponse
  string name 1
  string version 2
  repeated string extensions 3
ModelMetadataRequest
  string name 1
  string version 2
TensorMetadata
  string name 1
  string datatype 2
  repeated int64 shape 3
ModelMetadataResponse
  string name 1
  repeated string versions 2
  string platform 3
  repeated TensorMetadata inputs 4
  repeated TensorMetadata outputs 5
InferParameter
  oneof bool bool_param 1
  oneof int64 int64_param 2
  oneof string string_param 3
  oneof double double_param 4
  oneof uint64 uint64_param 5
InferTensorContents
  repeated bool bool_contents 1
  repeated int32 int_contents 2
  repeated int64 int64_contents 3
  repeated uint32 uint_contents 4
  repeated uint64 uint64_contents 5
  repeated float fp32_contents 6
  repeated double fp64_contents 7
  repeated bytes bytes_contents 8
InferInputTensor
  string name 1
  string datatype 2
  repeated int64 shape 3
  map InferParameter parameters 4
  InferTensorContents contents 5
InferRequestedOutputTensor
  string name 1
  map InferParameter parameters 2
ModelInferRequest
  string model_name 1
  string model_version 2
  string id 3
  map InferParameter parameters 4
  repeated InferInputTensor inputs 5
  repeated InferRequestedOutputTensor outputs 6
  repeated bytes raw_input_contents 7
InferOutputTensor
  string name 1
  string datatype 2
  repeated int64 shape 3
  map InferParameter parameters 4
  InferTensorContents contents 5
ModelInferResponse
  string model_name 1
  string model_version 2
  string id 3
  map InferParameter parameters 4
  repeated InferOutputTensor outputs 5
  repeated bytes raw_output_contents 6
ModelStreamInferResponse
  string error_message 1
  ModelInferResponse infer_response 2
ModelConfigRequest
  string name 1
  string version 2
ModelInput
  string name 1
  int32 data_type 2
  repeated int64 dims 4
ModelOutput
  string name 1
  int32 data_type 2
  repeated int64 dims 3
ModelConfig
  string name 1
  string platform 2
  int32 max_batch_size 4
  repeated ModelInput input 5
  repeated ModelOutput output 6
  string backend 17
ModelConfigResponse
  ModelConfig config 1
ModelStatisticsRequest
  string name 1
  string version 2
StatisticDuration
  uint64 count 1
  uint64 ns 2
InferStatistics
  StatisticDuration success 1
  StatisticDuration fail 2
  StatisticDuration queue 3
  StatisticDuration compute_input 4
  StatisticDuration compute_infer 5
  StatisticDuration compute_output 6
  StatisticDuration cache_hit 7
  StatisticDuration cache_miss 8
ModelStatistics
  string name 1
  string version 2
  uint64 last_inference 3
  uint64 inference_count 4
  uint64 execution_count 5
  InferStatistics inference_stats 6
ModelStatisticsResponse
  repeated ModelStatistics model_stats 1
RepositoryIndexRequest
  string repository_name 1
  bool ready 2
ModelIndex
  string name 1
  string version 2
  string state 3
  string reason 4
RepositoryIndexResponse
  repeated ModelIndex models 1
ModelRepositoryParameter
  oneof bool bool_param 1
  oneof int64 int64_param 2
  oneof string string_param 3
  oneof bytes bytes_param 4
RepositoryModelLoadRequest
  string repository_name 1
  string model_name 2
  map ModelRepositoryParameter parameters 3
RepositoryModelLoadResponse
RepositoryModelUnloadRequest
  string repository_name 1
  string model_name 2
  map ModelRepositoryParameter parameters 3
RepositoryModelUnloadResponse
"""

_NAMES = "INVALID BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING BF16"
DATA_TYPES = {name: number for number, name in enumerate(_NAMES.split())}
"""The numbers of ``DataType`` in a configuration."""

ACTS = (
    *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"),
    *("ModelStreamInfer", "ModelConfig", "ModelStatistics", "RepositoryIndex"),
    *("RepositoryModelLoad", "RepositoryModelUnload"),
)
"""What may be called."""

_HEALTH = """
HealthCheckRequest
  string service 1
HealthCheckResponse
  int32 status 1
"""
HEALTH_SERVICE = "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3

_REFLECTION = """
ServerReflectionRequest
  string host 1
  oneof string file_by_filename 3
  oneof string file_containing_symbol 4
  oneof ExtensionRequest file_containing_extension 5
  oneof string all_extension_numbers_of_type 6
  oneof string list_services 7
ExtensionRequest
  string containing_type 1
  int32 extension_number 2
ServerReflectionResponse
  string valid_host 1
  ServerReflectionRequest original_request 2
  oneof FileDescriptorResponse file_descriptor_response 4
  oneof ExtensionNumberResponse all_extension_numbers_response 5
  oneof ListServiceResponse list_services_response 6
  oneof ErrorResponse error_response 7
FileDescriptorResponse
  repeated bytes file_descriptor_proto 1
ExtensionNumberResponse
  string base_type_name 1
  repeated int32 extension_number 2
ListServiceResponse
  repeated ServiceResponse service 1
ServiceResponse
  string name 1
ErrorResponse
  int32 error_code 1
  string error_message 2
"""
REFLECTION_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""Both say the same in the same bytes; clients still ask for the second."""

_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


def request_of(act: str) -> str:
    """Return the name of the message that an act takes.

    Examples
    --------
    >>> request_of("ModelStreamInfer"), request_of("ModelReady")
    ('ModelInferRequest', 'ModelReadyRequest')
    """
    return f"{act.replace('Stream', '')}Request"


@cache
def messages() -> dict[str, Any]:
    """Return the classes of messages by their names."""
    pool = descriptor_pool.DescriptorPool()
    found: dict[str, Any] = {}
    for file in files():
        pool.Add(file)
        for message in file.message_type:
            described = pool.FindMessageTypeByName(f"{file.package}.{message.name}")
            found.setdefault(message.name, message_factory.GetMessageClass(described))
    return found


@cache
def files() -> tuple[descriptor_pb2.FileDescriptorProto, ...]:
    """Return what is served, as files of the interface language, each with one service."""
    acts = [(act, request_of(act), f"{act}Response", "Stream" in act, "Stream" in act) for act in ACTS]
    health = [
        ("Check", "HealthCheckRequest", "HealthCheckResponse", False, False),
        ("Watch", "HealthCheckRequest", "HealthCheckResponse", False, True),
    ]
    asked, told = "ServerReflectionRequest", "ServerReflectionResponse"
    reflection = [("ServerReflectionInfo", asked, told, True, True)]
    return (
        _file(FILE, SERVICE, _TABLE, acts),
        _file("health.proto", HEALTH_SERVICE, _HEALTH, health),
        *(
            _file(f"reflection_{number}.proto", service, _REFLECTION, reflection)
            for number, service in enumerate(REFLECTION_SERVICES)
        ),
    )


def _file(
    name: str, service: str, table: str, acts: Sequence[tuple[str, str, str, bool, bool]]
) -> descriptor_pb2.FileDescriptorProto:
    """Return a file of a service.

    Parameters
    ----------
    acts
        Of the service: each with what it takes and gives, and whether either is a stream.
    """
    package, _, short = service.rpartition(".")
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3")
    for line in filter(None, table.splitlines()):
        if not line.startswith(" "):
            file.message_type.add(name=line)
        else:
            _add_field(file.message_type[-1], package, line.split())
    made = file.service.add(name=short)
    for act, asked, told, takes_stream, gives_stream in acts:
        made.method.add(
            name=act,
            input_type=f".{package}.{asked}",
            output_type=f".{package}.{told}",
            client_streaming=takes_stream,
            server_streaming=gives_stream,
        )
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, package: str, words: list[str]) -> None:
    *marks, kind, name, number = words
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if marks == ["map"]:
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, package, ["string", "key", "1"])
        _add_field(entry, package, [kind, "value", "2"])
        field.label, field.type = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE
        field.type_name = f".{package}.{message.name}.{entry.name}"
        return
    if marks == ["repeated"]:
        field.label = _Field.LABEL_REPEATED
    elif marks == ["oneof"]:
        if not message.oneof_decl:
            message.oneof_decl.add(name="choice")
        field.oneof_index = 0
    if kind in _KINDS:
        field.type = _KINDS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"

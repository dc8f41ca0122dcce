"""What an endpoint says of itself, before it becomes a version: its inputs, outputs and abilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from varv.adapters.endpoints.calls import Calls
from varv.kernel.errors import InvalidInput, VarvError
from varv.registry.endpoint import Endpoint, Tensor, checked_endpoint


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}


class _Metadata(msgspec.Struct):
    inputs: list[_Tensor]
    outputs: list[_Tensor]


class _Server(msgspec.Struct):
    extensions: list[str] = []


def described(endpoint: Endpoint, variables: Mapping[str, str]) -> Endpoint:
    """Return an endpoint with what it says of itself; over ``instances`` that is nothing.

    Raises
    ------
    InvalidInput
        If its address is none, or its description is none.
    VarvError
        What asking it raises.
    """
    has_token = bool(endpoint.token_variable or endpoint.token_file)
    url = checked_endpoint(endpoint.endpoint, endpoint.protocol, has_token=has_token)
    endpoint = msgspec.structs.replace(endpoint, endpoint=url)
    if endpoint.protocol == "instances":
        return endpoint
    calls = Calls(endpoint, variables)
    path = urlsplit(url).path
    try:
        told = msgspec.json.decode(calls.get(path), type=_Metadata)
        binary = _takes_bytes(calls, path)
    except msgspec.MsgspecError as error:
        hint = "is it a model over the Open Inference Protocol v2?"
        problem = "does not describe its inputs and outputs"
        raise InvalidInput("endpoint", endpoint.name, problem, why=str(error)[:200], hint=hint) from None
    finally:
        calls.close()
    inputs, outputs = map(_tensors, (told.inputs, told.outputs))
    return msgspec.structs.replace(endpoint, inputs=inputs, outputs=outputs, binary=binary)


def _takes_bytes(calls: Calls, path: str) -> bool:
    """Return whether the server says that it takes tensors as bytes."""
    server = path[: path.index("/v2/models/")] + "/v2"
    try:
        return "binary_tensor_data" in msgspec.json.decode(calls.get(server), type=_Server).extensions
    except (VarvError, msgspec.MsgspecError):
        return False


def _tensors(given: list[_Tensor]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(one.name, one.datatype, tuple(one.shape), one.parameters.get("required") is not False)
        for one in given
    )

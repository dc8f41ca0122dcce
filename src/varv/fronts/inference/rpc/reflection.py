"""Reflection over gRPC: a client that brings no description of the services asks the server for it.

Source: ``grpc.reflection.v1`` (github.com/grpc/grpc-proto), whose alpha is the same in other words.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from varv.fronts.access import Door
from varv.fronts.inference.rpc.door import Context, abort, require_readable, visit_of
from varv.fronts.inference.rpc.messages import files, messages
from varv.kernel.errors import VarvError

_NOT_FOUND = grpc.StatusCode.NOT_FOUND.value[0]


class Reflection:
    """Says what is served.

    Parameters
    ----------
    door
        Who may know.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._made = messages()
        self._by_name = {file.name: file for file in files()}
        self._by_symbol = {
            f"{file.package}.{name}": file
            for file in files()
            for name in (
                *(one.name for one in file.message_type),
                *(one.name for one in file.service),
                *(f"{one.name}.{method.name}" for one in file.service for method in one.method),
            )
        }

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[Any], context: Context
    ) -> AsyncIterator[Any]:
        """Answer each question of a stream in its turn."""
        try:
            visit_of(self._door, "ServerReflectionInfo", context)
        except VarvError as error:
            await abort(self._door, context, error)
        async for request in requests:
            try:
                require_readable(request)
            except VarvError as error:
                await abort(self._door, context, error)
            yield self._answer(request)

    def _answer(self, request: Any) -> Any:
        made, kind = self._made, request.WhichOneof("choice")
        answer = made["ServerReflectionResponse"](valid_host=request.host, original_request=request)
        if kind == "list_services":
            services = [f"{file.package}.{one.name}" for file in files() for one in file.service]
            answer.list_services_response.service.extend(
                made["ServiceResponse"](name=one) for one in services
            )
            return answer
        by = self._by_name if kind == "file_by_filename" else self._by_symbol
        asks_for_file = kind in ("file_by_filename", "file_containing_symbol")
        file = by.get(getattr(request, kind)) if asks_for_file else None
        if file is None:
            # Nothing here has extensions.
            answer.error_response.error_code = _NOT_FOUND
            answer.error_response.error_message = "it is not served here; list_services says what is"
        else:
            answer.file_descriptor_response.file_descriptor_proto.append(file.SerializeToString())
        return answer

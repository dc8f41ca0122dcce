"""Calls over gRPC, each answered as its request over REST would be.

A small request is answered on the event loop, a large one, or one for a model for which another process
answers, in a thread, as over REST. Tensors that came as bytes are answered as bytes, typed ones typed. The
metadata of a call are to the door what headers are.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio

from varv import __version__
from varv.fronts.access import Caller, Door
from varv.fronts.access.deadlines import HEADER, NEVER, deadline_of
from varv.fronts.inference import about, oip, refusals
from varv.fronts.inference.rpc.messages import (
    ACTS,
    DATA_TYPES,
    HEALTH_SERVICE,
    NOT_SERVING,
    SERVICE,
    SERVICE_UNKNOWN,
    SERVING,
    messages,
    request_of,
)
from varv.fronts.inference.served import Inference
from varv.fronts.inference.tensors import bytes_of
from varv.fronts.inference.timing import Visit, timed
from varv.fronts.inference.watching import Watch, each_once, request_id_of
from varv.fronts.problems import error_headers
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import InvalidInput, VarvError
from varv.serving import Answering, Answers

Context = grpc.aio.ServicerContext[Any, Any]
INLINE_BYTES = 16 << 10
WATCH_S = 1.0
_STATUS = {
    "invalid_input": grpc.StatusCode.INVALID_ARGUMENT,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "permission_denied": grpc.StatusCode.PERMISSION_DENIED,
    "not_found": grpc.StatusCode.NOT_FOUND,
    "already_exists": grpc.StatusCode.ALREADY_EXISTS,
    "conflict": grpc.StatusCode.ABORTED,
    "failed_precondition": grpc.StatusCode.FAILED_PRECONDITION,
    "rate_limited": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "interrupted": grpc.StatusCode.UNAVAILABLE,
    "storage_full": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "deadline_exceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's status of each error code; of all others it is internal."""
_OPEN = frozenset({"ServerLive", "ServerReady", "Check"})
"""What probes ask, who have no token."""
_PREDICTS = frozenset({"ModelInfer", "ModelStreamInfer"})
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the values of a tensor lie that is typed, by its datatype."""


def create_server(inference: Inference, *, most_bytes: int, most_calls: int) -> grpc.aio.Server:
    """Return a server without a port yet, to be started on the event loop that it is made on.

    Parameters
    ----------
    most_bytes
        Of one request.
    most_calls
        That may be under way at a time; others are refused as exhausted.
    """
    options = [
        ("grpc.max_receive_message_length", most_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),
    ]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=most_calls)
    calls = _Calls(inference)
    made = messages()
    acts = {
        act: _handler(calls, act, made[request_of(act)], streams=act == "ModelStreamInfer") for act in ACTS
    }
    health = {
        "Check": _handler(calls, "Check", made["HealthCheckRequest"]),
        "Watch": grpc.unary_stream_rpc_method_handler(
            calls.Watch,  # type: ignore[bad-argument-type]
            made["HealthCheckRequest"].FromString,
            _serialized,
        ),
    }
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(SERVICE, acts),
            grpc.method_handlers_generic_handler(HEALTH_SERVICE, health),
        )
    )
    return server


def _handler(calls: _Calls, name: str, request: Any, *, streams: bool = False) -> Any:
    act = getattr(calls, name)
    if streams:
        return grpc.stream_stream_rpc_method_handler(act, request.FromString, _serialized)
    told = _told(calls, name, act)
    return grpc.unary_unary_rpc_method_handler(told, request.FromString, _serialized)


def _serialized(message: Any) -> bytes:
    return message.SerializeToString()


def _told(calls: _Calls, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
    """Return an act for those who may do it, with our errors as statuses."""
    door = calls.door

    async def answer(request: Any, context: Context) -> Any:
        watch = calls.watch(name, context, wall_seconds())
        try:
            visit = _visit(door, name, context)._replace(watch=watch)
            response = await act(request, visit)
        except VarvError as error:
            _end(watch, _status(error))
            await _abort(door, context, error, () if watch is None else watch.headers().items())
        except Exception:
            _end(watch, grpc.StatusCode.UNKNOWN)
            raise
        _tell(context, visit)
        _end(watch, grpc.StatusCode.OK)
        return response

    return answer


def _visit(door: Door, name: str, context: Context) -> Visit:
    """Return from whom a call is, and until when its answer is waited for.

    Raises
    ------
    Unauthenticated, PermissionDenied
        If its caller may not make it.
    InvalidInput
        If its metadata say the time in another form.
    """
    began, left_s = wall_seconds(), context.time_remaining()
    caller = _caller(door, context)
    if name not in _OPEN:
        door.require(caller, "predict" if name in _PREDICTS else "read")
    deadline, waits = NEVER if left_s is None else began + left_s, _said(context, HEADER)
    if waits is not None:
        deadline = min(deadline, deadline_of(waits, began))
    return Visit(caller, began, deadline, request_id=request_id_of(_said(context, "x-request-id") or b""))


def _caller(door: Door, context: Context) -> Caller:
    return door.callers[_said(context, "authorization")]


def _said(context: Context, name: str) -> bytes | None:
    """Return what the metadata of a call say under a name."""
    for known_as, value in context.invocation_metadata() or ():
        if known_as == name:
            return _in_bytes(value)
    return None


def _in_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


async def _abort(
    door: Door, context: Context, error: VarvError, more: Iterable[tuple[str, str]] = ()
) -> NoReturn:
    """End a call with an error, and with what HTTP says of it in headers."""
    limit = _caller(door, context).limit
    metadata = (*error_headers(error).items(), *(() if limit is None else limit.headers), *more)
    await context.abort(_status(error), str(error), metadata)
    raise error


def _tell(context: Context, visit: Visit) -> None:
    """Say with the end of a call what HTTP says in headers."""
    limit = () if visit.caller.limit is None else visit.caller.limit.headers
    more = () if visit.watch is None else visit.watch.headers().items()
    if limit or more:
        context.set_trailing_metadata((*limit, *more))


def _end(watch: Watch | None, status: grpc.StatusCode) -> None:
    if watch is not None:
        watch.end(status.name, is_refused=status is not grpc.StatusCode.OK)


def _status(error: VarvError) -> grpc.StatusCode:
    return _STATUS.get(error.code, grpc.StatusCode.INTERNAL)


class _Calls:
    """What may be called; each is named as the protocol names it."""

    def __init__(self, inference: Inference) -> None:
        self.door = inference.door
        self._inference = inference
        self._made = messages()

    def watch(self, name: str, context: Context, began: float) -> Watch | None:
        """Return a watch on a call, None if there is nothing to be kept of it."""
        watcher = self._inference.watcher
        if watcher is None or name in _OPEN:
            return None
        metadata = context.invocation_metadata() or ()
        said = [(key.encode(), _in_bytes(value)) for key, value in metadata]
        watch = watcher.begin(each_once(said), "grpc", f"{SERVICE}/{name}", began)
        if watch is not None:
            watch.client = _caller(self.door, context).name
        return watch

    async def ServerLive(self, _: Any, visit: Visit) -> Any:
        return self._made["ServerLiveResponse"](live=True)

    async def ServerReady(self, _: Any, visit: Visit) -> Any:
        return self._made["ServerReadyResponse"](ready=self._inference.ready)

    async def ModelReady(self, request: Any, visit: Visit) -> Any:
        ready = bool(self._model(request, visit).versions)
        return self._made["ModelReadyResponse"](ready=ready)

    async def ServerMetadata(self, _: Any, visit: Visit) -> Any:
        return self._made["ServerMetadataResponse"](
            name="varv", version=__version__, extensions=about.EXTENSIONS
        )

    async def ModelMetadata(self, request: Any, visit: Visit) -> Any:
        told = about.metadata(self._model(request, visit))
        tensor = self._made["TensorMetadata"]
        tensors = {
            kind: [
                tensor(name=one["name"], datatype=one["datatype"], shape=one["shape"]) for one in told[kind]
            ]
            for kind in ("inputs", "outputs")
        }
        return self._made["ModelMetadataResponse"](
            name=told["name"], versions=told["versions"], platform=told["platform"], **tensors
        )

    async def ModelConfig(self, request: Any, visit: Visit) -> Any:
        told = about.configuration(self._model(request, visit))
        tensors = {
            kind: [
                self._made[f"Model{kind.title()}"](
                    name=one["name"],
                    data_type=DATA_TYPES[one["data_type"].removeprefix("TYPE_")],
                    dims=one["dims"],
                )
                for one in told[kind]
            ]
            for kind in ("input", "output")
        }
        config = self._made["ModelConfig"](
            name=told["name"], platform=told["platform"], backend=told["backend"], **tensors
        )
        return self._made["ModelConfigResponse"](config=config)

    async def ModelStatistics(self, request: Any, visit: Visit) -> Any:
        shown = self._inference.shown_to(visit.caller.models)
        several = [self._model(request, visit)] if request.name else list(shown.models.values())
        return _filled(self._made["ModelStatisticsResponse"](), about.statistics(self._inference, several))

    async def RepositoryIndex(self, request: Any, visit: Visit) -> Any:
        shown = self._inference.shown_to(visit.caller.models)
        found = about.index(shown, only_ready=request.ready)
        return _filled(self._made["RepositoryIndexResponse"](), {"models": found})

    async def RepositoryModelLoad(self, request: Any, visit: Visit) -> Any:
        self.door.require(visit.caller, "read", request.model_name)
        refusals.require_loadable(self._inference.model(request.model_name), given=bool(request.parameters))
        return self._made["RepositoryModelLoadResponse"]()

    async def RepositoryModelUnload(self, request: Any, visit: Visit) -> Any:
        self.door.require(visit.caller, "read", request.model_name)
        raise refusals.not_unloadable(self._inference.model(request.model_name))

    async def ModelInfer(self, request: Any, visit: Visit) -> Any:
        self.door.admit(visit.caller, request.model_name, visit.began)
        took_s, is_counted = None, True
        try:
            answering = self._inference.version(request.model_name, request.model_version)
            if answering.waits:
                is_counted = False
                self.door.done()
            if request.ByteSize() > INLINE_BYTES or not is_counted:
                async with self._inference.turn_of(answering):
                    return await asyncio.to_thread(self._infer, request, visit, answering)
            # So those that came together are known before the first of them is answered.
            await asyncio.sleep(0)
            response = self._infer(request, visit, answering)
            took_s = wall_seconds() - visit.began
            return response
        finally:
            if is_counted:
                self.door.done(1, took_s)

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        """Answer each request of a stream in its turn; one that is wrong ends nothing."""
        answer = self._made["ModelStreamInferResponse"]
        try:
            visit = _visit(self.door, "ModelStreamInfer", context)
        except VarvError as error:
            await _abort(self.door, context, error)
        _tell(context, visit)
        async for request in requests:
            began = wall_seconds()
            # Each is a request of its own to whoever counts or traces them.
            visit = visit._replace(began=began, watch=self.watch("ModelStreamInfer", context, began))
            try:
                response = await self.ModelInfer(request, visit)
                _end(visit.watch, grpc.StatusCode.OK)
                yield answer(infer_response=response)
            except VarvError as error:
                _end(visit.watch, _status(error))
                yield answer(
                    error_message=str(error),
                    infer_response=self._made["ModelInferResponse"](
                        model_name=request.model_name, id=request.id
                    ),
                )

    async def Check(self, request: Any, visit: Visit) -> Any:
        status = self._health(request.service)
        if status == SERVICE_UNKNOWN:
            # So the health protocol has it for a single question.
            raise refusals.no_service(request.service)
        return self._made["HealthCheckResponse"](status=status)

    async def Watch(self, request: Any, _: Context) -> AsyncIterator[Any]:
        """Say how it is, and again whenever that changes."""
        last = None
        while True:
            status = self._health(request.service)
            if status != last:
                yield self._made["HealthCheckResponse"](status=status)
                last = status
            await asyncio.sleep(WATCH_S)

    def _health(self, service: str) -> int:
        if service not in ("", SERVICE):
            return SERVICE_UNKNOWN
        return SERVING if self._inference.ready else NOT_SERVING

    def _model(self, request: Any, visit: Visit) -> Answering:
        self.door.require(visit.caller, "read", request.name)
        return self._inference.version(request.name, request.version)

    def _infer(self, request: Any, visit: Visit, answering: Answering) -> Any:
        version = int(request.model_version) if request.model_version else None
        raw = bool(request.raw_input_contents)

        def read() -> oip.Asked:
            data = memoryview(b"".join(request.raw_input_contents))
            return oip.understood(_asked(request), data, answering, visit.request_id)

        def write(asked: oip.Asked, answered: Answers) -> Any:
            return self._written(oip.said(asked, answering, answered), raw=raw)

        return timed(self._inference, answering, visit, read, write, version=version)

    def _written(self, told: oip.Answer, *, raw: bool) -> Any:
        made = self._made
        response = made["ModelInferResponse"](
            model_name=told.model_name, model_version=told.model_version, id=told.id
        )
        for name, value in told.parameters.items():
            _set_parameter(response.parameters[name], value)
        for output in told.outputs:
            kind, values = output.datatype, output.data or []
            tensor = response.outputs.add(name=output.name, datatype=kind, shape=output.shape)
            if raw:
                response.raw_output_contents.append(bytes_of(kind, values))
            elif kind == "BYTES":
                tensor.contents.bytes_contents.extend(str(value).encode() for value in values)
            else:
                given = [math.nan if value is None else value for value in values]
                getattr(tensor.contents, _CONTENTS[kind]).extend(given)
        return response


# Requests


def _asked(request: Any) -> oip.InferRequest:
    """Return a request in the terms of `oip`.

    Raises
    ------
    InvalidInput
        If its tensors are neither all bytes nor all typed, or a type holds what it cannot.
    """
    raw = request.raw_input_contents
    typed = [tensor.name for tensor in request.inputs if tensor.HasField("contents")]
    if raw and typed:
        hint = "send contents or raw_input_contents, not both"
        raise InvalidInput("column", typed[0][:80], "has contents beside raw ones", hint=hint)
    if raw and len(raw) != len(request.inputs):
        problem = f"has {len(raw)} entries for {len(request.inputs)} inputs"
        raise InvalidInput("field", "raw_input_contents", problem, hint="send one for each input")
    inputs = [
        oip.Tensor(
            name=tensor.name,
            shape=list(tensor.shape),
            datatype=tensor.datatype,
            data=None if raw else _values(tensor),
            parameters={"binary_data_size": len(raw[number])} if raw else {},
        )
        for number, tensor in enumerate(request.inputs)
    ]
    outputs = [oip.Output(one.name, _parameters(one.parameters)) for one in request.outputs]
    # Of the others none says anything here: tensors are answered as they came.
    waits = _parameters({name: one for name, one in request.parameters.items() if name == "timeout"})
    return oip.InferRequest(inputs=inputs, id=request.id, parameters=waits, outputs=outputs)


def _values(tensor: Any) -> list[Any]:
    place = _CONTENTS.get(tensor.datatype)
    if place is None:
        hint = "send it in raw_input_contents"
        problem = f"is of the datatype {tensor.datatype[:20]!r}, which has no typed contents"
        raise InvalidInput("column", tensor.name[:80], problem, hint=hint)
    values: Sequence[Any] = getattr(tensor.contents, place)
    if tensor.datatype == "BYTES":
        try:
            return [value.decode() for value in values]
        except UnicodeDecodeError:
            problem = "holds a text that is not UTF-8"
            raise InvalidInput("column", tensor.name[:80], problem, hint="send texts in UTF-8") from None
    if tensor.datatype in ("FP32", "FP64"):
        return [None if value != value else value for value in values]
    return list(values)


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, value.WhichOneof("choice") or "bool_param") for name, value in given.items()}


def _set_parameter(parameter: Any, value: Any) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = str(value)


def _filled(message: Any, told: Mapping[str, Any]) -> Any:
    """Return a message with the values of a dictionary, as far as it has fields for them."""
    for name, value in told.items():
        if name not in message.DESCRIPTOR.fields_by_name:
            continue
        if isinstance(value, dict):
            _filled(getattr(message, name), value)
        elif isinstance(value, list):
            for one in value:
                _filled(getattr(message, name).add(), one)
        else:
            setattr(message, name, value)
    return message

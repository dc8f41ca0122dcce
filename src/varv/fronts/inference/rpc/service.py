"""Calls over gRPC, each answered as its request over REST would be.

A small request is answered with the others of the same moment, a large one in a thread, as over REST. Tensors
that came as bytes are answered as bytes, typed ones typed. Who may call is in `rpc.door`, which calls are of
one moment in `rpc.gathering`, and what a client learns of the services in `rpc.reflection`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

import grpc
import grpc.aio

from varv import __version__
from varv.fronts.inference import about, oip, refusals
from varv.fronts.inference.pauses import Pauses
from varv.fronts.inference.rpc.door import (
    Bytes,
    Context,
    abort,
    behind,
    end,
    reading,
    require_readable,
    status_of,
    tell,
    visit_of,
    watch_of,
)
from varv.fronts.inference.rpc.gathering import Gathering
from varv.fronts.inference.rpc.messages import (
    ACTS,
    DATA_TYPES,
    HEALTH_SERVICE,
    NOT_SERVING,
    REFLECTION_SERVICES,
    SERVICE,
    SERVICE_UNKNOWN,
    SERVING,
    messages,
    request_of,
)
from varv.fronts.inference.rpc.reflection import Reflection
from varv.fronts.inference.served import Inference
from varv.fronts.inference.tensors import bytes_of
from varv.fronts.inference.timing import Visit, timed
from varv.fronts.inference.together import Together
from varv.fronts.inference.turns import FAILED
from varv.fronts.problems import TooMuchUnderWay
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import InvalidInput, VarvError
from varv.serving import Answering, Answers

SMALL_BYTES = 64 << 10
"""A request that is longer is read in a thread."""
MOST_BYTES_TOGETHER = 64 << 20
MOST_WATCHING = 100
"""Calls that watch the health of the server; they end with their callers only."""
WATCH_S = 1.0
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


def create_server(
    inference: Inference,
    *,
    most_bytes: int,
    most_calls: int,
    most_bytes_together: int = MOST_BYTES_TOGETHER,
    together: Together | None = None,
    pauses: Pauses | None = None,
) -> grpc.aio.Server:
    """Return a server without a port yet, to be started on the event loop that it is made on.

    Parameters
    ----------
    most_bytes
        Of one request.
    most_calls
        That may be under way at a time; others are refused as exhausted.
    most_bytes_together
        Of all requests for predictions under way, from when they are received until they are answered; others
        are refused as exhausted.
    together
        Collects the requests, those over HTTP among them; by default it is one of its own.
    pauses
        Counts the calls, for whoever stops the server.
    """
    pauses = pauses or Pauses()
    options = [
        ("grpc.max_receive_message_length", most_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),
    ]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=most_calls)
    calls = _Calls(inference, together or Together(inference), Bytes(most_bytes_together))
    made = messages()
    acts = {
        act: _handler(calls, act, made[request_of(act)], pauses, streams=act == "ModelStreamInfer")
        for act in ACTS
    }
    health = {
        "Check": _handler(calls, "Check", made["HealthCheckRequest"], pauses),
        "Watch": grpc.unary_stream_rpc_method_handler(
            calls.Watch,  # type: ignore[bad-argument-type]
            reading(made["HealthCheckRequest"]),
            _serialized,
        ),
    }
    asked = reading(made["ServerReflectionRequest"])
    act: Any = Reflection(inference.door).ServerReflectionInfo
    reflection = {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(act, asked, _serialized)}
    services = {SERVICE: acts, HEALTH_SERVICE: health, **dict.fromkeys(REFLECTION_SERVICES, reflection)}
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, several) for name, several in services.items())
    )
    return server


def _handler(calls: _Calls, name: str, request: Any, pauses: Pauses, *, streams: bool = False) -> Any:
    act, inference = getattr(calls, name), calls.inference
    if streams:
        return grpc.stream_stream_rpc_method_handler(act, reading(request), _serialized)
    answer = behind(inference, name, act, pauses)
    return grpc.unary_unary_rpc_method_handler(answer, reading(request), _serialized)


def _serialized(message: Any) -> bytes:
    return message.SerializeToString()


class _Calls:
    """What may be called; each is named as the protocol names it."""

    def __init__(self, inference: Inference, together: Together, under_way: Bytes) -> None:
        self.door = inference.door
        self._gathering = Gathering()
        self.inference = inference
        self._together = together
        self._writers = {raw: _Writer(raw=raw) for raw in (True, False)}
        self._under_way = under_way
        self._n_watching = 0
        self._made = messages()

    async def ServerLive(self, _: Any, visit: Visit) -> Any:
        return self._made["ServerLiveResponse"](live=True)

    async def ServerReady(self, _: Any, visit: Visit) -> Any:
        return self._made["ServerReadyResponse"](ready=self.inference.ready)

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
        shown = self.inference.shown_to(visit.caller.models)
        several = [self._model(request, visit)] if request.name else list(shown.models.values())
        return _filled(self._made["ModelStatisticsResponse"](), about.statistics(self.inference, several))

    async def RepositoryIndex(self, request: Any, visit: Visit) -> Any:
        shown = self.inference.shown_to(visit.caller.models)
        found = about.index(shown, only_ready=request.ready)
        return _filled(self._made["RepositoryIndexResponse"](), {"models": found})

    async def RepositoryModelLoad(self, request: Any, visit: Visit) -> Any:
        self.door.require(visit.caller, "read", request.model_name)
        refusals.require_loadable(self.inference.model(request.model_name), given=bool(request.parameters))
        return self._made["RepositoryModelLoadResponse"]()

    async def RepositoryModelUnload(self, request: Any, visit: Visit) -> Any:
        self.door.require(visit.caller, "read", request.model_name)
        raise refusals.not_unloadable(self.inference.model(request.model_name))

    async def ModelInfer(self, request: Any, visit: Visit) -> Any:
        return await self._bounded(request, visit, self._gathering.wait_s(visit.began))

    async def _bounded(self, request: Any, visit: Visit, wait_s: float) -> Any:
        """Answer a request within the bounds of what may be under way."""
        n_bytes = request.ByteSize()
        self._under_way.take(n_bytes)
        try:
            answer = await self._reply(request, visit, n_bytes, wait_s)
        finally:
            self._under_way.give(n_bytes)
        try:
            if isinstance(answer, VarvError):
                raise answer
            return answer
        finally:
            # An error that its own traceback holds lives on, and the request with it, until the garbage is
            # collected; which is rare here. So none is raised out of a thread either.
            del answer

    async def _reply(self, request: Any, visit: Visit, n_bytes: int, wait_s: float) -> Any:
        """Return the answer to a request that the door takes, or its refusal."""
        self.door.admit(visit.caller, request.model_name, visit.began)
        is_owed = True
        try:
            answering = self.inference.version(request.model_name, request.model_version)
            if request.model_version or n_bytes > SMALL_BYTES:
                if answering.waits:
                    # What waits for another process takes nobody's place.
                    is_owed = False
                    self.door.done()
                return await self._answered_alone(request, visit, answering, n_bytes)
            told = self._submitted(request, visit, answering, n_bytes, wait_s)
            is_owed = False
        finally:
            if is_owed:
                self.door.done()
        return await told

    async def _answered_alone(self, request: Any, visit: Visit, answering: Answering, n_bytes: int) -> Any:
        """Answer a request that is large, or that names its version."""
        if n_bytes <= SMALL_BYTES and not answering.waits:
            return self._infer(request, visit, answering)
        async with self.inference.turn_of(answering):
            return await asyncio.to_thread(self._infer, request, visit, answering)

    def _submitted(
        self, request: Any, visit: Visit, answering: Answering, n_bytes: int, wait_s: float
    ) -> asyncio.Future[Any]:
        """Let a request be answered with others, and return what its reply will be there in."""
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if visit.watch is not None:
            visit.watch.model = answering.model
        writer = self._writers[bool(request.raw_input_contents)]
        read = partial(_understood, request, answering, visit.request_id)
        self._together.submit(writer, answering, visit, read, partial(_tell, told), n_bytes, wait_s)
        return told

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        """Answer each request of a stream in its turn; one that is wrong ends nothing."""
        answer = self._made["ModelStreamInferResponse"]
        try:
            visit = visit_of(self.door, "ModelStreamInfer", context)
        except VarvError as error:
            await abort(self.door, context, error)
        tell(context, visit)
        async for request in requests:
            began = wall_seconds()
            # Each is a request of its own to whoever counts or traces them.
            visit = visit._replace(
                began=began, watch=watch_of(self.inference, "ModelStreamInfer", context, began)
            )
            named = self._made["ModelInferResponse"]()
            try:
                require_readable(request)
                named.model_name, named.id = request.model_name, request.id
                response = await self._bounded(request, visit, 0.0)
                end(visit.watch, grpc.StatusCode.OK)
                yield answer(infer_response=response)
            except VarvError as error:
                end(visit.watch, status_of(error))
                yield answer(error_message=str(error), infer_response=named)

    async def Check(self, request: Any, visit: Visit) -> Any:
        status = self._health(request.service)
        if status == SERVICE_UNKNOWN:
            # So the health protocol has it for a single question.
            raise refusals.no_service(request.service)
        return self._made["HealthCheckResponse"](status=status)

    async def Watch(self, request: Any, context: Context) -> AsyncIterator[Any]:
        """Say how it is, and again whenever that changes."""
        try:
            require_readable(request)
            if self._n_watching >= MOST_WATCHING:
                hint = "ask with Check"
                raise TooMuchUnderWay("health", "", "is watched by too many already", hint=hint)
        except VarvError as error:
            await abort(self.door, context, error)
        self._n_watching += 1
        last = None
        try:
            while True:
                status = self._health(request.service)
                if status != last:
                    yield self._made["HealthCheckResponse"](status=status)
                    last = status
                await asyncio.sleep(WATCH_S)
        finally:
            self._n_watching -= 1

    def _health(self, service: str) -> int:
        if service not in ("", SERVICE):
            return SERVICE_UNKNOWN
        return SERVING if self.inference.ready else NOT_SERVING

    def _model(self, request: Any, visit: Visit) -> Answering:
        self.door.require(visit.caller, "read", request.name)
        return self.inference.version(request.name, request.version)

    def _infer(self, request: Any, visit: Visit, answering: Answering) -> Any:
        """Return the answer to a request, or its refusal."""
        version = int(request.model_version) if request.model_version else None
        writer = self._writers[bool(request.raw_input_contents)]

        def write(asked: oip.Asked, answered: Answers) -> Any:
            return writer.write(asked, answering, answered)

        read = partial(_understood, request, answering, visit.request_id)
        try:
            return timed(self.inference, answering, visit, read, write, version=version)
        except VarvError as error:
            return error


class _Writer:
    """Makes messages of answers.

    Parameters
    ----------
    raw
        Whether tensors go out as bytes.
    """

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._response = messages()["ModelInferResponse"]

    def refused(self, error: VarvError) -> VarvError:
        """Return a refusal, which is the call's to raise."""
        return error

    def write(self, asked: oip.Asked, answering: Answering, answered: Answers) -> Any:
        """Return an answer."""
        told, raw = oip.said(asked, answering, answered), self._raw
        response = self._response(model_name=told.model_name, model_version=told.model_version, id=told.id)
        for name, value in told.parameters.items():
            _set_parameter(response.parameters[name], value)
        for output in told.outputs:
            kind, values = output.datatype, oip.without_nulls(output)
            tensor = response.outputs.add(name=output.name, datatype=kind, shape=output.shape)
            if raw:
                response.raw_output_contents.append(bytes_of(kind, values))
            elif kind == "BYTES":
                tensor.contents.bytes_contents.extend(str(value).encode() for value in values)
            else:
                given = [math.nan if value is None else value for value in values]
                getattr(tensor.contents, _CONTENTS[kind]).extend(given)
        return response


def _tell(future: asyncio.Future[Any], told: Any) -> None:
    """Hand a call its reply, if it still waits for one."""
    if future.done():
        return
    if told is FAILED:
        future.set_exception(RuntimeError("the server failed to answer; its log says why"))
    else:
        future.set_result(told)


# Requests


def _understood(request: Any, answering: Answering, request_id: str) -> oip.Asked:
    data = memoryview(b"".join(request.raw_input_contents))
    return oip.understood(_asked(request), data, answering, request_id)


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

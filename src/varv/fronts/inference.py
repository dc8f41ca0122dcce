"""The inference front: the Open Inference Protocol (version 2, REST) and MLflow's scoring protocol.

Both only translate: `serving.answering` types the values, answers and captures, and what an answer looks like
is the task's to say: as tensors, and as the plain values that scoring clients take. A small request is
answered on the event loop, since that takes less time than handing it to a thread. Large ones go to a thread,
one at a time, so that they hold up each other and nobody else.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
import polars as pl
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from varv import __version__
from varv.data.values import ExpectedColumn
from varv.fronts.datatypes import content_of, datatype_of, typed_values
from varv.fronts.gateway import Bodies, require_own_site
from varv.fronts.problems import (
    TooLarge,
    json_response,
    require_json,
    retry_headers,
    status_of,
)
from varv.kernel.clock import Instant, iso
from varv.kernel.errors import InvalidInput, NotFound, Unavailable, VarvError
from varv.kernel.ids import ModelName, new_secret
from varv.serving import Answering, Answers
from varv.serving.scores import Scores, scores_in
from varv.tasks import OutputTensor

MOST_BYTES = 16 << 20
MOST_BYTES_TOGETHER = 64 << 20
INLINE_BYTES = 16 << 10
"""Above this a request is answered in a thread; some sixty rows."""
LONGEST_ID = 1024

_ABOUT = {"version": "INT32", "arm": "BYTES", "key": "BYTES"}
"""What every answer says beside the prediction."""


class Tensor(msgspec.Struct):
    """One input: the values of one request column."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] = {}


class Wanted(msgspec.Struct):
    """An output that the caller asks for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """A request of the Open Inference Protocol."""

    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[Wanted] = []


class IndexRequest(msgspec.Struct):
    """A request for the list of models."""

    ready: bool = False


class Split(msgspec.Struct):
    """A dataframe as MLflow's ``dataframe_split``."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] = []


class Invocation(msgspec.Struct, forbid_unknown_fields=True):
    """A request of MLflow's scoring protocol."""

    dataframe_records: list[dict[str, Any]] | None = None
    dataframe_split: Split | None = None
    params: dict[str, Any] | None = None


class Inference:
    """What answers for each model, once there is something that can."""

    def __init__(self) -> None:
        self.models: dict[ModelName, Answering] = {}
        self.retired: dict[ModelName, Instant] = {}
        """Models that are not served any more, and since when."""
        self.default: ModelName | None = None
        """The model that a request means which names none."""

    @property
    def ready(self) -> bool:
        """Whether requests are answered, of every model."""
        return bool(self.models) and all(one.versions for one in self.models.values())

    def model(self, name: str) -> Answering:
        """Return what answers for a model.

        Raises
        ------
        Unavailable
            If nothing can answer yet.
        NotFound
            If no model of that name is served.
        """
        if not self.models:
            raise Unavailable(
                "model", name, "is not loaded yet", hint="try again in a moment; see varv status"
            )
        answering = self.models.get(ModelName(name))
        if answering is None and (at := self.retired.get(ModelName(name))) is not None:
            problem = f"was retired on {iso(at)}"
            raise NotFound("model", name, problem, hint=f"the models are {self._names}")
        if answering is None:
            raise NotFound("model", name[:80], "is not served here", hint=f"the models are {self._names}")
        return answering

    def only(self) -> Answering:
        """Return what answers for the only model, or for the one that was the only one at first: whoever
        asked for it without its name still does.

        Raises
        ------
        Unavailable
            If nothing can answer yet.
        InvalidInput
            If there are several, so that a request has to name one.
        """
        if self.default in self.models:
            return self.models[self.default]
        if len(self.models) > 1:
            hint = f"ask /invocations/NAME, or send the header x-varv-model; the models are {self._names}"
            raise InvalidInput("request", "/invocations", "names no model", hint=hint)
        return self.model(next(iter(self.models), ""))

    @property
    def _names(self) -> str:
        return ", ".join(self.models)


def create_inference(inference: Inference) -> Starlette:
    """Return the ASGI application of the data plane."""
    served = _Protocols(inference)
    routes = [
        Route("/v2", served.server),
        Route("/v2/health/live", served.live),
        Route("/v2/health/ready", served.ready),
        Route("/v2/models", served.models),
        Route("/v2/repository/index", served.index, methods=["POST"]),
        Route("/v2/models/{model}", served.model),
        Route("/v2/models/{model}/ready", served.model_ready),
        Route("/v2/models/{model}/infer", served.infer, methods=["POST"]),
        Route("/v2/models/{model}/versions/{version}", served.model),
        Route("/v2/models/{model}/versions/{version}/ready", served.model_ready),
        Route("/v2/models/{model}/versions/{version}/infer", served.infer_version, methods=["POST"]),
        Route("/invocations", served.invocations, methods=["POST"]),
        Route("/invocations/{model}", served.invocations, methods=["POST"]),
        Route("/ping", served.ready),
        Route("/health", served.ready),
        Route("/version", served.version),
    ]
    return Starlette(routes=routes)


Handler = Callable[[Any, Request], Awaitable[Response]]


def _told(handler: Handler) -> Handler:
    """Return `handler` with our errors as responses, in a body that clients of both protocols understand."""

    @functools.wraps(handler)
    async def answer(self: Any, request: Request) -> Response:
        try:
            return await handler(self, request)
        except VarvError as error:
            field = error.name if error.kind in ("column", "field") else ""
            body = {**error.described(), "error": str(error), "message": str(error), "field": field}
            body["error_code"] = error.code.upper()
            return json_response(body, status=status_of(error), headers=retry_headers(error))

    return answer


class _Protocols:
    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._bodies = Bodies(MOST_BYTES, MOST_BYTES_TOGETHER)
        self._large = asyncio.Semaphore(1)

    async def server(self, request: Request) -> Response:
        return json_response({"name": "varv", "version": __version__, "extensions": []})

    async def live(self, request: Request) -> Response:
        return json_response({"live": True})

    async def version(self, request: Request) -> Response:
        return json_response(__version__)

    async def ready(self, request: Request) -> Response:
        ready = self._inference.ready
        return json_response(
            {"ready": ready}, status=200 if ready else 503, headers={} if ready else {"retry-after": "1"}
        )

    @_told
    async def model_ready(self, request: Request) -> Response:
        ready = bool(self._model(request).versions)
        return json_response({"ready": ready}, status=200 if ready else 503)

    async def models(self, request: Request) -> Response:
        return json_response({"models": [one.model for one in self._inference.models.values()]})

    @_told
    async def index(self, request: Request) -> Response:
        return await self._answered(request, self._index)

    def _index(self, body: bytes) -> Response:
        only_ready = _decoded(body, IndexRequest).ready if body else False
        found = [
            {
                "name": one.model,
                "version": ",".join(map(str, one.versions)),
                "state": "READY" if one.versions else "UNAVAILABLE",
                "reason": "" if one.versions else "it has no champion yet",
            }
            for one in self._inference.models.values()
            if one.versions or not only_ready
        ]
        return json_response(found)

    @_told
    async def model(self, request: Request) -> Response:
        answering = self._model(request)
        inputs = [
            {"name": column.name, "datatype": datatype_of(column.dtype), "shape": [-1], "parameters": {
                "required": column.required, "may_be_null": column.may_be_null, **content_of(column.dtype)}}
            for column in answering.columns.values()
        ]  # fmt: skip
        outputs = [
            {"name": one.name, "datatype": one.datatype, "shape": [-1, *one.tail]}
            for one in answering.task.tensors()
        ]
        outputs += [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in _ABOUT.items()]
        return json_response(
            {
                "name": answering.model,
                "versions": [str(version) for version in answering.versions],
                "platform": "varv",
                "parameters": {"task": answering.task.name},
                "inputs": inputs,
                "outputs": outputs,
            }
        )

    @_told
    async def infer(self, request: Request) -> Response:
        name = request.path_params["model"]
        return await self._answered(request, lambda body: self._infer(body, name))

    @_told
    async def infer_version(self, request: Request) -> Response:
        self._model(request)
        version = request.path_params["version"]
        hint = "leave /versions out: which version answers is the rollout's to say, and the answer names it"
        raise InvalidInput("version", version[:80], "is not the caller's to choose", hint=hint)

    def _model(self, request: Request) -> Answering:
        """Return what answers for the model that a path names, and the version if it names one."""
        answering = self._inference.model(request.path_params["model"])
        version = request.path_params.get("version")
        if version is not None and version not in map(str, answering.versions):
            served = ", ".join(map(str, answering.versions)) or "none"
            raise NotFound("version", version[:80], "is not served", hint=f"served are {served}")
        return answering

    async def _answered(self, request: Request, answer: Callable[[bytes], Response]) -> Response:
        require_own_site(request)
        require_json(request, said=False)
        async with self._bodies.receive(request) as body:
            if len(body) <= INLINE_BYTES:
                return answer(body)
            async with self._large:
                return await run_in_threadpool(answer, body)

    def _infer(self, body: bytes, model: str) -> Response:
        answering = self._inference.model(model)
        asked = _decoded(body, InferRequest)
        tensors = {one.name: one for one in answering.task.tensors()}
        known = [*tensors, *_ABOUT]
        unknown = [wanted.name for wanted in asked.outputs if wanted.name not in known]
        if unknown:
            hint = f"there are {', '.join(known)}"
            raise InvalidInput("field", "outputs", f"asks for {unknown[0][:80]!r}", hint=hint)
        columns = _columns(asked.inputs, answering.max_rows, answering.columns)
        request_id = _id(asked.id)
        answered = answering.answer(columns, request_id)
        answers = answered.rows
        predicted = scores_in(answers, answering.task)
        names = [wanted.name for wanted in asked.outputs] or known
        said = {
            "id": request_id,
            "model_name": answering.model,
            "model_version": _versions(answers),
            "parameters": {
                "epoch": answers["epoch"][0],
                "arm": _arms(answers),
                "share": answers["share"][0],
                "captured": answered.captured,
            },
            "outputs": [
                _predicted(tensors[name], predicted) if name in tensors else _about(name, answers)
                for name in names
            ],
        }
        return json_response(said, headers=_headers(answered, request_id))

    @_told
    async def invocations(self, request: Request) -> Response:
        given = request.headers.get("x-request-id", "")
        model = request.path_params.get("model") or request.headers.get("x-varv-model", "")
        return await self._answered(request, lambda body: self._invoke(body, given, model))

    def _invoke(self, body: bytes, given_id: str, model: str) -> Response:
        answering = self._inference.model(model) if model else self._inference.only()
        columns = _frame_columns(_decoded(body, Invocation), answering.max_rows)
        request_id = _id(given_id)
        answered = answering.answer(columns, request_id)
        task = answering.task
        predictions = {"predictions": task.plain(scores_in(answered.rows, task))}
        return json_response(predictions, headers=_headers(answered, request_id))


def _decoded(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        field = path.strip(".`") or "body"
        raise InvalidInput(
            "field", field, f"is not valid: {problem}", hint="see the model's metadata"
        ) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            "request",
            "body",
            "is not JSON",
            why=str(error)[:200],
            hint="write null where a number is missing",
        ) from None


def _columns(inputs: list[Tensor], most: int, columns: Mapping[str, ExpectedColumn]) -> dict[str, list[Any]]:
    if not inputs:
        raise InvalidInput("field", "inputs", "is empty", hint="send one tensor for each request column")
    found: dict[str, list[Any]] = {}
    n_first = inputs[0].shape[0] if inputs[0].shape else 0
    for tensor in inputs:
        name = tensor.name[:80]
        if tensor.name in found:
            raise InvalidInput("column", name, "is given twice", hint="send one tensor for each column")
        n = tensor.shape[0] if tensor.shape in ([n_first], [n_first, 1]) else -1
        if n < 1:
            raise InvalidInput(
                "column",
                name,
                f"has the shape {tensor.shape[:4]}",
                hint="give every tensor the same shape [n], n at least 1",
            )
        if n > most:
            raise TooLarge("request", "inputs", f"has {n} rows", hint=f"{most} at most; send it in parts")
        values = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in tensor.data]
        if len(values) != n:
            raise InvalidInput(
                "column", name, f"has {len(values)} values for the shape [{n}]", hint="make them agree"
            )
        found[tensor.name] = typed_values(name, tensor.datatype, values, columns.get(tensor.name))
    return found


def _frame_columns(asked: Invocation, most: int) -> dict[str, list[Any]]:
    if (asked.dataframe_records is None) == (asked.dataframe_split is None):
        raise InvalidInput(
            "field", "body", "holds no dataframe", hint="send dataframe_records or dataframe_split"
        )
    n_rows = len(asked.dataframe_records or (asked.dataframe_split.data if asked.dataframe_split else ()))
    if n_rows > most:
        raise TooLarge("request", "body", f"has {n_rows} rows", hint=f"{most} at most; send it in parts")
    if n_rows == 0:
        raise InvalidInput("field", "body", "has no rows", hint="send at least one")
    if asked.dataframe_split is not None:
        names = asked.dataframe_split.columns
        if len(set(names)) < len(names):
            raise InvalidInput(
                "field", "dataframe_split.columns", "names a column twice", hint="name each once"
            )
        for number, row in enumerate(asked.dataframe_split.data):
            if len(row) != len(names):
                raise InvalidInput(
                    "field",
                    "dataframe_split.data",
                    f"has {len(row)} values",
                    row=number,
                    hint=f"send {len(names)}",
                )
        return {name: [row[i] for row in asked.dataframe_split.data] for i, name in enumerate(names)}
    records = asked.dataframe_records or []
    names = list(records[0])
    for number, record in enumerate(records):
        if record.keys() != records[0].keys():
            odd = sorted(record.keys() ^ records[0].keys())[0]
            raise InvalidInput(
                "column",
                odd[:80],
                "is not in every record",
                row=number,
                hint="send null where there is no value",
            )
    return {name: [record[name] for record in records] for name in names}


def _id(given: str) -> str:
    """Return the id of a request: the caller's, whatever it holds, or a new one."""
    if len(given) > LONGEST_ID:
        raise InvalidInput("field", "id", "is too long", hint=f"send {LONGEST_ID} characters at most")
    return given or new_secret(12).hex()


def _versions(answers: pl.DataFrame) -> str:
    return ",".join(map(str, sorted(set(answers["version"].to_list()))))


def _arms(answers: pl.DataFrame) -> str:
    return ",".join(sorted(set(answers["arm"].to_list())))


def _headers(answered: Answers, request_id: str) -> dict[str, str]:
    answers = answered.rows
    # A client chooses the id, and a header holds printable ASCII without spaces around it.
    plain = request_id.isascii() and request_id.isprintable() and request_id == request_id.strip()
    shown = request_id if plain else quote(request_id)
    return {
        "x-request-id": shown,
        "x-varv-version": _versions(answers),
        "x-varv-epoch": str(answers["epoch"][0]),
        "x-varv-arm": _arms(answers),
        "x-varv-captured": "true" if answered.captured else "false",
    }


def _predicted(tensor: OutputTensor, predicted: Scores) -> dict[str, Any]:
    shape = [len(predicted), *tensor.tail]
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": shape,
        "data": tensor.values(predicted),
    }


def _about(name: str, answers: pl.DataFrame) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": _ABOUT[name],
        "shape": [answers.height],
        "data": answers[name].to_list(),
    }

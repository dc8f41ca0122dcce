"""The ASGI application of the data plane.

A small request is answered on the event loop, since that takes less time than handing it to a thread. Large
ones go to a thread, one at a time, so that they hold up each other and nobody else; so do those for a model
that another process answers for.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from varv import __version__
from varv.fronts.access.deadlines import HEADER, NEVER, deadline_of
from varv.fronts.encodings import deflated, inflated
from varv.fronts.gateway import Bodies, require_own_site
from varv.fronts.inference import about, oip, pages, refusals, scoring, typed
from varv.fronts.inference.doorway import Doorway, caller_of, response_of, shown_to, watch_of
from varv.fronts.inference.explaining import explain_instances, explain_typed
from varv.fronts.inference.forms import (
    Form,
    Generating,
    Given,
    Inferring,
    Invoking,
    Predicting,
    Reply,
    Typed,
    refusal,
    takes_a_thread,
)
from varv.fronts.inference.online import TARGET
from varv.fronts.inference.openapi import document
from varv.fronts.inference.served import Inference
from varv.fronts.inference.timing import Visit, timed
from varv.fronts.inference.together import INLINE_BYTES
from varv.fronts.inference.watching import request_id_of
from varv.fronts.problems import json_response
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import NotFound, VarvError
from varv.serving import Answering, Answers

MOST_BYTES = 16 << 20
MOST_BYTES_TOGETHER = 64 << 20


class IndexRequest(msgspec.Struct):
    """A request for the list of models."""

    ready: bool = False


class LoadRequest(msgspec.Struct):
    """A request to load or unload a model."""

    parameters: dict[str, Any] = {}


def create_inference(inference: Inference) -> Starlette:
    """Return the ASGI application of the data plane."""
    served, invoking = _Protocols(inference), Invoking(inference.parquet)
    generating = {"generate": Generating(stream=False), "generate_stream": Generating(stream=True)}
    model = "/v2/models/{model}"
    version = f"{model}/versions/{{version}}"
    routes = [
        Route("/v2", served.server),
        Route("/v2/health/live", served.live),
        Route("/v2/health/ready", served.ready),
        Route("/v2/models", served.models),
        *(Route(place, served.model) for place in (model, version)),
        *(Route(f"{place}/ready", served.model_ready) for place in (model, version)),
        *(Route(f"{place}/config", served.config) for place in (model, version)),
        *(Route(f"{place}/stats", served.stats) for place in (model, version)),
        *(
            Route(f"{place}/{name}", served.scored(form), methods=["POST"])
            for place in (model, version)
            for name, form in {"infer": Inferring(), **generating}.items()
        ),
        Route("/v2/repository/index", served.index, methods=["POST"]),
        Route("/v2/repository/models/{model}/load", served.load, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", served.unload, methods=["POST"]),
        Route("/models/{model}/predict", served.scored(Typed()), methods=["POST"]),
        Route("/models/{model}/explain", served.explained(explain_typed), methods=["POST"]),
        Route("/openapi.json", served.openapi),
        *pages.routes(inference, served.tried),
        Route("/v1/models", served.models),
        Route("/v1/models/{model}:predict", served.scored(Predicting()), methods=["POST"]),
        Route("/v1/models/{model}:explain", served.explained(explain_instances), methods=["POST"]),
        Route("/v1/models/{model}", served.model_of_before),
        Route(TARGET, served.features, methods=["POST"]),
        Route("/invocations", served.scored(invoking), methods=["POST"]),
        Route("/invocations/{model}", served.scored(invoking), methods=["POST"]),
        Route("/ping", served.ready),
        Route("/health", served.ready),
        Route("/version", served.version),
    ]
    doorway = Middleware(Doorway, door=inference.door, watcher=inference.watcher)
    return Starlette(routes=routes, middleware=[doorway], exception_handlers={HTTPException: _no_place})


async def _no_place(request: Request, error: Exception) -> Response:
    """Answer what goes to no place of ours, or with a method that it does not take."""
    assert isinstance(error, HTTPException), "it is registered for no other"
    text = f"{request.method} {request.url.path[:200]}: {error.detail}"
    return json_response({"error": text}, status=error.status_code, headers=dict(error.headers or {}))


Handler = Callable[[Any, Request], Awaitable[Response]]
Explaining = Callable[[Inference, Answering, Visit, bytes, str], Reply]


def _told(handler: Handler) -> Handler:
    """Return `handler` with our errors as responses, in a body that clients of both protocols understand."""

    @functools.wraps(handler)
    async def answer(self: Any, request: Request) -> Response:
        try:
            return await handler(self, request)
        except VarvError as error:
            return response_of(refusal(error))

    return answer


class _Protocols:
    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._bodies = Bodies(MOST_BYTES, MOST_BYTES_TOGETHER)
        # A file of somebody else's that takes long must not be in the way of large requests.
        self._parquet = asyncio.Semaphore(1)

    # What is there

    async def server(self, request: Request) -> Response:
        return json_response({"name": "varv", "version": __version__, "extensions": about.EXTENSIONS})

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
        seen = shown_to(request, self._inference)
        return json_response({"models": [one.model for one in seen.models.values()]})

    async def openapi(self, request: Request) -> Response:
        return json_response(document(shown_to(request, self._inference)))

    @_told
    async def model_of_before(self, request: Request) -> Response:
        answering = self._model(request)
        return json_response({"name": answering.model, "ready": bool(answering.versions)})

    @_told
    async def model(self, request: Request) -> Response:
        seen = shown_to(request, self._inference)
        if request.path_params["model"] == "stats" and "stats" not in seen.models:
            several = list(seen.models.values())
            return json_response(about.statistics(self._inference, several))
        return json_response(about.metadata(self._model(request)))

    @_told
    async def config(self, request: Request) -> Response:
        return json_response(about.configuration(self._model(request)))

    @_told
    async def stats(self, request: Request) -> Response:
        return json_response(about.statistics(self._inference, [self._model(request)]))

    @_told
    async def index(self, request: Request) -> Response:
        def answer(body: bytes) -> Response:
            only_ready = oip.decoded(body, IndexRequest).ready if body else False
            return json_response(about.index(shown_to(request, self._inference), only_ready=only_ready))

        return await self._answered(request, answer)

    @_told
    async def load(self, request: Request) -> Response:
        def answer(body: bytes) -> Response:
            answering = self._model(request)
            given = bool(oip.decoded(body, LoadRequest).parameters) if body else False
            refusals.require_loadable(answering, given=given)
            return json_response({})

        return await self._answered(request, answer)

    @_told
    async def unload(self, request: Request) -> Response:
        def answer(_: bytes) -> Response:
            raise refusals.not_unloadable(self._model(request))

        return await self._answered(request, answer)

    @_told
    async def features(self, request: Request) -> Response:
        answers = self._inference.features
        if answers is None:
            raise NotFound("feature view", "", "is not online here: no model reads any")
        caller = caller_of(request)
        answers.admit(caller)
        try:
            return await self._answered(request, lambda body: response_of(answers.answered(caller, body)))
        finally:
            answers.done()

    def _model(self, request: Request) -> Answering:
        """Return what answers for the model that a path names, and the version if it names one."""
        seen = shown_to(request, self._inference)
        return seen.version(request.path_params["model"], request.path_params.get("version"))

    # Answers

    def scored(self, form: Form) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers requests of a form."""

        async def answer(request: Request) -> Response:
            try:
                began, given = wall_seconds(), _given(request)
                form.require(given)
                waits = request.headers.get(HEADER)
                deadline = NEVER if waits is None else deadline_of(waits.encode("latin-1"), began)
                visit = Visit(caller_of(request), began, deadline, watch_of(request))
                return await self._predicted(request, form, given, visit)
            except VarvError as error:
                return response_of(form.refused(error))

        return answer

    async def _predicted(self, request: Request, form: Form, given: Given, visit: Visit) -> Response:
        """Answer a request for predictions, once its body is there and the door takes it."""
        inference = self._inference
        require_own_site(request, inference.door.origins)
        async with self._bodies.receive(request) as body:
            name = request.path_params.get("model") or request.headers.get("x-varv-model")
            began, took_s, is_counted = wall_seconds(), None, True
            inference.door.admit(visit.caller, name or inference.only().model, began)
            try:
                named = request.path_params.get("version")
                answering = inference.version(name, named) if name else inference.only()
                answer = partial(self._scored, form, given, visit, request, answering)
                if answering.waits:
                    # What waits for another process takes nobody's place.
                    is_counted = False
                    inference.door.done()
                elif _is_small(request, body):
                    # So those that came together are known before the first of them is answered.
                    await asyncio.sleep(0)
                    response = deflated(request, answer(body))
                    took_s = wall_seconds() - began
                    return response
                is_parquet = takes_a_thread(given.content_type) and not answering.waits
                turn = self._parquet if is_parquet else inference.turn_of(answering)
                return await self._in_thread(request, body, answer, turn, form.refused)
            finally:
                if is_counted:
                    inference.door.done(1, took_s)

    def _scored(
        self, form: Form, given: Given, visit: Visit, request: Request, answering: Answering, body: bytes
    ) -> Response:
        def write(asked: oip.Asked, answered: Answers) -> Reply:
            return form.write(asked, answering, answered)

        read, named = partial(form.read, body, given, answering), request.path_params.get("version")
        version = int(named) if named else None
        return response_of(timed(self._inference, answering, visit, read, write, version=version))

    def explained(self, explain: Explaining) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers requests for explanations of a form."""

        async def answer(request: Request) -> Response:
            try:
                return await self._explained(request, explain)
            except VarvError as error:
                return response_of(refusal(error))

        return answer

    async def _explained(self, request: Request, explain: Explaining) -> Response:
        """Answer a request for explanations in a thread, once its body is there and the door takes it."""
        inference, name = self._inference, request.path_params["model"]
        given = _given(request)
        Predicting().require(given)
        require_own_site(request, inference.door.origins)
        waits = request.headers.get(HEADER)
        began = wall_seconds()
        deadline = NEVER if waits is None else deadline_of(waits.encode("latin-1"), began)
        visit, version = Visit(caller_of(request), began, deadline), request.query_params.get("version", "")
        async with self._bodies.receive(request) as body:
            inference.door.admit(visit.caller, name, wall_seconds())
            is_counted = True
            try:
                answering = inference.model(name)
                if answering.waits:
                    is_counted = False
                    inference.door.done()

                def answered(whole: bytes) -> Response:
                    return response_of(explain(inference, answering, visit, whole, version))

                return await self._in_thread(request, body, answered, inference.turn_of(answering))
            finally:
                if is_counted:
                    # How long it took says nothing of how long predictions do.
                    inference.door.done()

    def tried(self, answering: Answering, columns: scoring.Columns, visit: Visit) -> dict[str, Any]:
        """Answer what a person has typed into the page; it is a request like any other."""

        def write(asked: oip.Asked, answered: Answers) -> dict[str, Any]:
            return typed.written(asked, answering, answered)

        return timed(self._inference, answering, visit, lambda: oip.Asked(columns, oip.id_of(""), ()), write)

    async def _answered(self, request: Request, answer: Callable[[bytes], Response]) -> Response:
        require_own_site(request, self._inference.door.origins)
        async with self._bodies.receive(request) as body:
            if _is_small(request, body):
                return deflated(request, answer(body))
            return await self._in_thread(request, body, answer, self._inference.large)

    async def _in_thread(
        self,
        request: Request,
        body: bytes,
        answer: Callable[[bytes], Response],
        turn: asyncio.Semaphore,
        refused: Callable[[VarvError], Reply] = refusal,
    ) -> Response:
        async with turn:
            return await run_in_threadpool(self._answer_large, request, body, answer, refused)

    def _answer_large(
        self,
        request: Request,
        body: bytes,
        answer: Callable[[bytes], Response],
        refused: Callable[[VarvError], Reply],
    ) -> Response:
        try:
            return deflated(request, answer(inflated(request, body, self._bodies.most_bytes)))
        except VarvError as error:
            # Raised out of the thread, it would hold its traceback and that would hold it, and with it the
            # body, until the garbage is collected; which is rare here.
            return response_of(refused(error))


def _is_small(request: Request, body: bytes) -> bool:
    """Return whether a request is answered on the event loop."""
    headers = request.headers
    is_plain = "content-encoding" not in headers and not takes_a_thread(headers.get("content-type", ""))
    return is_plain and len(body) <= INLINE_BYTES


def _given(request: Request) -> Given:
    headers = request.headers
    return Given(
        request.url.path,
        headers.get("content-type", ""),
        headers.get(oip.JSON_BYTES),
        request_id_of(headers.get("x-request-id", "").encode("latin-1")),
    )

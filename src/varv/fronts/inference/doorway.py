"""The door of a worker in front of its application: who a request is from, what it may ask for, and what its
answer says of that.

Requests for predictions are counted and bounded where they are answered; here it is only seen to that nobody
gets further who may not.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from varv.fronts.access import Caller, Door
from varv.fronts.access.cors import Headers
from varv.fronts.inference.forms import Reply, refusal
from varv.fronts.inference.served import Inference
from varv.fronts.inference.watch import Watch
from varv.fronts.inference.watching import Watcher, each_once
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import VarvError
from varv.kernel.hops import HEADER, came_through

OPEN = frozenset({"/v2/health/live", "/v2/health/ready", "/ping", "/health"})
"""What probes ask, who have no token."""
THROUGH = HEADER.encode()
_CALLER, _WATCH = "varv.caller", "varv.watch"
_PREDICTS = re.compile(
    r"/v2/models/[^/]+(?:/versions/[^/]+)?/(?:infer|generate|generate_stream)"
    r"|/models/[^/]+/(?:predict|explain)|/v1/models/[^/]+:(?:predict|explain)"
    r"|/invocations(?:/[^/]+)?|/docs/[^/]+|/get-online-features"
)
"""Paths to which a POST asks for predictions, or for what they are made of; all else reads."""
_MODEL = re.compile(r"/(?:v[12]/models|v2/repository/models|models|invocations|docs)/([^/:]+)")


class Doorway:
    """Lets requests through to the application that their caller may ask.

    Parameters
    ----------
    app
        Answers them; it finds the caller with `caller_of`.
    door
        Knows the callers.
    watcher
        Keeps what is traced and logged of requests; what probes ask is neither.
    """

    def __init__(self, app: ASGIApp, door: Door, watcher: Watcher | None = None) -> None:
        self._app = app
        self._door = door
        self._watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        door, said = self._door, dict[bytes, bytes](scope["headers"])
        origin, path = said.get(b"origin"), scope["path"]
        if scope["method"] == "OPTIONS":
            told = door.origins.preflight(origin, said.get(b"access-control-request-method"))
            if told is not None:
                await Response(status_code=204, headers=dict(told))(scope, receive, send)
                return
        if (through := said.get(THROUGH)) is not None:
            came_through(through)
        caller = door.callers[said.get(b"authorization")]
        scope[_CALLER] = caller
        watch = self._watch(scope, path, caller)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                limit = () if caller.limit is None else caller.limit.headers
                _add(message, (*door.headers(path, origin), *limit))
                if watch is not None:
                    _note(watch, scope, message)
            await send(message)

        try:
            if path not in OPEN:
                door.require(caller, _role(scope["method"], path), _model(path))
        except VarvError as error:
            await response_of(refusal(error))(scope, receive, answer)
            return
        try:
            await self._app(scope, receive, answer)
        except Exception:
            if watch is not None and not watch.status:
                # What stands in front of us answers it.
                watch.end(500, is_refused=True)
            raise

    def _watch(self, scope: Scope, path: str, caller: Caller) -> Watch | None:
        if self._watcher is None or path in OPEN:
            return None
        watch = self._watcher.begin(each_once(scope["headers"]), "http", "", wall_seconds())
        if watch is not None:
            watch.said(scope["method"], path)
            watch.client = caller.name
        scope[_WATCH] = watch
        return watch


def watch_of(request: Request) -> Watch | None:
    """Return what is kept of a request, None if nothing is."""
    return request.scope.get(_WATCH)


def caller_of(request: Request) -> Caller:
    """Return who sends a request."""
    caller: Caller = request.scope[_CALLER]
    return caller


def shown_to(request: Request, inference: Inference) -> Inference:
    """Return what the sender of a request may know of."""
    return inference.shown_to(caller_of(request).models)


def response_of(reply: Reply) -> Response:
    """Return a reply as the application sends it."""
    return Response(reply.body, reply.status, dict(reply.headers), media_type=reply.content_type)


def _note(watch: Watch, scope: Scope, message: Message) -> None:
    """Take note of the beginning of an answer, and say in it which request it is to."""
    status, route = message["status"], scope["path"]
    for name, value in scope.get("path_params", {}).items():
        route = route.replace(f"/{value}", f"/{{{name}}}", 1)
    named = {name for name, _ in message.get("headers", ())}
    _add(message, tuple(one for one in watch.headers().items() if one[0].encode() not in named))
    # What goes to no place of ours may be anything, and there would be no end of routes.
    watch.route = route if "endpoint" in scope else ""
    if status < 400:
        watch.model = watch.model or scope.get("path_params", {}).get("model", "")
    watch.end(status, is_refused=status >= 400)


def _role(method: str, path: str) -> str:
    return "predict" if method == "POST" and _PREDICTS.fullmatch(path) else "read"


def _model(path: str) -> str | None:
    found = _MODEL.match(path)
    # The statistics of all models have the place of one.
    return None if found is None or path == "/v2/models/stats" else found[1]


def _add(message: Message, headers: Headers) -> None:
    if headers:
        more = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        message["headers"] = [*message.get("headers", ()), *more]

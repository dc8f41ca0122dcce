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
from varv.kernel.errors import VarvError

OPEN = frozenset({"/v2/health/live", "/v2/health/ready", "/ping", "/health"})
"""What probes ask, who have no token."""
_CALLER = "varv.caller"
_PREDICTS = re.compile(
    r"/v2/models/[^/]+(?:/versions/[^/]+)?/(?:infer|generate|generate_stream)|/models/[^/]+/predict|/v1/models/[^/]+:predict"
    r"|/invocations(?:/[^/]+)?|/docs/[^/]+"
)
"""Paths to which a POST asks for predictions; all else reads."""
_MODEL = re.compile(r"/(?:v[12]/models|v2/repository/models|models|invocations|docs)/([^/:]+)")


class Doorway:
    """Lets requests through to the application that their caller may ask.

    Parameters
    ----------
    app
        Answers them; it finds the caller with `caller_of`.
    door
        Knows the callers.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

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
        caller = door.callers[said.get(b"authorization")]
        scope[_CALLER] = caller

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                limit = () if caller.limit is None else caller.limit.headers
                _add(message, (*door.headers(path, origin), *limit))
            await send(message)

        try:
            if path not in OPEN:
                door.require(caller, _role(scope["method"], path), _model(path))
        except VarvError as error:
            await response_of(refusal(error))(scope, receive, answer)
            return
        await self._app(scope, receive, answer)


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

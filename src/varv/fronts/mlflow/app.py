"""What answers a request to MLflow's API: an ASGI application beside the others of the control plane.

A request is found by its method and path in one dictionary, before any framework. What writes is queued for
the recorder's thread and answered once it is durable; what reads is answered at once, or in a thread if it
may take long.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from varv.fronts.gateway import Bodies, require_own_site
from varv.fronts.mlflow.errors import NoSuchEndpoint, NotUnderstood, answer_of
from varv.fronts.mlflow.routes import Route, Written
from varv.kernel.errors import InvalidInput, VarvError
from varv.kernel.recorder import Job, Recorder, Write

MOST_BYTES = 16 << 20
MOST_BYTES_TOGETHER = 64 << 20
_TWINS = (("/ajax-api/", "/api/"),)
_JSON = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]

Raw = Callable[[Scope, Receive, Send], Any]
"""What answers a path by itself: bodies that are no JSON, such as artifacts."""


class MlflowApi:
    """Answers what is MLflow's, and hands on the rest.

    Parameters
    ----------
    app
        Answers everything else.
    door
        Has work done by the recorder.
    areas
        What answers the routes of an area, and the routes.
    raw
        Prefixes of paths, and what answers all below them.
    allowed
        Raises if whoever asks may not, by the headers of a request, its method and its path.
    """

    def __init__(
        self,
        app: ASGIApp,
        door: Door,
        areas: Iterable[tuple[object, Iterable[Route[Any]]]],
        raw: Mapping[str, Raw] | None = None,
        allowed: Callable[[Mapping[bytes, bytes], str, str], None] = lambda headers, method, path: None,
    ) -> None:
        self._app = app
        self._door = door
        self._raw = dict(raw or {})
        self._allowed = allowed
        self._exact: dict[tuple[str, str], tuple[object, Route[Any]]] = {}
        self._patterns: list[tuple[str, list[str], tuple[object, Route[Any]]]] = []
        for desk, routes in areas:
            for route in routes:
                self._add(desk, route)
        self._bodies = Bodies(MOST_BYTES, MOST_BYTES_TOGETHER)

    def _add(self, desk: object, route: Route[Any]) -> None:
        path = route.whole_path
        if "{" in path:
            self._patterns.append((route.method, path.split("/"), (desk, route)))
        else:
            self._exact[route.method, path] = desk, route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(
            ("/api/2.0/", "/api/3.0/", "/ajax-api/", "/version")
        ):
            await self._app(scope, receive, send)
            return
        for twin, own in _TWINS:
            if path.startswith(twin):
                path = own + path[len(twin) :]
        try:
            status, body = await self._answered(scope, receive, send, path)
        except VarvError as error:
            status, body = answer_of(error)
        if status:
            await _send(send, status, body)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, path: str) -> tuple[int, bytes]:
        method = scope["method"]
        request = Request(scope, receive)
        self._allowed(dict(scope["headers"]), method, path)
        if method != "GET":
            require_own_site(request)
        for prefix, raw in self._raw.items():
            if path.startswith(prefix):
                await raw(scope, receive, send)
                return 0, b""
        (desk, route), named = self._found(method, path)
        if method == "GET":
            asked = _from_query(scope["query_string"], route, named)
            return 200, await self._answer(desk, route, asked)
        _require_json(scope, path)
        async with self._bodies.receive(request) as body:
            asked = _from_body(body, route, named)
        return 200, await self._answer(desk, route, asked)

    def _found(self, method: str, path: str) -> tuple[tuple[object, Route[Any]], dict[str, str]]:
        if found := self._exact.get((method, path)):
            return found, {}
        parts = path.split("/")
        for its_method, pattern, found in self._patterns:
            if its_method == method and len(pattern) == len(parts):
                named = _matched(pattern, parts)
                if named is not None:
                    return found, named
        raise NoSuchEndpoint("path", path[:200], "is no endpoint of this API", method=method)

    async def _answer(self, desk: object, route: Route[Any], asked: Any) -> bytes:
        if route.slow:
            return await run_in_threadpool(self._read, desk, route, asked)
        answered = route.answer(desk, asked)
        if isinstance(answered, Written):
            result = await self._door.do(answered.write)
            with self._door.recorder.reading() as db:
                return _encode(answered.answer(db, result))
        return _encode(answered)

    def _read(self, desk: object, route: Route[Any], asked: Any) -> bytes:
        return _encode(route.answer(desk, asked))


class Door:
    """Hands pieces of work to the recorder from the event loop, which is woken once for all that a group has
    done.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._finished: deque[tuple[asyncio.Future[Any], Job[Any]]] = deque()

    async def do(self, write: Write[Any]) -> Any:
        """Return the result of a piece of work once it is durable, or raise its error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self.recorder.submit(write, functools.partial(self._done, loop, future))
        return await future

    def _done(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], job: Job[Any]) -> None:
        is_first = not self._finished
        self._finished.append((future, job))
        if is_first:
            loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        while self._finished:
            future, job = self._finished.popleft()
            if future.cancelled():
                continue
            if job.error is not None:
                future.set_exception(job.error)
            else:
                future.set_result(job.result)


def _matched(pattern: list[str], parts: list[str]) -> dict[str, str] | None:
    named = {}
    for expected, part in zip(pattern, parts, strict=True):
        if expected.startswith("{"):
            if not part:
                return None
            named[expected[1:-1]] = part
        elif expected != part:
            return None
    return named


def _from_query(query: bytes, route: Route[Any], named: Mapping[str, str]) -> Any:
    asked: dict[str, Any] = {}
    lists = _list_fields(route.asked)
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in lists:
            asked.setdefault(name, []).append(value)
        else:
            asked[name] = value
    return _converted({**asked, **named}, route)


def _from_body(body: bytes, route: Route[Any], named: Mapping[str, str]) -> Any:
    try:
        if not named:
            return msgspec.json.decode(body or b"{}", type=route.asked, strict=False)
        asked = msgspec.json.decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise InvalidInput("request", route.path, "is not valid", why=str(error)) from None
    except msgspec.DecodeError:
        asked = _lenient(body, route.path)
    if not isinstance(asked, dict):
        raise InvalidInput("request", route.path, "is not a JSON object")
    return _converted({**asked, **{name: unquote(value) for name, value in named.items()}}, route)


def _lenient(body: bytes, path: str) -> Any:
    """Return what JSON of Python says: its NaN and Infinity are no JSON, and clients send them."""
    try:
        # As texts, which the fields that are numbers take: no number of JSON is one of them.
        return json.loads(body, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood("request", path, "is not JSON", why=str(error)[:200]) from None


def _converted(asked: dict[str, Any], route: Route[Any]) -> Any:
    try:
        return msgspec.convert(asked, route.asked, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput("request", route.path, "is not valid", why=str(error)) from None


@functools.cache
def _list_fields(asked: type[msgspec.Struct]) -> frozenset[str]:
    fields = msgspec.structs.fields(asked)
    return frozenset(field.name for field in fields if str(field.type).startswith(("list", "tuple")))


def _require_json(scope: Scope, path: str) -> None:
    said = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if said.partition(b";")[0].strip().lower() != b"application/json":
        hint = "send content-type: application/json"
        raise NotUnderstood("request", path, "is not said to be JSON", hint=hint)


def _encode(answer: object) -> bytes:
    return answer if isinstance(answer, bytes) else msgspec.json.encode(answer)


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [*_JSON, (b"content-length", b"%d" % len(body))]
    if status in (429, 503):
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

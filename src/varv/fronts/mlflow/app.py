"""What answers a request to MLflow's API: an ASGI application beside the others of the control plane.

A request is found by its method and path in one dictionary, before any framework. What writes is queued for
the recorder's thread and answered once it is durable; what reads is answered at once, or in a thread if it
may take long.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from varv.fronts.gateway import Bodies, require_own_site
from varv.fronts.mlflow.access import Gate
from varv.fronts.mlflow.errors import NoSuchEndpoint, answer_of
from varv.fronts.mlflow.nesting import require_shallow
from varv.fronts.mlflow.routes import Route, Written
from varv.kernel.errors import InvalidInput, VarvError
from varv.kernel.recorder import Job, Recorder, Write

MOST_BYTES = 16 << 20
MOST_BYTES_TOGETHER = 64 << 20
_TWINS = (("/ajax-api/", "/api/"),)
_JSON = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]

_CAMEL = re.compile(rb'"[a-z]+(?:[A-Z][a-z]+)+"\s*:')
_UPPER = re.compile(r"[A-Z]")
_LOOKED_AT = 2000
"""Bytes of a body in which a field shows how the fields of it are written."""

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
    gate
        Decides who may; everybody if None.
    """

    def __init__(
        self,
        app: ASGIApp,
        door: Door,
        areas: Iterable[tuple[object, Iterable[Route[Any]]]],
        raw: Mapping[str, Raw] | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._app = app
        self._door = door
        self._raw = dict(raw or {})
        self._begins = ("/api/2.0/", "/api/3.0/", "/ajax-api/", *self._raw)
        self._gate = gate
        self._exact: dict[tuple[str, str], tuple[object, Route[Any]]] = {}
        # What reads though it is no GET; whatever is not here is taken to write.
        self._reading: set[tuple[str, str]] = set()
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
            if route.reads:
                self._reading.add((route.method, path))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(self._begins):
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
        if self._gate is not None:
            reads = method in ("GET", "HEAD") or (method, path) in self._reading
            self._gate.require(dict(scope["headers"]), path, writes=not reads)
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
        bodiless = method == "DELETE" and not _has_body(scope)
        if not bodiless:
            _require_json(scope, path)
        async with self._bodies.receive(request) as body:
            # Clients delete what a path names without a body.
            require_shallow(body, path)
            asked = _from_body(b"{}" if bodiless else body, route, named)
        return 200, await self._answer(desk, route, asked)

    def routes(self) -> list[Route[Any]]:
        """Return all that is answered, but for what answers whole prefixes."""
        patterns = [route for _, _, (_, route) in self._patterns]
        return [route for _, route in self._exact.values()] + patterns

    def prefixes(self) -> list[str]:
        """Return the prefixes that are answered whole."""
        return list(self._raw)

    def _found(self, method: str, path: str) -> tuple[tuple[object, Route[Any]], dict[str, str]]:
        if found := self._exact.get((method, path)):
            return found, {}
        parts = path.split("/")
        for its_method, pattern, found in self._patterns:
            if its_method == method and len(pattern) == len(parts):
                named = _matched(pattern, parts)
                if named is not None:
                    return found, named
        allowed = self._methods(path)
        problem = f"does not take {method}" if allowed else "is no endpoint of this API"
        raise NoSuchEndpoint("path", path[:200], problem, allowed=allowed)

    def _methods(self, path: str) -> list[str]:
        """Return the methods that a path takes."""
        parts = path.split("/")
        exact = [method for method, known in self._exact if known == path]
        return exact + [
            method
            for method, pattern, _ in self._patterns
            if len(pattern) == len(parts) and _matched(pattern, parts) is not None
        ]

    async def _answer(self, desk: object, route: Route[Any], asked: Any) -> bytes:
        if route.slow:
            return await run_in_threadpool(self._read, desk, route, asked)
        answered = route.answer(desk, asked)
        if isinstance(answered, Written):
            return self._told(answered, await self._door.do(answered.write))
        return _encode(answered)

    def _told(self, written: Written, result: object) -> bytes:
        if written.known is not None:
            return _encode(written.known(result))
        if written.answer is None:
            return b"{}"
        with self._door.recorder.reading() as db:
            return _encode(written.answer(db, result))

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
    has_camels = _CAMEL.search(body, 0, _LOOKED_AT) is not None
    try:
        if not named and not has_camels:
            return msgspec.json.decode(body, type=route.asked, strict=False)
        asked = msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput("request", route.path, "is not valid", why=str(error)) from None
    except (msgspec.DecodeError, RecursionError):
        asked = _lenient(body, route.path)
    if not isinstance(asked, dict):
        raise InvalidInput("request", route.path, "is not a JSON object")
    if has_camels:
        asked = _in_snakes(asked)
    return _converted({**asked, **named}, route)


def _in_snakes(asked: Any) -> Any:
    """Return a body whose fields are written as the protocol has them: readers of its messages take both
    forms.
    """
    if isinstance(asked, list):
        return [_in_snakes(one) for one in asked]
    if not isinstance(asked, dict):
        return asked
    return {
        _UPPER.sub(lambda found: f"_{found[0].lower()}", name): _in_snakes(one) for name, one in asked.items()
    }


def _lenient(body: bytes, path: str) -> Any:
    """Return what JSON of Python says: its NaN and Infinity are no JSON, and clients send them."""
    try:
        # As texts, which the fields that are numbers take: no number of JSON is one of them.
        asked = json.loads(body, parse_constant=str)
        msgspec.json.encode(asked)  # which half of a character cannot be
        return asked
    except (ValueError, RecursionError) as error:
        raise InvalidInput("request", path, "is not JSON", why=str(error)[:200]) from None


def _converted(asked: dict[str, Any], route: Route[Any]) -> Any:
    try:
        return msgspec.convert(asked, route.asked, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput("request", route.path, "is not valid", why=str(error)) from None


@functools.cache
def _list_fields(asked: type[msgspec.Struct]) -> frozenset[str]:
    fields = msgspec.structs.fields(asked)
    return frozenset(field.name for field in fields if str(field.type).startswith(("list", "tuple")))


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def _require_json(scope: Scope, path: str) -> None:
    said = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if said.partition(b";")[0].strip().lower() != b"application/json":
        hint = "send content-type: application/json"
        raise InvalidInput("request", path, "is not said to be JSON", hint=hint)


def _encode(answer: object) -> bytes:
    return answer if isinstance(answer, bytes) else msgspec.json.encode(answer)


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [*_JSON, (b"content-length", b"%d" % len(body))]
    if status in (429, 503):
        headers.append((b"retry-after", b"1"))
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="varv"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

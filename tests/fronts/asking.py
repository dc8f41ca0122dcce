"""A plain client of an ASGI application, without a server between."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httpx
from starlette.types import ASGIApp


class _Direct(httpx.BaseTransport):
    """Hands requests to an application, each in an event loop of its own.

    The transport of httpx for this searches all paths for a module that is not there, once for each request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()  # what comes in parts is sent as one; its headers still say that it does
        return asyncio.run(self._ask(request))

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        bodies = [(b"", False), (request.content, True)]
        answered, start, parts = asyncio.Event(), {}, []

        async def receive() -> dict[str, Any]:
            if not bodies:
                await answered.wait()
                return {"type": "http.disconnect"}
            body, more = bodies.pop()
            return {"type": "http.request", "body": body, "more_body": more}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                assert not start
                start.update(message)
            elif message["type"] == "http.response.body":
                assert start
                assert not answered.is_set()
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    answered.set()

        await self._app(_scope(request), receive, send)
        assert answered.is_set()
        content = b"" if request.method == "HEAD" else b"".join(parts)
        return httpx.Response(start["status"], headers=start.get("headers", []), content=content)


def _scope(request: httpx.Request) -> dict[str, Any]:
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.split(b"?")[0],
        "query_string": url.query,
        "server": (url.host, url.port),
        "client": ("127.0.0.1", 123),
        "root_path": "",
    }


def asking(app: ASGIApp) -> httpx.Client:
    """Return a client whose requests go straight to `app`."""
    return httpx.Client(transport=_Direct(app), base_url="http://testserver")

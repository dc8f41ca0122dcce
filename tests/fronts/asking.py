"""A plain client of an ASGI application, without a server between."""

from __future__ import annotations

import asyncio

import httpx
from starlette.types import ASGIApp


class _Direct(httpx.BaseTransport):
    def __init__(self, app: ASGIApp) -> None:
        self._inner = httpx.ASGITransport(app=app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()  # what comes in parts is sent as one; its headers still say that it does

        async def ask() -> httpx.Response:
            answer = await self._inner.handle_async_request(request)
            whole = await answer.aread()  # inflated, if it came deflated
            said = answer.headers.items()
            headers = {"was-encoded" if name == "content-encoding" else name: value for name, value in said}
            return httpx.Response(answer.status_code, headers=headers, content=whole)

        return asyncio.run(ask())


def asking(app: ASGIApp) -> httpx.Client:
    """Return a client whose requests go straight to `app`."""
    return httpx.Client(transport=_Direct(app), base_url="http://testserver")

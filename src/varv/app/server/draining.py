"""Draining: a worker that another takes over from accepts no more connections and finishes those it has.

Each connection is answered once more, with the word that it is the last time, so that its caller opens
another, which a new worker accepts. One that stays silent is closed after a while, as idle ones always are.
"""

from __future__ import annotations

import threading

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from varv.kernel.clock import wall_seconds

_LOOK_S = 0.02


class LastAnswers:
    """Passes requests on, and, once a worker drains, says with each answer that the connection ends.

    Parameters
    ----------
    app
        Answers them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def last(message: Message) -> None:
            if self.draining and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, last)


def drain(server: uvicorn.Server, answers: LastAnswers, timeout_s: float) -> None:
    """Accept no more connections, and return once those that are open have ended, or after `timeout_s`.

    Called from another thread than the server's.
    """
    for listening in server.servers:
        # Behind what this loop has accepted already; the socket is shared, and stays open elsewhere.
        listening.get_loop().call_soon_threadsafe(listening.close)
    answers.draining = True
    pause, until = threading.Event(), wall_seconds() + timeout_s
    pause.wait(_LOOK_S)
    while server.server_state.connections and wall_seconds() < until:
        pause.wait(_LOOK_S)

"""The hot path: requests that are answered where they arrive, without an application.

The ASGI way makes a scope, a cycle and a task for each request, which costs more than most predictions. A
target that is listed here is answered inside the parser's callback instead, by `app.server.protocol`, which
keeps order, deadlines and connections for both ways alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol


class Call(Protocol):
    """What answers the requests for one target."""

    def submit(
        self, headers: list[tuple[bytes, bytes]], body: bytes, reply: Callable[[bytes, bytes], None]
    ) -> None:
        """Take one request, and reply to it now or later, on the event loop.

        Nothing stands in front of it: whatever the application's gateway refuses, a call refuses as well.

        Parameters
        ----------
        headers
            As received, names in lower case; each name comes once.
        reply
            Takes the status line with the header lines, each ended by a line break, and the body, whose
            length a header says. What concerns the connection and the time is added.
        """
        ...


class Hot(Protocol):
    """What is answered on the hot path."""

    @property
    def calls(self) -> Mapping[bytes, Call]:
        """What answers a POST, by the exact bytes of its target."""
        ...

    @property
    def most_bytes(self) -> int:
        """Of a body; a longer one takes the way of the application."""
        ...

    def takes(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a request is answered so, by its headers; else the application does it."""
        ...

    def flush(self) -> None:
        """Answer all that was submitted and is not answered yet."""
        ...


class Connection(Protocol):
    """Where a reply goes."""

    def answer(self, head: bytes, body: bytes, *, keep_alive: bool) -> None:
        """Write one answer."""
        ...


class Exchange:
    """One request of the hot path from the end of its head, in the place where uvicorn keeps its cycle.

    Parameters
    ----------
    connection
        Where its reply goes.
    call
        What answers it.
    keep_alive
        Whether the connection goes on after it.
    """

    __slots__ = (
        "call",
        "connection",
        "disconnected",
        "keep_alive",
        "parts",
        "response_complete",
        "waiting_for_100_continue",
    )

    # What uvicorn looks at or sets in a cycle: an answer is written at once, and nobody waits for messages.
    response_started = False
    message_event = asyncio.Event()

    def __init__(self, connection: Connection, call: Call, keep_alive: bool) -> None:
        self.connection = connection
        self.call = call
        self.keep_alive = keep_alive
        self.parts: list[bytes] = []
        self.disconnected = False
        self.response_complete = False

    def reply(self, head: bytes, body: bytes) -> None:
        """Answer it, once; later replies are none."""
        if not self.response_complete:
            self.response_complete = True
            self.connection.answer(head, body, keep_alive=self.keep_alive)

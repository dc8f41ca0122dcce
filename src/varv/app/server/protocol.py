"""HTTP connections with deadlines, and only so many of them, on top of uvicorn's protocol.

Uvicorn waits for a request for ever. A sweep every second looks at what each connection waits for: the head
of a request, the rest of its body, or its caller taking the answer. Whoever keeps a connection waiting for
the same thing beyond its deadline loses it. The hot path of a request is uvicorn's own.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
import msgspec
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

SWEEP_S = 1.0
_SPARE_FILES = 128
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How long a caller may keep a connection waiting, in seconds, and how many connections there may be."""

    head_s: float = 10.0
    """For the head of a request, from the opening of the connection or its first byte after another."""
    body_s: float = 30.0
    """For the whole body, from the end of the head."""
    answer_s: float = 30.0
    """For taking any part of an answer."""
    most_connections: int = 1000


def bounded_protocol(deadlines: Deadlines | None = None) -> Callable[..., asyncio.Protocol]:
    """Return what `uvicorn.Config` takes as ``http``: a maker of protocols that one sweep looks after."""
    deadlines = deadlines or Deadlines()
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES
    most = max(16, min(deadlines.most_connections, most_files))
    return partial(BoundedProtocol, sweep=Sweep(msgspec.structs.replace(deadlines, most_connections=most)))


class BoundedProtocol(H11Protocol):
    """One connection.

    Parameters
    ----------
    sweep
        Looks after it.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        sweep: Sweep,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._sweep = sweep
        # As the first look finds it, if nothing comes: it waits for its first request since it was opened.
        self._waits_for: tuple[object, ...] = (self.cycle, self.conn.their_state, 0)
        self._since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[bad-override]
        """Take the connection if there is room, or make some by closing the one that has idled longest."""
        super().connection_made(transport)
        self._sweep.take(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._sweep.drop(self)
        super().connection_lost(exc)

    @property
    def waits_for_head(self) -> bool:
        """Whether no request is under way."""
        return self.conn.their_state is h11.IDLE

    @property
    def idle_since(self) -> float:
        """Since when it waits for the same thing."""
        return self._since

    def look(self, now: float, deadlines: Deadlines) -> None:
        """Close the connection if its caller has kept it waiting for too long."""
        unsent = self.transport.get_write_buffer_size()
        waits_for = (self.cycle, self.conn.their_state, unsent)
        if waits_for != self._waits_for:
            self._waits_for, self._since = waits_for, now
            return
        waited = now - self._since
        if unsent:
            if waited > deadlines.answer_s:
                self.transport.abort()
        elif self.waits_for_head:
            if waited > deadlines.head_s:
                self.refuse(_TIMEOUT)
        elif self.conn.their_state is h11.SEND_BODY and waited > deadlines.body_s:
            self.refuse(_TIMEOUT)

    def refuse(self, answer: bytes) -> None:
        """Say why, unless an answer is under way, and close."""
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self.transport.write(answer)
        self.transport.close()


class Sweep:
    """Looks at all connections of one server every second."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        # In the order of their opening, which decides where several have idled since the same look.
        self._connections: dict[BoundedProtocol, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def take(self, protocol: BoundedProtocol) -> None:
        """Look after a new connection, or refuse it if all others are busy."""
        if len(self._connections) >= self._deadlines.most_connections:
            idle = (held for held in self._connections if held.waits_for_head)
            oldest = min(idle, key=lambda held: held.idle_since, default=None)
            if oldest is None:
                protocol.refuse(_BUSY)
                return
            self.drop(oldest)
            oldest.transport.abort()
        self._connections[protocol] = None
        if self._timer is None:
            self._timer = protocol.loop.call_later(SWEEP_S, self._look, protocol.loop)

    def drop(self, protocol: BoundedProtocol) -> None:
        """Forget a connection that is closed."""
        self._connections.pop(protocol, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for protocol in list(self._connections):
            protocol.look(now, self._deadlines)
        self._timer = loop.call_later(SWEEP_S, self._look, loop) if self._connections else None

"""HTTP connections with deadlines and bounds, and only so many of them, on top of uvicorn's protocol.

Uvicorn waits for a request for ever. A sweep every second looks at what each connection waits for: the head
of a request, the rest of its body, or its caller taking the answer. Whoever keeps a connection waiting for
the same thing beyond its deadline loses it. The parser bounds no head, so that is done here as well.

A request whose target is in `hot` is answered inside the parser's callback, and never reaches the
application. All others go uvicorn's way; the parts of uvicorn that this leans on are held by a contract test.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import httptools
import msgspec
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from varv.app.server.hot import Call, Exchange, Hot
from varv.app.server.tls import names_of

SWEEP_S = 1.0
PAUSE_S = 0.05
"""So long nothing more is read from a caller that was refused for want of time: whoever asks again at once
would have its refusals take the time of those that are answered.
"""
LINGER_S = 1.0
"""How long a caller that was turned away may take to read why."""
MOST_HEAD_BYTES = 64 << 10
"""Of a head, of trailers, and of what a chunk says beside its bytes."""
MOST_URL_BYTES = 16 << 10
MOST_UNWANTED_BYTES = 256 << 10
"""Of a body whose request is answered already: who sends more is not read any more."""
MOST_QUEUED = 256
"""Requests that one connection may send ahead of the answers."""
_SPARE_FILES = 128

# What a connection receives next: another request, if any; the head of one; the body of one; nothing more.
_IDLE, _HEAD, _BODY, _PARTED = range(4)

_VERSIONS = ("1.1", "1.0")
# Requests that say any of these need the care of uvicorn's way.
_NOT_HOT = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade"})


def _refusal(status: bytes, *more: bytes) -> bytes:
    lines = (b"HTTP/1.1 " + status, *more, b"content-length: 0", b"connection: close", b"", b"")
    return b"\r\n".join(lines)


_NOT_HTTP = _refusal(b"400 Bad Request")
_TIMEOUT = _refusal(b"408 Request Timeout")
_LONG_URL = _refusal(b"414 URI Too Long")
_LONG_HEAD = _refusal(b"431 Request Header Fields Too Large")
_UNKNOWN_CODING = _refusal(b"501 Not Implemented")
_BUSY = _refusal(b"503 Service Unavailable", b"retry-after: 1")
_IS_BUSY = b"HTTP/1.1 503 "
_OTHER_VERSION = _refusal(b"505 HTTP Version Not Supported")
_FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n"


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How long a caller may keep a connection waiting, in seconds, and how many connections there may be."""

    head_s: float = 10.0
    """For the head of a request, from the opening of the connection or its first byte after another."""
    body_s: float = 30.0
    """For the whole body, from the end of the head."""
    least_bytes_per_s: float = float("inf")
    """A body may take longer by what it needs at this rate: who sends files is not to be cut off in them."""
    answer_s: float = 30.0
    """For taking any part of an answer."""
    most_connections: int = 1000


Identify = Callable[[Sequence[str]], bytes | None]
"""Returns the ``Authorization`` header that the names in a caller's certificate stand for; None for none."""


def bounded_protocol(
    deadlines: Deadlines | None = None, hot: Hot | None = None, identify: Identify | None = None
) -> Sweep:
    """Return what `uvicorn.Config` takes as ``http``: a maker of protocols that it looks after.

    Parameters
    ----------
    deadlines
        Of each connection, and how many there may be.
    hot
        What is answered without the application.
    identify
        Knows callers by their certificates; None where they show none.
    """
    deadlines = deadlines or Deadlines()
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES
    most = max(16, min(deadlines.most_connections, most_files))
    return Sweep(msgspec.structs.replace(deadlines, most_connections=most), hot, identify)


class Sweep:
    """Makes the connections of one server, and looks at all of them every second.

    Parameters
    ----------
    deadlines
        Of each connection, and how many there may be.
    hot
        What is answered without the application.
    identify
        Knows callers by their certificates; None where they show none.
    """

    def __init__(
        self, deadlines: Deadlines, hot: Hot | None = None, identify: Identify | None = None
    ) -> None:
        self.hot = hot
        self.identify = identify
        self.draining = False
        """Whether each connection is to end with its next answer."""
        self._deadlines = deadlines
        # In the order of their opening, which decides where several have idled since the same look.
        self._connections: dict[BoundedProtocol, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._defaults: list[tuple[bytes, bytes]] | None = None
        self._ends = b"", b""

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> BoundedProtocol:
        """Return the protocol of a new connection."""
        return BoundedProtocol(config, server_state, app_state, _loop, sweep=self)

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

    def drain(self) -> None:
        """Say with the next answer on each connection that it is the last one; on the event loop."""
        self.draining = True
        for protocol in self._connections:
            protocol.end_with_answer()

    def end_of_head(self, defaults: list[tuple[bytes, bytes]], *, keep_alive: bool) -> bytes:
        """Return the header lines that every answer has, and the blank line; uvicorn makes a new list of them
        each second.
        """
        if defaults is not self._defaults:
            lines = b"".join(b"%b: %b\r\n" % header for header in defaults)
            self._defaults, self._ends = defaults, (lines + b"connection: close\r\n\r\n", lines + b"\r\n")
        return self._ends[keep_alive]

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for protocol in list(self._connections):
            protocol.look(now, self._deadlines)
        self._timer = loop.call_later(SWEEP_S, self._look, loop) if self._connections else None


class _Deaf:
    """In place of a parser, once nothing more is taken."""

    def feed_data(self, data: bytes) -> None:
        """Let it go."""


_DEAF = _Deaf()


class BoundedProtocol(HttpToolsProtocol):
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
        self._hot = sweep.hot
        self._identity: bytes | None = None
        self._phase = _HEAD
        # Received since anything came of it: the beginning or the end of a head, or a part of a body.
        self._n_idle = 0
        self._n_unwanted = 0
        self._n_body = 0
        self._why = _NOT_HTTP
        self._farewell: bytes | None = None
        # As the first look finds it, if nothing comes: it waits for its first request since it was opened.
        self._waits_for: tuple[object, ...] = (None, True, _HEAD, False, 0)
        self._since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[bad-override]
        """Take the connection if there is room, or make some by closing the one that has idled longest."""
        super().connection_made(transport)
        if self._sweep.identify is not None:
            self._identity = self._sweep.identify(names_of(transport.get_extra_info("peercert")))
        self._sweep.take(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._sweep.drop(self)
        super().connection_lost(exc)

    # What the sweep asks.

    @property
    def waits_for_head(self) -> bool:
        """Whether no request is under way."""
        return self._phase == _PARTED or (self._phase != _BODY and self._is_answered)

    @property
    def idle_since(self) -> float:
        """Since when it waits for the same thing."""
        return self._since

    @property
    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def look(self, now: float, deadlines: Deadlines) -> None:
        """Close the connection if its caller has kept it waiting for too long."""
        unsent = self.transport.get_write_buffer_size()
        waits_for = (self.cycle, self._is_answered, self._phase, bool(self.pipeline), unsent)
        if waits_for != self._waits_for:
            self._waits_for, self._since = waits_for, now
            return
        waited = now - self._since
        if unsent:
            if waited > deadlines.answer_s:
                self.transport.abort()
        elif self._phase == _PARTED:
            if waited > LINGER_S:
                self.transport.abort()
        elif self._phase == _IDLE and self._is_answered:
            # Nothing to say: an answer to nothing could pass for that to a request on its way.
            if waited > self.timeout_keep_alive:
                self.transport.close()
        elif self.waits_for_head:
            if waited > deadlines.head_s:
                self.refuse(_TIMEOUT)
        elif self._phase == _BODY and not self.pipeline and waited > self._body_s(deadlines):
            self.refuse(_TIMEOUT)

    def _body_s(self, deadlines: Deadlines) -> float:
        return deadlines.body_s + self._n_body / deadlines.least_bytes_per_s

    def refuse(self, answer: bytes) -> None:
        """Say why, unless an answer is under way, and close."""
        has_begun = self.cycle.response_started if self._phase == _BODY else not self._is_answered
        if not has_begun:
            self.transport.write(answer)
        self.transport.close()

    def end_with_answer(self) -> None:
        """Close the connection after the answer that is under way, if any."""
        if not self._is_answered:
            self.cycle.keep_alive = False

    # What is received.

    def data_received(self, data: bytes) -> None:
        """Take some bytes."""
        n_bytes = len(data)
        if n_bytes > MOST_HEAD_BYTES:
            # What began in a packet is not counted there, so none may be larger than what is allowed.
            whole = memoryview(data)
            for start in range(0, n_bytes, MOST_HEAD_BYTES):
                self.data_received(whole[start : start + MOST_HEAD_BYTES])  # type: ignore[bad-argument-type]
            return
        self._n_idle += n_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._take_plainly(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._turn_away(self._why)
        if self._n_idle > MOST_HEAD_BYTES:
            self._turn_away(_LONG_HEAD)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.url = b""
        self.headers = []
        self._phase = _HEAD
        self._n_idle = self._n_body = 0
        cycle: object = self.cycle
        if isinstance(cycle, Exchange) and not cycle.response_complete:
            self._flush()

    def on_url(self, url: bytes) -> None:
        """Take a part of a target."""
        self.url += url
        if len(self.url) > MOST_URL_BYTES:
            self._stop(_LONG_URL)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self.headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        """Begin the answer, or what collects a body for it."""
        if self._identity is not None and all(name != b"authorization" for name, _ in self.headers):
            self.headers.append((b"authorization", self._identity))
        hot = self._hot
        call = None if hot is None else hot.calls.get(self.url)
        if hot is None or call is None or not self._begin_exchange(call, hot):
            self._check_head()
            if self.parser.should_upgrade():
                if self.parser.get_method() == b"CONNECT":
                    self._stop(_NOT_HTTP)
                # It is taken again, without that wish.
                return
            self._begin_cycle()
        self._phase = _BODY
        self._n_idle = 0

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._n_idle = 0
        self._n_body += len(body)
        cycle: object = self.cycle
        if isinstance(cycle, Exchange):
            cycle.parts.append(body)
        elif self.cycle.response_complete and not self.pipeline:
            self._n_unwanted += len(body)
            if self._n_unwanted > MOST_UNWANTED_BYTES:
                self._stop(b"")
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Have a request answered whose body is complete."""
        if self._phase != _BODY:
            return
        self._phase = _IDLE
        cycle: object = self.cycle
        if not isinstance(cycle, Exchange):
            super().on_message_complete()
            return
        body = b"".join(cycle.parts)
        # The connection keeps its last exchange while it idles.
        cycle.parts.clear()
        try:
            cycle.call.submit(self.headers, body, cycle.reply)
        except Exception:
            # Whatever a call raises is a fault of ours: the parser must not take it for one of the caller's.
            self.logger.exception("A call on the hot path failed")
            cycle.reply(_FAILED, b"")

    def _flush(self) -> None:
        """Have the request answered that is under way, since another follows, which would have to wait."""
        try:
            if self._hot is not None:
                self._hot.flush()
        except Exception:
            # As above; what it has left unanswered was answered with the fault.
            self.logger.exception("A flush of the hot path failed")

    def _begin_exchange(self, call: Call, hot: Hot) -> bool:
        """Take a request for a target of the hot path, unless it needs more care than that has."""
        headers = dict(self.headers)
        n_bytes = headers.get(b"content-length")
        if (
            n_bytes is None
            or int(n_bytes) > hot.most_bytes
            or len(headers) != len(self.headers)
            or not _NOT_HOT.isdisjoint(headers)
            or b"host" not in headers
            or self.parser.get_method() != b"POST"
            or not (self.cycle is None or self.cycle.response_complete)
            or self.flow.write_paused
            # A head in one packet needs no counting.
            or self._n_idle
            or not hot.takes(headers)
        ):
            return False
        keep_alive = self.parser.should_keep_alive()
        if not keep_alive or b"connection" in headers:
            version = self.parser.get_http_version()
            if version not in _VERSIONS:
                return False
            keep_alive = keep_alive and version == "1.1"
        self.cycle = Exchange(self, call, keep_alive and not self._sweep.draining)  # type: ignore[bad-assignment]
        return True

    def _begin_cycle(self) -> None:
        """Take a request uvicorn's way."""
        if self.transport.is_closing():
            self._stop(_NOT_HTTP)
        if len(self.pipeline) >= MOST_QUEUED:
            self._stop(_BUSY)
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url, self.scope["headers"] = url, headers
        self.expect_100_continue = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in headers
        )
        self._n_unwanted = 0
        # Trailers are received as headers are, and must not become some.
        self.headers = []
        super().on_headers_complete()
        if self._sweep.draining:
            self.cycle.keep_alive = False

    def _check_head(self) -> None:
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            self._stop(_OTHER_VERSION)
        n_hosts, n_bytes = 0, len(self.url)
        for name, value in self.headers:
            n_bytes += len(name) + len(value) + 4
            n_hosts += name == b"host"
            if name == b"transfer-encoding" and value.lower() != b"chunked":
                self._stop(_UNKNOWN_CODING)
        if n_bytes > MOST_HEAD_BYTES:
            self._stop(_LONG_HEAD)
        if n_hosts > 1 or (not n_hosts and version == "1.1"):
            self._stop(_NOT_HTTP)

    def _take_plainly(self, rest: memoryview) -> None:
        """Take a request that asks for another protocol as if it did not; some clients ask with each first
        request. The parser leaves out its body, so it begins anew.
        """
        while True:
            head = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self._version())]
            head += [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            try:
                self.parser.feed_data(b"".join(head) + b"\r\n")
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            except httptools.HttpParserError:
                self._turn_away(self._why)
                return

    def _version(self) -> bytes:
        return self.parser.get_http_version().encode()

    def _stop(self, why: bytes) -> NoReturn:
        """Have the parser stop, inside one of its callbacks; what it raises is the parser's own error."""
        self._why = why
        raise ValueError(why)

    def _turn_away(self, answer: bytes) -> None:
        """Give this answer once those to earlier requests are given, and take nothing more."""
        if self.parser is _DEAF or self.transport.is_closing():
            return
        self.parser = _DEAF  # type: ignore[bad-assignment]
        cycle = self.cycle
        if self._phase != _BODY:
            is_next = self._is_answered
        elif self.pipeline:
            # Its own request is broken, and comes after others.
            self.pipeline.popleft()
            is_next = False
        else:
            if cycle.response_complete:
                self._part(b"")
                # Its caller is told, and held up rather than listened to.
                self.flow.pause_reading()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
            cycle.waiting_for_100_continue = False
            is_next = True
        if is_next:
            self._part(answer)
        else:
            self._farewell = answer
            self.flow.pause_reading()

    def _part(self, answer: bytes) -> None:
        """Give the last answer, and let its caller read it: closing at once would take it away again from one
        that is still sending.
        """
        self._phase = _PARTED
        self.flow.resume_reading()
        self.transport.write(answer)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # What is sent.

    def answer(self, head: bytes, body: bytes, *, keep_alive: bool) -> None:
        """Write an answer of the hot path."""
        transport = self.transport
        if transport.is_closing():
            return
        end = self._sweep.end_of_head(self.server_state.default_headers, keep_alive=keep_alive)
        transport.write(b"".join((head, end, body)))
        if not keep_alive:
            # The rest of the packet is for the general way, which looks whether the connection is open.
            self._hot = None
            transport.close()
        if self.flow.read_paused or self._farewell is not None or self.pipeline:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            if head.startswith(_IS_BUSY) and keep_alive:
                self.flow.pause_reading()
                self.loop.call_later(PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        """Read on after a pause."""
        is_free = self._is_answered and self._farewell is None and self._phase != _PARTED
        if is_free and not self.transport.is_closing() and not self.flow.write_paused:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Go on after an answer; the sweep sees to connections that are silent then."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            if not self.pipeline:
                # The rest of its body may be still to come.
                self.flow.resume_reading()
        elif self._farewell is not None:
            self._part(self._farewell)
        elif self.flow.write_paused:
            self.flow.pause_reading()
        else:
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        """Receive nothing more before the answers are taken; uvicorn has its cycles wait for that, too."""
        super().pause_writing()
        if self._is_answered:
            self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Go on receiving once the answers are taken."""
        super().resume_writing()
        if self._is_answered and self._farewell is None:
            self.flow.resume_reading()

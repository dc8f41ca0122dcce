"""What `app.server.protocol` leans on in uvicorn: parts that are not promised, and may change with a release.

Where one of these fails after an upgrade, read the protocol against uvicorn's new one before the range of
versions in `pyproject.toml` is widened.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections import deque
from functools import partial

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

METHODS = {
    "connection_made": ["transport"],
    "connection_lost": ["exc"],
    "data_received": ["data"],
    "on_message_begin": [],
    "on_url": ["url"],
    "on_header": ["name", "value"],
    "on_headers_complete": [],
    "on_body": ["body"],
    "on_message_complete": [],
    "on_response_complete": [],
    "pause_writing": [],
    "resume_writing": [],
    "shutdown": [],
    "_start_asgi_task": ["cycle", "app"],
}
CYCLE = {
    "disconnected",
    "keep_alive",
    "message_event",
    "response_complete",
    "response_started",
    "waiting_for_100_continue",
}


async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


class Recording(HttpToolsProtocol):
    """Notes the order in which things happen."""

    def __init__(self, *arguments):
        self.noted = []
        super().__init__(*arguments)

    def on_message_begin(self):
        self.noted.append("begin")
        super().on_message_begin()

    def on_headers_complete(self):
        super().on_headers_complete()
        self.noted.append("head")

    def on_message_complete(self):
        super().on_message_complete()
        self.noted.append("message")

    def on_response_complete(self):
        self.noted.append("answer")
        super().on_response_complete()


def talked(act):
    """Return what `act` returns, called with a protocol and the other end of its connection."""

    async def talk():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        config = uvicorn.Config(application, http=Recording, ws="none", log_config=None, access_log=False)
        config.load()
        assert config.http_protocol_class is Recording
        make = partial(config.http_protocol_class, config, ServerState(), {}, loop)
        transport, protocol = await loop.connect_accepted_socket(make, sock=ours)
        with theirs:
            try:
                return await act(protocol, theirs)
            finally:
                transport.abort()
                await asyncio.sleep(0)

    return asyncio.run(talk())


def parameters(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


@pytest.mark.parametrize("name", METHODS)
def test_the_protocol_has_the_methods_that_are_overridden_or_called(name):
    assert parameters(getattr(HttpToolsProtocol, name)) == METHODS[name]


def test_a_server_makes_protocols_by_names_that_are_known():
    made = ["config", "server_state", "app_state", "_loop"]
    assert parameters(HttpToolsProtocol.__init__) == made
    source = inspect.getsource(uvicorn.Server.startup)
    assert all(f"{name}=" in source for name in made)


def test_a_server_that_is_given_no_socket_has_begun_and_takes_listeners_later():
    async def started():
        config = uvicorn.Config(application, ws="none", log_config=None, lifespan="off")
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup([])
        return server

    server = asyncio.run(started())
    assert (server.servers, server.started) == ([], True)
    assert "self.servers" in inspect.getsource(uvicorn.Server.shutdown)
    assert "ssl_context_factory" in parameters(uvicorn.Config.__init__)


def test_flow_is_paused_and_resumed_by_calls_that_tell_whether_it_is():
    for name in ("pause_reading", "resume_reading", "pause_writing", "resume_writing"):
        assert parameters(getattr(FlowControl, name)) == []

    async def act(protocol, _theirs):
        assert (protocol.flow.read_paused, protocol.flow.write_paused) == (False, False)
        protocol.pause_writing()
        protocol.flow.pause_reading()
        assert (protocol.flow.read_paused, protocol.flow.write_paused) == (True, True)

    talked(act)


def test_a_connection_begins_with_nothing_under_way():
    async def act(protocol, _theirs):
        assert protocol.cycle is None
        assert protocol.pipeline == deque()
        assert protocol.headers is None
        assert protocol.parser is not None
        assert protocol.timeout_keep_alive == 5
        assert protocol.connections == {protocol}
        assert protocol.server_state.total_requests == 0
        assert protocol.server_state.default_headers == []

    talked(act)


def test_requests_sent_ahead_are_queued_with_the_newest_at_the_left():
    async def act(protocol, theirs):
        protocol.data_received(b"GET / HTTP/1.1\r\n\r\n" * 3)
        assert protocol.noted == ["begin", "head", "message"] * 3
        assert len(protocol.pipeline) == 2
        newest, app = protocol.pipeline[0]
        assert newest is protocol.cycle
        assert callable(app)
        assert isinstance(newest, RequestResponseCycle)
        assert vars(newest).keys() >= CYCLE
        assert protocol.flow.read_paused
        while protocol.noted.count("answer") < 3:
            await asyncio.sleep(0)
        assert protocol.server_state.total_requests == 3
        assert protocol.cycle.response_complete

    talked(act)


def test_a_cycle_that_is_not_to_keep_its_connection_says_so_and_closes_it():
    async def act(protocol, theirs):
        protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
        protocol.cycle.keep_alive = False
        found = b""
        while part := await asyncio.get_running_loop().sock_recv(theirs, 1 << 16):
            found += part
        return found

    assert b"\r\nconnection: close\r\n" in talked(act)


def test_a_cycle_that_is_disconnected_is_not_answered_and_that_is_no_failure(caplog):
    async def act(protocol, theirs):
        protocol.data_received(b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n")
        protocol.cycle.disconnected = True
        protocol.cycle.message_event.set()
        for _ in range(10):
            await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)

    talked(act)
    assert not caplog.records


def test_another_cycle_ends_a_shutdown_only_once_it_is_answered():
    class Stand:
        response_complete, keep_alive, disconnected = False, True, False
        message_event = asyncio.Event()

    async def act(protocol, theirs):
        protocol.cycle = stand = Stand()
        protocol.shutdown()
        assert not stand.keep_alive
        assert not protocol.transport.is_closing()
        protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
        assert len(protocol.pipeline) == 1
        protocol.cycle = stand
        protocol.connection_lost(None)
        assert stand.disconnected

    talked(act)


def test_lines_of_every_answer_are_a_new_list_each_second():
    source = inspect.getsource(uvicorn.Server.on_tick)
    assert "self.server_state.default_headers = date_header + self.config.encoded_headers" in source

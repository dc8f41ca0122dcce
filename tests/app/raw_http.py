"""A real HTTP server in this process, and connections to it that send and receive bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Generator

import uvicorn

from varv.app.server.hot import Hot
from varv.app.server.protocol import Deadlines, bounded_protocol


@contextlib.contextmanager
def serving(
    application, deadlines: Deadlines, hot: Hot | None = None, *, keep_alive_s: int = 5
) -> Generator[uvicorn.Server]:
    """Serve on the port that `port_of` says."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        http=bounded_protocol(deadlines, hot),
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(10)


def port_of(server: uvicorn.Server) -> int:
    """Return where a server listens."""
    return server.servers[0].sockets[0].getsockname()[1]


def connect(server: uvicorn.Server) -> socket.socket:
    """Return a new connection."""
    return socket.create_connection(("127.0.0.1", port_of(server)), timeout=10)


def received(made: socket.socket) -> bytes:
    """Return what comes until the connection is closed."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while part := made.recv(1 << 20):
            found += part
    return found


def received_until(made: socket.socket, end: bytes) -> bytes:
    """Return what comes up to some bytes, which must be the last that come."""
    found = b""
    while not found.endswith(end):
        part = made.recv(1 << 20)
        assert part, f"closed after {found!r}"
        found += part
    return found

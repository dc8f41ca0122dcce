"""Deadlines of connections, on a real server in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import pytest
from tests.app.raw_http import connect, received, received_until, serving

from varv.app.server import protocol as module
from varv.app.server.protocol import Deadlines, Sweep

REQUEST = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 4\r\n\r\nbody"
SHORT = Deadlines(head_s=0.2, body_s=0.2, answer_s=0.2, most_connections=16)
LONG = Deadlines(most_connections=16)


class Gate:
    """Where requests for /held wait, so that a test knows when they are under way, and until when."""

    def __init__(self):
        self.arrived, self.open = threading.Semaphore(0), threading.Event()

    async def wait(self):
        self.arrived.release()
        while not self.open.is_set():
            await asyncio.sleep(0.01)


GATE = Gate()


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    if scope["path"] == "/held":
        await GATE.wait()
    body = b"x" * (64 << 20) if scope["path"] == "/large" else b"done"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module", autouse=True)
def _often():
    swept, module.SWEEP_S = module.SWEEP_S, 0.05
    yield
    module.SWEEP_S = swept


@pytest.fixture(scope="module")
def short():
    with serving(application, SHORT) as server:
        yield server


@pytest.fixture(scope="module")
def long():
    with serving(application, LONG) as server:
        yield server


def answered(made: socket.socket) -> int:
    """Return the status of one short answer, after its last byte."""
    return int(received_until(made, b"done").split(b" ", 2)[1])


@pytest.mark.parametrize("sent", [b"", b"POST / HT", REQUEST[:-10], REQUEST[:-1]])
def test_a_caller_that_does_not_finish_its_request_is_told_and_let_go(short, sent):
    with connect(short) as made:
        made.sendall(sent)
        assert received(made).startswith(b"HTTP/1.1 408 ")


def test_a_caller_that_sends_byte_by_byte_does_not_get_more_time(short):
    with connect(short) as made, contextlib.suppress(ConnectionError):
        pause = threading.Event()
        for byte in REQUEST * 10:
            made.sendall(bytes([byte]))
            pause.wait(0.05)
            made.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                assert made.recv(1000).startswith(b"HTTP/1.1 408 ")
                return
            made.setblocking(True)
        raise AssertionError("it was never let go")


def test_an_answer_may_take_longer_than_any_deadline(short):
    with connect(short) as made:
        made.sendall(REQUEST.replace(b"/ ", b"/slow "))
        assert made.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_caller_that_does_not_take_its_answer_is_let_go(short):
    with connect(short) as made:
        made.sendall(REQUEST.replace(b"/ ", b"/large "))
        threading.Event().wait(1.0)
        assert len(received(made)) < 64 << 20


def test_requests_on_one_connection_are_answered_one_after_the_other(long):
    with connect(long) as made:
        for _ in range(3):
            made.sendall(REQUEST)
            assert answered(made) == 200


@pytest.fixture
def looked(monkeypatch):
    """Set by every look at the connections."""
    look, found = Sweep._look, threading.Event()

    def noted(sweep, loop):
        look(sweep, loop)
        found.set()

    monkeypatch.setattr(Sweep, "_look", noted)
    return found


def test_the_connection_that_idled_longest_makes_room_for_a_new_one(long, looked):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(long)) for _ in range(12)]
        for _ in range(2):  # looks at some of them must not make these alike
            looked.clear()
            assert looked.wait(10)
        held += [stack.enter_context(connect(long)) for _ in range(8)]
        held[-1].sendall(REQUEST)
        assert answered(held[-1]) == 200
        assert [received(made) for made in held[:4]] == [b""] * 4
        for made in held[4:]:
            made.sendall(REQUEST)
            assert answered(made) == 200


def test_a_new_connection_is_refused_while_all_others_are_busy(long):
    with contextlib.ExitStack() as stack:
        stack.callback(GATE.open.set)
        held = [stack.enter_context(connect(long)) for _ in range(16)]
        for made in held:
            made.sendall(REQUEST.replace(b"/ ", b"/held "))
        for _ in held:
            assert GATE.arrived.acquire(timeout=10)
        with connect(long) as made:
            assert received(made).startswith(b"HTTP/1.1 503 ")
        GATE.open.set()
        assert [answered(made) for made in held] == [200] * 16

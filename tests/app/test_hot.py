"""The hot path: the same answers as the application's, in the same order, whenever they are given."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
import threading
import time
from functools import partial

import pytest
import uvicorn
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.app.raw_http import connect, received, received_until, serving
from uvicorn.server import ServerState

from varv.app.server import protocol as module
from varv.app.server.protocol import Deadlines, bounded_protocol

TARGET = b"/v2/models/late/infer"
HOST = b"host: here\r\n"
END = b"connection: close\r\n\r\n"


def said(way: str, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    named = [f"{name.decode()}={value.decode()}" for name, value in headers]
    return json.dumps({"way": way, "body": body.decode(), "headers": named}).encode()


async def application(scope, receive, send, way="application"):
    """Say which way a request came."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    answer = said(way, scope["headers"], body)
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


class Echo:
    """Answers at once, in the next turn of the event loop, when told to, or far too much."""

    def __init__(self, when="at once", way="hot"):
        self.when, self.way, self.most_bytes = when, way, 1000
        self.calls = {TARGET: self}
        self.waiting = []

    def submit(self, headers, body, reply):
        if self.when == "broken":
            raise RuntimeError("broken")
        if self.when == "busy":
            reply(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n", b"busy")
            return
        answer = said(self.way, headers, body) if self.when != "large" else b"x" * (4 << 20)
        answered = partial(reply, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(answer), answer)
        if self.when in ("at once", "large"):
            answered()
        else:
            self.waiting.append(answered)
        if self.when == "next turn":
            asyncio.get_running_loop().call_soon(answered)
        elif self.when in ("later", "much later"):
            asyncio.get_running_loop().call_later(0.01, answered)

    def takes(self, headers):
        return b"is-other" not in headers

    def flush(self):
        if self.when != "much later":
            self.answer()

    def answer(self):
        while self.waiting:
            self.waiting.pop(0)()


HOT = Echo()


def until(holds):
    pause = threading.Event()
    for _ in range(1000):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("it never came to that")


@pytest.fixture(scope="module")
def server():
    swept, module.SWEEP_S = module.SWEEP_S, 0.05
    deadlines = Deadlines(head_s=0.5, body_s=0.5, answer_s=0.5, most_connections=16)
    with serving(application, deadlines, HOT) as running:
        yield running
    module.SWEEP_S = swept


@pytest.fixture(autouse=True)
def _at_once(caplog):
    HOT.when, HOT.waiting = "at once", []
    yield
    assert HOT.when == "broken" or not [one for one in caplog.records if one.levelno >= logging.WARNING]


def post(body: bytes = b"body", more: bytes = b"", target: bytes = TARGET, version: bytes = b"1.1") -> bytes:
    lines = HOST + b"content-length: %d\r\n" % len(body) + more
    return b"POST " + target + b" HTTP/" + version + b"\r\n" + lines + b"\r\n" + body


def ways(found: bytes) -> list[str]:
    """Return which way each request came that was answered."""
    return [way.decode() for way in re.findall(rb'"way": "(\w+)"', found)]


def exchanged(server, sent: bytes) -> bytes:
    with connect(server) as made:
        made.sendall(sent)
        return received(made)


def test_a_listed_target_is_answered_without_the_application(server):
    before = server.server_state.total_requests
    found = exchanged(server, post() + post(b"", END[:-2]))
    head, _, rest = found.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-length: ")
    assert b"\r\ndate: " in head
    assert b"\r\nserver: uvicorn" in head
    assert b"connection" not in head
    assert b"\r\nconnection: close\r\n" in rest
    assert ways(found) == ["hot", "hot"]
    assert server.server_state.total_requests == before + 2


NOT_HOT = {
    "another target": post(target=b"/v2/models/late/infer?a=b", more=END[:-2]),
    "another method": post(more=END[:-2]).replace(b"POST", b"PUT"),
    "long": post(b"x" * 1001, END[:-2]),
    "coded": post(more=b"content-encoding: gzip\r\n" + END[:-2]),
    "chunked": b"POST " + TARGET + b" HTTP/1.1\r\ntransfer-encoding: chunked\r\n" + HOST + END + b"0\r\n\r\n",
    "without a length": b"POST " + TARGET + b" HTTP/1.1\r\n" + HOST + END,
    "of another kind": post(more=b"is-other: yes\r\n" + END[:-2]),
    "a header twice": post(more=b"a: b\r\na: c\r\n" + END[:-2]),
}


@pytest.mark.parametrize("sent", NOT_HOT.values(), ids=NOT_HOT)
def test_what_needs_more_care_goes_to_the_application(server, sent):
    assert ways(exchanged(server, sent)) == ["application"]


def test_a_head_that_is_too_long_is_refused(server):
    assert exchanged(server, post(more=b"a: " + b"b" * 70_000 + b"\r\n")).startswith(b"HTTP/1.1 431 ")


def test_a_request_that_says_no_host_is_refused(server):
    assert exchanged(server, post().replace(HOST, b"")).startswith(b"HTTP/1.1 400 ")


def test_a_body_that_is_waited_for_is_asked_for(server):
    found = exchanged(server, post(more=b"expect: 100-continue\r\n" + END[:-2]))
    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert ways(found) == ["application"]


def test_an_older_version_is_answered_once(server):
    for more in (b"", b"connection: keep-alive\r\n"):
        found = exchanged(server, post(more=more, version=b"1.0") + post())
        assert ways(found) == ["hot"]
        assert b"\r\nconnection: close\r\n" in found


def test_a_wish_for_another_protocol_is_passed_over(server):
    asked = post(more=b"connection: upgrade\r\nupgrade: h2c\r\n")
    assert ways(exchanged(server, asked + post() + post(more=END[:-2]))) == ["hot"] * 3


@pytest.mark.parametrize("when", ["at once", "next turn", "later", "much later"])
def test_requests_sent_ahead_are_answered_in_order(server, when):
    HOT.when = when
    several = [post(b"%d" % n, target=b"/" if n % 3 == 2 else TARGET) for n in range(100)]
    last = post(b"last", END[:-2], target=b"/")
    found = exchanged(server, b"".join(several) + last)
    assert re.findall(rb'"body": "(\w+)"', found) == [b"%d" % n for n in range(100)] + [b"last"]
    assert "application" in ways(found)
    assert "hot" in ways(found)


def test_whoever_is_refused_for_want_of_time_is_read_again_after_a_pause(server):
    HOT.when = "busy"
    with connect(server) as made:
        began = time.monotonic()
        for _ in range(4):
            made.sendall(post())
            assert received_until(made, b"busy").startswith(b"HTTP/1.1 503 ")
        assert time.monotonic() - began > 3 * module.PAUSE_S
        # What comes with others is answered with them.
        made.sendall(post() * 50 + post(more=END[:-2], target=b"/"))
        assert ways(received(made)) == ["application"]


def test_a_reply_to_a_connection_that_is_lost_does_nothing(server):
    HOT.when = "on flush"
    with connect(server) as made:
        made.sendall(post())
        until(lambda: HOT.waiting)
        held, HOT.waiting = HOT.waiting, []
    with connect(server) as made:  # by whose answer the other one's end has been seen
        HOT.when = "at once"
        made.sendall(post())
        received_until(made, b"}")
    for reply in held:
        server.servers[0].get_loop().call_soon_threadsafe(reply)
    assert ways(exchanged(server, post(more=END[:-2]))) == ["hot"]


def test_only_the_first_reply_to_a_request_counts(server):
    HOT.when = "on flush"
    with connect(server) as made:
        made.sendall(post())
        until(lambda: HOT.waiting)
        (reply,) = HOT.waiting
        for _ in range(3):
            server.servers[0].get_loop().call_soon_threadsafe(reply)
        assert ways(received_until(made, b"}")) == ["hot"]
        HOT.when = "at once"
        made.sendall(post(more=END[:-2]))
        assert ways(received(made)) == ["hot"]


def test_a_call_that_fails_is_answered_and_logged(server, caplog):
    HOT.when = "broken"
    assert exchanged(server, post(more=END[:-2])).startswith(b"HTTP/1.1 500 ")
    assert "hot path failed" in caplog.text


def test_a_caller_that_does_not_finish_its_body_is_told_and_let_go(server):
    assert exchanged(server, post()[:-1]).startswith(b"HTTP/1.1 408 ")


def test_a_slow_answer_is_no_fault_of_its_caller(server):
    HOT.when = "on flush"
    with connect(server) as made:
        made.sendall(post(more=END[:-2]))
        with contextlib.suppress(TimeoutError):
            made.settimeout(1.5)
            pytest.fail(f"{made.recv(100)!r}")
        made.settimeout(10)
        server.servers[0].get_loop().call_soon_threadsafe(HOT.answer)
        assert ways(received(made)) == ["hot"]


def test_a_caller_that_does_not_take_its_answers_is_let_go_before_they_fill_the_memory(server):
    HOT.when = "large"
    with connect(server) as made:
        made.sendall(post() * 300)
        until(lambda: server.server_state.connections)
        unsent = 0
        while connections := list(server.server_state.connections):
            unsent = max([unsent, *(one.transport.get_write_buffer_size() for one in connections)])
        assert 0 < unsent < 64 << 20


def test_answers_that_are_taken_slowly_all_come(server):
    HOT.when = "large"
    with connect(server) as made:
        made.sendall(post() * 5 + post(more=END[:-2], target=b"/"))
        found = received(made)
    assert found.count(b"x" * (4 << 20)) == 5 - len(ways(found)) + 1


def test_a_server_that_ends_answers_once_more():
    hot = Echo("on flush")
    with serving(application, Deadlines(), hot) as ending:
        held = [connect(ending) for _ in range(3)]
        for made in held:
            made.sendall(post())
        until(lambda: len(hot.waiting) == 3)
        ending.should_exit = True
        with contextlib.suppress(TimeoutError):
            held[0].settimeout(0.4)
            pytest.fail(f"{held[0].recv(100)!r}")
        loop = ending.servers[0].get_loop()
        loop.call_soon_threadsafe(hot.answer)
        held[0].settimeout(10)
        for made in held:
            found = received(made)
            assert ways(found) == ["hot"]
            assert b"\r\nconnection: close\r\n" in found
            made.close()


def test_a_server_that_drains_says_so_with_its_next_answer_either_way():
    hot = Echo("on flush")
    with serving(application, Deadlines(), hot) as draining:
        held = [connect(draining) for _ in range(3)]
        held[0].sendall(post())
        until(lambda: hot.waiting)
        loop, sweep = draining.servers[0].get_loop(), draining.config.http_protocol_class
        loop.call_soon_threadsafe(sweep.drain)
        until(lambda: sweep.draining)
        hot.when = "at once"
        loop.call_soon_threadsafe(hot.answer)
        held[1].sendall(post() * 2)
        held[2].sendall(post(target=b"/") * 2)
        for made in held:
            with made:
                found = received(made)
            assert len(ways(found)) == 1
            assert b"\r\nconnection: close\r\n" in found


PIECES = [
    post(),
    post(b""),
    post(b"x" * 300, b"accept: a\r\n"),
    post(b"x" * 1500),
    post(target=b"/other"),
    post(more=b"a: b\r\na: c\r\n"),
    post(more=b"connection: upgrade\r\nupgrade: h2c\r\n"),
    b"GET / HTTP/1.1\r\n" + HOST + b"empty:\r\nspaced:  b  \r\n\r\n",
    b"\r\n" + post(),
    b"POST " + TARGET + b" HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n"
    b"2\r\nab\r\n3;c=d\r\nefg\r\n0\r\nt: v\r\n\r\n",
]
ENDINGS = [
    post(more=END[:-2]),
    post(target=b"/", more=END[:-2]),
    post(version=b"1.0"),
    b"not http at all\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n2\r\nabXX",
]


async def answers(packets: list[bytes], hot: Echo | None) -> bytes:
    """Return all that comes back for packets that arrive one by one."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    config = uvicorn.Config(
        partial(application, way="either"),
        http=bounded_protocol(hot=hot),
        ws="none",
        log_config=None,
        access_log=False,
        interface="asgi3",
    )
    config.load()
    make = partial(config.http_protocol_class, config, ServerState(), {}, loop)
    transport, protocol = await loop.connect_accepted_socket(make, sock=ours)
    for packet in packets:
        while protocol.flow.read_paused:
            await asyncio.sleep(0)
        if transport.is_closing():
            break
        protocol.data_received(packet)
        if len(packet) % 2:
            await asyncio.sleep(0)
    found = b""
    with theirs:
        while part := await loop.sock_recv(theirs, 1 << 16):
            found += part
    transport.abort()
    if protocol._sweep._timer is not None:
        # None where it has looked once more and found nothing, on a machine that is busy.
        protocol._sweep._timer.cancel()
    return found


def run(packets: list[bytes], hot: Echo | None) -> bytes:
    return uvloop.run(asyncio.wait_for(answers(packets, hot), 20))


@settings(max_examples=150, deadline=None)
@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=5),
    ending=st.sampled_from(ENDINGS),
    when=st.sampled_from([None, "at once", "next turn", "later", "much later"]),
    cuts=st.one_of(st.just("everywhere"), st.lists(st.integers(1, 4000), max_size=20)),
)
def test_packets_may_be_cut_anywhere(pieces, ending, when, cuts):
    sent = b"".join(pieces) + ending
    places = range(1, len(sent)) if cuts == "everywhere" else sorted({cut for cut in cuts if cut < len(sent)})
    packets = [sent[i:j] for i, j in zip([0, *places], [*places, len(sent)], strict=True)]
    hot = None if when is None else Echo(when, "either")
    assert run(packets, hot) == run([sent], None)

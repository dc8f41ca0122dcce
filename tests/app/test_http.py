"""What the connections of a real server make of bytes: good requests, bad ones, and far too much."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading

import pytest
from tests.app.raw_http import connect, received, received_until, serving

from varv.app.server import protocol as module
from varv.app.server.protocol import Deadlines

HOST = b"host: here\r\n"
END = b"connection: close\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\n" + HOST + END


async def application(scope, receive, send):
    """Say what was received."""
    body, more = b"", True
    if scope["path"] != "/early":
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
    names = sorted(name.decode() for name, _ in scope["headers"])
    said = {"method": scope["method"], "path": scope["path"], "body": body.decode(), "headers": names}
    answer = json.dumps(said).encode()
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@pytest.fixture(scope="module")
def server():
    swept, module.SWEEP_S = module.SWEEP_S, 0.05
    deadlines = Deadlines(head_s=3, body_s=3, most_connections=16)
    with serving(application, deadlines, keep_alive_s=1) as running:
        yield running
    module.SWEEP_S = swept


@pytest.fixture(autouse=True)
def _nothing_fails(caplog):
    yield
    found = [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING]
    assert not found, found


def answers(server, *sent: bytes) -> list[tuple[int, dict]]:
    """Return what comes until the connection is closed: a status and what the body says."""
    with connect(server) as made:
        for part in sent:
            made.sendall(part)
        return parsed(received(made))


def parsed(found: bytes) -> list[tuple[int, dict]]:
    read = []
    while found:
        head, _, found = found.partition(b"\r\n\r\n")
        n_bytes = int(re.search(rb"content-length: (\d+)", head)[1])
        body, found = found[:n_bytes], found[n_bytes:]
        read.append((int(head.split(b" ")[1]), json.loads(body) if body else {}))
    return read


def statuses(server, *sent: bytes) -> list[int]:
    return [status for status, _ in answers(server, *sent)]


NOT_HTTP = {
    "noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "text": b"hello there\r\n\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\n" + HOST + b"what is this\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "folded": b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n c\r\n\r\n",
    "space before colon": b"POST / HTTP/1.1\r\n" + HOST + b"content-length : 1\r\n\r\nx",
    "bare line feeds": b"GET / HTTP/1.1\nhost: here\n\n",
    "zero byte": b"GET / HTTP/1.1\r\n" + HOST + b"a: \x00\r\n\r\n",
    "tunnel": b"CONNECT elsewhere:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "no target": b"GET HTTP/1.1\r\n" + HOST + b"\r\n",
    "high bytes": b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "both lengths": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, turned": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
    "signed length": b"POST / HTTP/1.1\r\n" + HOST + b"content-length: +4\r\n\r\nabcd",
    "negative length": b"POST / HTTP/1.1\r\n" + HOST + b"content-length: -4\r\n\r\nabcd",
    "hexadecimal length": b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 0x4\r\n\r\nabcd",
    "empty length": b"POST / HTTP/1.1\r\n" + HOST + b"content-length:\r\n\r\nabcd",
    "huge length": b"POST / HTTP/1.1\r\n" + HOST + b"content-length: " + b"9" * 30 + b"\r\n\r\n",
    "list of lengths": b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 4, 4\r\n\r\nabcd",
}
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n"
BAD_CHUNKS = {
    "size": b"zz\r\nab\r\n0\r\n\r\n",
    "signed size": b"-2\r\nab\r\n0\r\n\r\n",
    "size with a prefix": b"0x2\r\nab\r\n0\r\n\r\n",
    "huge size": b"f" * 20 + b"\r\n",
    "longer than it says": b"2\r\nabc\r\n0\r\n\r\n",
    "bare line feed": b"2\nab\n0\n\n",
    "no size": b"\r\nab\r\n",
}


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_not_http_is_refused_and_closed(server, sent):
    assert statuses(server, sent) == [400]


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_not_http_is_refused_after_the_answers_before_it(server, sent):
    assert statuses(server, LAST.replace(END, b"\r\n") + sent) == [200, 400]


@pytest.mark.parametrize("sent", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_broken_chunks_are_refused_and_closed(server, sent):
    assert statuses(server, CHUNKED + sent) == [400]
    assert statuses(server, CHUNKED + b"2\r\nab\r\n", sent) == [400]
    assert statuses(server, CHUNKED.replace(HOST, HOST + b"expect: 100-continue\r\n") + sent) == [400]
    assert statuses(server, CHUNKED + b"0\r\n\r\n" + CHUNKED + sent) == [200, 400]


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity", b"chunked, chunked"])
def test_other_codings_of_a_body_are_refused(server, coding):
    sent = CHUNKED.replace(b"chunked", coding) + b"0\r\n\r\n"
    assert statuses(server, sent)[0] in (400, 501)


@pytest.mark.parametrize("version", [b"2.0", b"0.9", b"1.2", b"11", b"1.1x"])
def test_other_versions_are_refused(server, version):
    assert statuses(server, b"GET / HTTP/" + version + b"\r\n" + HOST + b"\r\n")[0] in (400, 505)
    assert statuses(server, b"GET /\r\n\r\n")[0] in (400, 505)


def head_of(n_headers: int, n_bytes: int) -> bytes:
    lines = b"".join(b"x-%d: %b\r\n" % (i, b"v" * (n_bytes // n_headers)) for i in range(n_headers))
    return b"GET / HTTP/1.1\r\n" + HOST + lines + END


def test_a_thousand_headers_are_taken(server):
    ((status, said),) = answers(server, head_of(1000, 40_000))
    assert status == 200
    assert len(said["headers"]) == 1002


@pytest.mark.parametrize("n_headers", [1, 20, 5000])
@pytest.mark.parametrize("n_bytes", [70_000, 300_000, 3_000_000])
def test_a_head_that_is_too_long_is_refused(server, n_headers, n_bytes):
    with connect(server) as made:
        try:
            made.sendall(head_of(n_headers, n_bytes))
        except ConnectionError:
            pytest.fail("it was closed while it was sending")
        assert parsed(received(made)) == [(431, {})]


def test_a_head_that_never_ends_is_refused(server):
    with connect(server) as made:
        made.sendall(b"GET / HTTP/1.1\r\nx: ")
        for _ in range(40):
            made.sendall(b"v" * 4096)
        assert parsed(received(made)) == [(431, {})]


def test_empty_lines_are_not_taken_for_ever(server):
    with connect(server) as made:
        made.sendall(b"\r\n" * 100_000)
        assert parsed(received(made)) == [(431, {})]


@pytest.mark.parametrize("n_bytes", [17 << 10, 60 << 10, 1 << 20])
def test_a_target_that_is_too_long_is_refused(server, n_bytes):
    assert statuses(server, b"GET /" + b"a" * n_bytes + b" HTTP/1.1\r\n" + HOST + END) == [414]
    assert statuses(server, b"GET /" + b"a" * (15 << 10) + b" HTTP/1.1\r\n" + HOST + END) == [200]


def test_trailers_and_extensions_of_chunks_that_are_too_long_are_refused(server):
    assert statuses(server, CHUNKED + b"0\r\n", *[b"t: " + b"v" * 8000 + b"\r\n"] * 100) == [431]
    assert statuses(server, CHUNKED + b"1;e=", *[b"e" * 8000] * 100) == [431]


def test_trailers_do_not_become_headers(server):
    sent = CHUNKED + b"2;e=f\r\nab\r\n0\r\nx-more: 1\r\nhost: there\r\n\r\n"
    (status, said), (last, _) = answers(server, sent + LAST)
    assert (status, said["body"], last) == (200, "ab", 200)
    assert said["headers"] == ["host", "transfer-encoding"]


def test_a_body_comes_in_chunks_of_any_size(server):
    chunks = b"".join(b"%x\r\n%b\r\n" % (n, b"x" * n) for n in (1, 2, 15, 16, 255, 70_000))
    (_, said), _ = answers(server, CHUNKED + chunks + b"0\r\n\r\n", LAST)
    assert said["body"] == "x" * 70_289


def test_a_head_that_comes_byte_by_byte_is_answered_in_time(server):
    with connect(server) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in LAST:
            made.sendall(bytes([byte]))
        assert parsed(received(made))[0][0] == 200


@pytest.mark.slow
def test_heads_that_trickle_on_many_connections_are_let_go(server):
    made = [connect(server) for _ in range(8)]
    pause = threading.Event()
    for n in range(400):
        open_ones = [one for one in made if one.fileno() >= 0]
        if not open_ones:
            return
        for one in open_ones:
            one.setblocking(False)
            try:
                one.send(b"GET / HTTP/1.1\r\nx: "[n : n + 1] or b"v")
                if one.recv(1000).startswith(b"HTTP/1.1 408 "):
                    one.close()
            except BlockingIOError:
                pass
        pause.wait(0.02)
    raise AssertionError("some were never let go")


def test_requests_sent_ahead_are_answered_in_order(server):
    sent = b"".join(b"GET /%d HTTP/1.1\r\n" % n + HOST + b"\r\n" for n in range(100))
    found = answers(server, sent + LAST)
    assert [said["path"] for _, said in found] == [f"/{n}" for n in range(100)] + ["/last"]


def test_far_too_many_requests_sent_ahead_are_not_kept(server):
    found = statuses(server, (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 5000)
    assert found[-1] == 503
    assert set(found[:-1]) == {200}


def test_a_body_that_is_waited_for_is_asked_for(server):
    with connect(server) as made:
        made.sendall(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n" + HOST + END)
        assert received_until(made, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        made.sendall(b"ab")
        ((status, said),) = parsed(received(made))
    assert (status, said["body"]) == (200, "ab")


def test_an_answer_before_the_body_leaves_the_connection_in_order(server):
    sent = b"POST /early HTTP/1.1\r\n" + HOST + b"content-length: 100000\r\n\r\n"
    with connect(server) as made:
        made.sendall(sent)
        received_until(made, b"}")
        made.sendall(b"x" * 100_000 + LAST)
        ((status, said),) = parsed(received(made))
    assert (status, said["path"]) == (200, "/last")


def test_nothing_after_the_last_request_is_taken(server):
    found = answers(server, LAST + LAST.replace(b"/last", b"/more"))
    assert [said["path"] for _, said in found] == ["/last"]


@pytest.mark.parametrize("more", [b"", b"connection: keep-alive\r\n", HOST])
def test_an_older_version_is_answered_once(server, more):
    assert statuses(server, b"GET / HTTP/1.0\r\n" + more + b"\r\n") == [200]


def test_a_connection_that_was_answered_and_is_silent_is_closed_without_a_word(server):
    with connect(server) as made:
        made.sendall(LAST.replace(END, b"\r\n"))
        received_until(made, b"}")
        assert received(made) == b""


@pytest.mark.parametrize("wanted", [b"h2c", b"websocket", b"TLS/1.0"])
def test_a_wish_for_another_protocol_is_passed_over(server, wanted):
    ahead = b"connection: upgrade, http2-settings\r\nupgrade: " + wanted + b"\r\n" + HOST
    plain = b"POST / HTTP/1.1\r\n" + ahead + b"content-length: 4\r\n\r\nbody"
    chunked = b"POST / HTTP/1.1\r\n" + ahead + b"transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    found = answers(server, (plain + chunked) * 20 + LAST)
    assert [said["body"] for _, said in found] == ["body"] * 40 + [""]
    assert statuses(server, plain + chunked.replace(b"4\r\nbody", b"zz")) == [200, 400]


@pytest.mark.parametrize("target", [b"*", b"http://here/last", b"/last?a=b", b"/l%61st"])
def test_targets_of_every_form_are_passed_on(server, target):
    ((status, said),) = answers(server, b"OPTIONS " + target + b" HTTP/1.1\r\n" + HOST + END)
    assert status == 200
    assert said["path"] in ("/last", "*")


@pytest.mark.parametrize("coding", [b"content-length: 50000000\r\n", b"transfer-encoding: chunked\r\n"])
def test_a_body_that_nobody_wants_any_more_is_not_read_to_its_end(server, coding):
    part = b" " * 65_536
    if b"chunked" in coding:
        part = b"%x\r\n%s\r\n" % (len(part), part)
    with connect(server) as made:
        made.sendall(b"POST /early HTTP/1.1\r\n" + HOST + coding + b"\r\n")
        head = made.recv(1 << 16)
        assert head.startswith(b"HTTP/1.1 200 OK")
        made.sendall(part * 16)
        # The connection is ended from there, which a caller that listens sees before it has sent all.
        found = received(made)
    assert b"HTTP/1.1" not in found
    assert statuses(server, LAST) == [200]

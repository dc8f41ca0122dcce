"""What callers do that nobody should: the next honest request is answered all the same, and at once."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from tests.app.serving import Server, eventually

PARCEL = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}
RECORD = json.dumps({"dataframe_records": [{**PARCEL, "delivery_id": "k"}]}).encode()
MIB = 1 << 20
AT_ONCE_S = 5.0
"""An honest request takes milliseconds; this leaves room for a machine that does much else, and none for a
deadline of ten seconds. Figures are in the benchmarks.
"""
HEAD = b"POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"

pytestmark = pytest.mark.slow


class Target:
    """A running server, its two ports, and what it wrote to its log."""

    def __init__(self, server: Server, log: Path) -> None:
        self.server = server
        self.log = log
        urls = (server.inference.base_url, server.control.base_url)
        self.ports = [url.port for url in urls if url.port is not None]

    def connect(self, port: int | None = None) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port or self.ports[0]), timeout=60)

    def ask(self, data: bytes, port: int | None = None) -> bytes:
        """Send bytes and return what comes back until the connection is closed or silent."""
        with self.connect(port) as made:
            with contextlib.suppress(ConnectionError):
                made.sendall(data)
            return received(made)

    def memory(self) -> int:
        owner = psutil.Process(self.server.process.pid)
        return sum(process.memory_info().rss for process in (owner, *owner.children(recursive=True)))

    def answers_at_once(self) -> None:
        """Ask both servers honestly."""
        begin = time.monotonic()
        assert self.server.predict("honest", **PARCEL).status_code == 200
        assert self.server.control.get("/health").json()["status"] == "ok"
        assert time.monotonic() - begin < AT_ONCE_S


def received(made: socket.socket, *, timeout_s: float = 5.0) -> bytes:
    made.settimeout(timeout_s)
    found = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while part := made.recv(65536):
            found += part
            if b"\r\n\r\n" in found:
                made.settimeout(0.2)
    return found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.fixture(scope="module")
def target(served_project, tmp_path_factory) -> Generator[Target]:
    folder = tmp_path_factory.mktemp("project")
    log = folder / "log"
    server = Server(folder / "home", served_project(folder), log=log)
    yield Target(server, log)
    assert server.stop() == 0
    assert "Traceback" not in log.read_text()


def with_body(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def test_twelve_hundred_half_open_connections_keep_nobody_out_and_are_closed(target):
    before = target.memory()
    with ExitStack() as stack:
        opened = []
        for number in range(1200):
            opened.append(stack.enter_context(target.connect(target.ports[number % 2])))
            opened[-1].sendall(HEAD[: number % len(HEAD)])
        target.answers_at_once()
        assert target.memory() - before < 64 * MIB
        last = opened[-1]

        def closed() -> bool | None:
            last.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                told = last.recv(1000)
                return True if not told or status(told) == 408 else None
            return None

        eventually(closed, deadline_s=20)
        target.answers_at_once()


def test_forty_half_sent_bodies_of_twenty_megabytes_take_little_memory(target):
    before = target.memory()
    peak = 0
    with ExitStack() as stack:
        threads = []
        for number in range(40):
            made = stack.enter_context(target.connect())
            # Half of them say how much will come, half do not.
            said = b"content-length: 20000000\r\n" if number % 2 else b"transfer-encoding: chunked\r\n"
            parts = [HEAD + said + b"\r\n", *half_of_a_body(chunked=number % 2 == 0)]
            threads.append(threading.Thread(target=send, args=(made, parts), daemon=True))
            threads[-1].start()
        for thread in threads:
            while thread.is_alive():
                peak = max(peak, target.memory())
                thread.join(0.05)
        target.answers_at_once()
    assert peak - before < 200 * MIB
    target.answers_at_once()


def half_of_a_body(*, chunked: bool) -> Iterator[bytes]:
    for _ in range(160):
        part = b" " * 62_500
        yield b"%x\r\n%s\r\n" % (len(part), part) if chunked else part


def send(made: socket.socket, parts: list[bytes]) -> None:
    made.settimeout(10)
    with contextlib.suppress(OSError):
        for part in parts:
            made.sendall(part)


def test_a_body_that_stops_coming_is_given_up(target):
    with target.connect() as made:
        made.sendall(HEAD + b"content-length: 1000\r\n\r\n{")
        target.answers_at_once()
        told = received(made, timeout_s=45)
        assert status(told) == 408


@pytest.mark.parametrize("cut", [10, len(HEAD), len(HEAD) + 40, len(with_body(RECORD)) - 5, 10_000])
def test_a_caller_that_hangs_up_leaves_no_trace(target, cut):
    for port in target.ports:
        for _ in range(20):
            with target.connect(port) as made:
                made.sendall(with_body(RECORD)[:cut])
                # No wait for the answer, and nothing left to be sent: the connection is reset.
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    target.answers_at_once()
    assert "Traceback" not in target.log.read_text()


HEADS = {
    "a header of a megabyte": HEAD + b"x: " + b"y" * MIB + b"\r\n\r\n",
    "a hundred thousand headers": HEAD + b"x: y\r\n" * 100_000 + b"\r\n",
    "an endless path": b"GET /" + b"a" * MIB + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "no head at all": bytes(range(256)) * 100,
    "a length that is no number": HEAD + b"content-length: many\r\n\r\n",
    "two lengths": HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
    "a length of five thousand digits": HEAD + b"content-length: " + b"9" * 5000 + b"\r\n\r\n",
    "another name": HEAD.replace(b"127.0.0.1", b"evil.example") + b"content-length: 0\r\n\r\n",
    "our name as the beginning of another": HEAD.replace(b"127.0.0.1", b"127.0.0.1.evil.example")
    + b"content-length: 0\r\n\r\n",
    "no name": b"GET /health HTTP/1.1\r\n\r\n",
    "a page of another site": HEAD + b"sec-fetch-site: cross-site\r\ncontent-length: 2\r\n\r\n{}",
    "an origin elsewhere": HEAD + b"origin: https://evil.example\r\ncontent-length: 2\r\n\r\n{}",
}

TOLD = {
    "a header of a megabyte": (431,),
    "a hundred thousand headers": (431,),
    "an endless path": (414,),
    "a length of five thousand digits": (400, 413),
}
"""What some of them are told; the others that they are wrong or not allowed."""


@pytest.mark.parametrize("kind", HEADS)
def test_a_hostile_head_is_refused_by_both_servers(target, kind):
    for port in target.ports:
        answer = target.ask(HEADS[kind], port)
        elsewhere = kind in ("a page of another site", "an origin elsewhere") and port != target.ports[0]
        assert status(answer) in ((404, 405) if elsewhere else TOLD.get(kind, (400, 403))), answer[:300]
    target.answers_at_once()


BODIES = {
    "a number of five thousand digits": RECORD.replace(b"4.5", b"1" * 5000),
    "a number of a thousand digits": RECORD.replace(b"18", b"1" * 1000),
    "a number beyond all doubles": RECORD.replace(b"4.5", b"1e999"),
    "not a number": RECORD.replace(b"4.5", b"NaN"),
    "infinity": RECORD.replace(b"4.5", b"-Infinity"),
    "a hundred thousand brackets": b"[" * 100_000,
    "a hundred thousand objects": b'{"dataframe_records":' * 100_000,
    "a text of a megabyte": RECORD.replace(b"harbour", b"h" * MIB),
    "bytes that are no text": RECORD.replace(b"harbour", b"\xff\xfe"),
    "half a surrogate": RECORD.replace(b"harbour", b"\\ud800"),
    "a null byte as a key": RECORD.replace(b'"k"', b"7"),
    "a key of a megabyte": RECORD.replace(b'"hour"', b'"' + b"h" * MIB + b'"'),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_hostile_body_is_a_bad_request(target, kind):
    answer = target.ask(with_body(BODIES[kind]))
    assert status(answer) == 400, answer[:300]
    outcome = b'{"model": "late-parcel", "rows": [' + BODIES[kind] + b"]}"
    head = HEAD.replace(b"/invocations", b"/api/v1/outcome/record")
    answer = target.ask(with_body(outcome, head), target.ports[1])
    assert status(answer) in (400, 413), answer[:300]
    why = b'{"subject": "' + b"7" * 5000 + b'"}'
    head = HEAD.replace(b"/invocations", b"/api/v1/ledger/why")
    assert status(target.ask(with_body(why, head), target.ports[1])) == 404
    target.answers_at_once()


def test_a_fraction_of_five_thousand_digits_is_a_number_like_another(target):
    answer = target.ask(with_body(RECORD.replace(b"4.5", b"4.5" + b"0" * 5000)))
    assert status(answer) == 200
    assert answer.rpartition(b"\r\n")[2] == target.ask(with_body(RECORD)).rpartition(b"\r\n")[2]


def test_a_column_that_is_given_twice_counts_as_it_was_given_last(target):
    answer = target.ask(with_body(RECORD.replace(b'"hour": 18', b'"hour": 3, "hour": 18')))
    assert status(answer) == 200
    assert answer.rpartition(b"\r\n")[2] == target.ask(with_body(RECORD)).rpartition(b"\r\n")[2]


def test_small_requests_are_answered_beside_a_huge_one(target):
    rows = [{**PARCEL, "delivery_id": f"h-{number}"} for number in range(10_000)]
    body = with_body(json.dumps({"dataframe_records": rows}).encode())
    answers = []
    huge = [threading.Thread(target=lambda: answers.append(target.ask(body))) for _ in range(3)]
    for thread in huge:
        thread.start()
    n = 0
    while any(thread.is_alive() for thread in huge):
        target.answers_at_once()
        n += 1
    assert n > 3
    assert [status(answer) for answer in answers] == [200, 200, 200]


def test_memory_after_all_that_is_what_it_was_give_or_take(target):
    target.answers_at_once()
    assert target.memory() < 900 * MIB

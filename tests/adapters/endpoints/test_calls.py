"""An endpoint may be slow, gone, wrong or hostile: each is one error that says so, in time."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time

import msgspec
import numpy as np
import pytest
from tests.adapters.endpoints.failing import Asked, drip, failing, hang

from varv.adapters.endpoints import Calls, connections, described
from varv.adapters.runtimes.remote import MOST_ROWS, RemoteModel
from varv.kernel.errors import Corrupt, DeadlineExceeded, InvalidInput, Unavailable
from varv.kernel.trace_context import TraceContext
from varv.kernel.tracing import Within
from varv.registry.endpoint import Endpoint, Tensor, checked_endpoint, endpoint_of

ROWS = np.float32([[1, 2], [3, np.nan], [5, 6]])[[0, 2]]
TIMEOUT_S = 60.0  # a busy machine may need seconds for what takes milliseconds
SHORT_S = 1.0


@pytest.fixture
def server():
    with failing() as made:
        yield made


@pytest.fixture
def endpoint(server):
    found = described(Endpoint(endpoint=server.url, timeout_s=TIMEOUT_S), {})
    server.asked.clear()
    server.n_connections = 0
    return msgspec.structs.replace(found, output="y")


@pytest.fixture
def calls(endpoint):
    made = Calls(endpoint, {})
    yield made
    made.close()


@pytest.fixture
def impatient(endpoint):
    made = Calls(msgspec.structs.replace(endpoint, timeout_s=SHORT_S), {})
    yield made
    made.close()


def test_it_says_what_it_reads_and_whether_it_takes_bytes(endpoint):
    assert endpoint.inputs == (Tensor("X", "FP32", (-1, 2)),)
    assert (endpoint.binary, endpoint.name) == (True, "127.0.0.1/v2/models/m")
    assert endpoint_of(endpoint.to_bytes()) == endpoint


def test_one_connection_is_kept_for_calls_one_after_the_other(server, calls):
    for _ in range(3):
        assert calls.predict(ROWS, 1).tolist() == [3.0, 11.0]
    assert server.n_connections == 1
    asked = server.asked[0]
    assert (asked.target, asked.headers["host"].partition(":")[0]) == ("/v2/models/m/infer", "127.0.0.1")


def test_it_is_told_which_span_asks_it_if_any_does(server, calls):
    with Within(TraceContext(b"t" * 16, b"s" * 8, True, "vendor=1")):
        calls.predict(ROWS, 1)
    calls.predict(ROWS, 1)
    traced, plain = server.asked
    assert traced.headers["traceparent"] == f"00-{(b't' * 16).hex()}-{(b's' * 8).hex()}-01"
    assert traced.headers["tracestate"] == "vendor=1"
    assert "traceparent" not in plain.headers


def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure(server, calls):
    server.acts = [lambda asked: (asked.sums(), asked.connection.close())]
    for _ in range(3):
        assert calls.predict(ROWS, 1).tolist() == [3.0, 11.0]
    assert server.n_connections == 2


def test_many_rows_are_asked_in_several_requests(server, calls):
    rows = np.random.default_rng(0).normal(size=(2 * MOST_ROWS + 5, 2)).astype(np.float32)
    found = RemoteModel(calls, 1).predict(rows)
    np.testing.assert_allclose(found[:, 0], rows.sum(axis=1), rtol=1e-6)
    assert len(server.asked) == 3


def test_without_bytes_it_is_asked_in_json(server, endpoint):
    def answer(asked):
        told = json.loads(asked.body)
        assert told == {
            "inputs": [{"name": "X", "datatype": "FP32", "shape": [2, 2], "data": [1.0, 2.0, 5.0, 6.0]}],
            "outputs": [{"name": "y"}],
        }
        outputs = [{"name": "other", "datatype": "BYTES", "shape": [1], "data": ["x"]}]
        outputs += [{"name": "y", "datatype": "FP64", "shape": [2, 1], "data": [[0.25], [1]]}]
        asked.reply(json.dumps({"outputs": outputs}).encode())

    server.acts = [answer]
    found = Calls(msgspec.structs.replace(endpoint, binary=False), {}).predict(ROWS, 1)
    assert found.tolist() == [[0.25], [1.0]]


def test_columns_and_texts_are_sent_each_by_its_name(server, endpoint):
    inputs = (Tensor("n", "INT32", (-1,)), Tensor("text", "BYTES", (-1, 1)), Tensor("flag", "BOOL", (-1,)))

    def answer(asked):
        size = int(asked.headers["inference-header-content-length"])
        told = json.loads(asked.body[:size])["inputs"]
        assert [(one["name"], one["shape"]) for one in told] == [("n", [2]), ("text", [2, 1]), ("flag", [2])]
        assert asked.body[size:] == b"\x07\0\0\0\xff\xff\xff\xff" + b"\x02\0\0\0\xc3\xa4\0\0\0\0" + b"\1\0"
        asked.tensor(np.float32([1, 2]))

    server.acts = [answer]
    rows = {"n": np.int64([7, -1]), "text": np.array(["ä", ""], object), "flag": np.int64([1, 0])}
    calls = Calls(msgspec.structs.replace(endpoint, inputs=inputs), {})
    assert calls.predict(rows, 1).tolist() == [1.0, 2.0]
    with pytest.raises(InvalidInput, match="the input 'n' is INT32, and a value is not"):
        calls.predict({**rows, "n": np.int64([2**40, 0])}, 1)


def test_instances_are_rows_of_numbers_or_objects(server, endpoint):
    plain = msgspec.structs.replace(endpoint, protocol="instances", inputs=(), outputs=(), output="")
    bodies = []

    def answer(asked):
        bodies.append(json.loads(asked.body))
        asked.reply(b'{"predictions": [1, 0.5]}')

    server.acts = [answer, answer]
    assert Calls(plain, {}).predict(np.float32([[1, np.nan], [2, 3]]), 1).tolist() == [1.0, 0.5]
    Calls(plain, {}).predict({"a": np.float32([1, 2]), "t": np.array(["x", "y"], object)}, 1)
    assert bodies == [
        {"instances": [[1.0, None], [2.0, 3.0]]},
        {"instances": [{"a": 1.0, "t": "x"}, {"a": 2.0, "t": "y"}]},
    ]


def status(line, body=b"{}", *more):
    return lambda asked: asked.reply(body, *more, status=line)


def raw(data):
    return lambda asked: (asked.connection.sendall(data), asked.connection.close())


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: "


@pytest.mark.parametrize(
    ("act", "error", "says"),
    [
        (status("500 Internal Server Error", b"boom"), Corrupt, "fails to answer .*boom"),
        (status("400 Bad Request", b"no X"), Corrupt, "refuses what it is asked .*no X"),
        (status("401 Unauthorized"), Unavailable, "does not let varv ask"),
        (status("404 Not Found"), Unavailable, "has no such model"),
        (status("302 Found", b"", "location: http://evil/"), Unavailable, "not redirected .*http://evil/"),
        (raw(HEAD + b"100\r\n\r\n{"), Unavailable, "closed within the answer"),
        (raw(HEAD + b"99999999999\r\n\r\n"), Corrupt, "it has more than"),
        (raw(HEAD.replace(b"content-length: ", b"a: b\r\n\r\n") + b"x" * (3 << 20)), Corrupt, "more than"),
        (raw(b"\x00\x01 nonsense\r\n\r\n"), Unavailable, "cannot be reached .*BadStatusLine"),
        (status("200 OK", b"<html>"), Corrupt, "does not answer with predictions .*malformed"),
        (status("200 OK", b"{}", "content-encoding: gzip"), Corrupt, "compressed"),
        (status("200 OK", b'{"outputs": []}'), Corrupt, "it has no output 'y'"),
        (lambda asked: asked.tensor(np.float32([1])), Corrupt, r"predictions of shape \(1,\) for 2 rows"),
        (lambda asked: asked.tensor(np.float32([1, 2]), [4]), Corrupt, "2 values for the shape"),
        (lambda asked: asked.tensor(np.float32([1, 2]), [-2, -1]), Corrupt, "has no shape"),
        (lambda asked: asked.tensor(np.float32([1, np.nan])), Corrupt, "a prediction is no number"),
        (lambda asked: asked.tensor(np.float32([1, np.inf])), Corrupt, "a prediction is no number"),
        (status("200 OK", b"{}", "inference-header-content-length: 900"), Corrupt, "behind its end"),
        (status("200 OK", b"{}", "inference-header-content-length: x"), Corrupt, "ValueError"),
        (
            status("200 OK", b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":["1","2"]}]}'),
            Corrupt,
            "is no number",
        ),
        (
            status(
                "200 OK",
                b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]}',
            ),
            Corrupt,
            "behind its end",
        ),
    ],
)
def test_what_is_no_answer_says_so(server, calls, act, error, says):
    server.acts = [act] * 3
    with pytest.raises(error, match=says):
        calls.predict(ROWS, 1)
    server.acts = []
    assert calls.predict(ROWS, 1).tolist() == [3.0, 11.0]


@pytest.mark.parametrize("act", [hang, drip])
def test_an_answer_that_does_not_end_is_waited_for_no_longer_than_declared(server, impatient, act):
    server.acts = [act] * 3
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="took longer than 1 s"):
        impatient.predict(ROWS, 1)
    assert time.monotonic() - began < TIMEOUT_S
    server.acts = []
    assert impatient.predict(ROWS, 1).tolist() == [3.0, 11.0]


def test_a_reset_and_a_busy_endpoint_are_asked_again(server, calls):
    server.acts = [Asked.reset]
    assert calls.predict(ROWS, 1).tolist() == [3.0, 11.0]
    server.acts = [status("503 Service Unavailable")]
    assert calls.predict(ROWS, 1).tolist() == [3.0, 11.0]
    # What took long is not asked again, nor what it has failed at.
    server.asked.clear()
    server.acts = [status("500 Internal Server Error")]
    with pytest.raises(Corrupt):
        calls.predict(ROWS, 1)
    assert len(server.asked) == 1


def test_a_wish_to_be_asked_later_than_the_deadline_is_passed_on(server, impatient):
    server.acts = [status("429 Too Many Requests", b"{}", "retry-after: 7")]
    with pytest.raises(Unavailable, match="has too much to do") as caught:
        impatient.predict(ROWS, 1)
    assert caught.value.facts["retry_after_s"] == 7
    assert len(server.asked) == 1


def test_the_budget_of_retries_is_a_tenth_of_the_calls(server, calls):
    for _ in range(20):
        server.acts = [status("429 Too Many Requests")] * 3
        with pytest.raises(Unavailable):
            calls.predict(ROWS, 1)
    # Three from the start, and a tenth of twenty.
    assert len(server.asked) <= 20 + 3 + 2


def test_after_failures_in_a_row_it_is_not_asked_until_one_call_finds_that_it_answers(
    server, calls, monkeypatch
):
    monkeypatch.setattr("varv.adapters.endpoints.patience.FIRST_S", 0.3)
    for _ in range(5):
        server.acts = [status("500 Internal Server Error")]
        with pytest.raises(Corrupt):
            calls.predict(ROWS, 1)
    n = len(server.asked)
    with pytest.raises(Unavailable, match="has not answered several times in a row") as caught:
        calls.predict(ROWS, 1)
    assert caught.value.facts["retry_after_s"] == 1
    assert len(server.asked) == n
    time.sleep(0.3)
    assert calls.predict(ROWS, 1).tolist() == [3.0, 11.0]
    assert calls._breaker.state == "closed"


def test_nobody_there_is_unavailable(endpoint):
    away = msgspec.structs.replace(endpoint, endpoint="http://127.0.0.1:9/v2/models/m")
    with pytest.raises(Unavailable, match=r"cannot be reached .*refused"):
        Calls(away, {}).predict(ROWS, 1)


def test_several_threads_have_connections_of_their_own(server, calls):
    wrong = []

    def ask(number):
        rows = np.full((1, 2), number, np.float32)
        wrong.extend(x for _ in range(20) if (x := calls.predict(rows, 1)[0]) != 2 * number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_token_comes_from_a_variable_or_a_file_and_is_read_anew(server, endpoint, tmp_path):
    named = msgspec.structs.replace(endpoint, token_variable="SHOP")
    Calls(named, {"SHOP": "one"}).predict(ROWS, 1)
    assert server.asked[-1].headers["authorization"] == "bearer one"
    with pytest.raises(Unavailable, match="needs a token, which is not in the variable SHOP"):
        Calls(named, {}).predict(ROWS, 1)
    path = tmp_path / "token"
    calls = Calls(msgspec.structs.replace(endpoint, token_file=str(path)), {})
    for token in ("two", "three"):
        path.write_text(token + "\n")
        calls.predict(ROWS, 1)
        assert server.asked[-1].headers["authorization"] == f"bearer {token}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/v2/models/m", "is not the address of a model"),
        ("https://ana:pw@host/v2/models/m", "holds a password"),
        ("https://host/v2/models/m?key=x", "has a query"),
        ("https://host/m", "does not end in /v2/models/NAME"),
        ("http://host/v2/models/m", "others could read the token"),
        ("https://host:port/v2/models/m", "is not an address"),
        ("https://host/v2/models/m\r\nx: y", "is not"),
    ],
)
def test_an_address_that_is_none_is_refused_and_no_password_repeated(url, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        checked_endpoint(url, "oip", has_token=True)
    assert "pw" not in str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_refused(server, endpoint, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    named = ["-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=localhost"]
    more = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, *named, *more], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server._listener = context.wrap_socket(server._listener, server_side=True)
    port = server._listener.getsockname()[1]
    # The thread waits in the plain socket once more.
    socket.create_connection(("127.0.0.1", port)).close()
    secure = msgspec.structs.replace(
        endpoint, endpoint=f"https://localhost:{port}/v2/models/m", timeout_s=5.0
    )
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        Calls(secure, {}).predict(ROWS, 1)
    trusted = ssl.create_default_context(cafile=os.fspath(certificate))
    monkeypatch.setattr(connections, "_tls", lambda: trusted)
    assert Calls(secure, {}).predict(ROWS, 1).tolist() == [3.0, 11.0]

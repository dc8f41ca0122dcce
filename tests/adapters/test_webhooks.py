"""Calls of webhooks reach public servers over TLS, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.listener import Listener

from varv.adapters import webhooks
from varv.adapters.webhooks import WebhookCaller
from varv.home.tracking.hooks import Signed
from varv.kernel.addresses import is_public
from varv.kernel.errors import InvalidInput

SENT = Signed("id-1", 1_700_000_000, b'{"a":1}', "key")


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1",
        "224.0.0.1", "255.255.255.255", "::", "::1", "::ffff:10.0.0.1", "fe80::1", "fc00::1", "ff02::1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "::7f00:1", "fec0::1",
    ],
)  # fmt: skip
def test_an_address_inside_is_not_public_in_any_disguise(address):
    assert not is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_as_public_as_the_one_within(address):
    for block in ("::ffff:0:0", "64:ff9b::"):
        embedded = ipaddress.IPv6Address(int(ipaddress.IPv6Address(block)) | int(address))
        assert is_public(embedded) == is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/", "file:///etc/passwd", "ftp://8.8.8.8/", "https://", "https:///x", "nonsense",
        "https://127.0.0.1/", "https://127.1/", "https://0x7f.1/", "https://2130706433/", "https://0/",
        "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://user@8.8.8.8/", "https://user:word@8.8.8.8/",
        "https://8.8.8.8:0/", "https://8.8.8.8:99999/", "https://8.8.8.8/a b", "https://8.8.8.8\\@127.0.0.1/",
        "https://8.8.8.8/\r\nX: y",
    ],
)  # fmt: skip
def test_an_address_that_may_not_be_called_is_refused(url):
    with pytest.raises(InvalidInput):
        WebhookCaller().require(url)
    assert not WebhookCaller().call(url, SENT).is_taken


def test_a_name_that_resolves_to_an_address_inside_is_not_connected_to(listener, monkeypatch):
    port = int(listener.url.split(":")[2].split("/")[0])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in ("8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr(webhooks.socket, "getaddrinfo", lambda *_, **__: found)
    outcome = WebhookCaller().call(f"https://public.example:{port}/", SENT)
    assert "not public" in outcome.why
    assert listener.taken == []


def test_a_name_is_resolved_once_and_that_address_is_connected_to(monkeypatch):
    asked, dialled = [], []
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 443))]
    monkeypatch.setattr(webhooks.socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or found)

    def dial(address, timeout_s):
        dialled.append(address)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(webhooks.socket, "create_connection", dial)
    outcome = WebhookCaller().call("https://public.example/", SENT)
    assert (asked, dialled) == (["public.example"], [("8.8.8.8", 443)])
    assert outcome.again


def test_a_message_is_signed_over_its_id_its_time_and_its_body(listener):
    assert WebhookCaller(inside=True).call(listener.url, SENT) == (200, "", False)
    headers, body = listener.taken[0]
    signature = hmac.new(b"key", b'id-1.1700000000.{"a":1}', hashlib.sha256).digest()
    assert headers["x-mlflow-signature"] == f"v1,{base64.b64encode(signature).decode()}"
    assert (headers["x-mlflow-delivery-id"], headers[":path"], body) == ("id-1", "/hook?a=b", SENT.body)


def test_nobody_is_redirected_and_no_answer_is_kept(listener):
    listener.answers = [(302, {"location": listener.url})]
    outcome = WebhookCaller(inside=True).call(listener.url, SENT)
    assert (outcome.status, outcome.is_taken, len(listener.taken)) == (302, False, 1)
    assert "secret" not in repr(outcome)


def test_an_answer_that_drips_is_left_in_time(monkeypatch):
    monkeypatch.setattr(webhooks, "LONGEST_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            taken, _ = server.accept()
            with taken:
                for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 60:
                    try:
                        taken.send(bytes([byte]))
                    except OSError:
                        return
                    threading.Event().wait(0.05)

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        outcome = WebhookCaller(inside=True).call(f"http://127.0.0.1:{server.getsockname()[1]}/", SENT)
        thread.join()
    assert (outcome.why, outcome.again) == ("it took too long", True)

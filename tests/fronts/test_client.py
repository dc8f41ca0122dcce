"""A client believes nothing of what a server sends."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.fronts.client import Client
from varv.kernel.errors import Corrupt, InvalidInput, NotFound, Unavailable, VarvError


def answering(answer: Callable[[httpx.Request], httpx.Response], **options: int) -> Client:
    http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://server")
    return Client("http://server", http=http, **options)


def said(status: int, body: object) -> Client:
    return answering(lambda request: httpx.Response(status, content=json.dumps(body)))


@pytest.mark.parametrize(
    "url",
    [
        *("", "server", "ftp://server", "http://", "http://server:port", "http://server/?a=b"),
        *("http://server/page", "http://me:secret@server", "http://[::1", None, 5),
    ],
)
def test_what_is_no_address_of_a_server_is_refused_without_repeating_a_password(url):
    with pytest.raises(InvalidInput, match="write http") as raised:
        Client(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8400", "https://models.example.org/", "http://[::1]:8400"])
def test_an_address_is_taken_with_or_without_a_slash(url):
    with Client(url) as client:
        assert client.url == url.rstrip("/")


def test_an_answer_beyond_the_limit_is_not_read_to_its_end():
    read = []

    def parts():
        for number in range(1000):
            read.append(number)
            yield b"x" * 1000

    client = answering(lambda request: httpx.Response(200, content=parts()), most_bytes=5000)
    with pytest.raises(Corrupt, match="answers more than was asked for"):
        client.call("model.status")
    assert len(read) < 20


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"5", b"[" * 100_000], ids=len)
def test_what_is_no_json_object_is_no_answer(body):
    client = answering(lambda request: httpx.Response(200, content=body))
    with pytest.raises(Corrupt, match="does not answer as varv does"):
        client.call("model.status")


def test_an_error_is_raised_as_the_class_of_its_code():
    described = {"code": "invalid_input", "kind": "field", "name": "n", "problem": "is odd", "facts": {}}
    with pytest.raises(VarvError) as raised:
        said(400, {"error": described}).call("model.status")
    assert type(raised.value) is InvalidInput
    outside = {**described, "code": "not_found", "error": "the same in words"}
    with pytest.raises(NotFound, match="is odd"):
        said(404, outside).post("/v2/models/m/infer", {})


@pytest.mark.parametrize("facts", [{"kind": 1, "name": 2, "hint": 3, "self": 4, "left": 0}, {}])
def test_facts_that_are_named_like_arguments_do_no_harm(facts):
    described = {"code": "odd", "kind": "k", "name": "n", "problem": "p", "hint": "h", "facts": facts}
    with pytest.raises(VarvError) as raised:
        said(500, {"error": described}).call("model.status")
    assert (raised.value.kind, raised.value.facts) == ("k", {"left": 0} if facts else {})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([200, 400, 404, 500, 503]), _JSON, st.booleans())
def test_whatever_a_server_says_the_caller_gets_an_answer_or_an_error_of_ours(status, body, inner):
    try:
        found = said(status, {"error": body} if inner else body).call("model.status")
        assert isinstance(found, dict)
    except VarvError:
        pass


@pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), httpx.ConnectError("refused")])
def test_a_server_that_does_not_answer_is_unavailable(error):
    def fail(request):
        raise error

    with pytest.raises(Unavailable, match="server"):
        answering(fail).call("model.status")


def test_a_description_that_is_none_is_no_description():
    with pytest.raises(Corrupt):
        said(200, {"paths": [1]}).verbs()

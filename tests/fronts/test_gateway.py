from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from tests.fronts.asking import asking

from varv.fronts.gateway import SMALL_BYTES, Bodies, Gateway, allowed_hosts, require_own_site
from varv.fronts.problems import json_response, status_of
from varv.kernel.errors import VarvError


def client(hosts=None, bodies=None, gone=False):
    async def answer(request: Request) -> Response:
        if gone:
            raise ClientDisconnect
        try:
            require_own_site(request)
            async with (bodies or Bodies(1000, 1000)).receive(request) as body:
                return Response(str(len(body)))
        except VarvError as error:
            return json_response(str(error), status=status_of(error))

    return asking(Gateway(Starlette(routes=[Route("/", answer, methods=["GET", "POST"])]), hosts))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("127.0.0.1:8480", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:8480", 200)),
        *(("models.example.org", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403)),
        *(("localhost.", 403), ("", 403), ("[::1", 200), ("127.0.0.1@evil.example", 403)),
    ],
)
def test_only_names_of_the_server_are_answered(host, status):
    asked = client(allowed_hosts("127.0.0.1", "models.example.org, Other.example"))
    assert asked.get("/", headers={"host": host}).status_code == status


def test_a_server_on_every_address_answers_to_any_name_until_one_is_set():
    assert allowed_hosts("0.0.0.0", "") is None
    assert client(allowed_hosts("0.0.0.0", "")).get("/", headers={"host": "any"}).status_code == 200
    assert client(allowed_hosts("::", "one")).get("/", headers={"host": "any"}).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "http://testserver"}, 200),
        ({"origin": "http://testserver"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_a_page_of_another_site_cannot_act_through_a_browser(headers, status):
    assert client().get("/", headers=headers).status_code == status


def test_a_caller_that_hangs_up_is_no_error():
    assert client(gone=True).get("/").status_code == 500  # which nobody is there to read; nothing is raised


def test_bodies_count_until_they_are_answered_and_small_ones_always_pass():
    bodies = Bodies(4 * SMALL_BYTES, 2 * SMALL_BYTES)
    asked = client(bodies=bodies)
    large, small = b"x" * (2 * SMALL_BYTES), b"x" * SMALL_BYTES
    for _ in range(3):
        assert asked.post("/", content=large).text == str(len(large))
    bodies._take(Request({"type": "http", "path": "/", "headers": []}), SMALL_BYTES)
    assert asked.post("/", content=large).status_code == 503
    assert asked.post("/", content=small).status_code == 200


def test_a_length_beyond_the_limit_is_refused_before_the_body_comes():
    assert client().post("/", content=b"x" * 1001).status_code == 413
    assert client().post("/", content=iter([b"x" * 600] * 2)).status_code == 413
    assert client().post("/", content=b"x", headers={"content-length": "9" * 5000}).status_code == 413

from __future__ import annotations

import gzip
import zlib

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.fronts.asking import asking

from varv.fronts.encodings import FEWEST_BYTES, deflated, inflated
from varv.fronts.problems import json_response, status_of
from varv.kernel.errors import VarvError

MOST = 100_000


async def echo(request: Request) -> Response:
    try:
        body = inflated(request, await request.body(), MOST)
    except VarvError as error:
        return json_response({"error": str(error)}, status=status_of(error))
    return deflated(request, Response(body))


@pytest.fixture(scope="module")
def client():
    with asking(Starlette(routes=[Route("/", echo, methods=["POST"])])) as made:
        yield made


LONG = b"late" * FEWEST_BYTES
ZIPPED = gzip.compress(LONG)


@pytest.mark.parametrize(
    ("named", "sent"),
    [("gzip", ZIPPED), ("GZIP", ZIPPED), ("deflate", zlib.compress(LONG)), ("identity", LONG)],
    ids=["gzip", "in capitals", "deflate", "identity"],
)
def test_a_body_is_read_however_it_was_compressed(client, named, sent):
    assert client.post("/", content=sent, headers={"content-encoding": named}).content == LONG


@pytest.mark.parametrize(
    ("accepted", "named"),
    [("gzip", "gzip"), ("deflate", "deflate"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0, deflate", "deflate")],
)
def test_a_long_answer_is_compressed_for_whoever_takes_it(client, accepted, named):
    answer = client.post("/", content=LONG, headers={"accept-encoding": accepted})
    assert (answer.headers["content-encoding"], answer.content) == (named, LONG)
    assert int(answer.headers["content-length"]) < FEWEST_BYTES


@pytest.mark.parametrize(
    ("accepted", "body"),
    [("identity", LONG), ("br", LONG), ("gzip", b"short"), ("gzip;q=0", LONG)],
    ids=["none", "another", "short", "refused"],
)
def test_others_get_it_as_it_is(client, accepted, body):
    answer = client.post("/", content=body, headers={"accept-encoding": accepted})
    assert "content-encoding" not in answer.headers
    assert answer.content == body


@pytest.mark.parametrize(
    ("named", "sent", "status"),
    [
        ("br", LONG, 415),
        ("gzip", LONG, 400),
        ("gzip", ZIPPED[:-9], 400),
        ("gzip", ZIPPED + b"more", 400),
        ("gzip", gzip.compress(bytes(1 << 24)), 413),
        ("deflate", zlib.compress(bytes(MOST + 1)), 413),
        ("gzip", b"", 400),
    ],
    ids=["unknown", "plain", "cut", "longer", "a bomb", "a byte too long", "empty"],
)
def test_what_is_not_what_it_says_or_too_long_is_refused(client, named, sent, status):
    answer = client.post("/", content=sent, headers={"content-encoding": named})
    assert answer.status_code == status

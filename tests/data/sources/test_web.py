"""The web as a source: fetched when it has changed, resumed when it breaks off, never led inside."""

from __future__ import annotations

import polars as pl
import pytest
from tests.data.sources.servers import FileServer

from varv.data import Http
from varv.data.sources.steps import Asked
from varv.kernel.clock import Instant
from varv.kernel.errors import InvalidDeclaration, InvalidInput, Unavailable

ROWS = b"id,n\n" + b"".join(b"k%d,%d\n" % (number, number) for number in range(1000))
TYPES = {"id": pl.String(), "n": pl.Int64()}


@pytest.fixture
def server():
    made = FileServer(ROWS)
    yield made
    made.close()


def source(server, **more) -> Http:
    return Http(f"http://127.0.0.1:{server.port}/rows.csv", **{"inside": True, **more})


def pull(source: Http, cursor: dict[str, str]):
    steps = list(source.steps(Asked(cursor, TYPES, Instant(0))))
    for step in steps:
        cursor |= step.moved
    return steps


def test_a_file_is_read_when_its_tag_is_another(server):
    cursor: dict[str, str] = {}
    [step] = pull(source(server), cursor)
    assert step.rows.height == 1000
    assert cursor == {"etag": '"v1"'}
    assert pull(source(server), cursor) == []
    server.body, server.etag = ROWS + b"new,1\n", '"v2"'
    [step] = pull(source(server), cursor)
    assert step.rows.height == 1001
    assert source(server).types() == {"id": pl.String, "n": pl.Int64}


def test_an_answer_that_breaks_off_is_gone_on_with(server):
    server.cut = 3
    [step] = pull(source(server), {})
    assert step.rows.height == 1000
    assert [one.get("range", "") for one in server.asked][:2] == ["", f"bytes={len(ROWS) // 2}-"]
    server.cut = 50
    with pytest.raises(Unavailable, match="cannot be fetched"):
        pull(source(server), {})


def test_more_bytes_than_allowed_are_refused(server):
    with pytest.raises(InvalidInput, match="is larger than 1KB"):
        pull(source(server, most="1KB"), {})


def test_nobody_is_led_to_an_address_of_this_network(server):
    with pytest.raises(InvalidDeclaration, match="leads to"):
        source(server, inside=False)
    led = Http(f"https://127.0.0.1:{server.port}/rows.csv")
    with pytest.raises(Unavailable, match="not public"):
        pull(led, {})
    server.redirect = "file:///etc/passwd"
    with pytest.raises(InvalidDeclaration, match="leads to 'file"):
        pull(source(server), {})
    server.redirect = f"http://127.0.0.1:{server.port}/rows.csv"
    with pytest.raises(Unavailable, match="redirects without end"):
        pull(source(server), {})
    assert server.asked


def test_a_secret_goes_to_the_first_host_alone(server, monkeypatch):
    other = FileServer(ROWS)
    monkeypatch.setenv("VARV_TEST_TOKEN", "hunter2")
    server.redirect = f"http://localhost:{other.port}/rows.csv"
    with pytest.raises(InvalidDeclaration, match="holds a secret"):
        source(server, headers={"Authorization": "Bearer hunter2"})
    [step] = pull(source(server, headers={"authorization": "Bearer ${VARV_TEST_TOKEN}"}), {})
    assert step.rows.height == 1000
    assert server.asked[0]["authorization"] == "Bearer hunter2"
    assert "authorization" not in other.asked[0]
    other.close()

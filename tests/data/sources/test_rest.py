"""REST interfaces as sources: all pages once, only what is new, and no secret where it does not belong."""

from __future__ import annotations

import http.server
import json
import threading
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from varv.data import Rest
from varv.data.sources.steps import Asked
from varv.kernel.clock import Instant
from varv.kernel.errors import InvalidDeclaration, InvalidInput, Unavailable

TYPES = {"id": pl.String(), "n": pl.Int64()}
SECRET = "hunter/2 secret"


class Interface:
    """Gives records in every way that pages are given in; may be busy, and may forget its pages."""

    def __init__(self, n: int, page: int = 2) -> None:
        self.records = [{"id": f"k{i}", "n": i, "updated": 10 + i} for i in range(n)]
        self.page, self.forgets, self.busy = page, False, 0
        self.asked: list[dict[str, str]] = []
        self.leads_to = ""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                outer.asked.append({**asked, "authorization": self.headers.get("authorization", "")})
                status, body, headers = outer.answer(asked, urlsplit(self.path).path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, asked: dict[str, str], path: str) -> tuple[int, bytes, dict[str, str]]:
        if self.busy:
            self.busy -= 1
            return 429, b"", {"retry-after": "0"}
        if self.forgets and "token" in asked:
            return 410, b"", {}
        since = int(asked.get("since", 0))
        found = [one for one in self.records if one["updated"] >= since]
        counted = int(asked["p"]) - 1 if "p" in asked else 0
        start = int(asked.get("token", asked.get("offset", counted * self.page)))
        rows, more = found[start : start + self.page], start + self.page < len(found)
        token = f"&token={start + self.page}"
        key = asked.get("key", "").replace(" ", "%20")
        address = f"{self.leads_to}{path}?key={key}&x=${{VARV_OTHER}}{token}"
        body = {"data": {"rows": rows}, "meta": {"next": address if more else None}}
        if path == "/cursor":
            body["meta"]["next"] = start + self.page if more else None
        link = {"link": f'<{address}>; rel="next", <{path}>; rel="first"'} if more else {}
        return 200, json.dumps(body).encode(), link

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def interface():
    made = Interface(5)
    yield made
    made.close()


WAYS = {
    "link": {"pages": "link"},
    "next": {"pages": "next", "next": "meta.next"},
    "cursor": {"pages": "cursor", "next": "meta.next", "parameter": "token"},
    "page": {"pages": "page", "parameter": "p"},
    "offset": {"pages": "offset"},
}


def source(interface, way="cursor", query="", **more) -> Rest:
    options = {"rows": "data.rows", "inside": True, **WAYS[way], **more}
    return Rest(f"{interface.url}/{way}{query}", **options)


def pull(source: Rest, cursor: dict[str, str], most: int = 100) -> list[str]:
    found = []
    for step, _ in zip(source.steps(Asked(cursor, TYPES, Instant(0))), range(most), strict=False):
        cursor |= step.moved
        found += step.rows["id"].to_list() if step.rows.height else []
    return found


@pytest.mark.parametrize("way", WAYS)
def test_all_pages_come_once_and_a_pull_that_ends_goes_on(interface, way):
    cursor: dict[str, str] = {}
    every = [f"k{i}" for i in range(5)]
    assert pull(source(interface, way), {}) == every
    assert source(interface, way).load()["id"].to_list() == every
    assert source(interface, way).types()["n"] == pl.Int64
    first = pull(source(interface, way), cursor, most=1)
    assert first + pull(source(interface, way), cursor) == every
    assert not any(cursor.values())


def test_only_what_is_new_by_the_watermark_is_asked_for(interface):
    cursor: dict[str, str] = {}
    new = source(interface, watermark="updated", since="since")
    assert len(pull(new, cursor, most=2)) == 4
    assert "at" not in cursor
    pull(new, cursor)
    assert cursor["at"] == "int:14"
    interface.records += [{"id": "late", "n": 0, "updated": 14}, {"id": "new", "n": 0, "updated": 20}]
    assert pull(new, cursor) == ["k4", "late", "new"]
    assert (interface.asked[-1]["since"], cursor["at"]) == ("14", "int:20")


def test_pages_that_were_forgotten_are_begun_anew(interface):
    cursor: dict[str, str] = {}
    pull(source(interface), cursor, most=1)
    interface.forgets = True
    interface.page = 10
    assert pull(source(interface), cursor) == [f"k{i}" for i in range(5)]


def test_a_busy_interface_is_asked_again_when_it_says(interface):
    interface.busy = 3
    assert len(pull(source(interface), {})) == 5
    interface.busy = 50
    with pytest.raises(Unavailable, match="answers 429"):
        pull(source(interface), {})


def test_secrets_come_from_files_and_are_named_on_record(interface, monkeypatch, tmp_path):
    (tmp_path / "token").write_text(f"{SECRET}\n")
    monkeypatch.setenv("VARV_TEST_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("VARV_OTHER", "not for them")
    headers = {"authorization": "Bearer ${VARV_TEST_TOKEN}"}
    kept: list[dict[str, str]] = []
    for way in ("link", "next"):
        cursor: dict[str, str] = {}
        here = source(interface, way, "?key=${VARV_TEST_TOKEN}", headers=headers)
        for _ in range(3):
            pull(here, cursor, most=1)
            kept.append(dict(cursor))
    assert all(one["authorization"] == f"Bearer {SECRET}" and one["key"] == SECRET for one in interface.asked)
    assert not any("hunter" in text for one in kept for text in one.values())
    assert "not for them" not in str(interface.asked)
    assert any("${VARV_TEST_TOKEN}" in one["page"] for one in kept)
    interface.leads_to = "http://localhost:1"
    with pytest.raises(Unavailable, match="leads to another host"):
        pull(source(interface, "link"), {})


def test_pages_without_end_and_answers_of_another_form_are_refused(interface):
    with pytest.raises(Unavailable, match="gives the same page again"):
        pull(source(interface, "page", parameter="ignored"), {})
    with pytest.raises(InvalidInput, match="gives no list of records"):
        pull(source(interface, rows="data"), {})
    with pytest.raises(InvalidInput, match="larger than 10B"):
        pull(source(interface, most="10B"), {})


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"pages": "scroll"}, "has pages 'scroll'"),
        ({"watermark": "updated"}, "only one of"),
        ({"headers": {"x-api-key": "hunter2"}}, "holds a secret"),
        ({"within": "soon"}, "is not valid"),
    ],
)
def test_what_is_declared_otherwise_than_it_can_be_is_refused(more, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        Rest("https://shop.example/orders", **more)


def test_counting_begins_where_the_address_says(interface):
    here = source(interface, "page", "?p=1")
    assert len(pull(here, {})) == 5
    assert all(int(after["p"]) == int(one["p"]) + 1 for one, after in pairwise(interface.asked))

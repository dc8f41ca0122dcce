"""What has been used against tracking servers, a class of attacks after the other.

A refusal leaves the ledger and the files as they were; that is asserted with each.
"""

from __future__ import annotations

import gzip
import json
from urllib.parse import quote

import pytest
from tests.fronts.asking import asking
from tests.runs.conftest import TrackedHome

from varv.app.server.tracking import mlflow_api
from varv.fronts.gateway import Gateway
from varv.kernel.errors import InvalidInput

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/"


async def nothing_else(scope, receive, send):
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Target:
    """A home with a run, and a client of its server."""

    def __init__(self, folder):
        self.home = TrackedHome(folder)
        self.client = asking(Gateway(mlflow_api(nothing_else, self.home.desk), None))
        self.run = self.home.begin()
        self.put("model/MLmodel", b"flavors: {}")

    def put(self, path, content):
        return self.client.put(f"{FILES}artifacts/0/{self.run}/artifacts/{path}", content=content)

    def post(self, path, **fields):
        return self.client.post(API + path, json=fields)

    def tree(self):
        """Return the ledger's head, and every file outside the database with its size."""
        self.home.do(self.home.tracking.series.folding())  # all that was asked before is done
        files = {}
        for path in self.home.folder.rglob("*"):
            if path.is_file() and ".db" not in path.name:
                files[path] = path.stat().st_size
        return self.home.ledger.head(), files


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    made = Target(tmp_path_factory.mktemp("home"))
    yield made
    made.client.close()
    made.home.close()


def refused(answer, *statuses):
    assert answer.status_code in (statuses or (400, 404)), (answer.status_code, answer.text)
    told = answer.json()
    assert told["error_code"]
    for leak in ("Traceback", "SELECT", "sqlite", "/home", "site-packages"):
        assert leak not in answer.text
    return told


# Paths of artifacts

ELSEWHERE = [
    "../../etc/passwd",
    "..\\..\\x",
    "a/../../b",
    "a/..",
    "/etc/passwd",
    "//etc/passwd",
    "C:/windows",
    "a#b",
    "a\x00b",
    "a\nb",
    "%2e%2e/%2e%2e/etc/passwd",
    "%252e%252e%252fetc",
    "%2fetc%2fpasswd",
    "a%00b",
]


@pytest.mark.parametrize("path", ELSEWHERE, ids=ascii)
@pytest.mark.parametrize("n_encoded", [1, 2])
def test_no_path_leads_out_of_its_run(target, path, n_encoded):
    before = target.tree()
    encoded = path
    for _ in range(n_encoded):
        encoded = quote(encoded, safe="")
    run, client = target.run, target.client
    whole = f"0/{run}/artifacts/{encoded}"
    answers = [
        client.get(f"{FILES}artifacts/{whole}"),
        client.put(f"{FILES}artifacts/{whole}", content=b"x"),
        client.delete(f"{FILES}artifacts/{whole}"),
        client.get(f"{FILES}artifacts", params={"path": f"0/{run}/artifacts/{path}"}),
        client.post(f"{FILES}mpu/create/{whole}", json={"path": path, "num_parts": 1}),
        client.get(f"{FILES}presigned/{whole}"),
        client.get(f"{API}artifacts/list", params={"run_id": run, "path": path}),
        client.get("/get-artifact", params={"run_uuid": run, "path": path}),
        client.put(f"{FILES}artifacts/{quote(path, safe='')}/{run}/artifacts/x", content=b"x"),
    ]
    for answer in answers:
        # A download past the server is refused whatever its path is.
        refused(answer, 400, 404, 501)
    assert target.tree() == before


def test_a_link_in_the_home_is_not_followed(target, tmp_path):
    (tmp_path / "secret").write_text("secret")
    link = target.home.folder / "blobs" / "ab"
    link.symlink_to(tmp_path)
    try:
        answer = target.client.get(f"{FILES}artifacts/0/{target.run}/artifacts/ab/secret")
        refused(answer, 404)
    finally:
        link.unlink()


def test_deleting_never_deletes_a_folder_of_the_home(target):
    before = target.tree()
    for path in ("", "..", "%2e%2e", "."):
        answer = target.client.delete(f"{FILES}artifacts/0/{path}")
        assert answer.status_code in (400, 404, 501)
    assert target.tree() == before
    assert target.client.get(f"{FILES}artifacts/0/{target.run}/artifacts/model/MLmodel").status_code == 200


# Sources of versions

SOURCES = [
    "/etc/passwd",
    "file:///etc/passwd",
    "//proc/self/root/etc",
    "http://169.254.169.254/latest",
    "https://evil.example/m",
    "s3://bucket/key",
    "dbfs:/x",
    "ftp://host/x",
    "runs:/../../etc",
    "mlflow-artifacts:/../../etc",
    "mlflow-artifacts:/0/{other}/artifacts/model",
    "runs:/{other}/model",
    "./local",
    "models:/m-0",
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("tags", [[], [{"key": "mlflow.prompt.is_prompt", "value": "true"}]])
def test_a_version_comes_from_its_run_and_from_nowhere_else(target, source, tags):
    target.post("registered-models/create", name="victim")
    other = target.home.begin()
    before = target.tree()
    answer = target.post(
        "model-versions/create",
        name="victim",
        source=source.format(other=other),
        run_id=target.run,
        tags=tags,
    )
    if tags and answer.status_code == 200:
        # A prompt's source is a word that nobody opens.
        assert target.client.get(
            "/model-versions/get-artifact", params={"name": "victim", "version": "1", "path": "passwd"}
        ).status_code in (400, 404)
        return
    refused(answer)
    assert target.tree() == before


# Names and ids

ODD = ["../x", "a/b", "a:b", "a\x00b", "", " ", "x" * 300, "%2e%2e", "a\nb"]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_no_id_becomes_a_path(target, name):
    before = set(target.tree()[1])
    for ask in (
        lambda: target.client.get(f"{API}runs/get", params={"run_id": name}),
        lambda: target.post("runs/update", run_id=name, status="FINISHED"),
        lambda: target.client.get(f"{API}logged-models/{quote(name, safe='')}"),
        lambda: target.client.get(f"/api/3.0/mlflow/traces/{quote(name, safe='')}"),
        lambda: target.client.get(f"{API}model-versions/get", params={"name": name, "version": "1"}),
    ):
        answer = ask()
        assert 400 <= answer.status_code < 500, answer.text
    assert set(target.tree()[1]) == before


# Words that another language would take for its own

WORDS = [
    "'; DROP TABLE run; --",
    '" OR 1=1 --',
    "`x`",
    "%' OR '1'='1",
    "a\\",
    "\u202e",
    "' UNION SELECT 1 --",
]


@pytest.mark.parametrize("word", WORDS, ids=ascii)
def test_a_quote_is_a_letter(target, word):
    target.post("runs/set-tag", run_id=target.run, key="word", value=word)
    quoted = word.replace("'", "")
    for text in (
        f"tags.word = '{quoted}'",
        f"tags.`{word.replace('`', '')}` = 'x'",
        f"params.\"{word}\" = 'x'",
    ):
        answer = target.post("runs/search", experiment_ids=["0"], filter=text)
        assert answer.status_code in (200, 400)
        if answer.status_code == 400:
            refused(answer, 400)
    found = target.client.get(f"{API}runs/get", params={"run_id": target.run}).json()
    assert {"key": "word", "value": word} in found["run"]["data"]["tags"]


# What would exhaust the server


def test_a_body_has_a_bound(target):
    before = target.tree()
    huge = json.dumps({"run_id": target.run, "key": "k", "value": "v" * (17 << 20)})
    answer = target.client.post(
        f"{API}runs/set-tag", content=huge, headers={"content-type": "application/json"}
    )
    refused(answer, 400, 413)
    assert target.tree() == before


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_deep_body_is_no_end_of_the_server(target, opening):
    answer = target.client.post(
        f"{API}runs/set-tag", content=opening * 100_000, headers={"content-type": "application/json"}
    )
    refused(answer, 400)
    assert target.client.get("/version").status_code == 200


def test_a_filter_and_an_order_have_bounds(target):
    clauses = " and ".join(f"tags.t{n} = 'x'" for n in range(1000))
    refused(target.post("runs/search", experiment_ids=["0"], filter=clauses), 400)
    refused(target.post("runs/search", experiment_ids=["0"], filter="tags.a = '" + "x" * 5000 + "'"), 400)
    refused(target.post("runs/search", experiment_ids=["0"], max_results=10**9), 400)
    pattern = "tags.word LIKE '" + "%a" * 1000 + "%'"
    assert target.post("runs/search", experiment_ids=["0"], filter=pattern).status_code in (200, 400)


def test_deflated_spans_are_bounded(target):
    bomb = gzip.compress(b"\x0a" * (200 << 20), 9)
    answer = target.client.post(
        "/v1/traces",
        content=bomb,
        headers={
            "content-type": "application/x-protobuf",
            "content-encoding": "gzip",
            "x-mlflow-experiment-id": "0",
        },
    )
    assert 400 <= answer.status_code < 500


# Files that a browser would run


@pytest.mark.parametrize("name", ["page.html", "image.svg", "code.js", "x.xhtml", "MLmodel", "noname"])
def test_a_file_is_saved_and_never_run(target, name):
    target.put(name, b"<script>alert(1)</script>")
    answer = target.client.get(f"{FILES}artifacts/0/{target.run}/artifacts/{name}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-type"].split(";")[0] in ("text/plain", "application/octet-stream")


def test_a_name_of_a_file_breaks_no_header(target):
    name = 'a"; filename="x.html\u2028.txt'
    assert target.put(quote(name, safe=""), b"x").status_code == 200
    answer = target.client.get(f"{FILES}artifacts/0/{target.run}/artifacts/{quote(name, safe='')}")
    assert answer.headers["content-disposition"].count("filename=") == 2  # the second is in the quotes
    assert "\n" not in answer.headers["content-disposition"]


def test_the_paths_of_the_index_are_checked_below_the_protocol_too(target):
    from varv.kernel.codec import digest
    from varv.runs.artifacts import keep

    with pytest.raises(InvalidInput):
        keep(f"runs/{target.run}", "../x", digest(b""), 0)


def test_a_pattern_takes_no_powers_of_a_text(target):
    target.post("runs/set-tag", run_id=target.run, key="long", value="a" * 8000)
    target.post("registered-models/create", name="a" * 200)
    pattern = "%a%a%a%a%a%a%b"
    for like in ("LIKE", "ILIKE"):
        told = target.post("runs/search", experiment_ids=["0"], filter=f"tags.long {like} '{pattern}'")
        assert (told.status_code, told.json()) == (200, {})
        matched = target.post("runs/search", experiment_ids=["0"], filter=f"tags.long {like} '%a%A%a%'")
        assert bool(matched.json()) == (like == "ILIKE")
        asked = {"filter": f"name {like} '{pattern}'"}
        assert target.client.get(f"{API}registered-models/search", params=asked).status_code == 200

from __future__ import annotations

import base64

import pytest
from tests.fronts.asking import asking
from tests.runs.conftest import TrackedHome

from varv.app.server.tracking import mlflow_api
from varv.fronts.access.clients import Client, digest_of
from varv.fronts.access.door import Callers
from varv.fronts.gateway import Gateway

READER, TRACKER, STRANGER, OWNER = "reader-token", "tracker-token", "no-token-of-anybody", "owner-token"
CLIENTS = (
    Client(name="reader", token=digest_of(READER.encode()), roles=("read",)),
    Client(name="trainer", token=digest_of(TRACKER.encode()), roles=("track",)),
    Client(name="shop", token=digest_of(b"predictions-only"), roles=("predict",)),
)
HEADERS = {
    "nobody": {},
    "a stranger": {"authorization": f"Bearer {STRANGER}"},
    "an empty password": {"authorization": "Basic " + base64.b64encode(b"admin:").decode()},
    "a default password": {"authorization": "Basic " + base64.b64encode(b"admin:password1234").decode()},
    "who may only predict": {"authorization": "Bearer predictions-only"},
    "no header at all": {"authorization": ""},
    "something else": {"authorization": "Digest abc"},
}
OPEN = ("/version", "/api/3.0/mlflow/server-info")


async def nothing_else(scope, receive, send):
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    home = TrackedHome(tmp_path_factory.mktemp("home"))
    api = mlflow_api(nothing_else, home.desk, OWNER, lambda: declared)
    declared = Callers(CLIENTS, 1)
    with asking(Gateway(api, None)) as client:
        client.home, client.api = home, api
        yield client
    home.close()


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def spellings(path):
    twin = path.replace("/api/", "/ajax-api/", 1)
    return [path, twin, f"/{path}", f"{path}/", path.replace("mlflow", "MLFLOW", 1), f"{path}%2F"]


def every_way_in(api):
    for route in api.routes():
        for path in spellings(route.whole_path.replace("{", "").replace("}", "")):
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
                yield method, path
    for prefix in api.prefixes():
        for method in ("GET", "PUT", "DELETE", "POST"):
            yield method, f"{prefix}/0/run/artifacts/x"


@pytest.mark.parametrize("who", HEADERS)
def test_no_way_in_is_open_to_who_is_not_known(guarded, who):
    head = guarded.home.ledger.head()
    for method, path in every_way_in(guarded.api):
        if path.rstrip("/") in OPEN or path.replace("/ajax-api/", "/api/", 1) in OPEN:
            continue
        answer = guarded.request(method, path, headers={**HEADERS[who], "x-http-method-override": "GET"})
        # What is not under this API is another's to refuse.
        assert answer.status_code in (401, 403, 418), (method, path, answer.text)
        if answer.status_code == 418:
            assert not path.startswith(("/api/2.0/", "/api/3.0/", "/ajax-api/"))
    assert guarded.home.ledger.head() == head


def test_a_reader_writes_nowhere(guarded):
    run = guarded.home.begin()
    head = guarded.home.ledger.head()
    for method, path in every_way_in(guarded.api):
        answer = guarded.request(method, path, headers=bearer(READER), json={})
        if answer.status_code == 403:
            assert method not in ("GET", "HEAD")
    assert guarded.home.ledger.head() == head
    asked = guarded.get("/api/2.0/mlflow/runs/get", params={"run_id": run}, headers=bearer(READER))
    assert asked.status_code == 200
    told = guarded.post(
        "/api/2.0/mlflow/runs/set-tag", headers=bearer(READER), json={"run_id": run, "key": "a", "value": "b"}
    )
    assert (told.status_code, told.json()["error_code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {TRACKER}",
        f"bearer {OWNER}",
        f"Bearer {OWNER}",
        "Basic " + base64.b64encode(f"ana:{TRACKER}".encode()).decode(),
        "Basic " + base64.b64encode(f"ana:{OWNER}".encode()).decode(),
    ],
)
def test_who_may_write_does_so_by_any_of_the_clients_ways(guarded, header):
    answer = guarded.post(
        "/api/2.0/mlflow/runs/create", headers={"authorization": header}, json={"experiment_id": "0"}
    )
    assert answer.status_code == 200, answer.text


def test_the_refusal_says_how_to_go_on(guarded):
    told = guarded.get("/api/2.0/mlflow/runs/get", params={"run_id": "x"})
    assert told.headers["www-authenticate"].startswith("Basic")
    assert "MLFLOW_TRACKING_TOKEN" in told.json()["message"]


def test_a_page_of_another_site_writes_nothing(guarded):
    head = guarded.home.ledger.head()
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        for prefix in ("/api", "/ajax-api"):
            answer = guarded.post(
                f"{prefix}/2.0/mlflow/runs/create",
                headers={**bearer(OWNER), **headers},
                json={"experiment_id": "0"},
            )
            assert answer.status_code == 403
    assert guarded.home.ledger.head() == head


def test_a_form_is_no_request(guarded):
    head = guarded.home.ledger.head()
    answer = guarded.post(
        "/api/2.0/mlflow/experiments/create", headers=bearer(OWNER), data={"name": "from-a-form"}
    )
    assert answer.status_code == 400
    assert guarded.home.ledger.head() == head

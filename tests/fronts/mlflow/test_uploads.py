"""Uploads in parts, as a client sends them."""

from __future__ import annotations

import pytest
from tests.fronts.asking import asking
from tests.fronts.mlflow.test_access import CLIENTS, OWNER, bearer, nothing_else
from tests.runs.conftest import TrackedHome

from varv.app.server.tracking import mlflow_api
from varv.fronts.access.door import Callers
from varv.fronts.gateway import Gateway

MPU = "/api/2.0/mlflow-artifacts/mpu/"


class Target:
    """A guarded home with a run, and a client that may write."""

    def __init__(self, folder):
        self.home = TrackedHome(folder)
        declared = Callers(CLIENTS, 1)
        self.client = asking(Gateway(mlflow_api(nothing_else, self.home.desk, OWNER, lambda: declared), None))
        self.run = self.home.begin()
        self.root = f"0/{self.run}/artifacts"

    def ask(self, act, *, folder="model", headers=None, **fields):
        headers = bearer(OWNER) if headers is None else headers
        return self.client.post(f"{MPU}{act}/{self.root}/{folder}", json=fields, headers=headers)

    def sent(self, *parts, name="w.bin"):
        """Return the id of an upload and the parts as they are named to complete it."""
        made = self.ask("create", path=name, num_parts=len(parts)).json()
        tags = []
        for part, content in zip(made["credentials"], parts, strict=True):
            answer = self.client.put(part["url"], content=content, headers=part["headers"])
            assert answer.status_code == 200, answer.text
            number = part["part_number"]
            tags.append({"part_number": number, "etag": answer.headers["etag"], "url": part["url"]})
        return made["upload_id"], tags

    def got(self, path):
        return self.client.get(
            f"/api/2.0/mlflow-artifacts/artifacts/{self.root}/{path}", headers=bearer(OWNER)
        )


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    made = Target(tmp_path_factory.mktemp("home"))
    yield made
    made.client.close()
    made.home.close()


def test_a_file_in_parts_is_an_artifact_once_it_is_complete(target):
    id, tags = target.sent(b"a" * 100_000, b"b", name="large.bin")
    assert target.got("model/large.bin").status_code == 404
    for _ in range(2):
        answer = target.ask("complete", path="/home/ana/large.bin", upload_id=id, parts=tags)
        assert (answer.status_code, answer.json()) == (200, {})
    assert target.got("model/large.bin").content == b"a" * 100_000 + b"b"


def test_an_aborted_upload_leaves_nothing(target):
    id, tags = target.sent(b"a", name="gone.bin")
    for _ in range(2):
        assert target.ask("abort", path="gone.bin", upload_id=id).json() == {}
    answer = target.ask("complete", path="gone.bin", upload_id=id, parts=tags)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert target.got("model/gone.bin").status_code == 404


def test_an_upload_ends_where_it_began(target):
    id, tags = target.sent(b"a", name="here.bin")
    for act in ("complete", "abort"):
        answer = target.ask(act, path="there.bin", upload_id=id, parts=tags)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_part_is_known_by_its_upload_and_not_by_who_sends_it(target):
    made = target.ask("create", path="w.bin", num_parts=1).json()
    (part,) = made["credentials"]
    for headers in ({}, bearer(OWNER), {"x-varv-upload": "x"}):
        assert target.client.put(part["url"], content=b"x", headers=headers).status_code == 401
    assert target.client.put(part["url"], content=b"x", headers=part["headers"]).status_code == 200
    # It opens nothing else.
    answer = target.client.get(f"/api/2.0/mlflow/runs/get?run_id={target.run}", headers=part["headers"])
    assert answer.status_code == 401


def test_beginning_and_ending_an_upload_are_for_those_who_write(target):
    for act in ("create", "complete", "abort"):
        assert target.ask(act, headers={}, path="w.bin", upload_id="x").status_code == 401


def test_an_upload_belongs_to_a_run_that_is_there(target):
    path = f"{MPU}create/0/{'0' * 32}/artifacts"
    answer = target.client.post(path, json={"path": "w", "num_parts": 1}, headers=bearer(OWNER))
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("path", ["..", "a/..", "", "a/", "src%5C.."])
def test_a_name_that_leads_elsewhere_begins_no_upload(target, path):
    assert target.ask("create", path=path, num_parts=1).status_code == 400


def test_parts_go_to_the_address_that_the_client_called(target):
    headers = {
        **bearer(OWNER),
        "x-forwarded-proto": "https",
        "x-forwarded-host": "ml.example.org",
        "x-forwarded-prefix": "/track/",
    }
    made = target.ask("create", headers=headers, path="w.bin", num_parts=1).json()
    assert made["credentials"][0]["url"].startswith(
        "https://ml.example.org/track/api/2.0/mlflow-artifacts/mpu/"
    )

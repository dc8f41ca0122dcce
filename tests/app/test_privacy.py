"""`varv erase` and what `varv data` says of personal data, on the command line."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import closing

import httpx
import pytest
from starlette.applications import Starlette
from tests.app.serving import Server, eventually
from tests.app.serving import varv as command
from tests.home.erasure.people import ANA, People, people

import varv
from varv.app.cli import main
from varv.app.compose import open_ledger, open_views
from varv.app.desk import Desk
from varv.app.verbs import build_verbs
from varv.data.versioning.verbs import offline_versions
from varv.fronts.api import create_api
from varv.home.erasure.carrying import Erasures
from varv.home.erasure.searching import search
from varv.kernel.clock import SystemClock
from varv.kernel.errors import Erased

WHO = "x-ana-maria-0001"
PARCEL = {"district": "centre", "courier": "cleo", "distance_km": 1.5, "weight_kg": 2.0, "hour": 5}


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    People(folder).fill().close()
    return folder


@pytest.fixture
def run(capsys, home, monkeypatch):
    monkeypatch.delenv("VARV_HOME", raising=False)

    def told(*arguments, status=0):
        assert main(["--home", str(home), *arguments]) == status
        said = capsys.readouterr()
        return said.err if status == 2 else said.out

    return told


def test_a_subject_is_erased_by_a_command_that_no_shell_remembers(run, home, monkeypatch):
    assert run("erase", "--list") == "there are no erasures\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ANA}\n"))
    out = run("erase", "-", "--dataset", "people", "--key", "email", "--why", "asked by letter")
    assert "e1: people by email, is proven" in out
    assert "8 rows erased" in out
    assert search(home, [ANA]).places == {}
    [listed] = json.loads(run("--json", "erase", "--list"))["erasures"]
    assert (listed["proven"], listed["left"], listed["why"]) == (True, {}, "asked by letter")
    dataset = varv.open(home).dataset("people")
    with pytest.raises(Erased):
        dataset.read(version=7)
    assert set(dataset.read(version=7, remaining=True)["id"]) == {"k2", "k4", "k5"}


def test_what_is_left_elsewhere_is_named_until_it_is_gone(run, home):
    (home / "export.csv").write_text(f"id,email\nk1,{ANA}\n")
    out = run("erase", ANA, "--dataset", "people", "--key", "email", status=1)
    assert "is not proven" in out
    assert "export.csv" in out
    (home / "export.csv").unlink()
    assert "is proven" in run("erase", "--go-on")


def test_what_may_be_personal_is_shown_with_what_is_declared(run, home, tmp_path):
    assert "e-mail address" in run("data", "pii", "people")
    told = json.loads(run("--json", "data", "anonymity", "people", "age", "--outcome", "late", "-k", "2"))
    assert (told["n_rows"], told["min_k"], told["splits_most"]) == (7, 1, "age")
    assert "the smallest has 1" in run("data", "anonymity", "people", "age")
    other = tmp_path / "other"
    declared = People(other, dataset=people(pii={"email": "pseudonymise"})).fill()
    declared.close()
    assert search(other, [ANA]).places == {}
    assert main(["--home", str(other), "data", "rotate-key"]) == 0
    assert main(["--home", str(other), "erase", ANA, "--dataset", "people", "--key", "email"]) == 0


@pytest.mark.slow
def test_a_start_finishes_an_erasure_before_it_reads_a_row(served_project, tmp_path):
    file, home = served_project(tmp_path), tmp_path / "home"
    ledger = open_ledger(home)
    views = open_views(ledger)
    whose = varv.open(home).dataset("deliveries").read(limit=1)["delivery_id"][0]
    Erasures(home, ledger, views, SystemClock()).request("deliveries", "delivery_id", whose, by="ana")
    ledger.close()
    server = Server(home, file, training_nice=0)
    assert server.stop() == 0
    [done] = json.loads(command(home, "--json", "erase", "--list"))["erasures"]
    assert done["proven"]
    assert done["n_rows"]["data/deliveries/ordered_at"] == 1
    assert done["models"] == ["late-parcel v1"]


@pytest.mark.slow
def test_a_server_erases_while_it_answers_and_forgets(served_project, tmp_path):
    file, home = served_project(tmp_path), tmp_path / "home"
    server = Server(home, file, training_nice=0, online_views="courier_lately", seal_every_s=0.2)
    eventually(lambda: True if _online(server)["upto"] else None)
    value, version = _mean(server), _online(server)["version"]
    others = server.predict("x-other", **PARCEL).json()
    server.predict(WHO, **PARCEL)
    server.act("outcome.record", model="late-parcel", rows=[{"delivery_id": WHO, "late": 1}])
    eventually(lambda: True if _online(server)["upto"] > version and _mean(server) != value else None)
    pids = server.control.get("/health").json()["workers"]

    out = command(home, "erase", WHO, "--dataset", "deliveries", "--key", "delivery_id", "--why", "asked")
    assert "is proven" in out
    assert not set(pids) & set(server.control.get("/health").json()["workers"])
    [done] = server.act("erasure.list").json()["erasures"]
    assert done["n_rows"]["predictions/late-parcel"] == 1
    assert done["places"]["predictions/late-parcel"].startswith("written again")
    assert search(home, [WHO]).places == {}
    # All is as if nobody had come: features online and in memory, and what follows from them.
    assert _mean(server) == value
    assert server.predict("x-after", **PARCEL).json() == others
    assert server.act("erasure.go_on").json() == {"erasures": []}
    assert server.stop() == 0
    assert search(home, [WHO]).places == {}
    assert command(home, "verify")


def _online(server):
    shown = server.act("features.list").json()["views"]
    return next(one for one in shown if one["view"] == "courier_lately")


def _mean(server):
    asked = {"entities": {"courier": ["cleo"]}, "features": ["courier_lately"]}
    found = server.act("features.read", **asked).json()["rows"]["columns"]
    return next(one["values"] for one in found if one["name"] == "courier_lately__late_mean_7d")


def test_encrypted_values_are_read_for_a_reason_that_stays_on_record(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("VARV_HOME", raising=False)
    home = tmp_path / "home"
    People(home, dataset=people(pii={"email": "pseudonymise", "age": "encrypt:email"})).fill().close()
    asked = ["--home", str(home), "--json", "data", "reveal", "people", "age", "--where", f"email={ANA}"]
    assert main([*asked, "--why", "a complaint"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == [{"id": "k1", "age": "41"}, {"id": "k3", "age": "33"}]
    with closing(open_ledger(home, read_only=True)) as ledger:
        last = ledger.read(ledger.head().version - 1)[0].event
    assert (last.columns, last.by_columns, last.n_rows, last.why) == (("age",), ("email",), 2, "a complaint")
    for column, why, problem in (("age", " ", "is empty"), ("late", "x", "is not encrypted")):
        assert main([*asked[:6], column, "--why", why]) == 1
        assert json.loads(capsys.readouterr().out)["error"]["problem"] == problem


def test_a_server_without_a_token_reveals_nothing(tmp_path):
    home = People(tmp_path / "home", dataset=people(pii={"age": "encrypt"})).fill()
    desk = Desk(home.folder, home.ledger, home.views, home.clock, None, running=False)
    desk.versions = offline_versions(home.folder, home.ledger, home.views, home.clock, lambda of: {})
    asked = {"dataset": "people", "why": "a complaint"}
    for token, status in (("", 403), ("secret", 200)):
        app = Starlette(routes=create_api(build_verbs(desk), dict, token=token))
        assert asyncio.run(_status(app, token, asked)) == status
    home.close()


async def _status(app, token, asked):
    headers, transport = {"authorization": f"Bearer {token}"}, httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        return (await client.post("/api/v1/dataset/reveal", json=asked)).status_code

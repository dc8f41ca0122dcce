"""`varv erase` and what `varv data` says of personal data, on the command line."""

from __future__ import annotations

import io
import json

import pytest
from tests.app.serving import Server
from tests.app.serving import varv as command
from tests.home.erasure.people import ANA, People, people

import varv
from varv.app.cli import main
from varv.app.compose import open_ledger, open_views
from varv.home.erasure.carrying import Erasures
from varv.home.erasure.searching import search
from varv.kernel.clock import SystemClock
from varv.kernel.errors import Erased


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
    again = command(home, "erase", whose, "--dataset", "deliveries", "--key", "delivery_id", check=False)
    assert again == ""
    assert server.stop() == 0
    [done] = json.loads(command(home, "--json", "erase", "--list"))["erasures"]
    assert done["proven"]
    assert done["n_rows"]["data/deliveries/ordered_at"] == 1
    assert done["models"] == ["late-parcel v1"]

"""`varv data training-set` and `varv.training_set` in a home, with and without its server."""

from __future__ import annotations

import json

import polars as pl
import pytest
from tests.app.serving import Server, varv
from tests.home.live_home import LiveHome

import varv as package
from varv.app.cli import main
from varv.kernel.errors import AlreadyExists


@pytest.fixture(scope="module")
def home(lived, tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    found: LiveHome = lived(folder)
    found.close()
    return folder


@pytest.fixture
def run(capsys, home, monkeypatch):
    monkeypatch.delenv("VARV_HOME", raising=False)

    def told(*arguments, status=0):
        assert main(["--home", str(home), *arguments]) == status
        said = capsys.readouterr()
        return said.err if status else said.out

    return told


@pytest.mark.slow
def test_features_on_record_make_a_training_set_by_their_names(run, home, tmp_path):
    last = json.loads(run("--json", "data", "show", "parcels"))["version"]
    given = ("--features", "recent,heat", "--as", "one")
    made = json.loads(run("--json", "data", "training-set", "parcels", *given))
    assert (made["is_new"], made["recipe"]["requests"]) == (True, f"parcels@{last}")
    assert made["recipe"]["datasets"] == {"parcels": last}
    assert made["recipe"]["mode"] == "known"
    again = run("data", "training-set", f"parcels@{last}", *given)
    assert "was there already" in again
    with package.open(home) as opened:
        rows = opened.dataset("one").read()
    assert rows.height == made["n_rows"]
    assert rows["recent__late_mean_24h"].null_count() < rows.height / 2
    asked = rows.select("route", when="asked_at").tail(200)
    asked.write_parquet(tmp_path / "asked.parquet")
    outside = ("--features", "recent__late_mean_24h", "--at", "when", "--version", f"parcels@{last}")
    run("data", "training-set", str(tmp_path / "asked.parquet"), *outside, "--as", "two")
    with package.open(home) as opened:
        two = opened.dataset("two").read()
    assert set(two.columns) == {"request_row", "route", "when", "recent__late_mean_24h"}
    assert two.height == 200
    touched = json.loads(run("--json", "data", "impact", "parcels.heat"))
    assert touched["training_sets"] == ["one"]
    assert json.loads(run("--json", "data", "impact", "parcels.late"))["training_sets"] == ["one", "two"]
    assert list((home / "staged").iterdir()) == []


@pytest.mark.slow
def test_what_is_wrong_with_a_training_set_is_named(run, tmp_path):
    given = ("--as", "wrong")
    assert "did you mean 'recent__late_mean_24h'" in run(
        "data", "training-set", "parcels", "--features", "recent_late_mean_24h", *given, status=1
    )
    assert "would leak" in run("data", "training-set", "parcels", "--features", "late", *given, status=1)
    assert "is not registered" in run(
        "data", "training-set", "trucks", "--features", "heat", *given, status=1
    )
    pinned = ("--features", "recent", "--version", "parcels")
    assert "write --version" in run("data", "training-set", "parcels", *pinned, *given, status=1)
    asked = pl.DataFrame({"route": ["north"]})
    asked.write_parquet(tmp_path / "asked.parquet")
    outside = (str(tmp_path / "asked.parquet"), "--features", "recent", "--at", "when")
    assert "hold no instants" in run("data", "training-set", *outside, *given, status=1)


@pytest.mark.slow
def test_training_sets_are_made_while_a_server_runs(served_project, tmp_path):
    file = served_project(tmp_path)
    home = tmp_path / "home"
    server = Server(home, file, training_nice=0)
    given = ("--features", "courier_lately,district_lately", "--as", "by-name")
    made = json.loads(varv(home, "--json", "data", "training-set", "deliveries", *given))
    asking = server.control.post("/api/v1/dataset/show", json={"dataset": "by-name"})
    assert sum(one["n_rows"] for one in asking.json()["parts"]) == made["n_rows"]

    frame = pl.DataFrame({"courier": ["eli", "nobody"], "when": ["2024-03-01T12:00:00Z"] * 2})
    frame = frame.with_columns(pl.col("when").str.to_datetime(time_zone="UTC"))
    deliveries = package.open(home).dataset("deliveries")
    rows = deliveries.read()
    known = {"delivered_at": ["late"]}
    data = package.Dataset(
        "deliveries", source=package.Frame(rows), key="delivery_id", event_time="ordered_at", known_at=known
    )
    lately = package.FeatureView(
        "lately", source=data, entity="courier", features=package.windows("late", "count", over=["7d"])
    )
    known = {"at": "when", "home": home, "name": "given"}
    found = package.training_set(frame, [lately], **known)
    assert found["lately__late_count_7d"].to_list()[1] == 0.0
    assert package.training_set(frame, [lately], **known).equals(found)
    with pytest.raises(AlreadyExists, match="requests"):
        package.training_set(frame.head(1), [lately], **known)
    assert list((home / "staged").iterdir()) == []
    server.stop()
    assert package.training_set(frame, [lately], **known).equals(found)
    for column, sets in (("late", ["by-name", "given"]), ("delivery_id", ["by-name"])):
        touched = json.loads(varv(home, "--json", "data", "impact", f"deliveries.{column}"))
        assert touched["training_sets"] == sets
    assert json.loads(varv(home, "--json", "verify"))["ok"]

"""`varv data` on the command line, from Python, and while a server runs."""

from __future__ import annotations

import json

import polars as pl
import pytest
from tests.app.serving import Server, varv

import varv as package
from varv.app.cli.row_files import read_rows, write_rows
from varv.kernel.columns import TIME
from varv.kernel.errors import FailedPrecondition, InvalidInput

TYPES = {"id": pl.String(), "at": TIME, "n": pl.Int64(), "late": pl.Boolean(), "x": pl.Float64()}


def test_old_rows_are_archived_shown_and_restored(run, home):
    assert "does not say when" in run("data", "archive", "parcels", status=1)
    told = run("data", "archive", "parcels", "--before", "2024-04-10", "--dry-run")
    assert "0 files with 0 rows, 0 bytes, would be archived" in told or "1 files" in told
    moved = json.loads(run("--json", "data", "archive", "parcels", "--before", "2024-04-10"))
    assert (moved["n_files"], moved["n_rows"]) == (1, 3622)
    assert "late-parcel, whose outcomes these are, which looks at all rows" in moved["kept"]
    assert "KiB" in run("data", "ls")
    shown = run("data", "show", "parcels")
    assert "kept warm: parcels/arrived_at: all rows, by late-parcel" in shown
    assert "archived: by command only" in shown
    assert "varv data restore parcels" in run("data", "read", "parcels", status=1)
    with package.open(home) as opened:
        [base, _] = opened.dataset("parcels").tiers.parts
        assert (base.n_cold_files, base.cold_from[:10]) == (1, "2024-03-01")
        assert opened.dataset("parcels").read(since="2024-04-10").height > 0
    assert run("verify", "--json")
    assert "1 files with 3,622 rows" in run("data", "restore", "parcels", "--why", "an audit")
    with package.open(home) as opened:
        assert opened.dataset("parcels").read(limit=5).height == 5


@pytest.mark.slow
def test_rows_are_corrected_compared_tagged_and_read_back(run, home, tmp_path):
    shown = json.loads(run("--json", "data", "show", "parcels"))
    last = shown["version"]
    assert list(shown["named"].values()) == ["late-parcel v1"]
    run("data", "read", "parcels", "--to", str(tmp_path / "all.csv"))
    rows = pl.read_csv(tmp_path / "all.csv", infer_schema=False)
    rows.head(3).with_columns(load=pl.lit("0.25")).write_csv(tmp_path / "some.csv")
    run("data", "tag", "parcels", "before", "--why", "as it was")
    out = run("data", "merge", "parcels", str(tmp_path / "some.csv"), "--why", "wrong scale")
    assert f"parcels is version {last + 1}: 0 new, 3 changed, 0 gone, 0 as before" in out
    assert "nothing changed" in run("data", "merge", "parcels", str(tmp_path / "some.csv"))
    differs = json.loads(run("--json", "data", "diff", "parcels@before", "--rows", "2"))
    assert differs["parts"][0]["columns"] == {"load": 3}
    assert len(differs["rows"]) == 2
    assert differs["parts"][0]["profile"] is None
    told = run("data", "diff", "parcels@before", "--profile")
    assert f"what moved since version {last}, known at asked_at" in told
    run("data", "read", "parcels@before", "--to", str(tmp_path / "before.parquet"))
    run("data", "read", "parcels", "--to", str(tmp_path / "now.parquet"))
    before, now = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("before", "now"))
    assert not before.equals(now)
    assert before.drop("load").equals(now.drop("load"))
    assert "as it was" in run("data", "show", "parcels")
    assert "0 files" in run("data", "vacuum", "parcels", "--keep", "1", "--dry-run")
    refused = run("data", "overwrite", "parcels", str(tmp_path / "all.csv"), "--seen", "1", status=1)
    assert f"expected=1, found={last + 1}" in refused
    assert list((home / "staged").iterdir()) == []
    with package.open(home) as opened:
        data = opened.dataset("parcels")
        assert data.tags == {"before": last}
        assert data.diff("before").parts[0].n_changed == 3
        profile = data.diff("before", profile=True).parts[0].profile
        assert profile.n_before == profile.n_after == data.diff("before").parts[0].n_before
        assert data.read(version="before", limit=5).height == 5
        told = data.profile(last + 1, against="before")
        assert [one.name for one in told.difference.columns if one.moved] in ([], ["load"])
        assert told.profile.n_rows == data.profile("before").profile.n_rows
        assert "Distribution of load" in told._repr_html_()
        with pytest.raises(FailedPrecondition, match="is only read"):
            opened.dataset.tag("parcels", "mine")
    page = tmp_path / "page.html"
    assert "rows" in run("data", "profile", "parcels", "--against", "before", "--html", str(page))
    assert page.stat().st_size < 300_000
    assert "windows of parcels" in run("data", "watch", "parcels")
    assert json.loads(run("--json", "verify"))["ok"]


@pytest.mark.slow
def test_a_running_server_answers_by_the_rows_that_were_replaced(served_project, tmp_path):
    file = served_project(tmp_path)
    home = tmp_path / "home"
    varv(home, "data", "read", "deliveries", "--to", str(tmp_path / "all.parquet"))
    rows = pl.read_parquet(tmp_path / "all.parquet").sort("delivered_at", nulls_last=True)
    told = rows.filter(pl.col("late").is_not_null()).tail(400)
    told.select("delivery_id", "delivered_at", late=1 - pl.col("late")).write_parquet(
        tmp_path / "told.parquet"
    )
    last = rows.tail(1).to_dicts()[0]
    asked = {name: last[name] for name in ("district", "courier", "distance_km", "weight_kg", "hour")}
    server = Server(home, file, training_nice=0)
    assert server.predict("first", **asked).status_code == 200
    out = json.loads(
        varv(home, "--json", "data", "merge", "deliveries/delivered_at", str(tmp_path / "told.parquet"))
    )
    assert (out["n_changed"], out["flows"]) == (400, True)
    assert server.predict("second", **asked).status_code == 200
    asking = server.control.post("/api/v1/dataset/show", json={"dataset": "deliveries"})
    assert asking.json()["version"] == out["version"]
    published = json.loads(varv(home, "--json", "data", "publish", "deliveries"))
    assert published["version"] >= out["version"]
    table = home / published["parts"][1]["place"]
    varv(home, "data", "read", f"deliveries@{published['version']}", "--to", str(tmp_path / "now.parquet"))
    stored = pl.read_parquet(tmp_path / "now.parquet")["late"].sum()
    assert pl.scan_delta(table).select(pl.col("late").sum()).collect().item() == stored
    kept = json.loads(varv(home, "--json", "data", "vacuum", "deliveries"))["named"]
    assert "late-parcel v1" in kept.values()
    refused = server.control.post("/api/v1/dataset/show", json={"dataset": "deliveries@9999"})
    assert refused.status_code == 404
    server.stop()
    again = Server(home, file, training_nice=0)
    assert again.predict("third", **asked).status_code == 200
    again.stop()
    with package.open(home) as opened:
        frame = opened.model().predictions()
    one, two, three = (
        frame.filter(key=name).drop("key", "requested_at") for name in ("first", "second", "third")
    )
    lately = [name for name in frame.columns if "late_mean" in name]
    assert not one.select(lately).equals(two.select(lately))
    assert two.select(lately).equals(three.select(lately))


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_a_file_of_rows_reads_back_as_it_was_written(tmp_path, kind):
    at = pl.Series("at", [1_700_000_000_123_456, None, 5], dtype=pl.Int64).cast(TIME)
    rows = pl.DataFrame(
        {
            "id": ["a", "b", None],
            "at": at,
            "n": [1, None, 3],
            "late": [True, None, False],
            "x": [0.1, -1e9, None],
        }
    )
    place = tmp_path / f"rows.{kind}"
    write_rows(place, rows.with_columns(other=pl.lit("more")))
    assert read_rows(place, TYPES).equals(rows)


def test_a_file_that_holds_something_else_is_refused_by_name(tmp_path):
    place = tmp_path / "rows.csv"
    place.write_text("id,n\na,many\n")
    with pytest.raises(InvalidInput, match="does not hold rows of this dataset"):
        read_rows(place, TYPES)
    place.write_text("other\n1\n")
    with pytest.raises(InvalidInput, match="has none of the dataset's columns"):
        read_rows(place, TYPES)
    with pytest.raises(InvalidInput, match="is of an unknown kind"):
        read_rows(tmp_path / "rows.xlsx", TYPES)


@pytest.mark.slow
def test_a_version_is_published_tagged_exported_and_joined(run, home, tmp_path):
    published = json.loads(run("--json", "data", "publish", "parcels"))
    assert [one["delta_version"] for one in published["parts"]] == [1, 1]
    assert json.loads(run("--json", "data", "publish", "parcels")) == published
    table = home / published["parts"][0]["place"]
    assert json.loads(run("--json", "data", "show", "parcels"))["published"][0]["delta_version"] == 1
    run("data", "read", "parcels", "--to", str(tmp_path / "all.parquet"))
    rows = pl.read_parquet(tmp_path / "all.parquet")
    assert pl.scan_delta(table).select("parcel").collect()["parcel"].sort().equals(rows["parcel"].sort())
    text = run("data", "sql", f"parcels@{published['version']}")
    assert f"delta_scan('{table}', version => 1)" in text
    run("data", "publish", "parcels@1", "--to", str(tmp_path / "out"))
    n_first = pl.scan_delta(tmp_path / "out" / "asked_at").collect().height
    assert 0 < n_first < rows.height
    assert "were there" in run("data", "publish", "parcels@1", "--to", str(tmp_path / "out"))
    refused = run("data", "publish", "parcels@1", status=1)
    assert "varv data publish parcels@1 --to FOLDER" in refused
    rows.head(2).with_columns(pl.col("load") + 1).write_parquet(tmp_path / "some.parquet")
    for last, leaves in (("read", ["--to", str(tmp_path / "now.parquet")]), ("tag", ["now"])):
        merged = run("--json", "data", "merge", "parcels", str(tmp_path / "some.parquet"))
        version = json.loads(merged)["version"]
        run("data", last, "parcels", *leaves)
        shown = json.loads(run("--json", "data", "show", "parcels"))["published"]
        assert {one["version"] for one in shown} == {version}, last
        rows.head(2).with_columns(pl.col("load") + 2).write_parquet(tmp_path / "some.parquet")
    assert json.loads(run("--json", "verify"))["ok"]
    with package.open(home) as opened:
        assert "CREATE OR REPLACE VIEW" in opened.dataset.sql("parcels", dialect="spark").sql

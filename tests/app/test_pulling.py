"""`varv data pull` where none serves the home, and sources that a running server pulls in time."""

from __future__ import annotations

import json

import polars as pl
import pytest
from tests.app.serving import Server, eventually, varv


def outcomes(folder, n: int):
    """Say when the last deliveries without an outcome came, as the file of the project does; return their
    keys.
    """
    rows = pl.read_csv(folder / "deliveries.csv", infer_schema=False)
    open_ones = rows.filter(pl.col("delivered_at").is_null()).tail(n)["delivery_id"].to_list()
    came = pl.col("delivery_id").is_in(open_ones)
    last = rows["ordered_at"].max()
    rows.with_columns(
        delivered_at=pl.when(came).then(pl.lit(last)).otherwise("delivered_at"),
        late=pl.when(came).then(pl.lit("1")).otherwise("late"),
    ).write_csv(folder / "deliveries.csv")
    return open_ones


@pytest.mark.slow
def test_outcomes_come_by_a_pull_offline_and_by_a_server_in_its_time(served_project, tmp_path):
    file = served_project(tmp_path)
    home = tmp_path / "home"
    told = json.loads(varv(home, "--json", "data", "pull", "deliveries", "--project", str(file)))
    [first] = told["pulled"]
    # The history read the same file, so everything is known.
    assert (first["n_new"], first["n_different"], first["done"]) == (0, 0, True)
    n_open = len(outcomes(tmp_path, 4))
    assert n_open
    out = varv(home, "data", "pull", "deliveries", "--project", str(file))
    assert f"{n_open} new" in out
    assert "follow when varv up runs next" in out
    assert "nothing new" in varv(home, "data", "pull", "deliveries", "--project", str(file))
    assert "no dataset says how often" in varv(home, "data", "pull", "--project", str(file))
    refused = varv(home, "data", "pull", "nothing", "--project", str(file), check=False)
    assert refused == ""
    text = file.read_text()
    assert 'event_time="ordered_at",' in text
    file.write_text(text.replace('event_time="ordered_at",', 'event_time="ordered_at",\n    every="1s",', 1))
    n_more = len(outcomes(tmp_path, 3))
    server = Server(home, file, training_nice=0)
    try:

        def pulled():
            found = json.loads(varv(home, "--json", "status"))["pulls"]
            return found[0] if found and found[0]["n_rows"] == n_open + n_more else None

        state = eventually(pulled)
        assert state["dataset"] == "deliveries"
        assert state["failed"] == ""
        assert "varv_pulled_rows_total" in server.control.get("/metrics").text
        file.write_text(file.read_text().replace('every="1s"', 'every="9h"'))
        varv(home, "apply")
        n_last = len(outcomes(tmp_path, 2))
        said = server.control.post("/api/v1/dataset/pull", json={"dataset": "deliveries"})
        assert said.json()["pulled"][0]["n_new"] == n_last
        (tmp_path / "deliveries.csv").rename(tmp_path / "away.csv")
        said = server.control.post("/api/v1/dataset/pull", json={"dataset": "deliveries"})
        assert said.status_code == 200, said.text
        assert said.json()["pulled"][0]["n_read"] == 0
        assert "from" in varv(home, "status")
    finally:
        (tmp_path / "away.csv").rename(tmp_path / "deliveries.csv")
        server.stop()
    assert json.loads(varv(home, "--json", "verify"))["ok"]


DERIVED = """
import polars as pl
import varv

@varv.step
def late_only(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("n_late") > {least})

parcels = varv.rows("parcels")
days = varv.sql(
    "SELECT date_trunc('day', asked_at) AS day, route, sum(CAST(late AS INTEGER)) AS n_late"
    " FROM parcels GROUP BY ALL",
    parcels=parcels,
)
late = varv.Pipeline(
    "late", varv.into("late_days", late_only.bind(days), key=["day", "route"], event_time="day")
)
"""


@pytest.mark.slow
def test_a_pipeline_makes_a_version_that_says_what_it_was_made_from(lived, tmp_path):
    pytest.importorskip("duckdb")
    home = tmp_path / "home"
    lived(home).close()
    file = tmp_path / "derived.py"
    file.write_text(DERIVED.format(least=0))

    def run() -> dict:
        out = varv(home, "--json", "pipeline", "run", str(file), "--in-process", check=False)
        assert "versions" in out, out
        return json.loads(out)

    first = run()
    [made] = first["versions"]
    assert (made["dataset"], made["version"]) == ("late_days", 1)
    last = json.loads(varv(home, "--json", "data", "show", "parcels"))["version"]
    shown = json.loads(varv(home, "--json", "data", "show", "late_days"))
    assert shown["made_from"] == {"parcels": last}
    assert f"made from parcels@{last}" in varv(home, "data", "show", "late_days")
    again = run()
    assert [one["how"] for one in again["steps"]] == ["hit"] * 4
    assert again["versions"][0]["version"] == 1
    file.write_text(DERIVED.format(least=9))
    changed = run()
    assert [one["how"] for one in changed["steps"]] == ["hit", "hit", "ran", "ran"]
    assert changed["versions"][0]["version"] == 2
    assert json.loads(varv(home, "--json", "verify"))["ok"]

"""The ends of pipelines of data: queries over results, and rows that are to become a version."""

from __future__ import annotations

import polars as pl
import pytest

import varv
from varv.kernel.errors import FailedPrecondition, InvalidDeclaration, InvalidInput
from varv.pipelines.versions import rows_for_version, run_sql

TRIPS = pl.DataFrame({"id": ["a", "b", "c"], "day": [1, 1, 2]})


def test_a_query_reads_its_tables_and_nothing_else(tmp_path):
    pytest.importorskip("duckdb")
    found = run_sql("SELECT day, count(*) AS n FROM trips GROUP BY day ORDER BY day", {"trips": TRIPS})
    assert found.rows() == [(1, 2), (2, 1)]
    (tmp_path / "x.csv").write_text("a\n1\n")
    with pytest.raises(InvalidInput, match="is refused"):
        run_sql(f"SELECT * FROM '{tmp_path}/x.csv'", {"trips": TRIPS})


def test_nodes_are_bound_and_keyed_by_query_and_version():
    trips = varv.rows("trips@audited")
    node = varv.sql("SELECT * FROM trips", trips=trips)
    table = varv.Pipeline("table", varv.into("daily", node, key="id", event_time="at"))
    assert [one.name for one in table.nodes] == ["trips_audited", "sql_rows", "daily_version"]
    other = varv.Pipeline(
        "table", varv.into("daily", varv.sql("SELECT 1", trips=trips), key="id", event_time="at")
    )
    assert table.digest != other.digest
    assert table.with_params({"trips_audited.at": "3"}).digest != table.digest
    with pytest.raises(InvalidDeclaration, match="no result of a step"):
        varv.sql("SELECT 1", trips=TRIPS)
    with pytest.raises(FailedPrecondition, match="by whoever has the home"):
        trips.step(reference="trips")


def test_rows_that_cannot_be_a_version_are_refused_before_they_are_written():
    twice = pl.concat([TRIPS, TRIPS])
    with pytest.raises(InvalidInput, match="is given a key twice"):
        rows_for_version(twice, "daily", ["id"], "day", {})
    with pytest.raises(InvalidInput, match="is given no column 'at'"):
        rows_for_version(TRIPS, "daily", ["id"], "at", {})

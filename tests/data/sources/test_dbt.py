"""dbt's artifacts: where a model is, what it is made of, its tests, and whether it was built."""

from __future__ import annotations

import json
import sqlite3

import polars as pl
import pytest

from varv.data import Dbt
from varv.data.contracts import expect
from varv.data.sources.dbt_artifacts import dbt_model
from varv.data.sources.steps import Asked
from varv.kernel.clock import Instant
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound

ORDERS = "model.shop.orders"


def test_node(name: str, **more) -> dict:
    kwargs = {"column_name": "status", "model": "{{ get_where_subquery(ref('orders')) }}", **more}
    return {
        "resource_type": "test",
        "name": name,
        "test_metadata": {"name": name, "kwargs": kwargs},
        "attached_node": ORDERS,
        "column_name": "status",
        "config": {"severity": "WARN" if name == "not_null" else "ERROR"},
    }


test_node.__test__ = False


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    manifest = {
        "metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json"},
        "nodes": {
            ORDERS: {
                "unique_id": ORDERS,
                "resource_type": "model",
                "name": "orders",
                "schema": "main",
                "relation_name": '"main"."orders"',
                "columns": {"id": {}, "at": {}},
                "depends_on": {"nodes": ["source.shop.raw_orders"]},
            },
            "test.1": test_node("not_null"),
            "test.2": test_node("accepted_values", values=["paid", "sent"]),
            "test.3": {**test_node("unique"), "attached_node": "model.shop.others"},
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    built(folder, "run-1")
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE orders (id TEXT, at TEXT)")
        connection.execute("INSERT INTO orders VALUES ('a', '2013-01-01')")
    return folder


def built(folder, invocation: str, status: str = "success") -> None:
    results = {
        "metadata": {
            "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
            "invocation_id": invocation,
        },
        "results": [{"unique_id": ORDERS, "status": status, "message": "said so"}],
    }
    (folder / "run_results.json").write_text(json.dumps(results))


def test_a_manifest_says_where_a_model_is_and_how_it_is_tested(target):
    found = dbt_model(target, "orders")
    assert (found.relation, found.depends_on) == ('"main"."orders"', ("source.shop.raw_orders",))
    assert [(one.kind, one.column, dict(one.given), one.severity) for one in found.tests] == [
        ("not_null", "status", {}, "warn"),
        ("accepted_values", "status", {"values": ["paid", "sent"]}, "error"),
    ]
    with pytest.raises(NotFound, match="is not in the manifest"):
        dbt_model(target, "nothing")


def test_rows_are_read_when_another_run_has_built_them(target, tmp_path):
    source = Dbt(str(target), "orders", url=f"sqlite:///{tmp_path}/shop.db", times=("at",))
    assert source.types()["at"] == pl.Datetime("us", "UTC")
    cursor: dict[str, str] = {}
    steps = list(source.steps(Asked(cursor, {}, Instant(0))))
    for step in steps:
        cursor |= step.moved
    assert (steps[0].rows["id"].to_list(), cursor) == (["a"], {"invocation": "run-1"})
    assert list(source.steps(Asked(cursor, {}, Instant(0)))) == []
    built(target, "run-2", status="error")
    with pytest.raises(FailedPrecondition, match="was not built by dbt's last run: error"):
        list(source.steps(Asked(cursor, {}, Instant(0))))
    built(target, "run-3")
    assert list(source.steps(Asked(cursor, {}, Instant(0))))[-1].moved == {"invocation": "run-3"}


def test_tests_of_a_model_become_rules_and_others_are_listed(target):
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["nodes"] |= {
        "test.4": test_node("relationships", to="ref('customers')", field="id"),
        "test.5": {**test_node("unique"), "config": {"where": "status = 'paid'"}},
        "test.6": test_node("dbt_utils.accepted_range", min_value=0),
    }
    (target / "manifest.json").write_text(json.dumps(manifest))
    found = Dbt(str(target), "orders", url="sqlite:///x.db").rules()
    wanted = (
        expect.present("status", severity="warn"),
        expect.one_of("status", ["paid", "sent"]),
        expect.between("status", 0),
    )
    assert found.expectations == wanted
    assert [one.why for one in found.left_out] == [
        "it compares two tables",
        "its condition is one of SQL; write it with when=",
    ]


def test_an_artifact_of_an_unknown_schema_is_refused(target):
    (target / "manifest.json").write_text('{"metadata": {"dbt_schema_version": "v1"}}')
    with pytest.raises(InvalidInput, match="is no manifest of dbt that is read"):
        dbt_model(target, "orders")

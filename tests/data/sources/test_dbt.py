"""dbt's artifacts: where a model is, what it is made of, its tests, and whether it was built."""

from __future__ import annotations

import json
import sqlite3

import polars as pl
import pytest
from tests.data.versioning.stores import Store

from varv.data import Dataset, DatasetsView, Dbt
from varv.data.alarms import DataAlarmsView
from varv.data.contracts import expect
from varv.data.ingestion.pulling import Puller
from varv.data.ingestion.verbs import OfflineActs
from varv.data.ingestion.views import PullsView
from varv.data.sources.dbt_artifacts import dbt_model
from varv.data.sources.steps import Asked
from varv.data.versioning.verbs import ShowDataset, offline_versions, show_dataset
from varv.home.alarms import open_alarms
from varv.home.data_status import pull_status
from varv.kernel.clock import Instant
from varv.kernel.errors import FailedPrecondition, InvalidDeclaration, InvalidInput, NotFound
from varv.kernel.views import Views
from varv.labels.views import LabelsView
from varv.monitoring.views import MonitoringView

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


def freshness_of(folder, **statuses):
    results = [
        {
            "unique_id": f"source.shop.{name}",
            "max_loaded_at": "2024-05-01T10:00:00Z",
            "snapshotted_at": "2024-05-01T12:00:00Z",
            "status": status,
        }
        for name, status in statuses.items()
    ]
    schema = "https://schemas.getdbt.com/dbt/sources/v3.json"
    said = {"metadata": {"dbt_schema_version": schema}, "results": results}
    (folder / "sources.json").write_text(json.dumps(said))


def test_a_model_is_as_fresh_as_the_sources_it_is_made_of_at_last(target):
    source = Dbt(str(target), "orders", url="sqlite:///shop.db")
    assert source.upstreams() == ()
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["nodes"][ORDERS]["depends_on"]["nodes"] = ["model.shop.clean", "source.shop.raw_orders"]
    manifest["nodes"]["model.shop.clean"] = {"depends_on": {"nodes": ["source.shop.paid", ORDERS]}}
    (target / "manifest.json").write_text(json.dumps(manifest))
    freshness_of(target, raw_orders="pass", paid="error", other="warn")
    found = {one.name: one.status for one in source.upstreams()}
    assert found == {"source.shop.raw_orders": "pass", "source.shop.paid": "error"}


@pytest.mark.parametrize(
    ("late_if", "late"), [("", ""), ("error", "error runtime error"), ("warn", "warn error runtime error")]
)
def test_what_makes_a_dataset_late_is_declared(target, late_if, late):
    manifest = json.loads((target / "manifest.json").read_text())
    statuses = {"a": "pass", "b": "warn", "c": "error", "d": "runtime error"}
    manifest["nodes"][ORDERS]["depends_on"]["nodes"] = [f"source.shop.{name}" for name in statuses]
    (target / "manifest.json").write_text(json.dumps(manifest))
    freshness_of(target, **statuses)
    source = Dbt(str(target), "orders", url="sqlite:///shop.db", late_if=late_if)
    assert " ".join(one.status for one in source.upstreams() if one.is_late) == late
    with pytest.raises(InvalidDeclaration, match="is late if 'fail'"):
        Dbt(str(target), "orders", url="sqlite:///shop.db", late_if="fail")


def test_what_is_said_of_upstreams_is_on_record_once_and_shown(target, tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("INSERT INTO orders VALUES ('a', '2024-05-01T00:00:00Z')")
    source = Dbt(str(target), "orders", url=f"sqlite:///{tmp_path}/shop.db", times=("at",))
    store = Store(tmp_path)
    views = Views(store.ledger, DatasetsView, PullsView)
    dataset = Dataset("orders", source=source, key="id", event_time="at")
    store.datasets.commit(store.datasets.register(dataset))
    puller = Puller(store.datasets, views, store.clock, OfflineActs(store.datasets))
    freshness_of(target, raw_orders="pass")
    for status in ("pass", "pass", "warn"):
        freshness_of(target, raw_orders=status)
        puller.pull(dataset)
        assert _late(views) == []
    lines = [one.event.line() for one in store.ledger.read() if one.name == "data.upstreams_checked"]
    assert len(lines) == 2
    assert lines[1].endswith("not fresh: source.shop.raw_orders (warn)")
    desk = offline_versions(tmp_path, store.ledger, views, store.clock, lambda _: {})
    [found] = show_dataset(desk, ShowDataset(dataset="orders")).upstreams
    assert (found.status, found.loaded_at) == ("warn", "2024-05-01T10:00:00Z")
    assert pull_status(views, store.clock.now())[0].stale == (found,)
    freshness_of(target, raw_orders="error")
    puller.pull(dataset)
    assert _late(views) == ["orders: source.shop.raw_orders, which its source is made of, is not fresh"]
    freshness_of(target, raw_orders="pass")
    puller.pull(dataset)
    assert _late(views) == []


def _late(views):
    with views.reading(PullsView) as pulls:
        found = open_alarms(DataAlarmsView(), pulls, MonitoringView(), LabelsView())
    return [one.what for one in found if one.kind == "late"]


def test_declared_freshness_of_a_source_is_a_rule(target):
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["sources"] = {
        "source.shop.raw_orders": {
            "unique_id": "source.shop.raw_orders",
            "resource_type": "source",
            "name": "raw_orders",
            "schema": "raw",
            "loaded_at_field": "at",
            "freshness": {"warn_after": {"count": 12, "period": "hour"}, "error_after": {"count": None}},
        }
    }
    (target / "manifest.json").write_text(json.dumps(manifest))
    source = Dbt(str(target), "raw_orders", url="sqlite:///shop.db")
    assert source.rules().expectations == (expect.fresh("at", within="12h"),)

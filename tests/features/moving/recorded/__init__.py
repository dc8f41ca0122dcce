"""What Feast 0.67 itself wrote: the registry of a repository, and a dump of most of it.

`tests.peers.clients.feast_repository` declares that repository. Its rows are made here, few and the same.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from pathlib import Path

import polars as pl

from varv.features.moving.registry import items_of

HERE = Path(__file__).parent
REGISTRY, DUMP = HERE / "registry.pb", HERE / "dump.json"
BEGIN = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
TABLES = {
    1: ("entities", "entity_proto"),
    6: ("feature_views", "feature_view_proto"),
    7: ("feature_services", "feature_service_proto"),
    8: ("on_demand_feature_views", "feature_view_proto"),
    12: ("data_sources", "data_source_proto"),
    14: ("stream_feature_views", "feature_view_proto"),
    17: ("projects", "project_proto"),
}


def at(minutes):
    return BEGIN + dt.timedelta(minutes=minutes)


def repository(folder: Path, registry="registry: data/registry.pb") -> Path:
    """Make the repository, with Python in it that must not run."""
    (folder / "data").mkdir(parents=True)
    (folder / "feature_store.yaml").write_text(f"project: rides\nprovider: local\n{registry}\n")
    (folder / "data/registry.pb").write_bytes(REGISTRY.read_bytes())
    (folder / "features.py").write_text("raise SystemExit('code of the repository ran')\n")
    for name, rows in tables().items():
        rows.write_parquet(folder / f"data/{name}.parquet")
    return folder


def tables():
    """Return the rows: of a driver one corrected, one late, one written too early and one repeated."""
    event, created = [0, 60, 60, 120, 180, 180], [0, 60, 90, 300, 170, 170]
    stats = {
        "driver_id": [1] * 6,
        "event_timestamp": [at(one) for one in event],
        "created": [at(one) for one in created],
        "conv_rate": pl.Series([0.5, 0.25, 0.75, 1.0, 0.125, 0.0625], dtype=pl.Float32),
        "acc_rate": [0.5, None, 0.25, 1.0, 0.5, 0.5],
        "avg_daily_trips": [1, 2, 3, 4, 5, 6],
    }
    trips = {
        "driver_id": [1, 1],
        "customer_id": ["a", "b"],
        "ended_at": [at(0), at(30)],
        "price_eur": [10.0, 20.0],
        "city": ["Gävle", None],
        "stops": [[0.5], [0.5]],
        "begun_at": [at(0), at(0)],
    }
    weather = {"at": [at(0), at(60)], "wind": [1.0, 2.0], "sky": ["clear", "rain"]}
    named = {"driver_stats": stats, "trips": trips, "weather": weather}
    return {name: pl.DataFrame(columns) for name, columns in named.items()}


def in_sql(path: Path) -> None:
    """Write the registry as the tables of a database."""
    with sqlite3.connect(path) as db:
        for table, column in TABLES.values():
            db.execute(f"CREATE TABLE {table} (project_id TEXT, {column} BLOB)")
        for one in items_of(REGISTRY.read_bytes()):
            if one.field in TABLES:
                table, column = TABLES[one.field]
                db.execute(f"INSERT INTO {table} VALUES ('rides', ?)", (one.message,))
        db.execute("INSERT INTO entities SELECT 'another', entity_proto FROM entities")
    db.close()

"""Makes a repository of Feast, in an environment that has it: ``python feast_repository.py FOLDER SEED``.

Its rows have all that joins go wrong by: ties, corrections, rows that come late, before their time or never,
ages of exactly the ttl, nulls, keys of two columns. It has a file registry, the same as SQL, and its dump.
"""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    KafkaSource,
    PushSource,
    RequestSource,
    SnowflakeSource,
    StreamFeatureView,
    ValueType,
)
from feast.aggregation import Aggregation
from feast.data_format import JsonFormat
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float32, Float64, Int64, String, UnixTimestamp

BEGIN = pd.Timestamp("2026-03-01", tz="UTC")

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)

stats_source = FileSource(
    name="driver_stats_source",
    path="data/driver_stats.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
)
trips_source = FileSource(
    name="trips_source",
    path="data/trips.parquet",
    timestamp_field="ended_at",
    field_mapping={"price_eur": "fare"},
)
weather_source = FileSource(name="weather_source", path="data/weather.parquet", timestamp_field="at")
snow_source = SnowflakeSource(
    name="snow_source", database="D", schema="S", table="CUSTOMERS", timestamp_field="ts"
)
push_source = PushSource(name="driver_stats_push", batch_source=stats_source)
kafka_source = KafkaSource(
    name="trips_stream",
    kafka_bootstrap_servers="broker:9092",
    topic="trips",
    timestamp_field="ended_at",
    batch_source=trips_source,
    message_format=JsonFormat("customer_id string, ended_at timestamp, fare double"),
)
request_source = RequestSource(
    name="vals_to_add", schema=[Field(name="val_to_add", dtype=Int64), Field(name="factor", dtype=Float64)]
)

driver_stats = FeatureView(
    name="driver_hourly_stats",
    entities=[driver],
    ttl=dt.timedelta(hours=2),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="conv_rate", dtype=Float32),
        Field(name="acc_rate", dtype=Float64),
        Field(name="avg_daily_trips", dtype=Int64),
    ],
    source=stats_source,
)
driver_fresh = FeatureView(
    name="Driver_Fresh",
    entities=[driver],
    ttl=dt.timedelta(days=1),
    schema=[Field(name="driver_id", dtype=Int64), Field(name="acc_rate", dtype=Float64)],
    source=push_source,
)
trips = FeatureView(
    name="trips",
    entities=[driver, customer],
    ttl=dt.timedelta(0),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="customer_id", dtype=String),
        Field(name="fare", dtype=Float64),
        Field(name="city", dtype=String),
        Field(name="stops", dtype=Array(Float32)),
        Field(name="begun_at", dtype=UnixTimestamp),
    ],
    source=trips_source,
)
weather = FeatureView(
    name="weather",
    entities=[],
    ttl=dt.timedelta(hours=3),
    schema=[Field(name="wind", dtype=Float64), Field(name="sky", dtype=String)],
    source=weather_source,
)
snow = FeatureView(
    name="customer_profile",
    entities=[customer],
    ttl=dt.timedelta(days=30),
    schema=[Field(name="customer_id", dtype=String), Field(name="score", dtype=Float64)],
    source=snow_source,
)
stream = StreamFeatureView(
    name="customer_trips",
    entities=[customer],
    ttl=dt.timedelta(days=1),
    mode="spark",
    schema=[Field(name="customer_id", dtype=String), Field(name="fare", dtype=Float64)],
    timestamp_field="ended_at",
    aggregations=[
        Aggregation(column="fare", function="mean", time_window=dt.timedelta(hours=3)),
        Aggregation(column="fare", function="count", time_window=dt.timedelta(hours=3)),
    ],
    source=kafka_source,
)


@on_demand_feature_view(
    sources=[driver_stats, request_source],
    schema=[Field(name="conv_plus", dtype=Float64), Field(name="conv_scaled", dtype=Float64)],
)
def shifted(inputs: pd.DataFrame) -> pd.DataFrame:
    """Add what the request says."""
    df = pd.DataFrame()
    df["conv_plus"] = inputs["conv_rate"] + inputs["val_to_add"]
    df["conv_scaled"] = (inputs["conv_rate"] - 0.5) * inputs["factor"] / 2
    return df


@on_demand_feature_view(
    sources=[driver_stats, request_source],
    schema=[Field(name="ratio", dtype=Float64)],
    mode="python",
)
def ratio(inputs):
    return {"ratio": [a * b for a, b in zip(inputs["acc_rate"], inputs["factor"], strict=True)]}


FeatureService_1 = FeatureService(name="driver_activity_v1", features=[driver_stats[["conv_rate"]], shifted])
FeatureService_2 = FeatureService(name="everything", features=[driver_stats, trips, weather])

OBJECTS = [
    driver,
    customer,
    stats_source,
    trips_source,
    weather_source,
    snow_source,
    push_source,
    kafka_source,
    driver_stats,
    driver_fresh,
    trips,
    weather,
    snow,
    stream,
    shifted,
    ratio,
    FeatureService_1,
    FeatureService_2,
]


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    (folder / "data").mkdir(parents=True, exist_ok=True)
    write_rows(folder / "data", np.random.default_rng(seed))
    online = "online_store:\n  type: sqlite\n  path: data/online.db\n"
    head = (
        "project: rides\nprovider: local\nentity_key_serialization_version: 3\noffline_store:\n  type: file\n"
    )
    # Its own dump fails where a view is computed in Python row by row, or read from a stream.
    dumped = [one for one in OBJECTS if one not in (ratio, stream, kafka_source)]
    for name, registry, objects in (
        ("dumped", "registry: data/dumped.db", dumped),
        ("sql", f"registry:\n  registry_type: sql\n  path: sqlite:///{folder}/data/sql.db", OBJECTS),
        ("file", "registry: data/registry.db", OBJECTS),
    ):
        text = f"{head}{online}{registry}\n"
        (folder / "feature_store.yaml").write_text(text)
        (folder / f"{name}.yaml").write_text(text)
        FeatureStore(repo_path=str(folder)).apply(objects)
        if name == "dumped":
            dump(folder)


def dump(folder: Path) -> None:
    feast = Path(sys.executable).with_name("feast")
    dumped = subprocess.run(
        [str(feast), "-c", str(folder), "registry-dump"], check=True, capture_output=True, text=True
    )
    begin = dumped.stdout.index("{")
    (folder / "dump.json").write_text(json.dumps(json.loads(dumped.stdout[begin:]), indent=1))


def write_rows(folder: Path, random: np.random.Generator) -> None:
    n = 3_000
    minutes = random.integers(0, 4_000, n)
    event = BEGIN + minutes_of(minutes)
    late = np.where(random.random(n) < 0.3, random.integers(0, 600, n), 0)
    early = np.where(random.random(n) < 0.02, -5, 0)
    created = pd.Series(event + minutes_of(late + early))
    stats = pd.DataFrame(
        {
            "driver_id": random.integers(1000, 1040, n),
            "event_timestamp": event,
            "created": created,
            "conv_rate": random.random(n).astype("float32"),
            "acc_rate": np.where(random.random(n) < 0.1, np.nan, random.random(n)),
            "avg_daily_trips": random.integers(0, 1000, n),
        }
    )
    corrected = stats.sample(n // 10, random_state=seed_of(random)).copy()
    corrected["created"] += pd.Timedelta(minutes=7)
    corrected["conv_rate"] = random.random(len(corrected)).astype("float32")
    pd.concat([stats, corrected]).to_parquet(folder / "driver_stats.parquet", index=False)
    trips = pd.DataFrame(
        {
            "driver_id": random.integers(1000, 1010, n),
            "customer_id": [f"c{one}" for one in random.integers(0, 8, n)],
            "ended_at": BEGIN + minutes_of(random.integers(0, 4_000, n)),
            "price_eur": np.round(random.random(n) * 90, 2),
            "city": random.choice(["Uppsala", "Gävle", None], n),
            "stops": [[0.5]] * n,
            "begun_at": BEGIN + minutes_of(random.integers(0, 4_000, n)),
        }
    )
    trips.to_parquet(folder / "trips.parquet", index=False)
    at = BEGIN + minutes_of(np.arange(0, 4_000, 60))
    pd.DataFrame(
        {"at": at, "wind": random.random(len(at)), "sky": random.choice(["clear", "rain"], len(at))}
    ).to_parquet(folder / "weather.parquet", index=False)


def minutes_of(numbers) -> pd.TimedeltaIndex:
    return pd.to_timedelta(numbers, unit="min")


def seed_of(random: np.random.Generator) -> int:
    return int(random.integers(0, 1 << 31))


if __name__ == "__main__":
    main()

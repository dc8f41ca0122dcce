"""Feast's own join of what `bench_training_sets.py` joins, run by an interpreter that has it.

    python feast_join.py STORE REQUESTS PATTERN...

Prints processor time of the process, its peak memory, rows and sums; 9 GB of address space are its limit.
"""

import datetime as dt
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

LIMIT_BYTES = 9 << 30
CONFIGURATION = """project: join
provider: local
registry: registry.db
offline_store: {{type: {store}}}
online_store: {{type: sqlite, path: online.db}}
entity_key_serialization_version: 3
"""


def main() -> None:
    store, asked, *patterns = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "feature_store.yaml").write_text(CONFIGURATION.format(store=store))
        feast = FeatureStore(folder)
        entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
        views = [view(f"v{number}", pattern, entity) for number, pattern in enumerate(patterns)]
        feast.apply([entity, *views])
        requests = pd.read_parquet(asked).rename(columns={"at": "event_timestamp"})
        features = [f"{one.name}:{field.name}" for one in views for field in one.features]
        started = time.process_time()
        joined = feast.get_historical_features(entity_df=requests, features=features).to_df()
        cpu_s = time.process_time() - started
    # The figure of getrusage begins with what the process held that started this one.
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    numbers = joined[[one.partition(":")[2] for one in features]].astype("float32").astype("float64")
    sums = [round(float(value), 3) for value in numbers.sum()]
    print(json.dumps({"cpu_s": cpu_s, "peak_mb": peak, "n_rows": len(joined), "sums": sums}))


def view(name: str, pattern: str, entity: Entity) -> FeatureView:
    values = [f"{Path(pattern).parent.name[0]}{number}" for number in range(5)]
    source = FileSource(name=f"{name}_rows", path=pattern, timestamp_field="at")
    fields = [Field(name="entity", dtype=Int64), *(Field(name=one, dtype=Float64) for one in values)]
    return FeatureView(name=name, entities=[entity], ttl=dt.timedelta(days=30), schema=fields, source=source)


if __name__ == "__main__":
    main()

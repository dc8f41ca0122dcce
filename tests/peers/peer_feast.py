"""An unmodified Feast client reads features from varv, through its remote online store.

`make feast` runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import polars as pl
import pytest
import uvicorn
from tests.app.serving import eventually
from tests.features.online.homes import UTC, VIEWS, OnlineHome, base, moment

from varv.app.server.protocol import bounded_protocol
from varv.fronts.inference import HotCalls, Inference, create_inference
from varv.fronts.inference.online import OnlineFeatures
from varv.kernel.clock import SystemClock, VirtualClock

PYTHON = Path(os.environ.get("PEERS", ".venv-peers")).absolute() / "feast" / "bin" / "python"

REPOSITORY = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Float32, Int64
from feast.value_type import ValueType

who = Entity(name="who", join_keys=["who"], value_type=ValueType.STRING)
source = FileSource(name="orders", path="orders.parquet", timestamp_field="at")
last = FeatureView(name="last", entities=[who], ttl=timedelta(hours=6), source=source,
                   schema=[Field(name="size", dtype=Float32), Field(name="kind", dtype=Int64)])
recent = FeatureView(name="recent", entities=[who], ttl=timedelta(days=1), source=source,
                     schema=[Field(name=name, dtype=Float32) for name in ("size_count_1d", "size_mean_1d")])
"""
CLIENT = """
import json, sys
from feast import FeatureStore

store = FeatureStore(".")
found = store.get_online_features(
    features=["last:size", "last:kind", "recent:size_count_1d", "recent:size_mean_1d"],
    entity_rows=[{"who": "ann"}, {"who": "bob"}, {"who": "nobody"}, {"who": "eve"}],
).to_dict()
print(json.dumps(found))
try:
    store.get_online_features(features=["last:size"], entity_rows=[{"who": "ann"}], full_feature_names=True)
    from feast.infra.online_stores.remote import get_remote_online_features
    asked = {"entities": {"who": ["ann"]}, "features": ["gone:size"]}
    get_remote_online_features(config=store.config, req_body=asked)
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


@pytest.fixture
def url(tmp_path):
    home = OnlineHome(tmp_path)
    ends = SystemClock().now()
    home.clock = VirtualClock(ends)
    home.reopen()
    rows = base([(1, 0, "ann", 1, 2.5, "red"), (2, 5, "ann", 2, 3.5, "red"), (3, 9, "bob", 3, None, "red")])
    older = base([(4, -600, "eve", 3, 1.5, "red")])
    for frame in (rows, older):
        # Feast asks for now, whatever it asks.
        shifted = frame["at"].cast(pl.Int64) - moment(9) + ends
        home.append("at", frame.with_columns(shifted.cast(UTC).alias("at")))
    for view in VIEWS:
        home.materialiser.materialise(view)
    inference = Inference()
    inference.features = OnlineFeatures(home.reader(), {"model": VIEWS}, inference.door)
    hot = bounded_protocol(hot=HotCalls(inference, None))
    server = uvicorn.Server(uvicorn.Config(create_inference(inference), port=0, http=hot, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: True if server.started else None)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def ran(folder, *arguments):
    found = subprocess.run([PYTHON, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-4000:]
    return found.stdout


def test_its_remote_online_store_reads_what_is_here(tmp_path, url):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "repository.py").write_text(REPOSITORY)
    (folder / "feature_store.yaml").write_text(
        f"project: p\nprovider: local\nregistry: registry.db\nonline_store: {{type: remote, path: {url}}}\n"
        "entity_key_serialization_version: 3\n"
    )
    base([(1, 0, "ann", 1, 2.5, "red")]).write_parquet(folder / "orders.parquet")
    ran(folder, "-c", "from feast.cli.cli import cli; cli()", "apply", "--skip-source-validation")
    said = ran(folder, "-c", CLIENT).splitlines()
    found, refused = json.loads(said[-2]), json.loads(said[-1])
    assert found["who"] == ["ann", "bob", "nobody", "eve"]
    assert found["size"] == [3.5, None, None, None]
    assert found["kind"] == [2, 3, None, None]
    assert found["size_count_1d"] == [2.0, 0.0, 0.0, 1.0]
    assert found["size_mean_1d"] == [3.0, None, None, 1.5]
    assert refused[0] == "FeatureViewNotFoundException"
    assert "gone" in refused[1]

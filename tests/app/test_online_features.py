"""`varv features`, and a server that answers features and serves a model from the online store."""

from __future__ import annotations

import io
import json

import polars as pl
import pytest
from tests.app.serving import Server, eventually, varv

from varv.fronts.api import ARROW

PARCEL = {"district": "centre", "courier": "cleo", "distance_km": 1.5, "weight_kg": 2.0, "hour": 5}
ASKED = {"entities": {"courier": ["cleo", "nobody"]}, "features": ["courier_lately:late_mean_7d"]}


@pytest.mark.slow
def test_a_server_keeps_features_online_and_serves_from_them(served_project, tmp_path):
    file = served_project(tmp_path)
    home = tmp_path / "home"
    assert "17,991 rows more" in varv(home, "features", "materialise", "courier_lately")
    shown = varv(home, "features", "read", "courier_lately", "--entity", "courier=cleo,nobody")
    assert "nobody" in shown
    in_memory = Server(home, file, training_nice=0)
    expected = in_memory.predict("x0", **PARCEL).json()
    assert in_memory.stop() == 0
    declare_ages(file)
    names = "courier_lately, district_lately"
    server = Server(home, file, training_nice=0, online_views=names, seal_every_s=0.2)
    is_online = 'varv_online_rows_total{view="district_lately"}'
    eventually(lambda: True if is_online in server.control.get("/metrics").text else None)
    listed = json.loads(varv(home, "features", "ls", "--json"))["views"]
    assert {one["view"]: one["n_too_late"] for one in listed} == {"courier_lately": 0, "district_lately": 0}
    assert server.predict("x1", **PARCEL).json() == expected
    answers_agree(server)
    follows(server, home)
    shares = eventually(lambda: reads_in(server.control.get("/metrics").text), deadline_s=20)
    assert server.stop() == 0
    reads = {one["view"]: one for one in json.loads(varv(home, "status", "--json"))["reads"]}
    assert {name: one["n"] for name, one in reads.items()} == {name: n for name, (n, _) in shares.items()}
    assert "courier_lately" in varv(home, "status")


def declare_ages(file):
    """Declare an age that every row has, and one that none has."""
    text = file.read_text()
    for name, fresh in (("courier_lately", "36500d"), ("district_lately", "1s")):
        text = text.replace(f'"{name}",', f'"{name}", fresh="{fresh}",')
    file.write_text(text)


def reads_in(metrics):
    """Return how many reads each view had and how many were fresh, once both ports and a model have read."""
    found = {}
    for kind in ("", "_fresh"):
        for name in ("courier_lately", "district_lately"):
            text = f'varv_feature_view{kind}_reads_total{{view="{name}"}} '
            if text in metrics:
                found.setdefault(name, []).append(int(float(metrics.split(text)[1].split()[0])))
    # A prediction reads both; then each port answers two couriers, and the verb one courier twice.
    return found if found == {"courier_lately": [7, 7], "district_lately": [1, 0]} else None


def answers_agree(server):
    """See that both ports, both forms and both protocols say the same."""
    found = server.inference.post("/get-online-features", json=ASKED).json()
    assert found == server.control.post("/get-online-features", json=ASKED).json()
    assert found["results"][1]["statuses"] == ["PRESENT", "NOT_FOUND"]
    value = found["results"][1]["values"][0]
    asked = {"entities": {"courier": ["cleo"]}, "features": ["courier_lately"]}
    said = server.act("features.read", **asked).json()
    assert said["rows"]["columns"][1]["values"] == [value]
    arrow = server.control.post("/api/v1/features/read", json=asked, headers={"accept": ARROW})
    assert pl.read_ipc_stream(io.BytesIO(arrow.content))["courier_lately__late_mean_7d"].to_list() == [value]
    assert json.loads(arrow.headers["x-varv-result"])["freshness"] == said["freshness"]
    refused = server.inference.post("/get-online-features", json={**ASKED, "features": ["gone:x"]})
    assert (refused.status_code, json.loads(refused.json())["class"]) == (404, "FeatureViewNotFoundException")


def follows(server, home):
    """See that what is pushed is online a moment later."""
    before = json.loads(varv(home, "features", "ls", "--json"))["views"]
    pushed = {"push_source_name": "deliveries/delivered_at", "df": {"delivery_id": ["x1"], "late": [1]}}
    assert server.control.post("/push", json=pushed).status_code == 200

    def is_there():
        now = json.loads(varv(home, "features", "ls", "--json"))["views"]
        return True if all(a["n_rows"] > b["n_rows"] for a, b in zip(now, before, strict=True)) else None

    eventually(is_there)
    assert server.control.post("/materialize", json={"feature_views": ["courier_lately"]}).status_code == 200
    assert 'varv_online_versions_behind{view="courier_lately"} 0' in server.control.get("/metrics").text

"""What the online store holds of a subject goes, in a file of the home and in a database outside of it."""

from __future__ import annotations

from contextlib import closing

import pytest
from tests.contracts.test_key_value import redis_url  # noqa: F401 - a fixture

from varv.app.compose import open_ledger, open_views
from varv.app.online import offline_online
from varv.features.online.verbs import MaterialiseRequest, ReadFeatures, materialise, read_features
from varv.home.erasure.carrying import Erasures
from varv.kernel.clock import SystemClock

VIEWS = ("courier_lately", "district_lately")


def read(desk, courier):
    asked = {"courier": [courier]}
    found = read_features(desk, ReadFeatures(features=("courier_lately",), entities=asked))
    return found.rows.row(0, named=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_features_online_are_filled_anew_without_the_subject(served_project, tmp_path, request, kind):
    place = request.getfixturevalue("redis_url") if kind == "redis" else "sqlite"
    served_project(tmp_path)
    home, clock = tmp_path / "home", SystemClock()
    with closing(open_ledger(home)) as ledger:
        views = open_views(ledger)
        desk = offline_online(home, ledger, views, clock, place, writes=True)
        materialise(desk, MaterialiseRequest(views=VIEWS))
        before = {name: read(desk, name) for name in ("cleo", "abe")}
        assert None not in before["cleo"].values()
        generations = [one.generation for one in desk.shown()]

        # Who has no store open can only say that something is left.
        blind = Erasures(home, ledger, views, clock)
        erasure = blind.request("deliveries", "courier", "cleo", by="ana")
        record = blind.carry(erasure)
        assert record.proven is None
        assert {f"online/{name}" for name in VIEWS} <= record.searched.left.keys()

        record = Erasures(home, ledger, views, clock, online=desk.store).carry(erasure)
        assert record.proven is not None, record.searched
        assert record.proven.places["online/courier_lately"] == "filled anew"
        assert set(read(desk, "cleo").values()) == {"cleo", None}
        assert read(desk, "abe") == before["abe"]
        assert [one.generation for one in desk.shown()] == [number + 1 for number in generations]

"""Stored predictions of a subject go with the rows, and a home goes on without them."""

from __future__ import annotations

import pytest
from tests.home.live_home import NOW, REQUEST, LiveHome

from varv.app.compose import open_ledger, open_views
from varv.app.verifying import verify_report
from varv.home.erasure.carrying import Erasures
from varv.home.erasure.searching import search
from varv.kernel.clock import DAY

ANA = "ana-maria-request-1"


@pytest.mark.slow
def test_stored_predictions_of_a_subject_go_and_the_home_lives_on(lived, tmp_path):
    home = lived(tmp_path)
    for key in ("r-1", ANA, "r-2"):
        home.answering.answer(REQUEST, key)
        home.ingest()
    home.accept_outcomes([{"parcel": ANA, "late": True}, {"parcel": "r-2", "late": True}])
    home.ingest()
    home.live.keeping.keep_own()
    name, dataset = home.parts.name, home.parts.schema.requests.name
    home.close()
    assert search(tmp_path, [ANA]).places

    ledger = open_ledger(tmp_path, durability="process")
    erasures = Erasures(tmp_path, ledger, open_views(ledger), home.clock)
    record = erasures.carry(erasures.request(dataset, "parcel", ANA, by="ana"))
    ledger.close()
    assert record.proven is not None, record.searched
    assert record.proven.n_rows[f"predictions/{name}"] == 1
    assert search(tmp_path, [ANA]).places == {}
    assert verify_report(tmp_path).findings == ()

    again = LiveHome(tmp_path, capture="two")
    held = again.parts.predictions.matured(NOW, NOW + 1, known_by=NOW + DAY)
    assert held["key"].to_list() == ["r-1", "r-2"]
    assert held["outcome"].to_list() == [None, True]
    again.answering.answer(REQUEST, "r-3")
    assert again.ingest() == 1
    again.close()

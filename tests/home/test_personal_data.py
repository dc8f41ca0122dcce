"""A live home whose requests bring personal data: it answers by it, learns from it, and keeps none of it."""

from __future__ import annotations

from functools import partial

import polars as pl
import pytest
from tests.home.live_home import NOW, REQUEST, LiveHome
from tests.loop import synthetic

import varv
from varv.home.erasure.searching import search
from varv.kernel.clock import DAY

PII = {"parcel": "pseudonymise", "route": "pseudonymise:routes", "phone": "drop"}
ROUTES = {"north": "northern-route", "south": "southern-route", "west": "western-route"}
PHONE = "+49 30 901820"


@pytest.mark.slow
def test_a_live_home_answers_and_learns_by_pseudonyms_alone(tmp_path, monkeypatch):
    past = synthetic.parcels().with_columns(pl.col("route").replace(ROUTES), phone=pl.lit(PHONE))
    monkeypatch.setattr(varv, "Dataset", partial(varv.Dataset, pii=PII))
    [model] = synthetic.declared(past).models
    home = LiveHome(tmp_path / "home", model)
    asked = {**REQUEST, "route": ["northern-route"], "phone": [PHONE]}
    answer = home.answering.answer(asked, "parcel-of-ana-1")
    assert answer.captured
    # The general way is the oracle of the other.
    other = home.answering.answer_generally(asked, "parcel-of-ana-2")
    assert other.scores.tolist() == answer.scores.tolist()
    done = home.accept_outcomes([{"parcel": answer.keys[0], "late": True}])
    assert done.n_rows == 1
    raw = ["northern-route", "southern-route", "western-route", PHONE, "p-00017", "parcel-of-ana"]
    assert search(tmp_path / "home", raw).places == {}
    home.ingest()
    rows = home.parts.predictions.matured(NOW, NOW + 1, known_by=NOW + DAY)
    assert rows["outcome"].to_list().count(True) == 1
    assert rows["route"].n_unique() == 1
    assert search(tmp_path / "home", raw).places == {}
    home.close()

"""A home that the first version of varv wrote still opens: all of it is read, and its loop goes on.

``homes/first.tar.xz`` holds a replay with a reference policy, live rows, compacted files, a quarantined
batch, a command that waits, and captures that were not ingested; `tests.faults.stored_home` built it then.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import polars as pl
import pytest
from tests.home.live_home import NOW, LiveHome
from tests.loop.synthetic import declared

import varv
from varv.app.compose import open_ledger, open_views
from varv.app.replaying import read_comparison
from varv.app.verifying import verify_report
from varv.home.change.views import ChangesView
from varv.home.live import Sealed
from varv.home.status import status_report
from varv.home.why import explain
from varv.kernel.clock import DAY
from varv.kernel.errors import FailedPrecondition

HOMES = Path(__file__).parent / "homes"


@pytest.fixture
def home(tmp_path):
    with tarfile.open(HOMES / "first.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "home"


def test_everything_in_an_old_home_is_as_it_was_written(home):
    report = verify_report(home)
    assert report.findings == ()
    assert report.n_segments > 10


def test_an_old_home_is_shown_and_explained(home):
    ledger = open_ledger(home, read_only=True)
    try:
        views = open_views(ledger)
        [model] = status_report(views, ledger, NOW).models
        assert (model.model, model.champion) == ("late-parcel", 1)
        explained = explain(home, ledger, views, "r-3")
        assert explained.prediction is not None
        assert explained.prediction.model == "late-parcel"
        assert [source.row["parcel"] for source in explained.sources] == ["r-3", "r-3"]
    finally:
        ledger.close()


def test_the_comparison_of_an_old_home_is_read(home):
    found = read_comparison(home)
    assert found is not None
    assert [policy.name for policy in found.models[0].policies] == ["declared", "never"]


def test_an_old_home_goes_on_with_its_predictions_and_what_was_captured(home):
    again = LiveHome(home, capture="again")
    left = sorted((home / "capture" / "one").glob("[0-9]*.jsonl"))
    again.live.ingest([Sealed(f"one-{path.stem}", path) for path in left])
    rows = again.parts.predictions.requested(NOW, NOW + DAY)
    assert {"r-last", "r-very-last", "r-0"} <= set(rows["key"].to_list())
    again.later(0)
    assert again.home.loop_state(again.parts.name).next_version > 2
    again.close()
    assert verify_report(home).findings == ()


def test_the_declaration_of_an_old_home_may_change(home):
    model = declared().models[0]
    warm = varv.derived("warm", pl.col("heat") > 1)
    model.features = (*model.features[:-1], warm)
    again = LiveHome(home, model, capture="again", declaration="1" * 64, prepare=False)
    # It kept no definitions: what goes cannot be built again, and a version in force reads it.
    with pytest.raises(FailedPrecondition, match="cannot be built again"):
        again.live.prepare()
    again.close()
    model = declared().models[0]
    model.features = (*model.features[1:], warm)
    again = LiveHome(home, model, capture="again", declaration="1" * 64)
    again.live.go_on()
    again.home.engine.settle()
    rows = again.home.models["late-parcel"].predictions.requested(0, NOW + DAY)
    assert rows["warm"].null_count() == 0
    with again.home.views.reading(ChangesView) as view:
        assert view.changes[1].phase == "done"
    again.close()
    with varv.open(home) as found:
        assert found.model().predictions()["warm"].null_count() == 0
    assert verify_report(home).findings == ()


def test_an_old_home_is_read_from_python(home):
    with varv.open(home) as found:
        model = found.model()
        rows = model.predictions()
        assert rows.height == found.dataset().read().height
        assert 0 < rows["outcome"].null_count() < rows.height // 10
        assert model.versions["version"].to_list() == [1]
        assert found.dataset().quarantine().height == 3
        compared = found.comparison()
        assert compared.policies["policy"].to_list() == ["declared", "never"]
        assert compared.predictions("never").height > 0
        for shown in (found, model, found.dataset(), compared, found.why(model.name)):
            assert shown._repr_html_()

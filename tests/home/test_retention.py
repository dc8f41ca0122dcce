"""What is older than declared is given up: in the ledger, in what is read, and on the disk."""

from __future__ import annotations

import pytest
from tests.home.live_home import REQUEST, LiveHome
from tests.loop.synthetic import declared

import varv
from varv.app.verifying import verify_report
from varv.home import live as live_module
from varv.kernel import table_folder
from varv.kernel.clock import DAY, Instant
from varv.serving.views import RoutingView


def model(retention):
    plain = declared(on=()).models[0]
    return varv.Model(
        "late-parcel",
        requests=plain.requests,
        features=plain.features,
        outcome=plain.outcome,
        train=varv.Train(plain.train.fit, window="14d", validate="5d", min_rows=200),
        gates=plain.gates,
        rollout=varv.Rollout(deadline="7d", probation="7d"),
        monitors=[],
        retrain=varv.Retrain.never(),
        retention=None if retention is None else varv.Retention(predictions=retention),
    )


@pytest.fixture
def few(monkeypatch):
    """Every capture file is a reason to compact, and three segments are many."""
    monkeypatch.setattr(live_module, "COMPACT_EVERY", 1)
    monkeypatch.setattr(table_folder, "_MANY", 3)


def asked(home, days):
    """Let a request be answered on each of so many days."""
    for _ in range(days):
        home.answering.answer(REQUEST, f"r-{home.clock.now()}")
        home.ingest()
        home.later(1)


def stored(home):
    with home.home.views.reading(RoutingView) as view:
        return view.catalogue("late-parcel")


def files(home):
    folder = home.home.folder / "columns" / "predictions" / "late-parcel"
    return sorted(path.name for path in folder.iterdir())


def requested(home, since=0):
    rows = home.parts.predictions.requested(Instant(since), home.clock.now())
    return rows["requested_at"].to_physical()


def test_what_is_older_goes_and_the_rest_stays_also_after_a_restart(tmp_path, few):
    home = LiveHome(tmp_path, model("33d"))
    n_before = stored(home).n_rows
    asked(home, 50)
    held = stored(home)
    assert held.n_rows == n_before + 50
    assert [one.n_rows for one in held.extents() if one.last < home.clock.now() - 34 * DAY] == []
    kept = requested(home, home.clock.now() - 33 * DAY)
    assert len(kept) == 33
    home.close()

    again = LiveHome(tmp_path, model("33d"), capture="two")
    assert requested(again, again.clock.now() - 33 * DAY).equals(kept)
    # A file that was kept for its latest request may begin an eighth of the time earlier.
    assert requested(again).min() > again.clock.now() - (33 + 33 / 8 + 2) * DAY
    asked(again, 1)
    on_disk = {name.partition(".")[0] for name in files(again)}
    listed = {
        one.segment
        for extent in stored(again).files
        for one in again.home.columns.listed("predictions/late-parcel", extent.name)
    }
    with again.home.views.reading(RoutingView) as view:
        gone = view.gone["late-parcel"].segments
    assert on_disk <= {one.name for one in stored(again).extents()} | listed | set(gone)
    again.close()
    assert verify_report(tmp_path).ok


def test_nothing_goes_unless_it_is_declared(tmp_path, few):
    home = LiveHome(tmp_path, model(None))
    before = stored(home).span()
    asked(home, 4)
    assert stored(home).span()[0] == before[0]
    home.close()


def test_a_file_goes_only_after_the_ledger_has_said_so(tmp_path, few):
    home = LiveHome(tmp_path, model("33d"))
    home.later(40)
    home.answering.answer(REQUEST, "r-1")
    home.ingest()
    with home.home.views.reading(RoutingView) as view:
        gone = view.gone["late-parcel"]
    names = {name.partition(".")[0] for name in files(home)}
    assert gone.extents
    assert names.issuperset(gone.extents)
    asked(home, 1)
    assert {name.partition(".")[0] for name in files(home)}.isdisjoint(gone.extents)
    home.close()

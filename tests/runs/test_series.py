from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.app.verifying import verify_report
from varv.kernel.faults import Crash, Faults
from varv.runs import series
from varv.runs.model import PointsSealed
from varv.runs.rules import LARGEST
from varv.runs.tables import METRIC

POINTS = st.lists(
    st.tuples(
        st.sampled_from(["loss", "auc", "val/loss"]),
        st.sampled_from([0.0, -0.0, 0.5, 1e300, math.nan, math.inf, -math.inf]),
        st.integers(0, 3),
        st.integers(-1, 2),
    ),
    max_size=40,
)


def history(home, run, name):
    with home.tracking.recorder.reading() as db:
        no = home.run(run).no
        joined = "key JOIN run ON run.experiment = key.experiment"
        query = f"SELECT key.no FROM {joined} WHERE run.no = ? AND kind = ? AND key.name = ?"
        row = db.execute(query, (no, METRIC, name)).fetchone()
        found = [] if row is None else series.history(db, no, row[0]).tolist()
    return [(at, step, value) for _, _, at, step, value in found]


def stored(value):
    return None if math.isnan(value) else max(-LARGEST, min(value, LARGEST))


def told(value):
    return "NaN" if math.isnan(value) else stored(value)


def expected(points, name):
    found = {}
    for key, value, at, step in points:
        if key == name:
            # Two zeros are two values, since they are two points that were sent.
            found[at, step, repr(value)] = (at, step, told(value))
    # What is no number stands behind nought, as it does in MLflow's histories.
    value = lambda one: (0.0, 1) if one[2] == "NaN" else (one[2], 0)  # noqa: E731
    return sorted(found.values(), key=lambda one: (one[0], one[1], value(one)))


def in_words(points):
    return [(at, step, told(value)) for at, step, value in points]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    from tests.runs.conftest import TrackedHome

    made = TrackedHome(tmp_path_factory.mktemp("home"))
    yield made
    made.close()


@given(batches=st.lists(POINTS, max_size=4), sealed_after=st.sets(st.integers(0, 3)))
def test_a_history_is_what_was_logged_however_it_is_stored(shared, batches, sealed_after):
    run = shared.begin()
    for number, batch in enumerate(batches):
        if batch:
            shared.log(run, *batch)
        if number in sealed_after:
            shared.do(shared.tracking.series.sealing(lambda db, now: [shared.run(run).no]))
    points = [point for batch in batches for point in batch]
    glances = shared.metrics(run)
    for name in {point[0] for point in points}:
        assert in_words(history(shared, run, name)) == expected(points, name)
        own = [(at, step, stored(value)) for key, value, at, step in points if key == name]
        numbers = [value for _, _, value in own if value is not None]
        last = max(own, key=lambda point: (point[1], point[0], -math.inf if point[2] is None else point[2]))
        assert glances[name].n == len(own)
        assert glances[name].low == (min(numbers) if numbers else None)
        assert glances[name].high == (max(numbers) if numbers else None)
        assert (glances[name].at_ms, glances[name].step, glances[name].value) == last


def test_a_run_is_sealed_when_it_ends(home):
    run = home.begin()
    home.log(run, ("loss", 0.5, 1, 1), ("auc", 0.7, 1, 1))
    home.do(home.tracking.update_run(run, status="FINISHED", ended_ms=9))
    home.tracking.seal_due()  # waits for what the end has queued
    seals = [entry.event for entry in home.ledger.read() if isinstance(entry.event, PointsSealed)]
    assert [(seal.run, seal.number, seal.n) for seal in seals] == [(run, 1, 2)]
    home.log(run, ("loss", 0.4, 2, 2))
    home.do(home.tracking.update_run(run, status="FINISHED", ended_ms=10))
    home.tracking.seal_due()
    assert home.metrics(run)["loss"].n == 2
    assert in_words(history(home, run, "loss")) == [(1, 1, 0.5), (2, 2, 0.4)]


def test_a_run_with_many_points_is_sealed_before_it_ends(home):
    run = home.begin()
    for start in range(0, series.SEALED_AT, 512):
        home.log(run, *[("loss", 0.5, n, n) for n in range(start, start + 512)])
    home.tracking.seal_due()
    seals = [entry.event.n for entry in home.ledger.read() if isinstance(entry.event, PointsSealed)]
    assert seals == [series.SEALED_AT]


def test_what_has_waited_for_a_minute_is_sealed(home, monkeypatch):
    home.log(home.begin(), ("loss", 0.5, 1))
    assert home.tracking.seal_due() == 0
    monkeypatch.setattr(series, "SEALED_AFTER", 0)
    assert home.tracking.seal_due() == 1


@pytest.mark.parametrize("point", ["recorder.between", "ledger.after_commit"])
def test_a_seal_whose_rows_a_crash_took_is_made_once_again(home, point):
    run = home.begin()
    home.log(run, ("loss", 0.5, 1, 1), ("auc", 0.7, 1, 1))
    home.reopened(Faults(point))
    with pytest.raises(Crash):
        home.do(home.tracking.series.sealing(lambda db, now: [home.run(run).no]))
    assert [str(one) for one in verify_report(home.folder).findings] == []
    home.reopened()
    home.log(run, ("loss", 0.4, 2, 2))
    assert home.metrics(run)["loss"].n == 2
    home.do(home.tracking.series.sealing(lambda db, now: [home.run(run).no]))
    seals = [entry.event for entry in home.ledger.read() if isinstance(entry.event, PointsSealed)]
    assert [(seal.number, seal.n) for seal in seals] == [(1, 2), (2, 1)]
    assert in_words(history(home, run, "loss")) == [(1, 1, 0.5), (2, 2, 0.4)]
    assert [str(one) for one in verify_report(home.folder).findings] == []


def test_what_was_not_sealed_is_there_after_a_restart(home):
    run = home.begin()
    home.log(run, ("loss", 0.5, 1, 1))
    home.reopened()
    home.log(run, ("loss", 0.4, 2, 2))
    assert home.metrics(run)["loss"].value == 0.4
    home.do(home.tracking.series.sealing(lambda db, now: [home.run(run).no]))
    assert in_words(history(home, run, "loss")) == [(1, 1, 0.5), (2, 2, 0.4)]


class Watching(Faults):
    """Asks at every point whether what is known of series is said to be up to date."""

    def __init__(self):
        super().__init__()
        self.series, self.told = None, {}

    def reach(self, point):
        if self.series is not None:
            self.told[point] = self.series.is_folded


@pytest.mark.parametrize("way", ["sealing", "folding"])
def test_nothing_is_said_to_be_folded_before_it_can_be_read(home, way):
    watching = Watching()
    home.reopened(watching)
    run = home.begin("0")
    home.log(run, ("loss", 0.5, 1))
    found = watching.series = home.tracking.series
    no = home.run(run).no
    home.do(found.folding() if way == "folding" else found.sealing(lambda db, now: [no]))
    assert watching.told["recorder.before_commit"] is False
    assert found.is_folded

from __future__ import annotations

import pytest

from varv.app.compose import open_tracking
from varv.home.tracking.trainings import Trainings, _points
from varv.kernel.clock import SystemClock
from varv.registry.model import VersionRegistered, training_run
from varv.runs import reading, series
from varv.runs.tables import METRIC


@pytest.fixture
def tracked(lived, tmp_path):
    home = lived(tmp_path)
    desk = open_tracking(tmp_path, home.home.ledger, SystemClock(), durability="process")
    yield home, desk
    desk.close()
    home.close()


def registered(home):
    events = [entry.event for entry in home.home.ledger.read()]
    return [event for event in events if isinstance(event, VersionRegistered)]


def test_each_training_of_a_loop_is_a_run_of_its_models_experiment(tracked):
    home, desk = tracked
    versions = registered(home)
    assert versions
    with desk.recorder.reading() as db:
        for version in versions:
            run = reading.run(db, training_run(version.model, version.version))
            assert reading.experiment(db, id=run.experiment).name == version.model
            assert (run.name, run.status, run.user) == (f"v{version.version}", "FINISHED", "varv")
            assert run.params["seed"] == str(version.seed)
            assert run.params["n_rows"] == str(version.n_rows)
            assert run.tags["varv.package"] == version.package
            assert run.tags["varv.triggers"]
            assert {one.name for one in run.datasets} == {use.dataset for use in version.datasets}
            metrics = {one.name: one.glance.value for one in run.metrics}
            assert version.metrics.items() <= metrics.items()


def test_the_stretches_that_were_judged_are_a_curve(tracked):
    home, desk = tracked
    version = registered(home)[0]
    expected = [(one.step, one.value) for one in _points(version, 0) if one.name == "held-out/log_loss"]
    assert expected
    with desk.recorder.reading() as db:
        run = reading.run(db, training_run(version.model, version.version))
        query = "SELECT no FROM key WHERE kind = ? AND name = ?"
        key = db.execute(query, (METRIC, "held-out/log_loss")).fetchone()[0]
        found = series.history(db, run.no, key)
    assert list(zip(found["step"].tolist(), found["value"].tolist(), strict=True)) == expected


def test_nothing_is_recorded_for_it_and_folding_again_changes_nothing(tracked, tmp_path):
    home, desk = tracked
    names = {entry.name for entry in home.home.ledger.read() if entry.name.startswith("runs.")}
    assert names == {"runs.experiment_created"}  # the default one
    with desk.recorder.reading() as db:
        before = db.execute("SELECT id, name, status FROM run ORDER BY id").fetchall()
    desk.close()
    for path in tmp_path.glob("tracking.db*"):
        path.unlink()
    again = open_tracking(tmp_path, home.home.ledger, SystemClock(), durability="process")
    with again.recorder.reading() as db:
        assert db.execute("SELECT id, name, status FROM run ORDER BY id").fetchall() == before
    again.close()
    assert {event.event_name for event in Trainings.events} >= {"registry.version_registered"}

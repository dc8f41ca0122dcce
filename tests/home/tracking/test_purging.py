"""What is purged is gone from rows and blobs, what others have stays, and the ledger stays whole."""

from __future__ import annotations

import threading

import pytest

from varv.app.compose import TRACKING
from varv.app.verifying import verify_report
from varv.home.tracking.purging import PurgeRequest, Purging, purge
from varv.kernel.codec import digest
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound
from varv.kernel.recorder import Write
from varv.runs import Point
from varv.runs.artifacts import keep

LONG = "long " * 200


@pytest.fixture
def purged(home):
    """Purge runs and experiments of the home; return what was told."""

    def act(*runs, experiments=()):
        asked = PurgeRequest(runs=runs, experiments=tuple(experiments), by="ana")
        return purge(Purging(home.desk, home.ledger), asked)

    return act


def begun(home, experiment="0", text=LONG):
    run = home.do(home.desk.runs.create_run(experiment, tags={"note": text}))
    home.do(home.desk.runs.log(run, points=[Point("loss", 0.5, 1), Point("loss", 0.4, 2, 1)]))
    return run


def file_of(home, run, data):
    made = home.desk.runs.blobs.put(data)
    home.do(keep(f"runs/{run}", "file", made, len(data)))
    return made


def deleted(home, run):
    home.do(home.desk.runs.move_run(run, deleted=True))
    return run


def rows_of(home, table):
    with home.desk.recorder.reading() as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_a_purged_run_leaves_no_row_no_point_and_no_blob(home, purged):
    run = begun(home, text="own " * 300)
    kept = file_of(home, run, b"weights")
    home.do(home.desk.runs.update_run(run, status="FINISHED"))
    told = purged(deleted(home, run))
    assert (told.n_runs, told.n_blobs) == (1, 2)
    assert not home.desk.runs.blobs.has(kept)
    tables = ("run", "word", "points", "chunk", "sealed", "latest", "artifact", "orphan")
    assert [table for table in tables if rows_of(home, table)] == []
    assert home.ledger.read()[-1].event.line() == f"run {run} deleted for good by ana"


def test_what_is_purged_is_overwritten_in_the_file(home, purged):
    run = begun(home, text="a word that nobody else says")
    purged(deleted(home, run))
    home.desk.close()
    written = (home.folder / TRACKING).read_bytes()
    home.ledger.close()
    home.open()
    assert b"a word that nobody else says" not in written


def test_what_another_run_has_too_stays_until_that_is_purged(home, purged):
    first, second = begun(home), begun(home)
    kept = file_of(home, first, b"same")
    file_of(home, second, b"same")
    assert purged(deleted(home, first)).n_blobs == 0
    assert home.desk.runs.blobs.has(kept)
    assert purged(deleted(home, second)).n_blobs == 2
    assert not home.desk.runs.blobs.has(kept)


def test_a_purge_that_was_cut_short_is_finished_by_the_next(home, purged, monkeypatch):
    first, second = begun(home, text="short"), begun(home, text="short")
    kept = file_of(home, first, b"weights")
    with monkeypatch.context() as cut:
        cut.setattr(Purging, "sweep", lambda self: 0)
        purged(deleted(home, first))
    assert home.desk.runs.blobs.has(kept)
    assert purged(deleted(home, second)).n_blobs == 1
    assert not home.desk.runs.blobs.has(kept)


def test_a_text_that_is_written_while_its_blob_is_swept_stays(home, purged, monkeypatch):
    run = begun(home)
    with monkeypatch.context() as cut:
        cut.setattr(Purging, "sweep", lambda self: 0)
        purged(deleted(home, run))
    waits, goes_on, begun_again = threading.Event(), threading.Event(), threading.Event()
    home.desk.recorder.submit(Write(lambda writing: waits.set() or goes_on.wait(10)), lambda job: None)
    assert waits.wait(10)
    again = home.desk.runs.create_run("0", tags={"note": LONG})
    home.desk.recorder.submit(again, lambda job: begun_again.set())
    sweeping = threading.Thread(target=Purging(home.desk, home.ledger).sweep)
    sweeping.start()
    while home.desk.recorder._queue.qsize() < 2:  # the run, and the sweep behind it: one group
        sweeping.join(0.01)
    goes_on.set()
    sweeping.join()
    assert begun_again.wait(10)
    assert home.desk.runs.blobs.has(digest(LONG.encode()))
    assert rows_of(home, "orphan") == 0


def test_a_run_that_is_not_deleted_is_not_purged(home, purged):
    run, gone = begun(home), deleted(home, begun(home))
    with pytest.raises(FailedPrecondition, match="is not deleted"):
        purged(gone, run)
    assert rows_of(home, "run") == 2
    with pytest.raises(NotFound):
        purged("0" * 32)
    with pytest.raises(InvalidInput, match="names nothing"):
        purged()


def test_what_a_version_was_made_by_is_not_purged(home, purged):
    run = begun(home)
    file_of(home, run, b"weights")
    home.register("churn")
    home.version("churn", run=run)
    deleted(home, run)
    with pytest.raises(FailedPrecondition, match="version"):
        purged(run)


def test_a_purged_experiment_takes_runs_and_logged_models_along(home, purged):
    runs = home.desk.runs
    experiment = home.do(runs.experiments.create("sweep", tags={"note": LONG}))
    for _ in range(3):
        begun(home, experiment)
    home.do(home.desk.logged.create(experiment, name="m", tags={"text": LONG + "m"}))
    with pytest.raises(FailedPrecondition, match="is not deleted"):
        purged(experiments=[experiment])
    home.do(runs.experiments.move(experiment, deleted=True))
    told = purged(experiments=[experiment])
    assert (told.n_runs, told.n_logged_models, told.n_experiments, told.n_blobs) == (3, 1, 1, 2)
    again = home.do(runs.experiments.create("sweep"))
    assert again != experiment
    with pytest.raises(FailedPrecondition, match="always there"):
        purged(experiments=["0"])


def test_a_purged_home_verifies_and_is_folded_again(home, purged):
    kept, run = begun(home), begun(home, text="own " * 300)
    file_of(home, run, b"weights")
    file_of(home, kept, b"others")
    for one in (kept, run):
        home.do(home.desk.runs.update_run(one, status="FINISHED"))
    purged(deleted(home, run))
    home.reopened()
    assert [row[1] for row in home.rows()["run"]] == [kept]
    home.close()
    report = verify_report(home.folder)
    assert [f"{one.place} {one.problem}" for one in report.findings] == []
    home.open()
    assert [row[1] for row in home.refolded().rows()["run"]] == [kept]


def test_a_run_may_come_again_with_the_id_of_a_purged_one(home, purged):
    run = deleted(home, begun(home))
    purged(run)
    home.do(home.desk.runs.create_run("0", run=run, tags={"note": LONG}))
    other = deleted(home, begun(home))
    assert purged(other).n_blobs == 0

"""What MLflow's database and folder hold is here afterwards, as it was there."""

from __future__ import annotations

import json
import math
import sqlite3

import msgspec
import pytest

from varv.adapters.moving import open_mlflow
from varv.app.verifying import verify_report
from varv.home.tracking.purging import PurgeRequest, Purging, purge
from varv.home.tracking.versions import create_version
from varv.kernel.errors import AlreadyExists, Conflict, Corrupt, InvalidInput, NotFound

from . import recorded
from .moved_home import MovedHome


@pytest.fixture(params=["database", "folder"])
def source(request, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    return recorded.store(there) if request.param == "database" else str(recorded.mlruns(there))


@pytest.fixture
def moved(home, source):
    home.report = home.take_mlflow(source)
    return home


def test_nothing_differs_once_everything_is_here(moved):
    report = moved.report
    assert (report.experiments.total, report.runs.new, report.logged_models.new) == (4, 5, 1)
    assert (report.registered_models.new, report.n_versions, report.n_points) == (3, 4, 25)
    assert (report.n_compared, report.differences.n, report.left_out.n) == (5, 0, 0)


def test_a_run_keeps_its_name_user_times_and_words(moved):
    run = moved.runs()["fit 0"]
    assert (run.user, run.status, run.deleted) == ("ana", "FAILED", False)
    assert (run.started_ms, run.ended_ms) == (1700000000000, 1700000100000)
    assert run.params == {"lr": "0.0", "depth": "3", "text": "y" * 300}
    assert run.tags["note"] == "zwei\nZeilen"
    [dataset] = run.datasets
    assert (dataset.name, dataset.digest, dataset.profile) == ("flights", "abc123", '{"n": 3}')
    assert [(tag.key, tag.value) for tag in dataset.tags] == [("mlflow.data.context", "training")]


def test_histories_come_whole_with_what_is_no_number(moved):
    run = moved.runs()["fit 0"]
    losses = [(1700000000000 + step, step, 1 / (step + 1)) for step in range(5)]
    assert moved.history(run.id, "loss") == losses
    [odd, last] = moved.history(run.id, "odd")
    assert odd[:2] == (1, 0)
    assert math.isnan(odd[2])
    assert last == (2, 1, 1.7976931348623157e308)


def test_what_was_deleted_is_deleted_here(moved):
    assert moved.runs()["fit 1"].deleted
    found = moved.experiments()
    assert [found[name].deleted for name in ("delays", "old idea", "to be gone")] == [False, True, True]
    assert found["delays"].tags == {"team": "ops", "long": "x" * 300}
    assert found["old idea"].created_ms < found["old idea"].updated_ms


def test_artifacts_come_byte_by_byte(moved):
    run = moved.runs()["fit 2"]
    found = moved.files(f"runs/{run.id}")
    assert found == {"files/big.bin": bytes(range(16)), "files/sub/a b.txt": b"hello 2"}


def test_a_logged_model_comes_with_files_and_metrics(moved):
    run = moved.runs()["models"]
    [output] = run.outputs
    model = moved.logged_model(output.model_id)
    assert (model.name, model.run, model.status, model.params) == ("model", run.id, "READY", {"k": "v"})
    [metric] = model.metrics
    assert (metric.name, metric.value, metric.step, metric.run) == ("acc", 0.9, 2, run.id)
    assert moved.history(run.id, "acc")[0][2] == 0.9
    assert b"python_function" in moved.files(f"models/{model.id}")["MLmodel"]


def test_versions_keep_their_numbers_with_holes(moved):
    found = moved.versions("delay")
    assert list(found) == [1, 3, 4]
    [model] = moved.runs()["models"].outputs
    place = f"mlflow-artifacts:/{moved.runs()['models'].experiment}/models/{model.model_id}/artifacts"
    assert {one.storage for one in found.values()} == {place}
    assert {one.source for one in found.values()} == {f"models:/{model.model_id}"}
    assert (found[4].stage, found[3].description, found[3].tags) == ("Production", "The good one", {"n": "1"})
    registered = moved.registered("delay")
    assert (registered.aliases, registered.description) == ({"champion": 3}, "Says how late")
    assert registered.created_ms < registered.updated_ms == max(registered.updated_ms, found[4].updated_ms)
    assert moved.versions("greet")[1].tags["mlflow.prompt.text"] == "Hello {{name}}"


def test_what_is_made_afterwards_gets_free_numbers(moved):
    [model] = moved.runs()["models"].outputs
    desk = moved.desk
    write = create_version(desk.models, desk.logged, "delay", f"models:/{model.model_id}")
    assert desk.recorder.do(write).number == 5
    taken = {one.id for one in moved.experiments().values()}
    assert desk.recorder.do(desk.runs.experiments.create("new")) not in taken


def test_a_second_time_changes_nothing(moved, source):
    before = moved.taken()
    report = moved.take_mlflow(source)
    assert moved.taken() == before
    assert (report.runs.new, report.runs.changed, report.n_files, report.registered_models.same) == (
        0,
        0,
        0,
        3,
    )


def test_everything_is_vouched_for(moved):
    moved.close()
    assert verify_report(moved.folder).findings == ()


def test_a_run_that_went_on_is_brought_up_to_its_source(tmp_path, home):
    uri = recorded.store(tmp_path)
    home.take_mlflow(uri)
    run = home.runs()["fit 2"]
    assert run.status == "RUNNING"
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        row = ("loss", 0.01, 1700000000009, run.id, 9, 0)
        db.execute(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
        db.execute(
            "UPDATE latest_metrics SET value = .01, step = 9 WHERE key = 'loss' AND run_uuid = ?", (run.id,)
        )
        db.execute("UPDATE runs SET status = 'FINISHED', end_time = 5 WHERE run_uuid = ?", (run.id,))
        db.execute("INSERT INTO params VALUES ('late', '1', ?)", (run.id,))
        db.execute("UPDATE tags SET value = 'other' WHERE key = 'note' AND run_uuid = ?", (run.id,))
    db.close()
    report = home.take_mlflow(uri)
    assert (report.runs.changed, report.differences.n) == (1, 0)
    again = home.runs()["fit 2"]
    assert (again.status, again.ended_ms, again.params["late"], again.tags["note"]) == (
        "FINISHED",
        5,
        "1",
        "other",
    )
    assert [step for _, step, _ in home.history(run.id, "loss")] == [0, 1, 2, 3, 4, 9]
    home.close()
    assert verify_report(home.folder).findings == ()


def test_another_run_of_the_same_id_stops_it_by_name(tmp_path, home):
    uri = recorded.store(tmp_path)
    other = MovedHome(tmp_path / "other")
    other.take_mlflow(uri)
    run = other.runs()["fit 0"]
    other.close()
    home.desk.recorder.do(home.desk.runs.create_run("0", name="mine", run=run.id))
    with pytest.raises(Conflict, match=r"'mine'.*'fit 0'"):
        home.take_mlflow(uri)


def test_another_experiment_of_the_same_name_stops_it(tmp_path, home):
    for name in ("mine", "delays"):
        home.desk.recorder.do(home.desk.runs.experiments.create(name))
    with pytest.raises((AlreadyExists, Conflict), match="delays"):
        home.take_mlflow(recorded.store(tmp_path))


def test_what_lies_in_a_store_of_objects_stays_there(tmp_path, home):
    uri = recorded.store(tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri"),
                              ("model_versions", "storage_location")):  # fmt: skip
            db.execute(f"UPDATE {table} SET {column} = replace({column}, 'mlflow-artifacts:/1', 's3://b/1')")
    db.close()
    report = home.take_mlflow(uri)
    assert (report.linked.some, report.n_files) == (["1 (delays)"], 0)
    run = home.runs()["fit 0"]
    assert run.artifacts == f"s3://b/1/{run.id}/artifacts"
    assert home.versions("delay")[3].storage.startswith("s3://b/1/models/")


def test_files_elsewhere_on_the_machine_are_not_read(tmp_path, home):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.pem").write_text("private")
    uri = recorded.store(tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        db.execute("UPDATE runs SET artifact_uri = ? WHERE name = 'fit 0'", (secret.as_uri(),))
        db.execute("UPDATE runs SET artifact_uri = 'mlflow-artifacts:/../secret' WHERE name = 'fit 2'")
    db.close()
    report = home.take_mlflow(uri)
    assert report.left_out.n == 2
    assert all("none of the folders that may be read" in one for one in report.left_out.some)


def test_artifacts_that_were_out_of_reach_come_once_they_are_named(tmp_path, home):
    uri = recorded.store(tmp_path)
    (tmp_path / "mlartifacts").rename(tmp_path / "elsewhere")
    assert home.take_mlflow(uri).left_out.n == 6
    report = home.take_mlflow(uri, tmp_path / "elsewhere")
    assert (report.left_out.n, report.n_files > 4) == (0, True)


def test_artifacts_of_a_run_that_goes_on_are_looked_at_again(tmp_path, home):
    uri = recorded.store(tmp_path)
    home.take_mlflow(uri)
    run = home.runs()["fit 2"]
    place = tmp_path / "mlartifacts" / run.experiment / run.id / "artifacts" / "late.txt"
    place.write_text("late")
    assert home.take_mlflow(uri).n_files == 3
    assert home.files(f"runs/{run.id}")["late.txt"] == b"late"
    assert home.take_mlflow(uri).n_files == 0
    home.close()
    assert verify_report(home.folder).findings == ()


def test_a_run_that_was_purged_here_comes_again_with_its_files(tmp_path, home):
    uri = recorded.store(tmp_path)
    home.take_mlflow(uri)
    run, desk = home.runs()["fit 1"], home.desk
    assert run.deleted
    files = home.files(f"runs/{run.id}")
    assert purge(Purging(desk, home.ledger), PurgeRequest(runs=(run.id,))).n_runs == 1
    report = home.take_mlflow(uri)
    assert (report.runs.new, report.n_files, report.differences.n) == (1, len(files), 0)
    assert home.files(f"runs/{run.id}") == files
    home.close()
    assert verify_report(home.folder).findings == ()


def test_links_and_forbidden_names_are_left_out(tmp_path, home):
    folder = recorded.mlruns(tmp_path)
    run = next(folder.glob("5*/*/params/lr")).parents[1]
    files = run / "artifacts"
    (files / "a#b.txt").write_text("x")
    (files / "link").symlink_to("/etc/hostname")
    report = home.take_mlflow(folder)
    assert report.left_out.some == [f"a#b.txt of runs/{run.name}: its path is not allowed"]
    assert "link" not in home.files(f"runs/{run.name}")


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(NotFound, match="experiments of MLflow"):
        open_mlflow(str(tmp_path), {})
    (tmp_path / "x.db").write_bytes(b"no database" * 100)
    with pytest.raises(InvalidInput, match="cannot be read"):
        open_mlflow(f"sqlite:///{tmp_path / 'x.db'}", {})
    sqlite3.connect(tmp_path / "y.db").close()
    with pytest.raises(InvalidInput, match="no runs"):
        open_mlflow(f"sqlite:///{tmp_path / 'y.db'}", {})
    with pytest.raises(InvalidInput, match="holds a password"):
        open_mlflow("https://ana:word@tracking", {})


def test_descriptions_are_never_more_than_data(tmp_path, home):
    folder = recorded.mlruns(tmp_path)
    meta = next(folder.glob("5*/meta.yaml"))
    meta.write_text(
        meta.read_text().replace("name: delays", "name: !!python/object/apply:os.system [touch x]")
    )
    with pytest.raises(Corrupt, match="cannot be read"):
        home.take_mlflow(folder)


def test_a_description_that_lacks_something_is_named(tmp_path, home):
    folder = recorded.mlruns(tmp_path)
    meta = next(folder.glob("5*/meta.yaml"))
    meta.write_text(meta.read_text().replace("name: delays", "named: delays"))
    with pytest.raises(Corrupt, match="'name'"):
        home.take_mlflow(folder)


def test_a_report_is_plain_data(moved):
    assert json.loads(msgspec.json.encode(moved.report))["runs"] == {"new": 5, "changed": 0, "same": 0}

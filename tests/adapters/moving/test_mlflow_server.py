"""What a tracking server holds is here afterwards; the server is ours, which answers as MLflow's does."""

from __future__ import annotations

import threading

import pytest
from tests.app.serving import eventually

from varv.adapters.moving import http_asking, open_mlflow
from varv.app.server.server_file import running_server
from varv.app.server.tracker import Tracker
from varv.app.settings import Settings
from varv.kernel.errors import PermissionDenied, Unavailable
from varv.kernel.stated_tags import SCAN
from varv.registry.imports import SourceRegistered, SourceVersion

from . import recorded
from .moved_home import MovedHome


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("there")
    home = MovedHome(folder / "home")
    home.take_mlflow(recorded.store(folder))
    home.close()
    return home.folder


@pytest.fixture
def served(filled):
    settings = Settings(home=filled, port=0, token="word" * 8)
    tracker = Tracker(settings)
    thread = threading.Thread(target=tracker.run, daemon=True)
    thread.start()
    yield eventually(lambda: running_server(settings)).url
    tracker.told.set()
    thread.join(10)
    tracker.close()


def test_everything_comes_over_the_protocol(served, home, tmp_path):
    with pytest.raises(PermissionDenied, match="MLFLOW_TRACKING_TOKEN"):
        home.take(open_mlflow(served, {}))
    asked = {"MLFLOW_TRACKING_TOKEN": "word" * 8}
    report = home.take(open_mlflow(served, asked))
    assert (report.runs.new, report.n_points, report.n_versions, report.n_files > 4) == (5, 25, 4, True)
    assert (report.traces.new, report.n_spans, report.n_traces_compared) == (3, 4, 3)
    assert (report.differences.n, report.left_out.n) == (0, 0)
    run = home.runs()["models"]
    assert home.logged_model(run.outputs[0].model_id).metrics[0].value == 0.9
    assert home.versions("greet")[1].tags["mlflow.prompt.text"] == "Hello {{name}}"
    head = home.taken()
    assert home.take(open_mlflow(served, asked)).runs.same == 5
    assert home.taken() == head


def test_a_server_that_is_not_there_is_named(home, monkeypatch):
    monkeypatch.setattr(http_asking, "FIRST_RETRY_S", 0.0)
    with pytest.raises(Unavailable, match="does not answer"):
        home.take(open_mlflow("http://127.0.0.1:1", {}))


def test_what_a_source_finds_in_its_files_later_makes_no_other_version(home):
    def model(tags):
        version = SourceVersion(number=1, source="s3://b/m", created_ms=1, updated_ms=1, tags=tags)
        return SourceRegistered(name="delay", created_ms=1, updated_ms=1, last=1, versions=(version,))

    def take(tags):
        return home.desk.recorder.do(home.desk.registry_imports.take(model(tags), "there"))

    assert take({"team": "risk"}) == "new"
    assert take({"team": "risk", SCAN: "clean"}) == "same"
    assert take({"team": "growth", SCAN: "clean"}) == "changed"

"""Many models in one home: data and features once, decisions as if each were alone, failures of one only."""

from __future__ import annotations

import copy

import pytest
from tests.home.live_home import NOW, REQUEST, LiveHome
from tests.loop.other_tasks import delays
from tests.loop.synthetic import declared, entries_of, quietly

import varv
from varv.app.replaying import run_replay
from varv.data.model import DatasetVersionAppended
from varv.home.model import ReplayFinished
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import HOUR
from varv.monitoring import ReferenceSet
from varv.monitoring.reference import Reference
from varv.project import project_of
from varv.registry import VersionRegistered, open_package

UNTIL = "2024-04-12T00:00:00Z"


def twins(**options) -> tuple[varv.Model, varv.Model]:
    """Return two models of the same parcels, the second of which does not look at their heat."""
    first = declared(**options).models[0]
    second = copy.copy(first)
    second.__dict__.pop("feature_set", None)
    second.name = "late-parcel-too"
    second.features = tuple(name for name in first.features if name != "heat")
    second.train = copy.copy(first.train)
    return first, second


def replay_of(*models: varv.Model) -> varv.Replay:
    like = declared(until=UNTIL)
    made = varv.Replay(
        *models, since="2024-03-07T00:00:00Z", train_at="2024-03-21T00:00:00Z", until=UNTIL, references=()
    )
    made.seed = like.seed
    project_of("twins", [made]).validate()
    return made


def decisions(folder, model):
    """Return what was decided of a model, and when, without what counts entries or batches."""
    streams = {f"{room}/{model}" for room in ("loop", "model", "alarms", "monitor")}
    return [
        (entry.at, entry.name, getattr(entry.event, "version", None), getattr(entry.event, "reason", ""))
        for entry in entries_of(folder)
        if entry.stream in streams or entry.stream.startswith(f"rollout/{model}/")
    ]


@pytest.mark.slow
def test_two_models_decide_together_as_they_do_alone(tmp_path):
    first, second = twins()
    together = run_replay(replay_of(first, second), tmp_path / "both", quietly, declared_only=True)
    for model, compared in zip((first, second), together.models, strict=True):
        alone = run_replay(replay_of(model), tmp_path / model.name, quietly, declared_only=True)
        assert decisions(tmp_path / "both", model.name) == decisions(tmp_path / model.name, model.name)
        assert compared.policies[0].log_loss == alone.models[0].policies[0].log_loss
        assert compared.model == model.name


@pytest.mark.slow
def test_models_that_are_fitted_alike_share_fits_and_nothing_else(tmp_path):
    first, second = twins()
    second.features, second.monitors = first.features, (varv.monitor.calibration(),)
    run_replay(replay_of(first, second), tmp_path, quietly, declared_only=True)
    entries = entries_of(tmp_path)
    made = [entry.event for entry in entries if isinstance(entry.event, VersionRegistered)]
    ours, theirs = (next(one for one in made if one.model == model.name) for model in (first, second))
    assert ours.package == theirs.package
    watched = {
        (entry.stream, entry.event.model, len(entry.event.plan.monitors))
        for entry in entries
        if isinstance(entry.event, ReferenceSet)
    }
    assert watched == {
        ("monitor/late-parcel", "late-parcel", len(first.monitors)),
        ("monitor/late-parcel-too", "late-parcel-too", 1),
    }
    references = [Reference.from_bytes(FolderBlobs(tmp_path / "blobs").get(one.reference)) for one in made]
    assert [one.model for one in references] == [one.model for one in made]


@pytest.mark.slow
def test_models_that_differ_in_their_task_alone_share_no_package(tmp_path):
    first = delays()
    second = copy.copy(first)
    second.name, second.task = "delay-too", varv.task.regression(range=(-60, 120), loss="squared")
    run_replay(replay_of(first, second), tmp_path, quietly, declared_only=True)
    made = [entry.event for entry in entries_of(tmp_path) if isinstance(entry.event, VersionRegistered)]
    blobs = FolderBlobs(tmp_path / "blobs")
    losses = {one.model: open_package(blobs.get(one.package)).task.options["loss"] for one in made}
    assert losses == {"delay": "absolute", "delay-too": "squared"}


@pytest.mark.slow
def test_data_of_two_models_is_ingested_once(tmp_path):
    run_replay(replay_of(*twins()), tmp_path, quietly, declared_only=True)
    entries = entries_of(tmp_path)
    appended = [entry.event for entry in entries if isinstance(entry.event, DatasetVersionAppended)]
    assert len({(one.part, one.segment) for one in appended}) == len(appended)
    [finished] = [entry.event for entry in entries if isinstance(entry.event, ReplayFinished)]
    assert finished.models == ("late-parcel", "late-parcel-too")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    found = LiveHome(tmp_path_factory.mktemp("both"), *twins())
    yield found
    found.close()


def request_of(name: str) -> dict[str, list[object]]:
    return {column: value for column, value in REQUEST.items() if name == "late-parcel" or column != "heat"}


def test_every_model_of_a_home_answers_by_its_name(both):
    for name, answering in both.answering_of.items():
        assert answering.versions == (1,)
        assert answering.answer(request_of(name), f"only-{name}").captured
    both.ingest()
    for name, parts in both.home.models.items():
        keys = parts.predictions.requested(NOW, NOW + 1)["key"].to_list()
        assert [key for key in keys if key.startswith("only-")] == [f"only-{name}"]


def test_an_outcome_labels_the_predictions_of_every_model(both):
    for name, answering in both.answering_of.items():
        answering.answer(request_of(name), "r-shared")
    both.ingest()
    both.clock.move_to(NOW + 5 * HOUR)
    both.accept_outcomes([{"parcel": "r-shared", "late": True}])
    both.ingest()
    for parts in both.home.models.values():
        rows = parts.predictions.labelled(NOW, NOW + 6 * HOUR, known_by=NOW + 6 * HOUR)
        assert rows.filter(key="r-shared")["outcome"].to_list() == [1]


def test_a_model_that_cannot_train_leaves_the_others_alone(tmp_path):
    def broken(train, params):
        raise ValueError("no luck today")

    first, second = twins()
    second.train.fit = broken
    found = LiveHome(tmp_path, first, second)
    assert found.answering_of["late-parcel"].versions == (1,)
    assert found.answering_of["late-parcel-too"].versions == ()
    assert found.home.loop_state("late-parcel").phase == "idle"
    found.answering_of["late-parcel"].answer(REQUEST, "r-1")
    assert found.ingest() == 1
    found.close()

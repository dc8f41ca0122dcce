from __future__ import annotations

import polars as pl
import pytest
from tests.home.live_home import NOW, REQUEST, LiveHome, sealed
from tests.loop.synthetic import declared, parcels

import varv
from varv.home import live as live_module
from varv.home.live import Sealed
from varv.home.model import HistoryTaken
from varv.home.why import explain
from varv.kernel import table_folder
from varv.kernel.clock import DAY, HOUR, HeldClock, Instant, VirtualClock
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound, StorageFull
from varv.kernel.faults import Crash, Faults
from varv.loop.model import RetrainTriggered
from varv.loop.views import LoopView
from varv.loop.weighing.model import BenefitWeighed
from varv.serving.capture import read_captures
from varv.serving.views import RoutingView


@pytest.fixture
def model(lived, tmp_path):
    found = lived(tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One for all tests that leave it as it is."""
    found = LiveHome(tmp_path_factory.mktemp("home"))
    yield found
    found.close()


def outcome(key, late=True, **more):
    return {"parcel": key, "late": late, **more}


def test_a_live_clock_stands_while_it_is_held_and_goes_on_when_released():
    clock = HeldClock(VirtualClock(NOW))
    clock.hold(NOW - DAY)
    assert clock.now() == NOW - DAY
    clock.release()
    assert clock.now() == NOW


def test_an_empty_home_lives_through_its_history_and_serves_the_model_trained_at_its_end(shared):
    model = shared
    state = model.home.loop_state(model.parts.name)
    history = [e.event for e in model.home.ledger.read(stream="live") if e.name == "live.history_taken"]
    assert state.champion == 1
    assert model.live.state == "serving"
    assert [event.done for event in history] == [False] * (len(history) - 1) + [True]
    assert history[-1].n_requests == 7200
    assert model.answering.versions == (1,)


def test_an_answer_is_taken_in_once_with_its_request_and_its_features(model):
    answers = model.answering.answer(REQUEST, "r-1")
    files = sealed(model.log)
    kept = files[0].path.read_bytes()
    before = model.parts.predictions.requested(NOW - DAY, NOW + DAY).height

    assert model.live.ingest(files) == 1
    files[0].path.write_bytes(kept)  # as if the process had died before it dropped the file
    assert model.live.ingest(files) == 0

    rows = model.parts.predictions.requested(NOW - DAY, NOW + DAY)
    assert rows.height == before + 1
    assert rows["score"].to_list()[-1] == float(answers.scores[0, 0])
    assert rows["key"].to_list()[-1] == "r-1"
    requests = model.home.datasets.read(model.parts.schema.requests)
    assert requests.filter(parcel="r-1")["asked_at"].to_physical().to_list() == [NOW]


def test_an_outcome_is_durable_when_it_is_accepted_and_labels_its_prediction(model):
    model.answering.answer(REQUEST, "r-1")
    model.clock.move_to(NOW + 5 * HOUR)
    assert model.accept_outcomes([outcome("r-1")]).n_rows == 1
    model.ingest()
    rows = model.parts.predictions.labelled(NOW, NOW + 1, known_by=NOW + 6 * HOUR)
    assert rows["outcome"].to_list() == [1]
    assert ("parcels", "arrived_at") in {(sent.dataset.name, sent.part) for sent in model.sent}


def test_a_key_that_is_asked_about_twice_is_one_row_of_the_dataset_and_two_predictions(model):
    model.answering.answer(REQUEST, "r-1")
    model.answering.answer(REQUEST, "r-1")
    model.ingest()
    assert model.home.datasets.read(model.parts.schema.requests).filter(parcel="r-1").height == 1
    assert model.parts.predictions.requested(NOW, NOW + 1).height == 2


def test_a_home_goes_on_after_a_restart_with_its_champion_and_what_was_captured(lived, tmp_path):
    first = lived(tmp_path)
    first.answering.answer(REQUEST, "r-1")
    first.close()  # nothing was taken in

    again = LiveHome(tmp_path, capture="two")
    left = [path for path in sorted((tmp_path / "capture" / "one").glob("*.jsonl")) if read_captures(path)]
    assert again.live.ingest([Sealed("one-1", path) for path in left]) == 1
    assert again.answering.versions == (1,)
    assert again.parts.predictions.requested(NOW, NOW + 1)["key"].to_list() == ["r-1"]
    again.close()


def test_what_came_in_a_few_rows_at_a_time_is_stored_together_and_read_the_same_after_a_restart(
    lived, tmp_path, monkeypatch
):
    monkeypatch.setattr(live_module, "COMPACT_EVERY", 6)
    monkeypatch.setattr(table_folder, "_MANY", 3)
    first = lived(tmp_path)
    for number in range(13):
        first.answering.answer(REQUEST, f"r-{number}")
        first.accept_outcomes([outcome(f"r-{number}", late=number % 2 == 0)])
        first.ingest()
    seen = first.parts.predictions.matured(NOW, NOW + 1, known_by=NOW + DAY)
    requests = first.home.datasets.read(first.parts.schema.requests)
    at_version_9 = first.home.datasets.read(first.parts.schema.requests, version=9)
    first.close()

    assert len(list((tmp_path / "columns" / "predictions" / "late-parcel").glob("~*"))) >= 3
    again = LiveHome(tmp_path, capture="two")
    assert seen.height == 13
    assert again.parts.predictions.matured(NOW, NOW + 1, known_by=NOW + DAY).equals(seen)
    assert again.home.datasets.read(again.parts.schema.requests).equals(requests)
    assert again.home.datasets.read(again.parts.schema.requests, version=9).equals(at_version_9)
    again.close()


@pytest.mark.parametrize("point", ["ledger.before_commit", "ledger.after_commit", "columns.before_rename"])
def test_a_crash_while_captures_are_taken_in_loses_and_doubles_nothing(lived, tmp_path, point):
    first = lived(tmp_path)
    first.answering.answer(REQUEST, "r-1")
    first.accept_outcomes([outcome("r-1")])
    files = sealed(first.log)
    first.close()

    crashing = LiveHome(tmp_path, faults=Faults(point), capture="two", prepare=False)
    with pytest.raises(Crash):
        crashing.live.ingest(files)
    crashing.close()

    again = LiveHome(tmp_path, capture="three")
    again.live.ingest([file for file in files if file.path.exists()])
    rows = again.parts.predictions.matured(NOW, NOW + 1, known_by=NOW + DAY)
    assert rows["key"].to_list() == ["r-1"]
    assert rows["outcome"].to_list() == [1]
    again.close()


def test_a_crash_in_the_middle_of_the_history_ends_with_the_same_model(tmp_path):
    whole = LiveHome(tmp_path / "whole")
    expected = whole.answering.answer(REQUEST, "r-1").scores.tolist()
    whole.close()

    crashing = LiveHome(tmp_path / "cut", faults=Faults("ledger.before_commit", nth=3), prepare=False)
    with pytest.raises(Crash):
        crashing.live.prepare()
    crashing.close()

    again = LiveHome(tmp_path / "cut", capture="two")
    assert again.answering.answer(REQUEST, "r-1").scores.tolist() == expected
    taken = [e.event for e in again.home.ledger.read(stream="live") if isinstance(e.event, HistoryTaken)]
    assert taken[-1].n_requests == 7200
    again.close()


def test_a_history_that_was_cut_short_goes_on_with_the_features_that_it_began_with(tmp_path):
    crashing = LiveHome(tmp_path, faults=Faults("ledger.before_commit", nth=3), prepare=False)
    with pytest.raises(Crash):
        crashing.live.prepare()
    crashing.close()
    changed = declared().models[0]
    changed.features = changed.features[1:]
    again = LiveHome(tmp_path, changed, capture="two", prepare=False)
    with pytest.raises(FailedPrecondition, match="than its history was begun with"):
        again.live.prepare()
    again.close()


def test_time_that_passes_measures_days_and_asks_for_no_training_without_data(model):
    model.later(3)
    assert model.home.loop_state(model.parts.name).phase == "idle"
    with model.home.views.reading(LoopView) as view:
        assert view.loops["late-parcel"].n_labelled > 6000


def test_a_live_model_weighs_what_a_training_would_save_once_a_week(tmp_path):
    model = declared(on=()).models[0]
    model.retrain = varv.Retrain(on=["benefit"], cost=5, cooldown="1d")
    live = LiveHome(tmp_path, model)
    for _ in range(9):
        live.later(1)
    entries = live.home.ledger.read(stream="loop/late-parcel")
    [told] = [entry.event for entry in entries if isinstance(entry.event, BenefitWeighed)]
    assert (told.version, [one.versions for one in told.periods]) == (1, [(1,)])
    asked = [entry.event for entry in entries if isinstance(entry.event, RetrainTriggered)]
    assert [one.triggers[0].kind for one in asked] == ["first training", "benefit"]
    answer = explain(tmp_path, live.home.ledger, live.home.views, "late-parcel").answer
    assert "A training was last weighed at" in answer
    live.close()


def test_requests_do_not_come_through_the_inbox_nor_rows_of_an_unknown_dataset(shared):
    with pytest.raises(FailedPrecondition, match="predicting only"):
        shared.inbox.accept("parcels", "", [{"parcel": "a"}])
    with pytest.raises(NotFound, match="is not declared"):
        shared.inbox.accept("flights", "", [{"parcel": "a"}])
    with pytest.raises(NotFound, match="the parts of parcels are"):
        shared.inbox.accept("parcels", "left_at", [{"parcel": "a"}])
    with pytest.raises(InvalidInput, match="has 101 rows"):
        shared.accept_outcomes([outcome(str(n)) for n in range(101)])


LATER = Instant(NOW + 30 * DAY)


def test_a_capture_file_whose_commit_was_refused_is_taken_in_once_when_there_is_room(model, monkeypatch):
    model.answering.answer(REQUEST, "r-1")
    model.clock.move_to(NOW + 5 * HOUR)
    model.accept_outcomes([outcome("r-1")])
    files, before = sealed(model.log), model.parts.predictions.n_labelled(LATER, known_by=LATER)

    def refuse(*_, **__):
        raise StorageFull("ledger", "ledger.db")

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(model.home.ledger, "commit", refuse)
            with pytest.raises(StorageFull):
                model.live.ingest(files)
    assert model.live.ingest(files) == 1
    assert model.parts.predictions.requested(NOW, NOW + 1).height == 1
    assert model.parts.predictions.n_labelled(LATER, known_by=LATER) == before + 1


@pytest.mark.parametrize("required", [False, True])
def test_a_request_that_cannot_be_captured_is_answered_and_counted_or_refused(model, monkeypatch, required):
    def refuse(*_):
        raise StorageFull("capture file", "1.jsonl")

    monkeypatch.setattr(model.log, "write_lines", refuse)
    monkeypatch.setattr(model.answering, "_capture_required", required)
    if required:
        with pytest.raises(StorageFull):
            model.answering.answer(REQUEST, "r-1")
        assert model.answering.take_uncaptured() == 0
        return
    answers = model.answering.answer(REQUEST, "r-1")
    assert not answers.captured
    assert answers.scores.tolist() == [pytest.approx([0.5], abs=0.5)]
    assert [model.answering.take_uncaptured() for _ in range(2)] == [1, 0]
    model.live.note_uncaptured({model.parts.name: 1})
    with model.home.views.reading(RoutingView) as routing:
        assert routing.n_uncaptured == {model.parts.name: 1}


def test_after_a_restart_rows_that_the_source_states_otherwise_are_noticed_once(lived, tmp_path):
    lived(tmp_path).close()
    filled = parcels().with_columns(load=pl.when(pl.col("late")).then(9.0).otherwise(pl.col("load")))
    for capture in ("two", "three"):
        again = LiveHome(tmp_path, declared(filled).models[0], capture=capture)
        again.ingest()
        with again.home.views.reading(LoopView) as view:
            [finding] = view.loops["late-parcel"].leaks
        again.close()
    assert (finding.subject, finding.kind) == ("parcels.load", "past rows changed")
    assert finding.evidence["n_changed"] == parcels()["late"].sum()


def test_a_source_that_is_gone_does_not_keep_a_home_from_serving(lived, tmp_path):
    lived(tmp_path).close()
    model = declared().models[0]
    model.requests.source = Gone(model.requests.source)
    again = LiveHome(tmp_path, model, capture="two")
    again.ingest()
    assert again.live.state == "serving"
    again.close()


def test_a_fit_that_fails_is_tried_three_times_and_again_once_it_was_mended(tmp_path):
    def broken(train, params):
        raise ValueError(f"no luck with {len(train)} rows")

    model, mended = declared().models[0], declared().models[0]
    model.train.fit, model.train.window, mended.train.window = broken, None, None
    first = LiveHome(tmp_path, model)
    for _ in range(4):
        first.later(2)
    state = first.home.loop_state(first.parts.name)
    assert (state.champion, state.next_version, state.suspended) == (None, 4, True)
    first.close()

    again = LiveHome(tmp_path, mended, capture="two", declaration="1" * 64)
    again.later(0)
    state = again.home.loop_state(again.parts.name)
    assert (state.champion, state.suspended) == (4, False)
    again.close()


class Gone:
    """A source whose rows are not there any more."""

    def __init__(self, source):
        self._source = source

    def types(self):
        return self._source.types()

    def load(self):
        raise OSError("the disk is not mounted")

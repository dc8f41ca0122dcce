from __future__ import annotations

import polars as pl
import pytest
from tests.app.living import NOW, REQUEST, living, sealed
from tests.loop.synthetic import declared, parcels

import varv
from varv.kernel import columns as columns_module
from varv.kernel.clock import DAY, HOUR, Instant, VirtualClock
from varv.kernel.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, StorageFull
from varv.kernel.faults import Crash, Faults
from varv.loop import live as live_module
from varv.loop.live import HistoryTaken, LiveClock, Sealed
from varv.loop.views import LoopView
from varv.loop.world import loop_state
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
    found = living(tmp_path_factory.mktemp("home"))
    yield found
    found.close()


def route(source):
    """Return a view that is called like a column among the features."""
    return varv.FeatureView(
        "route", source=source, entity="route", features=varv.windows(mean="late", over=["6h"])
    )


def recently(source):
    """Return a view of the same name over a shorter time."""
    windows = varv.windows(mean="late", over=["6h"])
    return varv.FeatureView("recent", source=source, entity="route", features=windows)


def outcome(key, late=True, **more):
    return {"parcel": key, "late": late, **more}


def test_a_live_clock_stands_while_it_is_held_and_goes_on_when_released():
    clock = LiveClock(VirtualClock(NOW))
    clock.hold(NOW - DAY)
    assert clock.now() == NOW - DAY
    clock.release()
    assert clock.now() == NOW


def test_an_empty_home_lives_through_its_history_and_serves_the_model_trained_at_its_end(shared):
    model = shared
    state = loop_state(model.world)
    history = [e.event for e in model.world.ledger.read(stream="live") if e.name == "live.history_taken"]
    assert state.champion == 1
    assert model.live.state == "serving"
    assert [event.done for event in history] == [False] * (len(history) - 1) + [True]
    assert history[-1].n_requests == 7200
    assert model.answering.versions == (1,)


def test_an_answer_is_taken_in_once_with_its_request_and_its_features(model):
    answers = model.answering.answer(REQUEST, "r-1").rows
    files = sealed(model.log)
    kept = files[0].path.read_bytes()
    before = model.world.telemetry.requested(NOW - DAY, NOW + DAY).height

    assert model.live.take_in(files) == 1
    files[0].path.write_bytes(kept)  # as if the process had died before it dropped the file
    assert model.live.take_in(files) == 0

    rows = model.world.telemetry.requested(NOW - DAY, NOW + DAY)
    assert rows.height == before + 1
    assert rows["score"].to_list()[-1] == answers["score"][0]
    assert rows["key"].to_list()[-1] == "r-1"
    requests = model.world.datasets.read(model.world.model.requests)
    assert requests.filter(parcel="r-1")["asked_at"].to_physical().to_list() == [NOW]


def test_an_outcome_is_durable_when_it_is_accepted_and_labels_its_prediction(model):
    model.answering.answer(REQUEST, "r-1")
    model.clock.move_to(NOW + 5 * HOUR)
    assert model.inbox.accept_outcomes([outcome("r-1")]).n_rows == 1
    model.take_in()
    rows = model.world.telemetry.labelled(NOW, NOW + 1, known_by=NOW + 6 * HOUR)
    assert rows["outcome"].to_list() == [1]
    assert ("parcels", "arrived_at") in {seen[:2] for seen in model.here.observed}


def test_a_key_that_is_asked_about_twice_is_one_row_of_the_dataset_and_two_predictions(model):
    model.answering.answer(REQUEST, "r-1")
    model.answering.answer(REQUEST, "r-1")
    model.take_in()
    assert model.world.datasets.read(model.world.model.requests).filter(parcel="r-1").height == 1
    assert model.world.telemetry.requested(NOW, NOW + 1).height == 2


def test_a_home_goes_on_after_a_restart_with_its_champion_and_what_was_captured(lived, tmp_path):
    first = lived(tmp_path)
    first.answering.answer(REQUEST, "r-1")
    first.close()  # nothing was taken in

    again = living(tmp_path, capture="two")
    left = [path for path in sorted((tmp_path / "capture" / "one").glob("*.jsonl")) if read_captures(path)]
    assert again.live.take_in([Sealed("one-1", path) for path in left]) == 1
    assert again.answering.versions == (1,)
    assert again.world.telemetry.requested(NOW, NOW + 1)["key"].to_list() == ["r-1"]
    again.close()


def test_what_came_in_a_few_rows_at_a_time_is_stored_together_and_read_the_same_after_a_restart(
    lived, tmp_path, monkeypatch
):
    monkeypatch.setattr(live_module, "COMPACT_EVERY", 6)
    monkeypatch.setattr(columns_module, "_MANY", 3)
    first = lived(tmp_path)
    for number in range(13):
        first.answering.answer(REQUEST, f"r-{number}")
        first.inbox.accept_outcomes([outcome(f"r-{number}", late=number % 2 == 0)])
        first.take_in()
    seen = first.world.telemetry.matured(NOW, NOW + 1, known_by=NOW + DAY)
    requests = first.world.datasets.read(first.world.model.requests)
    at_version_9 = first.world.datasets.read(first.world.model.requests, version=9)
    first.close()

    assert len(list((tmp_path / "columns" / "predictions").glob("~*"))) >= 3
    again = living(tmp_path, capture="two")
    assert seen.height == 13
    assert again.world.telemetry.matured(NOW, NOW + 1, known_by=NOW + DAY).equals(seen)
    assert again.world.datasets.read(again.world.model.requests).equals(requests)
    assert again.world.datasets.read(again.world.model.requests, version=9).equals(at_version_9)
    again.close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda features: features[:-1], "recent"),
        (lambda features: [*features, route(features[-1].source)], "route"),
        (lambda features: [*features, varv.derived("warm", pl.col("heat") > 1)], "warm"),
        (lambda features: [*features[:-1], recently(features[-1].source)], "recent"),
    ],
)
def test_a_home_is_not_served_with_other_features(lived, tmp_path, change, named):
    lived(tmp_path).close()
    changed = declared().model
    changed.features = tuple(change(changed.features))
    again = living(tmp_path, capture="two", model=changed, prepare=False)
    with pytest.raises(FailedPrecondition, match=named) as refused:
        again.live.prepare()
    assert "--home" in refused.value.hint
    again.close()


def test_a_home_is_not_served_with_a_dataset_of_another_shape(lived, tmp_path):
    lived(tmp_path).close()
    changed = declared(parcels().with_columns(colour=pl.lit("red"))).model
    again = living(tmp_path, capture="two", model=changed, prepare=False)
    with pytest.raises(AlreadyExists, match="with another shape"):
        again.live.prepare()
    again.close()


@pytest.mark.parametrize("point", ["ledger.before_commit", "ledger.after_commit", "columns.before_rename"])
def test_a_crash_while_captures_are_taken_in_loses_and_doubles_nothing(lived, tmp_path, point):
    first = lived(tmp_path)
    first.answering.answer(REQUEST, "r-1")
    first.inbox.accept_outcomes([outcome("r-1")])
    files = sealed(first.log)
    first.close()

    crashing = living(tmp_path, faults=Faults(point), capture="two", prepare=False)
    with pytest.raises(Crash):
        crashing.live.take_in(files)
    crashing.close()

    again = living(tmp_path, capture="three")
    again.live.take_in([file for file in files if file.path.exists()])
    rows = again.world.telemetry.matured(NOW, NOW + 1, known_by=NOW + DAY)
    assert rows["key"].to_list() == ["r-1"]
    assert rows["outcome"].to_list() == [1]
    again.close()


def test_a_crash_in_the_middle_of_the_history_ends_with_the_same_model(tmp_path):
    whole = living(tmp_path / "whole")
    expected = whole.answering.answer(REQUEST, "r-1").rows["score"].to_list()
    whole.close()

    crashing = living(tmp_path / "cut", faults=Faults("ledger.before_commit", nth=3), prepare=False)
    with pytest.raises(Crash):
        crashing.live.prepare()
    crashing.close()

    again = living(tmp_path / "cut", capture="two")
    assert again.answering.answer(REQUEST, "r-1").rows["score"].to_list() == expected
    taken = [e.event for e in again.world.ledger.read(stream="live") if isinstance(e.event, HistoryTaken)]
    assert taken[-1].n_requests == 7200
    again.close()


def test_time_that_passes_measures_days_and_asks_for_no_training_without_data(model):
    model.later(3)
    assert loop_state(model.world).phase == "idle"
    with model.world.views.reading(LoopView) as view:
        assert view.loops["late-parcel"].n_labelled > 6000


def test_requests_do_not_come_through_the_inbox_nor_rows_of_an_unknown_dataset(shared):
    with pytest.raises(FailedPrecondition, match="predicting only"):
        shared.inbox.accept("parcels", "", [{"parcel": "a"}])
    with pytest.raises(NotFound, match="is not declared"):
        shared.inbox.accept("flights", "", [{"parcel": "a"}])
    with pytest.raises(NotFound, match="the parts of parcels are"):
        shared.inbox.accept("parcels", "left_at", [{"parcel": "a"}])
    with pytest.raises(InvalidInput, match="has 101 rows"):
        shared.inbox.accept_outcomes([outcome(str(n)) for n in range(101)])


LATER = Instant(NOW + 30 * DAY)


def test_a_capture_file_whose_commit_was_refused_is_taken_in_once_when_there_is_room(model, monkeypatch):
    model.answering.answer(REQUEST, "r-1")
    model.clock.move_to(NOW + 5 * HOUR)
    model.inbox.accept_outcomes([outcome("r-1")])
    files, before = sealed(model.log), model.world.telemetry.n_labelled(LATER, known_by=LATER)

    def refuse(*_, **__):
        raise StorageFull("ledger", "ledger.db")

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(model.world.ledger, "commit", refuse)
            with pytest.raises(StorageFull):
                model.live.take_in(files)
    assert model.live.take_in(files) == 1
    assert model.world.telemetry.requested(NOW, NOW + 1).height == 1
    assert model.world.telemetry.n_labelled(LATER, known_by=LATER) == before + 1


@pytest.mark.parametrize("required", [False, True])
def test_a_request_that_cannot_be_captured_is_answered_and_counted_or_refused(model, monkeypatch, required):
    def refuse(*_):
        raise StorageFull("capture file", "1.jsonl")

    monkeypatch.setattr(model.log, "write", refuse)
    monkeypatch.setattr(model.answering, "_capture_required", required)
    if required:
        with pytest.raises(StorageFull):
            model.answering.answer(REQUEST, "r-1")
        assert model.answering.take_uncaptured() == 0
        return
    answers = model.answering.answer(REQUEST, "r-1")
    assert not answers.captured
    assert answers.rows["score"].to_list() == pytest.approx([0.5], abs=0.5)
    assert [model.answering.take_uncaptured() for _ in range(2)] == [1, 0]
    model.live.note_uncaptured(1)
    with model.world.views.reading(RoutingView) as routing:
        assert routing.n_uncaptured == {model.world.model.name: 1}


def test_after_a_restart_rows_that_the_source_states_otherwise_are_noticed_once(lived, tmp_path):
    lived(tmp_path).close()
    filled = parcels().with_columns(load=pl.when(pl.col("late")).then(9.0).otherwise(pl.col("load")))
    for capture in ("two", "three"):
        again = living(tmp_path, capture=capture, model=declared(filled).model)
        again.take_in()
        with again.world.views.reading(LoopView) as view:
            [finding] = view.loops["late-parcel"].leaks
        again.close()
    assert (finding.subject, finding.kind) == ("parcels.load", "past rows changed")
    assert finding.evidence["n_changed"] == parcels()["late"].sum()


def test_a_source_that_is_gone_does_not_keep_a_home_from_serving(lived, tmp_path):
    lived(tmp_path).close()
    model = declared().model
    model.requests.source = Gone(model.requests.source)
    again = living(tmp_path, capture="two", model=model)
    again.take_in()
    assert again.live.state == "serving"
    again.close()


def test_a_fit_that_fails_is_tried_three_times_and_again_once_it_was_mended(tmp_path):
    def broken(train, params):
        raise ValueError(f"no luck with {len(train)} rows")

    model, mended = declared().model, declared().model
    model.train.fit, model.train.window, mended.train.window = broken, None, None
    first = living(tmp_path, model=model)
    for _ in range(4):
        first.later(2)
    state = loop_state(first.world)
    assert (state.champion, state.next_version, state.suspended) == (None, 4, True)
    first.close()

    again = living(tmp_path, capture="two", model=mended, declaration="1" * 64)
    again.later(0)
    state = loop_state(again.world)
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

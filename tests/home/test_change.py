"""A changed declaration in a live home: what is planned, what is computed, what is trained, what goes."""

from __future__ import annotations

import polars as pl
import pytest
from tests.home.live_home import NOW, REQUEST, LiveHome, sealed
from tests.loop.synthetic import declared, fit, parcels

import varv
from varv.app.verifying import verify_report
from varv.data.intake import Intake
from varv.features import FeatureEngine, FeatureStore
from varv.home.change.views import ChangesView
from varv.kernel.clock import DAY
from varv.kernel.errors import FailedPrecondition
from varv.kernel.faults import Crash, Faults
from varv.loop.model import RetrainAsked
from varv.loop.views import LoopView
from varv.project.planned import Retirement
from varv.serving.backfill import Backfill

MODEL = "late-parcel"


def changed(*more, without=(), past=None, rename=None):
    """Return the parcels' model with more features, or without some."""
    model = declared(past).models[0]
    kept = [one for one in model.features if getattr(one, "name", one) not in without]
    model.features = (*kept, *(one(model.requests) if callable(one) else one for one in more))
    model.rollout = varv.Rollout.immediate()
    return model


def slow(source):
    return varv.FeatureView(
        "slow", source=source, entity="route", features=varv.windows("late", ["mean", "count"], over=["2h"])
    )


WARM = varv.derived("warm", pl.col("heat") > 1)


def reopened(folder, *models, **options):
    """Return a home with a changed declaration, brought to the present with all that the change does."""
    home = LiveHome(folder, *models, capture="two", declaration="1" * 64, prepare=False, **options)
    carry_out(home)
    return home


def carry_out(home):
    home.live.prepare()
    home.live.go_on()
    home.home.engine.settle()


def recomputed(home, name):
    """Return the features of every stored request, computed anew in one go."""
    parts = home.home.models[name]
    store = FeatureStore()
    engine = FeatureEngine(parts.schema.features, parts.schema.requests, store)
    Intake(home.home.datasets, [store]).restore(parts.plan.datasets)
    data = parts.schema.requests
    rows = home.home.datasets.read_part(data, data.event_time)
    found = engine.lookup(rows, at=data.event_time)
    return found.insert_column(0, parts.schema.keys(rows)).sort("key")


def stored(home, name):
    return home.home.models[name].predictions.requested(0, NOW + 400 * DAY).sort("key")


def test_new_features_are_computed_for_stored_requests_as_they_would_have_been(lived, tmp_path):
    first = lived(tmp_path)
    first.answering.answer(REQUEST, "r-1")
    first.ingest()
    first.close()
    home = reopened(tmp_path, changed(slow, WARM))
    rows, expected = stored(home, MODEL), recomputed(home, MODEL)
    assert rows.height == 7201
    names = home.parts.schema.features.names
    assert {"slow.late_mean_2h", "slow.late_count_2h", "warm"} <= set(names)
    assert rows.select("key", *names).equals(expected.select("key", *names))
    state = home.home.loop_state(MODEL)
    assert state.champion == 2
    with home.home.views.reading(LoopView) as view:
        [trigger] = view.loops[MODEL].attempts[2].triggers
    assert trigger.kind == "declaration"
    assert "slow.late_mean_2h" in trigger.subject
    assert verify_report(tmp_path).findings == ()
    home.close()


def test_a_restart_reads_what_was_computed_and_changes_nothing(lived, tmp_path):
    lived(tmp_path).close()
    home = reopened(tmp_path, changed(slow))
    rows, head = stored(home, MODEL), home.home.ledger.head().version
    home.close()
    again = LiveHome(tmp_path, changed(slow), capture="three", declaration="1" * 64)
    again.live.go_on()
    again.home.engine.settle()
    assert stored(again, MODEL).equals(rows)
    names = [entry.name for entry in again.home.ledger.read(head)]
    assert names == ["live.started"]
    again.close()


def test_a_feature_goes_when_no_version_in_force_reads_it(lived, tmp_path):
    lived(tmp_path).close()
    home = reopened(tmp_path, changed(without=("recent", "heat")))
    state = home.home.loop_state(MODEL)
    assert (state.champion, state.former) == (2, 1)
    answer = home.answering.answer(REQUEST, "r-1")
    assert answer.versions == [2]
    home.ingest()
    # The champion before may still be brought back, so what it reads is still computed.
    assert home.parts.schema.features.names == ("load", "route", "heat", "recent.late_mean_24h")
    assert stored(home, MODEL)["recent.late_mean_24h"].null_count() < 100
    home.later(3)
    home.loops.tell(MODEL, RetrainAsked(by="test", reason=""))
    home.later(0)
    assert home.home.loop_state(MODEL).former == 2
    home.close()

    again = reopened(tmp_path, changed(without=("recent", "heat")))
    assert again.parts.schema.features.names == ("load", "route")
    released = [e.event for e in again.home.ledger.read() if e.name == "loop.features_released"]
    assert [event.features for event in released] == [("heat", "recent.late_mean_24h")]
    again.close()


def test_versions_of_different_features_answer_beside_each_other(lived, tmp_path):
    def weekly(source):
        windows = varv.windows("late", "mean", over=["48h"])
        return varv.FeatureView("recent", source=source, entity="route", features=windows)

    first = lived(tmp_path)
    score = first.answering.answer(REQUEST, "r-0").scores[0, 0]
    first.close()
    model = changed(weekly, without=("recent", "heat"))
    model.rollout = declared().models[0].rollout
    home = reopened(tmp_path, model)
    state = home.home.loop_state(MODEL)
    assert (state.phase, state.champion, state.candidate) == ("rolling", 1, 2)
    home.answering.answer(REQUEST, "r-1")
    home.ingest()
    answer = stored(home, MODEL).filter(pl.col("key") == "r-1")
    # The champion reads what is declared no more, by the name that the declared view has too.
    assert answer["champion_score"].to_list() == [score]
    assert answer["candidate_score"].null_count() == 0
    assert home.parts.schema.features.names == (
        *("load", "route", "recent.late_mean_48h"),
        *("heat", "recent.late_mean_24h"),
    )
    names = home.parts.schema.features.names
    home.ingest()
    rows, expected = stored(home, MODEL), recomputed(home, MODEL)
    assert rows.select("key", *names).equals(expected.select("key", *names))
    home.close()


def test_a_change_whose_preparation_fails_is_tried_again_at_the_next_start(lived, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise FailedPrecondition("segment", "x", "cannot be made")

    lived(tmp_path).close()
    with monkeypatch.context() as patched:
        patched.setattr(Backfill, "run", refuse)
        home = reopened(tmp_path, changed(WARM))
    with home.home.views.reading(ChangesView) as view:
        assert "cannot be made" in view.changes[1].progress()
    # A training would take what is not computed for missing.
    home.loops.tell(MODEL, RetrainAsked(by="test", reason=""))
    home.home.engine.settle()
    with home.home.views.reading(LoopView) as view:
        assert "lack warm" in view.loops[MODEL].attempts[2].reason
    home.close()
    again = LiveHome(tmp_path, changed(WARM), capture="three", declaration="1" * 64, prepare=False)
    carry_out(again)
    with again.home.views.reading(ChangesView) as view:
        assert [change.phase for change in view.changes.values()] == ["done"]
    assert stored(again, MODEL)["warm"].null_count() == 0
    again.close()


def test_a_name_means_one_thing_for_as_long_as_a_home_lives(lived, tmp_path):
    lived(tmp_path).close()
    model = changed(varv.derived("warm", pl.col("heat") > 1))
    reopened(tmp_path, model).close()
    again = LiveHome(
        tmp_path, changed(varv.derived("warm", pl.col("heat") > 2)), capture="three", prepare=False
    )
    with pytest.raises(FailedPrecondition, match="'warm' is defined otherwise") as refused:
        again.live.prepare()
    assert "another name" in refused.value.hint
    again.close()


def widened():
    return parcels().with_columns(
        weight=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.int_range(pl.len()) % 7).cast(pl.Float64)
    )


def test_a_dataset_gains_a_column_that_is_null_in_what_was_stored(lived, tmp_path):
    lived(tmp_path).close()
    home = reopened(tmp_path, changed("weight", past=widened()))
    data = home.parts.schema.requests
    rows = home.home.datasets.read(data)
    assert rows["weight"].null_count() == rows.height == 7200
    # Whoever asks as before is answered as before, and whoever knows of the column may send it.
    home.answering.answer(REQUEST, "r-1")
    home.answering.answer({**REQUEST, "weight": [3.5]}, "r-2")
    home.accept_outcomes([{"parcel": "r-2", "late": True}])
    home.ingest()
    assert stored(home, MODEL).filter(pl.col("key").str.starts_with("r-"))["weight"].to_list() == [None, 3.5]
    assert home.home.datasets.read(data).filter(pl.col("weight") > 0)["parcel"].to_list() == ["r-2"]
    home.close()
    again = LiveHome(tmp_path, changed("weight", past=widened()), capture="three", declaration="1" * 64)
    again.answering.answer({**REQUEST, "weight": [2.5]}, "r-3")
    again.ingest()
    assert again.home.datasets.read(again.parts.schema.requests)["weight"].drop_nulls().len() == 2
    assert verify_report(tmp_path).findings == ()
    again.close()


def late_by(name, source, **features):
    model = changed()
    return varv.Model(
        name,
        requests=source,
        features=["load", "route"],
        outcome=varv.Outcome("late", known_at="arrived_at", mature="12h"),
        train=varv.Train(fit, window="16d", validate="6d", params={"C": 1.0}, min_rows=200),
        gates=model.gates,
        rollout=varv.Rollout.immediate(),
    )


def test_a_new_model_is_trained_from_what_the_datasets_hold(lived, tmp_path):
    lived(tmp_path).close()
    model = declared().models[0]
    home = reopened(tmp_path, model, late_by("late-too", model.requests))
    assert home.home.loop_state("late-too").champion == 1
    assert home.home.loop_state(MODEL).champion == 1
    assert stored(home, "late-too").height == 7200
    names = home.home.models["late-too"].schema.features.names
    expected = recomputed(home, "late-too").select("key", *names)
    assert stored(home, "late-too").select("key", *names).equals(expected)
    assert home.answering_of["late-too"].answer(REQUEST, "r-1").versions == [1]
    home.close()


def test_a_new_model_of_a_new_dataset_takes_it_in_from_its_source(lived, tmp_path):
    lived(tmp_path).close()
    other = varv.Dataset(
        "letters",
        source=varv.Frame(parcels(seed=9)),
        key="parcel",
        event_time="asked_at",
        known_at={"arrived_at": ["late", "delay"]},
    )
    home = reopened(tmp_path, declared().models[0], late_by("late-letter", other))
    assert home.home.loop_state("late-letter").champion == 1
    assert stored(home, "late-letter").height == 7200
    assert verify_report(tmp_path).findings == ()
    home.close()


@pytest.fixture
def two(lived, tmp_path):
    """A home with two models, and the second of them."""
    lived(tmp_path).close()
    model = declared().models[0]
    reopened(tmp_path, model, late_by("late-too", model.requests)).close()
    return tmp_path


def retiring(folder, *models, retire=(), despite=False, **options):
    asked = Retirement(models=retire, despite_traffic=despite)
    home = LiveHome(folder, *models, declaration="2" * 64, retire=asked, prepare=False, **options)
    try:
        carry_out(home)
    except FailedPrecondition:
        home.close()
        raise
    return home


def test_a_model_that_is_gone_from_the_file_is_retired_only_if_that_is_asked_for(two):
    with pytest.raises(FailedPrecondition, match="is not declared any more") as refused:
        retiring(two, declared().models[0])
    assert "--retire late-too" in refused.value.hint


def test_a_model_that_answered_in_the_last_day_is_retired_only_despite_its_traffic(two):
    model = declared().models[0]
    home = retiring(two, model, late_by("late-too", model.requests))
    home.answering_of["late-too"].answer(REQUEST, "r-1")
    home.ingest()
    home.close()
    with pytest.raises(FailedPrecondition, match="answered 1 requests in the last day") as refused:
        retiring(two, declared().models[0], retire=("late-too",))
    assert "--despite-traffic" in refused.value.hint
    retiring(two, declared().models[0], retire=("late-too",), despite=True).close()


def test_a_retired_model_stands_still_and_goes_on_once_it_is_declared_again(two):
    home = retiring(two, declared().models[0], retire=("late-too",))
    state = home.home.loop_state("late-too")
    assert state.retired
    home.later(4)
    assert home.home.loop_state("late-too") == state
    timers = {timer.saga for timer in home.home.ledger.stored(home.home.ledger.head().version).timers}
    assert "loop/late-too" not in timers
    with pytest.raises(FailedPrecondition, match="was retired on 2024-05-02"):
        home.loops.model("late-too")
    home.close()
    model = declared().models[0]
    again = retiring(two, model, late_by("late-too", model.requests))
    state = again.home.loop_state("late-too")
    assert (state.retired, state.champion) == (False, 1)
    assert again.answering_of["late-too"].answer(REQUEST, "r-9").versions == [1]
    again.later(2)
    assert again.home.loop_state("late-too").phase == "idle"
    again.close()


def test_what_a_retired_model_answered_before_is_still_put_on_record(two):
    model = declared().models[0]
    home = retiring(two, model, late_by("late-too", model.requests), capture="five")
    home.answering_of["late-too"].answer(REQUEST, "r-1")
    files = sealed(home.log)
    home.close()
    again = retiring(two, declared().models[0], retire=("late-too",), capture="six")
    assert again.live.ingest(files) == 1
    assert again.home.datasets.read(again.parts.schema.requests).filter(parcel="r-1").height == 1
    assert verify_report(two).findings == ()
    again.close()


POINTS = [
    *(("ledger.before_commit", nth) for nth in (1, 2, 3, 4, 5, 6)),
    *(("ledger.after_commit", nth) for nth in (1, 2, 3, 4, 5)),
    *(("engine.after_claim", nth) for nth in (1, 2, 3)),
    *(("engine.after_handler", nth) for nth in (1, 2, 3)),
    ("columns.before_rename", 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("point", "nth"), POINTS)
def test_a_change_that_is_killed_at_any_point_comes_to_the_same_end(lived, tmp_path, whole, point, nth):
    lived(tmp_path).close()
    model, faults = changed(slow, WARM), Faults(point, nth=nth)
    crashing = LiveHome(tmp_path, model, faults=faults, capture="two", prepare=False)
    with pytest.raises(Crash):
        carry_out(crashing)
    crashing.close()
    again = LiveHome(tmp_path, changed(slow, WARM), capture="three", prepare=False)
    carry_out(again)
    assert stored(again, MODEL).equals(whole)
    assert again.home.loop_state(MODEL).champion == 2
    with again.home.views.reading(ChangesView) as view:
        assert [change.phase for change in view.changes.values()] == ["done"]
    assert verify_report(tmp_path).findings == ()
    again.close()


@pytest.fixture(scope="module")
def whole(lived, tmp_path_factory):
    """What is stored after a change that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    lived(folder).close()
    home = reopened(folder, changed(slow, WARM))
    rows = stored(home, MODEL)
    home.close()
    return rows

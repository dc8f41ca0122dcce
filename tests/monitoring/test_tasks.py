"""Every task is measured, watched and alarmed on in its own numbers."""

import json

import msgspec
import polars as pl
import pytest

from varv.kernel.codec import canonical, decode_event
from varv.kernel.errors import InvalidInput
from varv.monitoring import monitor
from varv.monitoring.measure import measure_day, measure_drift
from varv.monitoring.model import DriftMeasured, PerformanceMeasured, Window
from varv.monitoring.performance import measure_performance
from varv.monitoring.reference import Reference, reference
from varv.monitoring.rules import MonitorSaga
from varv.monitoring.summary import glossary, summarised
from varv.monitoring.windows import cut

from .streams import REFERENCE_DAYS, before, day_instant
from .watch import watch
from .worlds import TASKS, world

FEATURES = ["load", "temperature", "carrier"]
WITH_OUTCOME = [kind for kind in TASKS if kind != "score"]
WRONG = {"binary": 1.2, "multiclass": 1.2, "absolute": 1.0, "squared": 1.0, "quantiles": 0.8, "ranking": 1.0}


def reference_of(kind, frame):
    rows = frame.filter(before(REFERENCE_DAYS))
    return reference(rows, task=TASKS[kind], model="m", version=1, features=FEATURES)


def measured(kind, frame, day=0, n_days=1):
    window = Window(day_instant(day), day_instant(day + n_days))
    part = cut(frame, window, known_by=window.end + window.end)
    return measure_performance(part, window, task=TASKS[kind], model="m", version=1)


def drift_of(kind, frame, n_days):
    window = Window(day_instant(n_days - 14), day_instant(n_days))
    plan = monitor.plan([monitor.drift()], task=TASKS[kind])
    rows = frame.filter(~before(n_days - 14))
    found = measure_drift(rows, window, reference_of(kind, frame), plan.drift, task=TASKS[kind])
    return found, {one.name: one for one in found.features}


def watched(kind, *, wrong, n_days=REFERENCE_DAYS + 60):
    frame = world(kind, 4, n_days=n_days, rows=100, wrong=wrong, wrong_from=REFERENCE_DAYS + 30)
    plan = monitor.plan(monitor.standard(TASKS[kind]), task=TASKS[kind])
    end = day_instant(n_days)
    return watch(frame, reference_of(kind, frame), plan, start=day_instant(REFERENCE_DAYS), end=end)


@pytest.mark.parametrize("kind", WITH_OUTCOME)
def test_every_number_of_the_task_is_measured_and_survives_the_ledger(kind):
    found = measured(kind, world(kind, 1, n_days=1, rows=500))
    task = TASKS[kind]
    assert {*task.losses, *task.metrics, *(one.name for one in task.signals)} == set(found.measured)
    assert {one.name for one in task.signals} <= set(found.watched())
    assert decode_event(found.event_name, 1, canonical(found)) == found
    assert task.loss.label in found.line()


@pytest.mark.parametrize("kind", ["multiclass", "absolute", "quantiles", "ranking"])
def test_the_old_fields_are_of_the_binary_task_alone(kind):
    found = measured(kind, world(kind, 1, n_days=1, rows=500))
    assert (found.log_loss, found.auc, found.base_rate, found.scored) == (None, None, None, None)


@pytest.mark.parametrize("kind", WITH_OUTCOME)
def test_a_reference_of_any_task_survives_its_bytes(kind):
    found = reference_of(kind, world(kind, 2, n_days=REFERENCE_DAYS))
    assert Reference.from_bytes(found.to_bytes()) == found
    assert set(found.signals) == {one.name for one in TASKS[kind].signals}
    promises = kind in ("binary", "multiclass")
    assert [one.losses is None for one in found.features] == [promises] * 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", WITH_OUTCOME)
def test_a_change_for_the_worse_is_an_alarm_and_right_predictions_are_none(kind):
    changed = day_instant(REFERENCE_DAYS + 30)
    assert not watched(kind, wrong=0.0).raised()
    alarms = watched(kind, wrong=WRONG[kind]).raised()
    assert alarms
    assert all(one.window.start >= changed for one in alarms)
    assert {one.kind for one in alarms} <= {"performance", "calibration"}


def test_an_alarm_speaks_in_the_words_and_the_unit_of_its_task():
    [alarm, *_] = [one for one in watched("absolute", wrong=1.0).raised() if one.subject == "loss"]
    line = alarm.evidence_line()
    assert line.startswith("mean absolute error ")
    assert "in the unit of the outcome" in line
    assert "nats" not in line
    [alarm, *_] = [one for one in watched("multiclass", wrong=1.2).raised() if one.subject == "excess_loss"]
    assert "nats lost beyond what the scores promise" in alarm.evidence_line()


@pytest.mark.parametrize("kind", ["absolute", "quantiles"])
def test_more_of_the_requests_that_were_always_hard_harm_nothing(kind):
    frame = world(kind, 5, n_days=90, rows=200, ua_from=60)
    usual = measured(kind, frame, 0, 40).loss().value
    assert measured(kind, frame, 76, 14).loss().value > 1.3 * usual
    found = drift_of(kind, frame, 90)[1]["carrier"]
    assert found.drifted
    assert abs(found.harm) < 0.1 * usual
    assert not found.harmful


@pytest.mark.parametrize(
    ("kind", "wrong"), [("multiclass", 2.0), ("absolute", 2.0), ("squared", 2.0), ("quantiles", 2.0)]
)
def test_a_season_that_the_model_was_not_made_for_is_harmful(kind, wrong):
    frame = world(kind, 6, n_days=90, rows=200, warming=0.5, wrong=wrong, wrong_from=40, where=12)
    warm = drift_of(kind, frame, 90)[1]["temperature"]
    assert warm.harmful
    assert 0 < warm.harm_low < warm.harm


def test_drift_of_a_model_without_outcomes_is_a_notice_and_says_so():
    frame = world("score", 7, n_days=90, warming=0.5)
    found, features = drift_of("score", frame, 90)
    assert features["temperature"].drifted
    assert not any(one.harmful or one.harm is not None for one in features.values())
    assert not found.judged
    assert "a notice" in found.line()


def test_a_model_without_outcomes_is_counted_and_never_alarms():
    frame = world("score", 8, n_days=90, warming=0.5).with_columns(
        score=pl.when(pl.int_range(pl.len()) % 4 > 0).then("score")
    )
    plan = monitor.plan(monitor.standard(TASKS["score"]), task=TASKS["score"])
    run = watch(
        frame, reference_of("score", frame), plan, start=day_instant(REFERENCE_DAYS), end=day_instant(90)
    )
    days = run.of(PerformanceMeasured)
    assert {(one.n_requests, one.n, one.missing_share) for one in days} == {(60, 45, None)}
    assert all(one.measured == {} for one in days)
    assert run.of(DriftMeasured)
    assert run.raised() == []
    assert summarised(days) is None


def test_a_ranking_is_measured_by_its_lists_and_needs_their_names():
    frame = world("ranking", 9, n_days=1, rows=500)
    alike = frame.with_columns(group=pl.lit("one"))
    assert measured("ranking", frame).loss() != measured("ranking", alike).loss()
    with pytest.raises(InvalidInput, match="group"):
        measured("ranking", frame.drop("group"))


def test_a_new_task_forgets_how_days_of_the_old_one_spread():
    frame = world("absolute", 10, n_days=REFERENCE_DAYS + 10)
    first = watched("squared", wrong=0.0).state
    assert first.signals["loss"].own.square > 0
    plan = monitor.plan([monitor.performance()], task=TASKS["absolute"])
    chosen = msgspec.structs.replace(reference_of("absolute", frame), version=2).set_for(
        plan, at=day_instant(100)
    )
    state = MonitorSaga().step(first, chosen, day_instant(100)).state
    assert state.task == TASKS["absolute"].spec
    assert state.signals["loss"].pool.n_days == 0


@pytest.mark.parametrize("kind", WITH_OUTCOME)
def test_a_summary_shows_the_numbers_of_the_task_by_its_own_names(kind):
    frame = world(kind, 11, n_days=5, rows=200)
    found = summarised([measured(kind, frame, day) for day in range(5)])
    task = TASKS[kind]
    assert found.numbers[0].label == task.loss.label
    assert found.numbers[0].digits == task.loss.digits
    assert found.numbers[0].value == pytest.approx(measured(kind, frame, 0, 5).loss().value, rel=1e-6)
    assert len({one.label for one in found.numbers}) == len(found.numbers)
    assert all(meaning for meaning in glossary(task).values())


def test_measurements_of_a_day_do_not_depend_on_the_order_of_rows():
    frame = world("quantiles", 12, n_days=60)
    found = reference_of("quantiles", frame)
    plan = monitor.plan([monitor.performance(), monitor.drift()], task=TASKS["quantiles"])
    day = Window(day_instant(48), day_instant(49))
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=1).sort("requested_at")
    one, other = (json.loads(canonical(measure_day(rows, day, found, plan)[0])) for rows in (frame, mixed))
    assert one["measured"]["pinball"]["value"] == pytest.approx(other["measured"]["pinball"]["value"])

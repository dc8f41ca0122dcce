import msgspec
import polars as pl
import pytest

from varv import task
from varv.kernel.clock import DAY, as_datetime
from varv.kernel.codec import canonical
from varv.kernel.errors import InvalidInput
from varv.monitoring import monitor
from varv.monitoring.measure import measure_day, measure_drift
from varv.monitoring.model import DriftMeasured, PerformanceMeasured, Window
from varv.monitoring.reference import reference
from varv.monitoring.windows import closes, matured

from .streams import REFERENCE_DAYS, before, day_instant, stream

PLAN = monitor.plan([monitor.performance(), monitor.drift()])


def reference_of(frame):
    rows = frame.filter(before(REFERENCE_DAYS))
    return reference(
        rows, task=task.binary(), model="late", version=1, features=["load", "temperature", "carrier"]
    )


def last_fortnight(frame, n_days):
    window = Window(day_instant(n_days - 14), day_instant(n_days))
    found = measure_drift(
        frame.filter(~before(n_days - 14)), window, reference_of(frame), PLAN.drift, task=task.binary()
    )
    return {one.name: one for one in found.features}


def test_a_warmer_season_that_harms_nothing_is_noted_and_harmless():
    found = last_fortnight(stream(1, n_days=90, warming=0.5), 90)
    warm = found["temperature"]
    assert warm.psi > 2
    assert warm.ks > 0.8
    assert warm.drifted
    assert warm.harm is not None
    assert not warm.harmful
    assert not found["load"].drifted
    assert not found["carrier"].drifted


def test_a_season_that_the_model_was_not_made_for_is_harmful():
    frame = stream(2, n_days=90, warming=0.5, rows=200, bias=1.5, bias_from=40, bias_where=12)
    warm = last_fortnight(frame, 90)["temperature"]
    assert warm.harmful
    assert warm.harm_low > 0
    assert warm.harm_share > 0.9


def test_a_changed_world_with_the_same_features_is_no_drift():
    found = last_fortnight(stream(3, n_days=90, bias=2.0, bias_from=40), 90)
    assert not any(one.drifted or one.harmful for one in found.values())


def test_missing_and_unseen_values_are_drift_and_no_error():
    frame = stream(4, n_days=60)
    live = ~before(REFERENCE_DAYS)
    frame = frame.with_columns(
        load=pl.when(~live).then(pl.col("load")),
        carrier=pl.when(live).then(pl.lit("ZZ")).otherwise(pl.col("carrier")),
    )
    found = last_fortnight(frame, 60)
    assert found["load"].missing_share == 1.0
    assert found["load"].drifted
    assert found["load"].ks is None
    assert found["carrier"].drifted


def test_drift_needs_a_week_of_rows():
    frame = stream(5, n_days=45)
    part = frame.filter(~before(39))
    window = Window(day_instant(31), day_instant(45))
    assert measure_drift(part, window, reference_of(frame), PLAN.drift, task=task.binary()) is None
    assert measure_drift(part.head(0), window, reference_of(frame), PLAN.drift, task=task.binary()) is None


def test_a_feature_that_turned_into_text_is_refused_by_name():
    frame = stream(6, n_days=60)
    found = reference_of(frame)
    with pytest.raises(InvalidInput, match="load"):
        measure_drift(
            frame.with_columns(pl.col("load").cast(pl.String)),
            Window(day_instant(0), day_instant(60)),
            found,
            PLAN.drift,
            task=task.binary(),
        )
    with pytest.raises(InvalidInput, match="temperature"):
        measure_drift(
            frame.drop("temperature"),
            Window(day_instant(0), day_instant(60)),
            found,
            PLAN.drift,
            task=task.binary(),
        )


def test_quality_is_measured_daily_and_drift_when_it_is_due():
    frame = stream(7, n_days=60)
    found = reference_of(frame)
    for day in matured(day_instant(46), day_instant(61)):
        events = measure_day(frame, day, found, PLAN)
        assert isinstance(events[0], PerformanceMeasured)
        assert events[0].window == day
        assert [type(one) for one in events[1:]] == ([DriftMeasured] if closes(day, 7 * DAY) else [])


def test_rows_and_outcomes_from_later_do_not_change_a_measurement():
    frame = stream(8, n_days=60)
    found = reference_of(frame)
    day = next(day for day in matured(day_instant(46), day_instant(55)) if closes(day, 7 * DAY))
    later = pl.col("requested_at") >= as_datetime(day.end)
    lied = frame.with_columns(outcome=pl.when(later).then(1 - pl.col("outcome")).otherwise(pl.col("outcome")))
    truth = [canonical(one) for one in measure_day(frame, day, found, PLAN)]
    assert truth == [canonical(one) for one in measure_day(lied, day, found, PLAN)]
    assert truth == [canonical(one) for one in measure_day(frame.filter(~later), day, found, PLAN)]


def test_measurements_hold_plain_numbers_only():
    frame = stream(9, n_days=60, warming=0.5)
    found = reference_of(frame)
    events = [
        one
        for day in matured(day_instant(46), day_instant(61))
        for one in measure_day(frame, day, found, PLAN)
    ]
    for one in events:
        assert msgspec.json.decode(canonical(one), type=type(one)) == one

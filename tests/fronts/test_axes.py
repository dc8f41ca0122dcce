from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.fronts.web.axes import Range, covering, round_ticks, spread, thinned, time_ticks
from varv.kernel.clock import DAY, HOUR, Instant, instant

START = instant("2013-02-01")


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_round_ticks_lie_inside_and_are_few(low, width):
    span = Range(low, low + width)
    if span.high - span.low < 1e-9 * abs(low):
        return
    ticks = round_ticks(span)
    assert len(ticks) <= 7
    assert all(span.low - 1e-6 * width <= tick.at <= span.high + 1e-6 * width for tick in ticks)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True)))
def test_a_range_always_has_a_width(values):
    span = covering([value for value in values if abs(value) < 1e300 or value != value])
    assert span.high > span.low


@pytest.mark.parametrize("length", [HOUR, 12 * HOUR, 3 * DAY, 40 * DAY, 200 * DAY, 365 * DAY, 4000 * DAY])
def test_time_ticks_are_in_order_and_inside(length):
    ticks = time_ticks(START, Instant(START + length))
    places = [tick.at for tick in ticks]
    assert 2 <= len(ticks) <= 8
    assert places == sorted(places)
    assert places[0] >= START
    assert places[-1] <= START + length


def test_labels_never_overlap_where_there_is_room():
    placed = sorted(spread([50.0, 50.0, 51.0, 49.0], 14.0, 4.0, 200.0))
    assert all(high - low >= 14.0 for low, high in pairwise(placed))


def test_labels_stay_inside_at_the_lower_end():
    assert spread([199.0, 200.0], 14.0, 4.0, 200.0) == [186.0, 200.0]


def test_few_points_are_left_as_they_are():
    points: list[tuple[float, float | None]] = [(0.0, 1.0), (1.0, None)]
    assert thinned(points) == points

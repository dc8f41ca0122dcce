"""Where intervals of a calendar begin."""

from __future__ import annotations

import numpy as np
import pytest

from varv.features.boundaries import boundaries
from varv.kernel.clock import DAY, HOUR, instant, iso


@pytest.mark.parametrize(
    ("zone", "at", "expected"),
    [
        # Clocks skip midnight there, so the day begins at one.
        ("America/Sao_Paulo", "2017-10-15T12:00Z", ("2017-10-14T03:00:00Z", "2017-10-15T03:00:00Z")),
        ("America/New_York", "2013-11-04T05:00Z", ("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z")),
        ("UTC", "2013-11-04T00:00Z", ("2013-11-03T00:00:00Z", "2013-11-04T00:00:00Z")),
    ],
)
def test_a_whole_day_has_ended_when_the_next_one_begins(zone, at, expected):
    found = boundaries(DAY, 0, zone)
    start, end = found.last_whole_at(instant(at))
    assert (iso(start), iso(end)) == expected
    assert tuple(int(one[0]) for one in found.last_whole(np.array([instant(at)]))) == (start, end)


def test_weeks_begin_on_monday_in_every_zone():
    for zone, monday in (("UTC", "2024-03-25T00:00Z"), ("Europe/Berlin", "2024-03-24T23:00Z")):
        found = boundaries(7 * DAY, 0, zone)
        assert found.last_whole_at(instant("2024-03-29"))[1] == instant(monday)
        assert found.last_whole_at(instant(monday) - 1)[1] == instant(monday) - 7 * DAY


def test_hours_may_begin_later():
    assert boundaries(6 * HOUR, HOUR, "UTC").last_whole_at(instant("2024-03-29T06:59"))[1] == instant(
        "2024-03-29T01:00"
    )

from itertools import pairwise

import polars as pl
import pytest

from varv.kernel.clock import DAY, HOUR, Instant, as_datetime, instant
from varv.kernel.errors import InvalidInput
from varv.monitoring.model import Window
from varv.monitoring.windows import closes, cut, matured, trailing

from .streams import START, day_instant, stream


def test_a_day_matures_once_its_outcomes_have_had_their_time():
    noon = Instant(START + DAY + 12 * HOUR)
    assert matured(START, noon) == []
    assert matured(START, Instant(START + 2 * DAY)) == [Window(START, day_instant(1))]
    assert matured(START, noon, maturity=12 * HOUR) == [Window(START, day_instant(1))]


def test_a_day_that_has_begun_before_the_version_is_not_its_day():
    assert matured(Instant(START + 1), day_instant(4))[0].start == day_instant(1)


def test_matured_days_follow_one_another_however_often_one_asks():
    at_once = matured(START, day_instant(9))
    in_steps = []
    after = START
    for day in range(10):
        found = matured(after, day_instant(day))
        in_steps += found
        after = found[-1].end if found else after
    assert in_steps == at_once


def test_outcomes_that_came_too_late_are_taken_out():
    frame = stream(1, n_days=2)
    window = Window(START, day_instant(1))
    early = cut(frame, window, known_by=Instant(START + 12 * HOUR))
    known = early.filter(pl.col("known_at") <= as_datetime(START + 12 * HOUR))
    assert early.height == 60
    assert 0 < known.height < 60
    assert early["outcome"].null_count() == 60 - known.height


def test_windows_hold_their_start_and_not_their_end():
    times = [START, day_instant(1)]
    frame = pl.DataFrame({"requested_at": times, "known_at": times, "outcome": [1, 0]})
    frame = frame.with_columns(pl.col("requested_at", "known_at").cast(pl.Datetime("us", "UTC")))
    assert cut(frame, Window(START, day_instant(1)), known_by=day_instant(2))["outcome"].to_list() == [1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda frame: frame.drop("outcome"), "outcome"),
        (lambda frame: frame.with_columns(pl.col("known_at").dt.replace_time_zone(None)), "known_at"),
        (lambda frame: frame.with_columns(pl.col("requested_at").cast(pl.Int64)), "requested_at"),
    ],
)
def test_a_frame_of_another_shape_is_refused_by_column(change, named):
    with pytest.raises(InvalidInput, match=named):
        cut(change(stream(1, n_days=1)), Window(START, day_instant(1)), known_by=day_instant(2))


def test_weekly_work_falls_on_the_same_days_in_every_run():
    days = matured(instant("2013-02-01"), instant("2013-04-01"))
    due = [day for day in days if closes(day, 7 * DAY)]
    assert len(due) in (8, 9)
    assert {later.end - sooner.end for sooner, later in pairwise(due)} == {7 * DAY}
    assert trailing(due[0], 14 * DAY).start == due[0].end - 14 * DAY

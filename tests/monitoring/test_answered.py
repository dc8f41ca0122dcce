"""Who answered a day: every version is measured on its own requests, whoever is champion later."""

import polars as pl
import pytest

from varv import monitor, task
from varv.kernel.clock import DAY, HOUR, Instant
from varv.kernel.errors import InvalidInput
from varv.monitoring.measure import answered, measure_answered
from varv.monitoring.windows import day_of

TODAY = day_of(Instant(10 * DAY))
SCHEMA = {"champion": pl.Int32, "champion_score": pl.Float32, "version": pl.Int32, "score": pl.Float32}


def requests(*rows):
    """Return requests of (hour of the day before today or later, champion, version that answered)."""
    return pl.DataFrame(
        {
            "requested_at": [TODAY.start + hour * HOUR for hour, _, _ in rows],
            "known_at": [TODAY.start + (hour + 1) * HOUR for hour, _, _ in rows],
            "champion": [champion for _, champion, _ in rows],
            "champion_score": [None if champion is None else champion / 10 for _, champion, _ in rows],
            "version": [version for _, _, version in rows],
            "score": [None if version is None else version / 10 for _, _, version in rows],
            "outcome": [1 for _ in rows],
        },
        schema_overrides=SCHEMA,
    ).with_columns(pl.col("requested_at", "known_at").cast(pl.Datetime("us", "UTC")))


def parts(frame):
    return [(one.version, one.role, one.rows.height) for one in answered(frame, TODAY, task.binary())]


def test_a_champion_is_measured_on_what_a_candidate_answered_too():
    frame = requests((1, 3, 3), (2, 3, 4), (3, 3, 3))
    assert parts(frame) == [(3, "champion", 3), (4, "candidate", 1)]
    champion, candidate = answered(frame, TODAY, task.binary())
    assert champion.rows["score"].to_list() == pytest.approx([0.3] * 3)
    assert candidate.rows["score"].to_list() == pytest.approx([0.4])


def test_on_the_day_of_a_promotion_each_champion_has_its_own_hours():
    frame = requests((1, 3, 3), (2, 3, 4), (3, 4, 4), (4, 4, 4))
    assert parts(frame) == [(3, "champion", 2), (4, "champion", 2)]


def test_requests_before_the_first_champion_belong_to_nobody():
    assert parts(requests((1, None, None), (2, None, None))) == []
    assert parts(requests((1, None, None), (2, 1, 1))) == [(1, "champion", 1)]


def test_days_before_come_along_for_the_champion_alone():
    frame = requests((-30, 3, 3), (-29, 3, 4), (1, 3, 3), (2, 3, 4))
    assert parts(frame) == [(3, "champion", 4), (4, "candidate", 1)]


def test_each_is_measured_in_its_role():
    frame = requests((1, 3, 3), (2, 3, 4))
    found = [
        measure_answered(one, TODAY, model="late", plan=monitor.plan([]))
        for one in answered(frame, TODAY, task.binary())
    ]
    assert [(one.version, one.role, one.n) for one in found] == [(3, "champion", 2), (4, "candidate", 1)]


def test_a_frame_without_answers_is_refused():
    with pytest.raises(InvalidInput, match="champion"):
        answered(requests((1, 3, 3)).drop("champion"), TODAY, task.binary())

"""After a long silence the charts of a model begin anew; what came before stays within reach."""

from __future__ import annotations

from varv.fronts.web.pages.monitors import SILENCE, last_chapter
from varv.kernel.clock import DAY, Instant
from varv.kernel.ids import ModelName, Version
from varv.monitoring import PerformanceMeasured
from varv.monitoring.windows import day_of


def measured(day: int, n: int = 100) -> PerformanceMeasured:
    return PerformanceMeasured(
        model=ModelName("m"),
        version=Version(1),
        window=day_of(Instant(day * DAY)),
        n_requests=n,
        n=n,
        missing_share=0.0,
    )


def days(series: list[PerformanceMeasured]) -> list[int]:
    return [one.window.start // DAY for one in series]


def test_days_without_a_long_silence_are_one_chapter():
    series = [measured(day) for day in (1, 2, 30, 80)]
    assert days(last_chapter(series)) == [1, 2, 30, 80]
    assert last_chapter([]) == []


def test_a_long_silence_begins_a_chapter_with_the_first_day_that_has_outcomes():
    later = 3 + SILENCE // DAY + 10
    series = [measured(1), measured(2), measured(later - 1, n=0), measured(later), measured(later + 1)]
    assert days(last_chapter(series)) == [later, later + 1]


def test_days_without_outcomes_alone_begin_no_chapter():
    series = [measured(1), measured(2), measured(4000, n=0), measured(4001, n=0)]
    assert days(last_chapter(series)) == [1, 2, 4000, 4001]

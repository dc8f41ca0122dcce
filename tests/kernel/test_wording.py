from __future__ import annotations

from varv.kernel.clock import Instant
from varv.kernel.sagas import TimerFired
from varv.kernel.wording import LONGEST_LINE, brief, flat, number

NOON = Instant(1_359_720_000_000_000)


def test_a_number_that_is_not_finite_is_a_dash():
    assert number(float("nan")) == number(float("inf")) == "–"


def test_a_line_that_fits_stays_whole():
    assert brief("x" * LONGEST_LINE) == "x" * LONGEST_LINE


def test_a_line_that_is_cut_says_so():
    cut = brief("x" * (LONGEST_LINE + 1))
    assert len(cut) == LONGEST_LINE
    assert cut.endswith("x…")


def test_an_instant_reads_as_a_time_and_a_large_count_as_a_count():
    assert flat({"at": NOON, "n": 12_000_000}) == {"at": "2013-02-01T12:00:00Z", "n": 12_000_000}


def test_a_timer_says_when_it_was_due():
    assert TimerFired(key="day", due=NOON).line() == "timer day, due 2013-02-01T12:00:00Z"

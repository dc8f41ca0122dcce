"""What a fit may go on from, and which rows it is given then."""

from __future__ import annotations

from varv.kernel.clock import DAY, Instant
from varv.loop.fits import Ancestry, Held, Parent, new_rows_only

PAST = Ancestry(3, (Parent("refit", Instant(30 * DAY)), Parent("judged", Instant(23 * DAY))))


def held(since: int, until: int) -> Held:
    return Held(Instant(0), Instant(since * DAY), Instant(until * DAY))


def test_the_latest_fit_that_saw_nothing_of_a_stretch_is_gone_on_from():
    assert PAST.before(Instant(31 * DAY)).package == "refit"
    assert PAST.before(Instant(30 * DAY)).package == "refit"
    assert PAST.before(Instant(29 * DAY)).package == "judged"
    assert PAST.before(Instant(22 * DAY)) is None


def test_new_rows_begin_where_the_fit_that_is_gone_on_from_ends():
    found, past = new_rows_only([held(31, 38), held(24, 31), held(17, 24)], PAST)
    assert [one.fit_from for one in found] == [30 * DAY, 23 * DAY]
    assert [one.since for one in found] == [31 * DAY, 24 * DAY]
    assert past is PAST


def test_without_any_such_fit_a_training_starts_anew():
    stretches = [held(10, 17), held(3, 10)]
    assert new_rows_only(stretches, PAST) == (stretches, None)

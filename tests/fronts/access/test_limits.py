from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.fronts.access.limits import MICROSECONDS, Rate, RateLimit, SeveralLimits, rate_of
from varv.kernel.errors import InvalidInput

RATES = st.builds(Rate, st.integers(1, 5000), st.sampled_from([1, 60, 3600]), st.integers(1, 2000))
CALLS = st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(1, 50)), max_size=60)


@given(RATES, st.integers(1, 8), CALLS)
def test_no_stretch_of_time_has_more_rows_than_its_rate_and_a_burst(rate, n_workers, calls):
    limit, now, taken = RateLimit(rate, n_workers), 0, []
    for step, n_rows in calls:
        now += step
        if limit.take(now, n_rows) == 0:
            taken.append((now, n_rows))
    # A request of more than a burst is taken when nothing is owed, so it is a burst of its own.
    burst = max([rate.burst / n_workers, 1, *(n for _, n in taken)])
    for first, (begin, _) in enumerate(taken):
        for last in range(first, len(taken)):
            rows = sum(n for _, n in taken[first : last + 1])
            passed_s = (taken[last][0] - begin) / MICROSECONDS
            assert rows <= burst + passed_s * rate.n_rows / rate.window_s / n_workers + 1e-6


@given(RATES, st.integers(1, 8), CALLS)
def test_whoever_waits_as_long_as_told_is_taken_and_not_before(rate, n_workers, calls):
    limit, now = RateLimit(rate, n_workers), 0
    for step, n_rows in calls:
        now += step
        wait_us = limit.take(now, n_rows)
        if wait_us:
            assert limit.take(now + wait_us - 1, n_rows) > 0
            now += wait_us
            assert limit.take(now, n_rows) == 0


def test_workers_share_a_rate_equally():
    limits = [RateLimit(rate_of("4/s"), 4) for _ in range(4)]
    assert [limit.take(0) for limit in limits] == [0] * 4
    assert [limit.take(0) for limit in limits] == [MICROSECONDS] * 4


def test_rows_are_counted_together_with_those_taken_before():
    limit = RateLimit(rate_of("10/s"))
    assert limit.take(0) == 0
    assert limit.take(0, 9, 1) == 0
    assert limit.take(0) == 100_000
    limit.give_back(1)
    assert limit.take(0) == 0


def test_more_rows_than_a_burst_are_taken_when_nothing_is_owed_and_hold_up_the_next():
    limit = RateLimit(rate_of("10/s"))
    assert limit.take(0, 30) == 0
    assert limit.take(0, 1) == 2_100_000
    assert limit.take(2_500_000, 30) == 500_000


def test_headers_say_the_policy_and_what_is_left():
    limit = RateLimit(rate_of("10/s"))
    limit.take(7_000_000, 4)
    assert dict(limit.headers) == {"ratelimit-policy": '"rows";q=10;w=1', "ratelimit": '"rows";r=6;t=1'}
    assert dict(RateLimit(rate_of("1/s"), 4).headers)["ratelimit-policy"] == '"rows";q=1;w=4'


def test_a_quota_holds_beside_a_rate_and_what_one_refuses_the_other_does_not_count():
    rate, quota = RateLimit(rate_of("10/s")), RateLimit(rate_of("15/d"), name="quota")
    limit = SeveralLimits([rate, quota])
    assert limit.take(0, 10) == 0
    assert limit.take(0, 1) == 100_000, "the rate refuses"
    assert limit.take(MICROSECONDS, 6) > 80_000 * MICROSECONDS / 15, "the quota has 5 left"
    assert limit.take(MICROSECONDS, 5) == 0, "and the rate was not charged for what it refused"
    assert limit.take(2 * MICROSECONDS) > 0
    limit.give_back(1)
    assert limit.take(2 * MICROSECONDS) == 0
    told = dict(limit.headers)
    assert told["ratelimit-policy"] == '"rows";q=10;w=1, "quota";q=15;w=86400'
    assert told["ratelimit"] == '"rows";r=9;t=1, "quota";r=0;t=86398'


@pytest.mark.parametrize("text", ["", "200", "0/s", "-1/s", "1.5/s", "200/w", "200 per s", "1e3/s"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(InvalidInput, match="200/s"):
        rate_of(text)

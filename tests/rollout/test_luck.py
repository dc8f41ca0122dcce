"""What is learned of luck, and how blocks are measured by it."""

from __future__ import annotations

import numpy as np
import pytest

from varv.kernel.clock import DAY, HOUR, Instant
from varv.rollout.luck import BLOCK, UNKNOWN, Hour, Luck, blocks, checked, learned

START = Instant(1000 * DAY)


def hours(rng, n_days, *, n=80, mean=0.0, day_sd=0.0):
    """Hours of paired losses; each day may have a condition of its own."""
    shift = rng.normal(0.0, day_sd, n_days).repeat(24)
    return [
        Hour(Instant(START + i * HOUR), n, float(n * (mean + shift[i]) + rng.normal(0.0, 0.16 * n**0.5)))
        for i in range(24 * n_days)
    ]


def test_independent_requests_teach_an_inflation_near_one():
    found = [learned([hours(np.random.default_rng(seed), 28)]) for seed in range(40)]
    assert 1.0 <= np.median([one.inflation for one in found]) <= 1.5
    assert np.mean([one.spread for one in found]) == pytest.approx(0.16**2, rel=0.05)
    assert {one.n_days for one in found} == {28}


def test_days_with_a_condition_of_their_own_teach_a_large_one():
    # A day's mean varies by 0.16 / sqrt(24 * 80) by chance, and by twice that of its own.
    sd = 2 * 0.16 / (24 * 80) ** 0.5
    found = [learned([hours(np.random.default_rng(seed), 28, day_sd=sd)]).inflation for seed in range(40)]
    assert np.median(found) == pytest.approx(5.0, rel=0.4)
    assert np.quantile(found, 0.05) > 2.0


def test_a_candidate_that_was_better_teaches_nothing_but_its_spread():
    plain = learned([hours(np.random.default_rng(1), 28)])
    better = learned([hours(np.random.default_rng(1), 28, mean=-0.05)])
    assert better.inflation == pytest.approx(plain.inflation, rel=0.01)


def test_several_histories_are_one_experience():
    rng = np.random.default_rng(2)
    found = learned([hours(rng, 7), hours(rng, 7, mean=0.02), [], hours(rng, 14)])
    assert (found.n_days, found.inflation < 2.5) == (28, True)


def test_where_nothing_is_known_a_day_weighs_as_one_block():
    assert learned([]) == Luck()
    assert learned([hours(np.random.default_rng(3), 1)]).inflation == UNKNOWN


def test_identical_versions_teach_nothing():
    same = [Hour(one.at, one.n, 0.0) for one in hours(np.random.default_rng(3), 7)]
    assert learned([same]) == Luck()


def test_the_spread_is_that_of_the_pair_at_hand():
    rng = np.random.default_rng(9)
    wild = [Hour(one.at, one.n, 10 * one.total) for one in hours(rng, 14)]
    found = learned([hours(rng, 7), wild])
    assert (found.n_days, found.spread) == (21, pytest.approx(0.16**2, rel=0.2))


def test_only_whole_blocks_count():
    some = hours(np.random.default_rng(4), 2)
    assert blocks(some, Luck(), through=Instant(START + 2 * DAY)).n.size == 8
    assert blocks(some, Luck(), through=Instant(START + 2 * DAY - 1)).n.size == 7
    assert blocks([], Luck(), through=START).n.size == 0


def test_a_block_begins_with_the_first_hour():
    late = hours(np.random.default_rng(4), 2)[5:]
    found = blocks(late, Luck(), through=Instant(START + 5 * HOUR + BLOCK))
    assert found.n.tolist() == [480.0]


def test_a_stormy_block_is_measured_by_its_own_spread():
    calm = hours(np.random.default_rng(5), 1)
    wild = [Hour(one.at, one.n, one.total * 20) for one in hours(np.random.default_rng(6), 1)]
    luck = Luck(spread=0.16**2, inflation=1.0, n_days=28)
    quiet = blocks(calm, luck, through=Instant(START + DAY)).variance
    stormy = blocks(wild, luck, through=Instant(START + DAY)).variance
    assert stormy.min() > 20 * quiet.max()


def test_no_block_counts_more_than_the_largest():
    far = [Hour(Instant(START + i * HOUR), 80, 4000.0) for i in range(6)]
    found = blocks(far, Luck(spread=0.02, inflation=1.0), through=Instant(START + DAY))
    assert found.standardized(1.0).tolist() == [2.0]


def test_identical_versions_are_proven_and_never_harmful():
    same = [Hour(Instant(START + i * HOUR), 80, 0.0) for i in range(24)]
    found = blocks(same, Luck(inflation=1.0), through=Instant(START + DAY))
    assert found.standardized(1.0).tolist() == [0.0] * 4
    assert found.standardized(1.0, null=0.01).tolist() == [-2.0] * 4


def test_a_rollout_that_clearly_varies_more_than_was_learned_is_measured_by_itself():
    luck = Luck(spread=0.16**2, inflation=1.0, n_days=28)
    sd = 4 * 0.16 / (24 * 80) ** 0.5
    assert checked(luck, hours(np.random.default_rng(7), 10, day_sd=sd)).inflation > 2.0
    assert checked(luck, hours(np.random.default_rng(8), 10)).inflation < 1.6
    assert checked(luck, hours(np.random.default_rng(7), 2, day_sd=sd)) == luck

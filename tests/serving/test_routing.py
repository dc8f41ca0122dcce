"""The coin: shares sum to 1, a key keeps its side while shares grow, and the share is the probability."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.samples import table

from varv.kernel.errors import InvalidInput
from varv.kernel.ids import Version
from varv.serving import RoutingShare, RoutingTable, assign, coins

KEYS = [f"key-{number}" for number in range(20_000)]
SHARES = st.floats(0.0, 1.0)


def split(share: float, salt: str = "r") -> RoutingTable:
    shares = (RoutingShare(Version(2), share), RoutingShare(Version(1), 1.0 - share))
    return RoutingTable(epoch=1, shares=shares, salt=salt)


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=True), max_size=4))
def test_a_table_stands_only_if_one_or_two_shares_sum_to_one(numbers):
    shares = tuple(RoutingShare(Version(n), share) for n, share in enumerate(numbers, 1))
    fine = (
        1 <= len(numbers) <= 2
        and all(0.0 <= number <= 1.0 for number in numbers)
        and abs(math.fsum(numbers) - 1.0) < 1e-9
    )
    if fine:
        RoutingTable(epoch=1, shares=shares, salt="r")
    else:
        with pytest.raises(InvalidInput, match="needs one or two shares that sum to 1"):
            RoutingTable(epoch=1, shares=shares, salt="r")


@settings(deadline=None)
@given(SHARES)
def test_every_complementary_pair_of_shares_is_a_table(share):
    made = split(share)
    assert made.candidate_share == share
    assert (made.champion, made.candidate) == (1, 2)
    assert made.versions == {1, 2}


def sides(table, keys):
    return assign(table, coins(table, keys))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), SHARES)
def test_a_key_gets_the_same_side_every_time_and_whatever_stands_beside_it(key, salt, share):
    alone = sides(split(share, salt), [key])
    among = sides(split(share, salt), ["a", key, "b", key])
    assert alone[0] == among[1] == among[3]


@settings(max_examples=30, deadline=None)
@given(SHARES, SHARES)
def test_a_growing_share_keeps_every_key_it_had(one, other):
    low, high = sorted([one, other])
    keys = KEYS[:500]
    assert not (sides(split(low), keys) & ~sides(split(high), keys)).any()


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5, 0.9])
def test_the_share_is_the_probability_of_the_candidate(share):
    n = len(KEYS)
    bound = 4.5 * math.sqrt(share * (1 - share) / n)
    for salt in ("r1", "r2", "r3"):
        assert abs(sides(split(share, salt), KEYS).mean() - share) < bound


def test_another_rollout_tosses_another_coin():
    one, other = sides(split(0.5, "r1"), KEYS), sides(split(0.5, "r2"), KEYS)
    assert abs((one == other).mean() - 0.5) < 0.02


@pytest.mark.parametrize(("share", "all_of_them"), [(0.0, False), (1.0, True)])
def test_none_and_all_are_exact(share, all_of_them):
    assert (sides(split(share), KEYS) == all_of_them).all()


def test_no_keys_have_no_sides():
    assert sides(split(0.3), []).shape == (0,)
    assert sides(split(0.3), []).dtype == np.bool_


def test_a_shadow_is_a_candidate_that_answers_nobody():
    shadowed = table(3, champion=1, candidate=2, shadow=True)
    assert shadowed.candidate == 2
    assert shadowed.candidate_share == 0.0
    assert not sides(shadowed, KEYS[:100]).any()
    assert shadowed.versions == {1, 2}


def test_a_lone_champion_has_no_candidate():
    assert table(1).candidate is None


def test_a_table_that_was_tampered_with_does_not_decode():
    text = msgspec.json.encode(split(0.5)).replace(b"0.5", b"0.7", 1)
    with pytest.raises((InvalidInput, msgspec.ValidationError), match="sum to 1"):
        msgspec.json.decode(text, type=RoutingTable)

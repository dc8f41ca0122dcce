"""Counts of several processes add up, and quantiles come out of their histograms."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.fronts.inference.counts import N_BUCKETS, STAGES, Counts, Histogram, together

SECONDS = st.floats(0, 60)


def histogram(seconds) -> Histogram:
    found = Histogram()
    for one in seconds:
        found.add(one)
    return found


@given(st.lists(SECONDS, min_size=1), st.sampled_from([0.0, 0.1, 0.5, 0.99, 1.0]))
def test_a_quantile_lies_within_a_factor_of_two(seconds, q):
    found = histogram(seconds)
    exact = sorted(seconds)[max(0, min(len(seconds) - 1, round(q * len(seconds) - 0.5)))]
    within = found.quantile(q)
    beyond = (1 << (N_BUCKETS - 1)) / 1e6
    low, high = min(seconds), max(seconds)
    assert low / 2 - 2e-6 <= within <= min(2 * high + 2e-6, beyond)
    assert found.count == len(seconds)
    assert exact >= 0


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_two_histograms_are_that_of_both(one, other):
    both, expected = histogram(one).plus(histogram(other)), histogram([*one, *other])
    assert both.buckets == expected.buckets
    assert both.sum_s == pytest.approx(expected.sum_s)


def test_nothing_has_no_quantile():
    assert Histogram().quantile(0.5) is None


def test_what_is_beyond_all_buckets_is_in_the_last():
    assert histogram([1e9]).quantile(1.0) == pytest.approx((1 << (N_BUCKETS - 1)) / 1e6)


def test_counts_of_processes_add_up_by_model_and_version():
    one, other = Counts(n_answered=2, n_calls=1), Counts(n_answered=3, n_refused=1, n_calls=3)
    one.add_rows([7, 7], ["champion", "champion"])
    other.add_rows([7, 8, 7], ["champion", "candidate", "champion"])
    one.stages["total"].add(0.5, 2)
    found = together([{"late": one}, {"late": other, "early": Counts()}, {}])
    assert list(found) == ["early", "late"]
    late = found["late"]
    assert (late.n_answered, late.n_refused, late.n_calls) == (5, 1, 4)
    assert late.n_rows == {"7/champion": 4, "8/candidate": 1}
    assert late.stages["total"].count == 2
    assert msgspec.json.decode(msgspec.json.encode(late), type=Counts) == late
    assert set(late.stages) == set(STAGES)

"""Strays told from heavy tails by the octaves of a column."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varv.profiles import profile_of
from varv.profiles.tails import NO_TAILS, clusters, without_strays


def _range(values, times=10.0):
    scale, column = profile_of(pl.DataFrame({"x": values})).column("x")
    assert scale.kind == "number"
    left, right = np.quantile(values, [0.05, 0.95], method="nearest")
    return without_strays(column.tails, left, right, times), left, right


def _brute_force(values, left, right, times=10.0):
    ordered = np.unique(values)
    above = ordered[ordered >= right]
    ends = [a for a, b in pairwise(above) if b - a > times * (a - left)]
    high = ends[0] if ends else ordered[-1]
    below = ordered[ordered <= left]
    starts = [b for a, b in pairwise(below) if a < b and b - a > times * (high - b)]
    return (starts[-1] if starts else ordered[0]), high


@given(
    middle=st.lists(st.floats(-100, 100), min_size=30, max_size=80),
    far=st.lists(st.floats(-1e9, 1e9), max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_the_range_is_that_of_all_values_looked_at_one_by_one(middle, far):
    values = np.array(middle + far)
    found, left, right = _range(values)
    if left < right:
        assert found == _brute_force(values, left, right)


def test_values_of_an_octave_are_counted_with_their_extremes():
    tails = profile_of(pl.DataFrame({"x": [*np.arange(100.0), -9999.0, -9999.0]})).column("x")[1].tails
    assert clusters(tails)[0] == (-9999.0, -9999.0, 2)
    assert sum(one.n for one in clusters(tails)) == 102


def test_no_values_have_no_range():
    with pytest.raises(ValueError, match="no values"):
        without_strays(NO_TAILS, 0.0, 1.0, 10.0)

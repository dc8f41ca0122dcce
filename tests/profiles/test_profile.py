"""Profiles: what they say of rows, and that they merge."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varv.kernel.errors import Corrupt, InvalidInput
from varv.profiles import Profile, merged, profile_of, scale_of

_ROW = st.fixed_dictionaries(
    {
        "id": st.integers(0, 10**6),
        "x": st.none() | st.floats(width=64),
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "text": st.none() | st.text(max_size=9),
        "late": st.none() | st.booleans(),
        "at": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
    }
)
_TYPES = {
    "id": pl.Int64,
    "x": pl.Float64,
    "n": pl.Int64,
    "text": pl.String,
    "late": pl.Boolean,
    "at": pl.Datetime("us", "UTC"),
}


def _frame(n: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "id": np.arange(n) + seed * n,
            "x": rng.normal(1e6, 1.0, n),
            "few": rng.integers(0, 50, n),
            "carrier": rng.choice(["UA", "AA", "DL"], n, p=[0.6, 0.3, 0.1]),
        }
    )


@given(rows=st.lists(_ROW, max_size=60), cuts=st.lists(st.integers(0, 60), max_size=5), turn=st.randoms())
@settings(max_examples=60, deadline=None)
def test_profiles_of_parts_merge_into_that_of_the_whole_in_any_order(rows, cuts, turn):
    frame = pl.DataFrame(rows, schema=_TYPES)
    whole = profile_of(frame, key=["id"])
    ends = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    parts = [profile_of(frame[a:b], scale=whole.scale) for a, b in pairwise(ends)] or [whole]
    turn.shuffle(parts)
    assert merged(parts).to_bytes() == whole.to_bytes()
    nested = merged([merged(parts[:2]), *parts[2:]])
    assert nested.to_bytes() == whole.to_bytes()
    assert Profile.from_bytes(whole.to_bytes()).to_bytes() == whole.to_bytes()


def test_long_parts_merge_exactly_but_for_the_slack_of_rare_values():
    frame = pl.concat([_frame(20_000, seed) for seed in range(3)])
    whole = profile_of(frame, key=["id"])
    parts = [profile_of(frame[at : at + 7_000], scale=whole.scale) for at in range(0, 60_000, 7_000)]
    found = merged(parts[::-1])
    for one, other in zip(found.columns, whole.columns, strict=True):
        assert one.sums == other.sums
        assert one.tally == other.tally
        assert np.array_equal(one.cells, other.cells)
        assert np.array_equal(one.hashes, other.hashes)
        assert one.frequent.counts == other.frequent.counts
    assert np.array_equal(found.sample.hashes, whole.sample.hashes)


def test_moments_are_exact_where_values_lie_far_from_zero():
    frame = _frame(50_000)
    scale, column = profile_of(frame).column("x")
    mean, sd, skewness, kurtosis = column.sums.moments(scale)
    about = frame["x"] - 1e6
    assert mean - 1e6 == pytest.approx(about.mean(), rel=1e-7)
    assert sd == pytest.approx(about.std(), rel=1e-12)
    assert skewness == pytest.approx(about.skew(), abs=1e-11)
    assert kurtosis == pytest.approx(about.kurtosis(), abs=1e-10)


def test_what_is_no_finite_number_is_counted_and_not_summed():
    values = [1.0, 3.0, None, math.nan, math.inf, -math.inf, 1e300, 0.0, -2.0]
    scale, column = profile_of(pl.DataFrame({"x": values})).column("x")
    tally = column.tally
    assert (tally.rows, tally.null, tally.nan, tally.infinite, tally.finite) == (9, 1, 1, 3, 4)
    assert (tally.zero, tally.negative, column.low, column.high) == (1, 1, -2.0, 3.0)
    assert column.sums.moments(scale)[0] == 0.5


@pytest.mark.parametrize("n", [1_500, 200_000])
def test_distinct_values_are_counted_within_their_interval(n):
    frame = pl.DataFrame({"n": np.arange(n), "text": [f"flight {number}" for number in range(n)]})
    for name in ("n", "text"):
        found = profile_of(frame).column(name)[1].n_distinct()
        assert found.value == n if n < 2048 else abs(found.value - n) < 4 * 0.022 * n
        assert found.low <= found.value <= found.high


def test_counts_of_frequent_values_lie_within_their_intervals():
    rng = np.random.default_rng(3)
    values = np.minimum(rng.zipf(1.3, 120_000), 10**9)
    parts = np.array_split(values, 9)
    scale = scale_of(pl.DataFrame({"n": parts[0]}))
    column = merged([profile_of(pl.DataFrame({"n": part}), scale=scale) for part in parts]).column("n")[1]
    top = column.frequent.top(20)
    assert [one.value for one in top[:5]] == [1, 2, 3, 4, 5]
    assert all(one.low <= int((values == one.value).sum()) <= one.high for one in top)
    assert column.frequent.slack < len(values) / 100


def test_nothing_but_counts_is_kept_of_a_private_column():
    frame = pl.DataFrame({"email": ["ana@example.org", None, "bo@example.org"], "age": [41, 52, 63]})
    found = profile_of(frame, private=["email", "age"], secret=b"of this home")
    assert b"ana" not in found.to_bytes()
    for name in ("email", "age"):
        column = found.column(name)[1]
        assert (column.low, column.sums, column.frequent.counts) == (None, None, {})
        assert name not in {**found.sample.numbers, **found.sample.texts}
    assert found.column("email")[1].n_distinct().value == 2
    other = profile_of(frame, private=["email", "age"], secret=b"of another home")
    assert not np.array_equal(found.column("age")[1].hashes, other.column("age")[1].hashes)


def test_profiles_of_different_scales_are_not_merged():
    first, second = (profile_of(_frame(100, seed)) for seed in (1, 2))
    with pytest.raises(InvalidInput, match="different scales"):
        merged([first, second])
    with pytest.raises(InvalidInput, match="holds text values and not number"):
        profile_of(pl.DataFrame({"x": ["a"]}), scale=scale_of(pl.DataFrame({"x": [1.0]})))


def test_bytes_that_are_no_profile_are_refused():
    with pytest.raises(Corrupt, match="does not decode"):
        Profile.from_bytes(b"\x93abc")

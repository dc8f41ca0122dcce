"""Correlations of all rows, by sums of pairs that merge exactly."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from varv.profiles import merged, profile_of
from varv.profiles.dependence import dependences
from varv.profiles.pairs import correlations, paired_columns


def _rows(n: int) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    a, tail = rng.normal(1e6, 10, n), rng.standard_t(1.3, n)
    return pl.DataFrame(
        {
            "a": a,
            "b": a * 0.5 + rng.normal(0, 3, n),
            "tail": tail,
            "holes": np.where(rng.random(n) < 0.2, np.nan, a + 10 * tail),
            "few": pl.Series(rng.integers(0, 9, n)).set(pl.Series(rng.random(n) < 0.3), None),
            "late": pl.Series(tail > 1).set(pl.Series(rng.random(n) < 0.1), None),
            "carrier": ["UA"] * n,
        }
    )


def _correlations(profile):
    names = [one.name for one in paired_columns(profile.scale)]
    found = correlations(profile.pairs, len(names))
    return {(names[i], names[j]): one for (i, j), one in found.items()}


def test_correlations_are_those_of_all_rows_that_have_both_values():
    rows = _rows(70_000)
    found = _correlations(profile_of(rows))
    assert len(found) == 15
    for (first, second), one in found.items():
        both = rows.select(pl.col(first, second).cast(pl.Float64)).fill_nan(None).drop_nulls()
        assert one.n == both.height
        exact = np.corrcoef(both[first] - both[first].mean(), both[second])[0, 1]
        assert one.value == pytest.approx(exact, abs=1e-6)


def test_sums_of_pairs_are_the_same_in_any_order_of_any_parts():
    rows = _rows(70_000)
    whole = profile_of(rows)
    parts = [profile_of(rows[at : at + 9_999], scale=whole.scale) for at in range(0, 70_000, 9_999)]
    other = merged([merged(parts[:3:-1]), *parts[3::-1]])
    for name in ("n", "high", "low"):
        assert np.array_equal(getattr(other.pairs, name), getattr(whole.pairs, name))


def test_a_constant_column_goes_with_nothing():
    rows = pl.DataFrame({"x": np.arange(100.0), "same": [3.0] * 100, "one": [1.0] + [None] * 99})
    assert _correlations(profile_of(rows)) == {}
    assert dependences(profile_of(rows)) == []


def test_a_value_beyond_all_measure_does_not_break_the_sums():
    rows = pl.DataFrame({"x": [*np.arange(99.0), 1e59], "y": [*np.arange(99.0), 50.0]})
    [one] = _correlations(profile_of(rows)).values()
    assert abs(one.value) < 0.1

"""What is read off profiles: quantiles, bars, dependence, and what moved."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from varv.kernel.errors import InvalidInput
from varv.profiles import merged, profile_of
from varv.profiles.difference import profile_difference
from varv.profiles.reading import SHARES, quantile, read


@given(
    seed=st.integers(0, 10_000), offset=st.sampled_from([0.0, 1e6, -1e9]), shape=st.sampled_from(["n", "e"])
)
@settings(max_examples=15, deadline=None)
def test_ranks_of_quantiles_are_off_by_a_cell_at_most(seed, offset, shape):
    rng = np.random.default_rng(seed)
    values = offset + (rng.normal(size=20_000) if shape == "n" else rng.exponential(size=20_000))
    found = profile_of(pl.DataFrame({"x": values}))
    for share in SHARES:
        rank = (values <= quantile(found, "x", share)).mean()
        assert abs(rank - share) <= 1 / 128 + 1e-3


def test_quantiles_hold_where_later_rows_lie_beyond_all_cells():
    first = profile_of(
        pl.DataFrame({"id": np.arange(1_000), "x": np.random.default_rng(0).normal(size=1_000)})
    )
    values = np.random.default_rng(1).normal(500, 20, 50_000)
    rows = pl.DataFrame({"id": np.arange(1_000, 51_000), "x": values})
    whole = merged([first, profile_of(rows, scale=first.scale)])
    assert abs((values <= quantile(whole, "x", 0.5)).mean() - 0.5) < 0.05


def test_bars_hold_all_values_but_the_outlying_ones():
    values = np.random.default_rng(0).normal(size=10_000)
    values[0] = 1e9
    [column] = read(profile_of(pl.DataFrame({"x": values}))).columns
    assert 0.98 * 10_000 < sum(bar.n for bar in column.bars) <= 10_000
    assert column.bars[-1].high < 10
    [few] = read(profile_of(pl.DataFrame({"n": [1, 1, 5]}))).columns
    assert [(bar.low, bar.n) for bar in few.bars] == [(1.0, 2), (5.0, 1)]


def test_columns_that_depend_on_each_other_are_named_with_an_interval():
    rng = np.random.default_rng(0)
    a = rng.normal(size=5_000)
    frame = pl.DataFrame({"a": a, "b": a + rng.normal(size=5_000), "c": rng.normal(size=5_000)})
    found = read(profile_of(frame)).dependences
    assert (found[0].first, found[0].second) == ("a", "b")
    assert found[0].low < 0.69 < found[0].high


def test_what_tells_most_about_the_outcome_comes_first():
    rng = np.random.default_rng(0)
    x, carrier = rng.normal(size=6_000), rng.choice(["UA", "AA"], 6_000)
    late = (x + (carrier == "UA") + 0.5 * rng.normal(size=6_000)) > 0.5
    frame = pl.DataFrame({"noise": rng.normal(size=6_000), "carrier": carrier, "x": x, "late": late})
    found = read(profile_of(frame), outcome="late")
    assert [one.name for one in found.importances] == ["x", "carrier", "noise"]
    assert found.importances[-1].share < 0.02
    with pytest.raises(InvalidInput, match="nothing but counts"):
        read(profile_of(frame, private=["late"]), outcome="late")


def test_what_moved_is_named_and_nothing_else():
    rng = np.random.default_rng(0)

    def rows(n, mean, share):
        return pl.DataFrame(
            {
                "same": rng.normal(size=n),
                "x": rng.normal(mean, 1, n),
                "hole": [None if gone else 1.0 for gone in rng.random(n) < share],
                "carrier": rng.choice(["UA", "AA"], n, p=[0.5 + share, 0.5 - share]),
            }
        )

    found = profile_difference(profile_of(rows(8_000, 0.0, 0.02)), profile_of(rows(6_000, 0.5, 0.2)))
    moved = {one.name: one.moved for one in found.columns}
    assert moved == {"x": ("mean", "shape"), "hole": ("missing",), "carrier": ("shape",), "same": ()}
    [x] = [one for one in found.columns if one.name == "x"]
    assert x.mean.low < 0.5 < x.mean.high
    carrier = next(one for one in found.columns if one.name == "carrier")
    assert {one.value for one in carrier.values} == {"UA", "AA"}


def test_what_is_read_goes_over_the_wire():
    rng = np.random.default_rng(0)
    rows = pl.DataFrame(
        {"x": rng.normal(size=5_000), "late": rng.random(5_000) < 0.3, "t": ["a", "b"] * 2_500}
    )
    found = profile_of(rows)
    for one in (read(found, outcome="late"), profile_difference(profile_of(rows.head(4_000)), found)):
        assert msgspec.json.decode(msgspec.json.encode(one), type=type(one)) == one


def test_drift_is_what_is_beyond_chance_and_large():
    rng = np.random.default_rng(0)

    def rows(n, mean, share):
        return pl.DataFrame(
            {
                "far": rng.normal(mean, 1, n),
                "near": rng.normal(mean / 10, 1, n),
                "same": rng.normal(size=n),
                "carrier": rng.choice(["UA", "AA"], n, p=[share, 1 - share]),
            }
        )

    before = profile_of(rows(40_000, 0.0, 0.5))
    after = profile_of(rows(40_000, 0.5, 0.8), scale=before.scale)
    found = profile_difference(before, after)
    assert {one.name for one in found.columns if one.drifted} == {"far", "carrier"}
    assert [one.name for one in found.columns if not one.moved] == ["same"]
    effects = {one.name: one.effect for one in found.columns}
    cells = np.array([0.1] * 10)
    now = np.diff([0.0, *special.ndtr(special.ndtri(np.arange(1, 10) / 10) - 0.5), 1.0])
    assert effects["far"].psi == pytest.approx(((cells - now) * np.log(cells / now)).sum(), rel=0.05)
    assert effects["same"].psi < 5 * effects["same"].by_chance < 0.01
    assert 0 < effects["far"].js < effects["carrier"].js < math.log(2)


def test_texts_that_are_counted_roughly_say_nothing_of_drift():
    rng = np.random.default_rng(2)

    def rows():
        planes = [f"N{number}" for number in rng.integers(0, 4_000, 30_000)]
        return pl.DataFrame({"plane": ["many"] * 20_000 + planes}).sample(fraction=1, shuffle=True, seed=1)

    before, again = profile_of(rows()), rows()
    parts = [profile_of(again[at : at + 10_000], scale=before.scale) for at in range(0, 50_000, 10_000)]
    [plane] = profile_difference(before, merged(parts)).columns
    assert plane.effect.psi < 0.01
    assert not plane.drifted


def test_correlations_that_changed_are_named_and_no_others():
    rng = np.random.default_rng(1)

    def rows(slope):
        a, b = rng.normal(size=20_000), rng.normal(size=20_000)
        return pl.DataFrame({"a": a, "b": slope * a + b, "c": rng.normal(size=20_000)})

    [one] = profile_difference(profile_of(rows(0.2)), profile_of(rows(-0.2))).pairs
    assert (one.first, one.second) == ("a", "b")
    assert one.before == pytest.approx(0.196, abs=0.03)
    assert one.high < 0


def test_columns_without_values_or_rows_have_no_drift():
    some, none = pl.DataFrame({"x": [1.0, 2.0], "t": ["a", "b"]}), pl.DataFrame({"x": [None], "t": [None]})
    typed = none.cast({"x": pl.Float64, "t": pl.String})
    effects = [one.effect for one in profile_difference(profile_of(some), profile_of(typed)).columns]
    assert all(one.psi > 0 for one in effects)
    empty = profile_difference(profile_of(some), profile_of(typed.clear()))
    assert all(one.effect is None and not one.drifted for one in empty.columns)


def test_columns_that_only_one_profile_has_are_named():
    found = profile_difference(
        profile_of(pl.DataFrame({"a": [1], "b": [1]})), profile_of(pl.DataFrame({"b": ["x"], "c": [1]}))
    )
    assert (found.only_before, found.only_after, found.changed_kind) == (("a",), ("c",), ("b",))

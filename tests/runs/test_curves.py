from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.errors import InvalidInput
from varv.runs.curves import MOST_CURVES, Drawn, curves_of
from varv.runs.points import packed, read

VALUES = st.lists(st.floats(-1e9, 1e9) | st.just(float("nan")), min_size=1, max_size=300)


def points(values, at=lambda step: 1000 + 10 * step):
    return read([packed([(1, 0, at(step), step, value) for step, value in enumerate(values)])])


def drawn(values, run="r", group="", started_ms=0):
    return Drawn(run, "loss", points(values), started_ms, group)


@given(VALUES, st.integers(2, 40))
def test_no_extreme_and_nothing_that_is_no_number_is_lost(values, n_buckets):
    curve = curves_of([drawn(values)], axis="step", n_buckets=n_buckets).curves[0]
    known = [value for value in values if value == value]
    assert max((one for one in curve.high if one is not None), default=None) == max(known, default=None)
    assert min((one for one in curve.low if one is not None), default=None) == min(known, default=None)
    assert bool(curve.not_numbers) == (len(known) < len(values))
    assert len(curve.x) <= n_buckets
    assert curve.n_points == len(values)


@given(VALUES, st.floats(0, 0.99))
def test_a_smoothed_curve_stays_between_its_extremes(values, smoothing):
    curve = curves_of([drawn(values)], axis="step", n_buckets=20, smoothing=smoothing).curves[0]
    known = [value for value in values if value == value]
    air = 1e-6 * max((abs(value) for value in known), default=0)
    smooth = [one for one in curve.smooth if one is not None]
    assert all(min(known) - air <= one <= max(known) + air for one in smooth)


def test_a_short_and_a_long_run_share_their_buckets():
    found = curves_of([drawn([1.0] * 1000, "long"), drawn([2.0] * 100, "short")], axis="step", n_buckets=10)
    long, short = found.curves
    assert (found.since, found.until) == (0.0, 999.0)
    assert (len(long.x), long.x[0], short.x) == (10, 99.0, [99.0])


def test_time_may_be_counted_from_the_beginning_of_each_run():
    both = [drawn([1.0, 2.0], "a", started_ms=1000), drawn([1.0, 2.0], "b", started_ms=990)]
    relative, wall = (curves_of(both, axis=axis).curves for axis in ("relative", "wall"))
    assert [one.x for one in relative] == [[0.0, 10.0], [10.0, 20.0]]
    assert [one.x for one in wall] == [[1000.0, 1010.0]] * 2


def test_points_that_come_late_are_drawn_in_their_order():
    late = read([packed([(1, 0, 5, 5, 0.5), (1, 0, 6, 1, 0.1), (1, 0, 7, 3, 0.3)])])
    curve = curves_of([Drawn("r", "loss", late, 0)], axis="step").curves[0]
    assert curve.x == [1.0, 3.0, 5.0]
    assert curve.last == [0.1, 0.3, 0.5]


def test_runs_of_a_group_have_a_mean_and_a_band():
    of = [
        drawn([1.0] * 50, "a", "depth 3"),
        drawn([3.0] * 50, "b", "depth 3"),
        drawn([9.0] * 50, "c", "depth 4"),
    ]
    found = curves_of(of, axis="step", n_buckets=5)
    assert found.curves == ()
    three, four = found.groups
    assert (three.group, three.n_runs, set(three.mean), set(three.low), set(three.high)) == (
        "depth 3",
        2,
        {2.0},
        {1.0},
        {3.0},
    )
    assert set(four.mean) == {9.0}
    assert np.all(np.diff(three.x) > 0)


def test_a_run_that_ended_early_leaves_the_mean_where_it_ended():
    found = curves_of([drawn([0.0] * 10, "a", "g"), drawn([2.0] * 100, "b", "g")], axis="step", n_buckets=10)
    assert found.groups[0].mean == [1.0] + [2.0] * 9


def test_a_metric_without_points_is_an_empty_curve():
    assert curves_of([drawn([])], axis="wall").curves[0].x == []
    assert curves_of([], axis="step").curves == ()


@pytest.mark.parametrize(
    "how", [{"n_buckets": 1}, {"n_buckets": 10**6}, {"smoothing": 1.0}, {"smoothing": -0.1}]
)
def test_what_is_out_of_bounds_is_refused(how):
    with pytest.raises(InvalidInput):
        curves_of([drawn([1.0])], axis="step", **how)


def test_more_curves_than_a_picture_holds_are_refused_unless_grouped():
    many = [drawn([1.0], f"run-{n}") for n in range(MOST_CURVES + 1)]
    with pytest.raises(InvalidInput, match="too many"):
        curves_of(many, axis="step")
    assert len(curves_of([one._replace(group="g") for one in many], axis="step").groups) == 1

"""The task of quantiles: pinball losses within a range, and shares below that keep their levels."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import mean_pinball_loss

from varv import task
from varv.kernel.errors import InvalidDeclaration

TENTHS = task.quantiles(levels=[0.1, 0.5, 0.9], range=(0, 100))
anything = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(
    st.lists(st.sampled_from([0.01, 0.1, 0.3, 0.5, 0.8, 0.99]), min_size=1, max_size=6, unique=True),
    hnp.arrays(np.float64, 5, elements=anything),
    st.data(),
)
def test_no_loss_leaves_its_bound(levels, outcome, data):
    one = task.quantiles(levels=sorted(levels), range=(-5, 5))
    predicted = data.draw(hnp.arrays(np.float64, (5, len(levels)), elements=anything))
    rows = one.losses["pinball"].of(outcome, predicted)
    assert np.all((rows >= 0) & (rows <= one.losses["pinball"].bound * (1 + 1e-12)))


def test_the_bound_is_reached_at_the_edges():
    low = np.zeros((1, 3))
    assert TENTHS.losses["pinball"].bound == pytest.approx(50.0)
    assert TENTHS.losses["pinball"].of(np.array([100.0]), low) == pytest.approx([50.0])


def test_the_loss_is_the_mean_over_levels():
    rng = np.random.default_rng(1)
    y, q = rng.uniform(0, 100, 200), np.sort(rng.uniform(0, 100, (200, 3)), axis=1)
    levels = (0.1, 0.5, 0.9)
    wanted = np.mean([mean_pinball_loss(y, q[:, k], alpha=level) for k, level in enumerate(levels)])
    assert TENTHS.losses["pinball"].exact(y, q).mean() == pytest.approx(wanted)


def test_what_lies_beyond_the_range_is_still_covered_or_not():
    y, q = np.array([150.0, 150.0]), np.array([[90.0, 120.0, 140.0], [90.0, 120.0, 160.0]])
    assert TENTHS.metrics["coverage"].value(y, q) == 0.5


@pytest.mark.parametrize(
    ("levels", "problem"),
    [
        ([0.5, 0.1], "do not grow"),
        ([0.5, 0.5], "do not grow"),
        ([0.5, 0.5000000001], "do not grow"),
        ([0.0, 0.5], "0.0 is not between 0 and 1"),
        ([0.5, "a"], "'a' is not between"),
        ([True], "True is not between"),
        ([], "not a list of 1 to 99 levels"),
        (0.5, "not a list"),
    ],
)
def test_levels_that_cannot_be_are_refused(levels, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        task.quantiles(levels=levels)


def test_an_outcome_above_too_often_is_underestimated():
    q = np.tile([40.0, 50.0, 60.0], (100, 1))
    assert TENTHS.residual(np.full(100, 55.0), q).mean() == 0.5
    assert TENTHS.residual(np.full(100, 45.0), q).mean() == -0.5


def test_narrow_intervals_show_in_coverage_and_calibration():
    rng = np.random.default_rng(3)
    y = rng.normal(50, 10, 2000)
    narrow = np.tile([48.0, 50.0, 52.0], (2000, 1))
    [coverage] = [signal for signal in TENTHS.signals if signal.name == "coverage_gap"]
    found = coverage.estimate(y, narrow, np.arange(2000), None)
    assert found.high < -0.5
    assert dict(coverage.subjects)["intervals_too_narrow"] == -1
    error = TENTHS.calibration(y, narrow)
    assert error.value > 10 * error.by_chance


def test_crossing_quantiles_are_valid_and_counted():
    q = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    assert TENTHS.valid(q).all()
    assert TENTHS.metrics["crossing"].value(np.zeros(2), q) == 0.5


def test_one_level_is_one_number_without_an_interval():
    upper = task.quantiles(levels=[0.95], range=(0, 10))
    assert upper.outputs == ("q0.95",)
    assert upper.said(np.array([7.25])) == "7.25"
    assert [signal.name for signal in upper.signals] == ["loss", "bias"]
    assert upper.metrics["coverage"].label == "share within 95%"
    assert upper.metrics["coverage"].value(np.array([1.0, 9.0]), np.array([[5.0], [5.0]])) == 0.5


def test_a_prediction_is_said_with_its_interval():
    assert TENTHS.said(np.array([4.12, 12.34, 30.15])) == "12.3 [4.1, 30.1]"
    [tensor] = TENTHS.tensors()
    assert (tensor.name, tensor.tail) == ("quantiles", (3,))


def test_the_range_is_asked_for_as_in_regression():
    with pytest.raises(InvalidDeclaration, match="needs the range"):
        task.quantiles(levels=[0.5]).require_history(pl.Series(np.linspace(0, 90, 500)), "delay")

"""The regression task: losses within a declared range, which the history proposes where it is missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.tasks.samples import ROWS, linear

from varv import task
from varv.kernel.errors import InvalidDeclaration, InvalidInput, UserCodeFailed
from varv.tasks.numeric import proposed_range

PERCENT = task.regression(range=(0, 100))
anything = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(hnp.arrays(np.float64, 6, elements=anything), hnp.arrays(np.float64, (6, 1), elements=anything))
def test_no_outcome_and_no_prediction_leaves_the_bounds(outcome, predicted):
    for loss in PERCENT.losses.values():
        rows = loss.of(outcome, predicted)
        assert np.all((rows >= 0) & (rows <= loss.bound))


def test_what_lies_beyond_the_range_counts_as_its_edge():
    absolute = PERCENT.losses["absolute"]
    assert absolute.of(np.array([500.0, -7.0]), np.array([[90.0], [1e9]])).tolist() == [10.0, 100.0]
    assert PERCENT.residual(np.array([500.0]), np.array([[90.0]])).tolist() == [10.0]


def test_the_bounds_are_the_width_of_the_range_and_its_square():
    bounds = {name: loss.bound for name, loss in task.regression(range=(-20, 30)).losses.items()}
    assert bounds == {"absolute": 50.0, "squared": 2500.0}
    assert [loss.unit for loss in PERCENT.losses.values()] == ["outcome", "outcome²"]


def test_without_a_range_one_is_proposed_from_the_history():
    delays = pl.Series(np.random.default_rng(0).gamma(2, 20, 5000) - 20)
    open_ended = task.regression()
    with pytest.raises(InvalidDeclaration, match=r"needs the range.*'delay'.*range=\(-20, \d+\).*99\.\d\d%"):
        open_ended.require_history(delays, "delay")
    assert open_ended.guards == ()
    with pytest.raises(InvalidDeclaration, match=r"add range=\(low, high\)"):
        open_ended.require_history(pl.Series([None], dtype=pl.Float64), "delay")


def test_a_range_that_misses_the_history_is_refused():
    PERCENT.require_history(pl.Series([*range(100), 300, None, float("nan")], strict=False), "share")
    with pytest.raises(InvalidDeclaration, match=r"holds only 50.00% .*write range=\(0, 200\)"):
        PERCENT.require_history(pl.Series(np.linspace(0, 200, 1000)), "share")


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6)))
def test_a_proposed_range_is_one_and_holds_most(known):
    low, high = proposed_range(known)
    task.regression(range=(low, high)).require_history(pl.Series(known), "y")
    assert low < high


@pytest.mark.parametrize(
    ("given_range", "problem"),
    [
        ((5, 1), "5 is not below 1"),
        ((1, 1), "1 is not below 1"),
        ((0,), "not two numbers"),
        ("ab", "not two numbers"),
        ((0, float("inf")), "not two numbers"),
        ((False, True), "not two numbers"),
        (5, "not two numbers"),
    ],
)
def test_a_range_that_cannot_be_is_refused(given_range, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        task.regression(range=given_range)


def test_a_loss_that_does_not_exist_is_refused():
    with pytest.raises(InvalidDeclaration, match="there is no 'huber'; use absolute or squared"):
        task.regression(range=(0, 1), loss="huber")


def test_the_bias_of_medians_is_learned_and_that_of_means_is_zero():
    learned = {
        loss: {
            signal.name: signal.learns_level for signal in task.regression(range=(0, 1), loss=loss).signals
        }
        for loss in ("absolute", "squared")
    }
    assert learned == {"absolute": {"loss": True, "bias": True}, "squared": {"loss": True, "bias": False}}


def test_a_number_promises_no_loss():
    assert PERCENT.promised(np.zeros((3, 1))) is None
    assert PERCENT.excess(np.zeros(3), np.zeros((3, 1))) is None
    assert PERCENT.calibration(np.zeros(3), np.zeros((3, 1))) is None


def test_a_day_of_few_rows_has_no_error():
    for signal in PERCENT.signals:
        assert signal.error(np.arange(9.0), np.zeros((9, 1)), None) is None


def test_numbers_are_read_from_any_type_of_number():
    assert PERCENT.read(pl.Series("y", [1, None], dtype=pl.Int16)).to_list() == [1.0, None]
    assert PERCENT.stored(3, pl.Float64()) == 3.0
    assert PERCENT.stored(3.0, pl.Int64()) == 3
    assert PERCENT.stored(3.5, pl.Int64()) == 3.5


def test_the_version_is_registered_with_every_metric():
    y, p = np.array([10.0, 20, 30, 40]), np.array([[12.0], [20], [30], [38]])
    assert PERCENT.validation(y, p) == {"absolute": 1.0, "rmse": 1.414214, "r2": 0.984, "bias": 0.0}
    assert PERCENT.validation(np.full(4, 5.0), p)["r2"] is None


def test_an_estimator_must_predict_one_number_a_row():
    class Failing:
        def predict(self, rows):
            raise RuntimeError("not fitted")

    class Names:
        def predict(self, rows):
            return np.array(["A"] * len(rows))

    with pytest.raises(UserCodeFailed, match="raised RuntimeError: not fitted"):
        PERCENT.estimates(Failing(), ROWS)
    with pytest.raises(InvalidInput, match="predicts values of type"):
        PERCENT.estimates(Names(), ROWS)
    with pytest.raises(InvalidInput, match=r"returns an array of shape \(10, 2\)"):
        PERCENT.estimates(linear(np.ones((2, 3))), ROWS)
    with pytest.raises(InvalidInput, match="has no predict; return a fitted regressor"):
        PERCENT.estimates(object(), ROWS)


def test_a_number_is_said_as_finely_as_its_range_asks():
    said = [task.regression(range=(0, width)).said(np.array([0.123456])) for width in (1, 100, 100_000)]
    assert said == ["0.123", "0.1", "0"]
    assert task.regression().said(np.array([1234.56])) == "1235"

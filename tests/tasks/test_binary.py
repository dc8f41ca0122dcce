"""The binary task says of losses, outcomes and estimators what gates, rollouts and monitors said before."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.tasks.samples import ROWS, logistic

from varv import task
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.stats import calibration
from varv.stats.intervals import clustered_mean
from varv.stats.ranking import auc, auc_error, auc_interval

BINARY = task.binary()
RNG = np.random.default_rng(8)
SCORE = RNG.beta(2, 3, 3000).astype(np.float32)
OUTCOME = (RNG.random(3000) < SCORE).astype(np.int8)
PREDICTED = SCORE[:, None]
HOURS = np.arange(3000) // 60


def test_a_rollout_bets_on_log_losses_of_at_most_seven_nats():
    towards = np.where(OUTCOME == 1, SCORE.astype(np.float64), 1 - SCORE.astype(np.float64))
    bet = -np.log(np.clip(towards, 0.001, 0.999))
    assert np.array_equal(BINARY.losses["log_loss"].of(OUTCOME, PREDICTED), bet)
    assert BINARY.losses["log_loss"].bound == -np.log(0.001)


def test_gates_and_comparisons_keep_their_log_losses_bit_for_bit():
    exact = BINARY.losses["log_loss"].exact(OUTCOME, PREDICTED)
    assert np.array_equal(exact, calibration.log_losses(OUTCOME, SCORE))
    assert np.array_equal(BINARY.excess(OUTCOME, PREDICTED), calibration.excess_losses(OUTCOME, SCORE))


def test_a_request_without_an_answer_costs_the_worst():
    predicted = np.array([[0.5], [np.nan], [1.5], [-0.1], [np.inf]])
    for loss in BINARY.losses.values():
        found = loss.of(np.ones(5), predicted)
        assert found[0] < loss.bound
        assert found[1:].tolist() == [loss.bound] * 4


def test_a_version_is_registered_with_the_numbers_of_before():
    assert BINARY.validation(OUTCOME, PREDICTED) == {
        "log_loss": round(float(calibration.log_losses(OUTCOME, SCORE).mean()), 6),
        "auc": round(auc(OUTCOME, SCORE), 6),
        "ece": round(calibration.calibration_error(OUTCOME, SCORE).value, 6),
        "base_rate": round(float(OUTCOME.mean()), 6),
    }
    one_class = BINARY.validation(np.zeros(60), np.full((60, 1), 0.1))
    assert (one_class["auc"], one_class["base_rate"]) == (None, 0.0)


def test_a_monitor_sees_the_days_of_before():
    signals = {signal.name: signal for signal in BINARY.signals}
    y, p = OUTCOME.astype(np.float64), SCORE.astype(np.float64)
    wanted = {
        "excess_loss": clustered_mean(calibration.excess_losses(y, p), HOURS),
        "bias": clustered_mean(y - p, HOURS),
        "auc": auc_interval(y, p, HOURS),
    }
    errors = {
        "excess_loss": calibration.excess_error(p),
        "bias": float(np.sqrt(np.sum(p * (1 - p)))) / y.size,
        "auc": auc_error(y, p),
    }
    assert {name: one.estimate(OUTCOME, PREDICTED, HOURS, None) for name, one in signals.items()} == wanted
    assert {name: one.error(OUTCOME, PREDICTED, None) for name, one in signals.items()} == errors
    assert dict(signals["bias"].subjects) == {"underestimated": 1, "overestimated": -1}
    assert [name for name, one in signals.items() if one.learns_level] == ["auc"]


def test_a_day_with_few_of_a_class_has_no_ranking_to_watch():
    [ranking] = [signal for signal in BINARY.signals if signal.name == "auc"]
    outcome = np.zeros(100)
    outcome[:4] = 1
    assert ranking.error(outcome, PREDICTED[:100], None) is None


@pytest.mark.parametrize(
    ("column", "read"),
    [
        (pl.Series("y", [0.0, 1.0, 0.5, None, float("nan")]), [0, 1, None, None, None]),
        (pl.Series("y", [True, False, None]), [1, 0, None]),
        (pl.Series("y", [0, 1, 2, -1], dtype=pl.Int64), [0, 1, None, None]),
        (pl.Series("y", [0, 1, 255], dtype=pl.UInt8), [0, 1, None]),
    ],
)
def test_what_is_neither_0_nor_1_is_no_outcome(column, read):
    found = BINARY.read(column)
    assert (found.dtype, found.name, found.to_list()) == (pl.Int8, "y", read)


@pytest.mark.parametrize(
    ("value", "dtype", "stored"),
    [
        (1, pl.Boolean(), True),
        (True, pl.Int8(), 1),
        (0, pl.Float64(), 0.0),
        (2, pl.Int8(), 2),
        ("1", pl.Int8(), "1"),
    ],
)
def test_an_outcome_is_stored_in_the_type_of_its_column(value, dtype, stored):
    found = BINARY.stored(value, dtype)
    assert (found, type(found)) == (stored, type(stored))


def test_a_third_class_in_the_history_is_refused():
    BINARY.require_history(pl.Series("y", [0, 1] * 500 + [7, None]), "late")
    with pytest.raises(InvalidDeclaration, match=r"outcome 'late' holds 0 .*2 \(1.96%\)"):
        BINARY.require_history(pl.Series("y", [0, 1] * 500 + [2] * 20), "late")


def test_an_estimator_must_be_a_binary_classifier():
    class WithoutProbabilities:
        pass

    with pytest.raises(InvalidInput, match="has no predict_proba; return a fitted binary classifier"):
        BINARY.estimates(WithoutProbabilities(), ROWS)
    with pytest.raises(InvalidInput, match=r"is not binary .*classes=3.*train on rows with both outcomes"):
        BINARY.estimates(logistic(np.eye(3)), ROWS)


def test_classes_in_another_order_are_refused():
    estimator = logistic(np.ones((1, 3)))
    estimator.classes_ = np.array([1, 0])
    with pytest.raises(InvalidInput, match="not those of the task in its order"):
        BINARY.estimates(estimator, ROWS)


def test_a_prediction_is_said_and_sent_as_before():
    [tensor] = BINARY.tensors()
    assert (tensor.name, tensor.datatype, tensor.tail) == ("probability", "FP32", ())
    assert tensor.values(PREDICTED[:5]) == pl.Series(SCORE[:5]).to_list()
    assert BINARY.said(np.array([0.12341])) == "0.1234"


scores = hnp.arrays(np.float32, (5, 1), elements=st.floats(0, 1, width=32))


@given(scores, hnp.arrays(np.int8, 5, elements=st.integers(0, 1)))
def test_losses_keep_their_bounds_and_promises(predicted, outcome):
    for loss in BINARY.losses.values():
        rows = loss.of(outcome, predicted)
        assert np.all((rows >= 0) & (rows <= loss.bound))
    exact = BINARY.losses["log_loss"].exact(outcome, predicted)
    assert BINARY.excess(outcome, predicted) == pytest.approx(exact - BINARY.promised(predicted), abs=1e-9)


@given(st.floats(0.001, 0.999))
def test_the_mean_loss_of_a_calibrated_score_is_what_it_promised(p):
    both = np.array([[p], [p]])
    expected = np.array([1 - p, p]) @ BINARY.losses["log_loss"].exact(np.array([0, 1]), both)
    assert BINARY.promised(both)[0] == pytest.approx(expected)

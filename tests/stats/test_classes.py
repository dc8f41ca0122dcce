"""Losses and labels of several classes, against scikit-learn and against what probabilities say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import brier_score_loss, log_loss

from varv.stats.classes import (
    are_distributions,
    class_brier,
    class_excess_error,
    class_log_losses,
    class_promised_losses,
    top_labels,
)

RNG = np.random.default_rng(3)
P = RNG.dirichlet([1.0, 2.0, 0.5, 1.0], 4000)
Y = (RNG.random((4000, 1)) > P.cumsum(axis=1)[:, :-1]).sum(axis=1)


def test_the_mean_losses_are_those_of_scikit_learn():
    labels = [0, 1, 2, 3]
    assert class_log_losses(Y, P).mean() == pytest.approx(log_loss(Y, P, labels=labels), abs=1e-6)
    assert class_brier(Y, P).mean() == pytest.approx(
        brier_score_loss(Y, P, labels=labels, scale_by_half=False)
    )


weights = hnp.arrays(np.float64, (3, 4), elements=st.floats(0.001, 1))


@given(weights)
def test_the_promise_is_the_mean_over_what_can_happen(weight):
    p = weight / weight.sum(axis=1, keepdims=True)
    by_class = np.column_stack([class_log_losses(np.full(3, k), p) for k in range(4)])
    mean = np.sum(p * by_class, axis=1)
    assert class_promised_losses(p) == pytest.approx(mean)
    variance = np.sum(p * (by_class - mean[:, None]) ** 2, axis=1)
    assert class_excess_error(p) == pytest.approx(np.sqrt(variance.sum()) / 3, abs=1e-7)


def test_a_label_is_right_as_often_as_its_probability_says():
    label, probability, hit = top_labels(Y, P)
    error = np.sqrt(np.sum(probability * (1 - probability))) / len(P)
    assert abs(np.mean(hit - probability)) < 4 * error
    assert np.array_equal(label, P.argmax(axis=1))


def test_one_wrong_row_is_told_from_the_others():
    rows = P[:50].copy()
    rows[7] *= 1.01
    assert np.flatnonzero(~are_distributions(rows)).tolist() == [7]


def test_a_certain_and_wrong_prediction_costs_a_finite_loss():
    assert class_log_losses([1], [[1.0, 0.0]])[0] == pytest.approx(13.8, abs=0.1)
    assert class_promised_losses([[1.0, 0.0]])[0] == pytest.approx(0.0, abs=1e-12)

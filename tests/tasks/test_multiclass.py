"""The task of several classes: codes, probabilities and labels, and two classes as the binary task."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.tasks.samples import ROWS, WEIGHTS, logistic

from varv import task
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.stats.ranking import auc

ABC = task.multiclass(classes=["A", "B", "C"])
STARS = task.multiclass(classes=[1, 3, 5])


@given(
    hnp.arrays(np.float64, 8, elements=st.floats(0, 1)), hnp.arrays(np.int8, 8, elements=st.integers(0, 1))
)
def test_two_classes_have_the_losses_of_the_binary_task(p, outcome):
    two, binary = task.multiclass(classes=["no", "yes"]), task.binary()
    both, one = np.column_stack([1 - p, p]), p[:, None]
    log_loss = two.losses["log_loss"].exact(outcome, both)
    assert log_loss == pytest.approx(binary.losses["log_loss"].exact(outcome, one), rel=1e-6, abs=2e-6)
    brier = two.losses["brier"].exact(outcome, both)
    assert brier == pytest.approx(2 * binary.losses["brier"].exact(outcome, one), abs=1e-12)
    assert two.promised(both) == pytest.approx(binary.promised(one), abs=2e-5)
    assert two.promised_error(both) == pytest.approx(binary.promised_error(one), abs=1e-2)


def test_two_classes_rank_as_the_binary_task():
    rng = np.random.default_rng(2)
    p, y = rng.random(500), rng.integers(0, 2, 500)
    two = task.multiclass(classes=["no", "yes"])
    assert two.metrics["auc"].value(y, np.column_stack([1 - p, p])) == pytest.approx(auc(y, p))


def test_texts_become_codes_in_the_order_of_the_classes():
    found = ABC.read(pl.Series("kind", ["C", "A", "a", None, "B"]))
    assert (found.dtype, found.to_list()) == (pl.Int16, [2, 0, None, None, 1])
    enum = pl.Series("kind", ["C", "A"], dtype=pl.Enum(["A", "C", "Z"]))
    assert ABC.read(enum).to_list() == [2, 0]


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int64, pl.Float32, pl.UInt16])
def test_numbers_become_codes_in_any_type_of_number(dtype):
    assert STARS.read(pl.Series("stars", [5, 1, 2, None], dtype=dtype)).to_list() == [2, 0, None, None]


def test_a_class_is_stored_in_the_type_of_its_column():
    assert STARS.stored(3.0, pl.Int64()) == 3
    assert isinstance(STARS.stored(3, pl.Float32()), float)
    assert STARS.stored(True, pl.Int64()) is True
    assert ABC.stored("A", pl.String()) == "A"


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ("AB", "is not a list"),
        (["A"], "there are 1"),
        (["A", "B", "A"], "'A' is there twice"),
        ([1, "1"], "'1' is there twice"),
        ([1, "A"], "neither all texts nor all whole numbers"),
        ([True, False], "neither all texts nor all whole numbers"),
        (["A", ""], "neither all texts nor all whole numbers"),
        ([0.5, 1.5], "neither all texts nor all whole numbers"),
        (None, "is not a list"),
    ],
)
def test_classes_that_cannot_be_are_refused(classes, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        task.multiclass(classes=classes)


def test_a_column_must_hold_what_the_classes_are():
    assert "classes are texts" in ABC.accepts(pl.Int64())
    assert "classes are whole numbers" in STARS.accepts(pl.String())
    assert STARS.accepts(pl.Boolean()) != ""
    assert ABC.rule().values == ("A", "B", "C")
    assert STARS.rule().values == (1.0, 3.0, 5.0)


def test_a_class_that_is_not_declared_is_refused_unless_it_is_a_stray():
    ABC.require_history(pl.Series(["A", "B", "C"] * 400 + ["?", None]), "kind")
    with pytest.raises(InvalidDeclaration, match=r"holds 'X' \(3.23%\), which is none of the 3 classes"):
        ABC.require_history(pl.Series(["A", "B", "C"] * 100 + ["X"] * 10), "kind")
    with pytest.raises(InvalidDeclaration, match=r"holds 4 \(14.29%\), which is none"):
        STARS.require_history(pl.Series([1.0, 3.0, 5.0] * 20 + [4.0] * 10), "stars")


def test_a_class_that_was_never_seen_cannot_be_learned():
    with pytest.raises(InvalidDeclaration, match="never holds 'C', one of the classes; leave it out"):
        ABC.require_history(pl.Series(["A", "B"] * 100), "kind")
    ABC.require_history(pl.Series([], dtype=pl.String), "kind")


@pytest.mark.parametrize(
    "row", [[0.5, 0.4, 0.0], [1.2, -0.2, 0.0], [np.nan, 0.5, 0.5], [np.inf, -np.inf, 1.0], [0, 0, 0]]
)
def test_what_is_no_distribution_is_not_valid(row):
    assert ABC.valid(np.array([row, [0.2, 0.3, 0.5]])).tolist() == [False, True]


def test_probabilities_of_float32_are_valid_though_they_do_not_add_up():
    p = np.full((4, 3), 1 / 3, dtype=np.float32) * np.float32(1.0005)
    assert ABC.valid(p).all()
    assert ABC.losses["log_loss"].exact(np.zeros(4), p) == pytest.approx(np.log(3))


def test_an_estimator_of_names_is_taken_in_the_order_of_the_task_only():
    estimator = logistic(WEIGHTS)
    estimator.classes_ = np.array(["A", "B", "C"])
    assert ABC.estimates(estimator, ROWS).shape == (10, 3)
    with pytest.raises(InvalidInput, match=r"has the classes .*'A', 'B', 'C'.*fit it on the outcomes"):
        task.multiclass(classes=["C", "B", "A"]).estimates(estimator, ROWS)
    with pytest.raises(InvalidInput, match="is not binary"):
        task.multiclass(classes=["A", "B"]).estimates(estimator, ROWS)


def test_a_prediction_is_sent_as_probabilities_and_label():
    probabilities, label = ABC.tensors()
    predicted = np.array([[0.25, 0.5, 0.25], [0.75, 0.125, 0.125]], dtype=np.float32)
    assert (probabilities.tail, label.tail, label.datatype) == ((3,), (), "BYTES")
    assert probabilities.values(predicted) == [0.25, 0.5, 0.25, 0.75, 0.125, 0.125]
    assert label.values(predicted) == ["B", "A"]
    assert ABC.said(np.array([0.1, 0.71, 0.19])) == "B (0.71)"


def test_a_class_that_is_absent_has_no_area():
    y, p = np.array([0, 1, 0, 1]), np.array([[0.8, 0.2, 0], [0.3, 0.7, 0], [0.6, 0.4, 0], [0.1, 0.9, 0]])
    assert ABC.metrics["auc"].value(y, p) == 1.0
    assert ABC.validation(np.zeros(4), p)["auc"] is None

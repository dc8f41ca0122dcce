"""A package predicts as its estimator does, through the runtime that serves it, or it is not made."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from tests.training.samples import built, given, opened, served

import varv
from varv.kernel.errors import InvalidInput

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3)).astype(np.float32)
Y = (X[:, 0] + RNG.normal(size=400) > 0).astype(np.int64)
TRAIN = given(X, Y)


def boosted(**options):
    settings = {"max_iter": 12, "max_leaf_nodes": 8, "random_state": 0} | options
    return HistGradientBoostingClassifier(**settings).fit(X, Y)


def test_a_package_says_what_it_is_and_where_it_came_from():
    package = opened(boosted(), TRAIN)
    assert package.task.name == "binary"
    assert package.estimator.endswith("HistGradientBoostingClassifier")
    assert package.signature == TRAIN.signature
    assert (package.seed, package.n_rows, package.params) == (3, 400, {"p": 1})
    assert (package.runtime, package.not_onnx, set(package.files)) == ("onnx", "", {"model.onnx"})


def test_the_probe_rows_and_scores_are_those_of_the_estimator():
    holey = TRAIN._rows.with_columns(a=pl.when(pl.col("a") > 0).then("a"))
    model = boosted()
    package = opened(model, TRAIN, probe=holey)
    rows = package.probe_rows()
    assert rows.shape == (32, 3)
    assert np.isnan(rows).any()
    scores = np.array(package.probe_scores)
    np.testing.assert_allclose(scores[:, 0], model.predict_proba(rows)[:, 1], atol=1e-7)
    assert package.difference(served(package, holey.head(32))) < 1e-6


def test_equal_training_gives_equal_bytes():
    assert built(boosted(), TRAIN) == built(boosted(), TRAIN)
    assert built(boosted(max_iter=13), TRAIN) != built(boosted(), TRAIN)


def one_class():
    model = LogisticRegression().fit(X, Y)
    model.classes_ = np.array([0])
    return model


def not_a_number():
    model = LogisticRegression().fit(X, Y)
    model.coef_ = model.coef_ * np.nan
    return model


class Alien:
    classes_ = (0, 1)

    def predict_proba(self, x):
        return np.full((len(x), 2), 0.5)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: boosted().fit(X, np.arange(400) % 3), r"is not binary \(classes=3\); train on rows"),
        (one_class, r"is not binary \(classes=1\)"),
        (lambda: RidgeClassifier().fit(X, Y), "'RidgeClassifier' has no predict_proba; return"),
        (lambda: "model", "'str' has no predict_proba"),
        (Alien, "'Alien' has no ONNX form"),
        (not_a_number, r"'LogisticRegression' predicts \[nan\] of a row, which is no prediction"),
        (lambda: LogisticRegression().fit(X[:, :2], Y), r"another number of columns \(n=2, expected=3\)"),
        (
            lambda: LogisticRegression().fit(pl.DataFrame(X, schema=["a", "b", "z"]), Y),
            "fitted on a column 'z', which is no declared feature; fit it on columns .* a, b, c",
        ),
        (lambda: varv.packaged(boosted(), runtime="lightgbm"), "cannot be written for the runtime lightgbm"),
    ],
)
def test_what_cannot_be_packaged_is_refused_with_a_reason(make, problem):
    with pytest.raises(InvalidInput, match=problem):
        built(make(), TRAIN)


def test_an_estimator_that_differs_from_its_onnx_form_is_refused():
    model = KNeighborsClassifier(3).fit(X[:100], Y[:100])
    honest = model.predict_proba
    model.predict_proba = lambda rows: np.clip(honest(rows) + 0.01, 0, 1)
    with pytest.raises(InvalidInput, match=r"'KNeighborsClassifier' differs from its ONNX form by 0\.0"):
        built(model, TRAIN)


def test_an_estimator_whose_onnx_form_does_not_run_is_refused():
    model = KNeighborsClassifier(3).fit(X[:100], Y[:100].astype(np.int8))
    with pytest.raises(InvalidInput, match="'KNeighborsClassifier' has no ONNX form that runs: "):
        built(model, TRAIN)


def test_features_become_a_matrix_only_when_it_is_asked_for():
    many = pl.DataFrame({"note": [f"note {number}" for number in range(10_001)], "n": [1.0] * 10_001})
    train = given(many, np.arange(10_001) % 2)
    assert train.forms_used == frozenset()
    assert train.frame.columns == ["note", "n"]
    assert train.forms_used == {"columns"}
    with pytest.raises(InvalidInput, match=r"'note' has too many categories .*train on train.frame"):
        _ = train.X

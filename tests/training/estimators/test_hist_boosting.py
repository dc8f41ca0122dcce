"""Histogram boosting in ONNX sends every number where scikit-learn sends it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from tests.training.samples import RUNTIMES, flights, given, late, opened, served

from varv.kernel.errors import InvalidInput
from varv.training import TrainingSet
from varv.training.estimators.hist_boosting import ensemble_of
from varv.training.estimators.trees import to_onnx


def rows(n: int = 600, *, missing: bool = True, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    x[:, 2] = np.round(x[:, 2] * 3)
    y = (x[:, 0] + 0.5 * x[:, 2] + rng.normal(size=n) > 0).astype(np.int64)
    if missing:
        x[rng.random((n, 3)) < 0.1] = np.nan
    return x, y


def boosted(x: np.ndarray, y: np.ndarray, **options) -> HistGradientBoostingClassifier:
    settings = {"max_iter": 12, "max_leaf_nodes": 8, "early_stopping": False, "random_state": 0} | options
    return HistGradientBoostingClassifier(**settings).fit(x, y)


def at_the_thresholds(model) -> np.ndarray:
    """Return rows of every threshold of the trees, its neighbours in float32, and the ends of the line."""
    values = [np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, -3.4e38], np.float32)]
    for tree in (tree for stage in model._predictors for tree in stage):
        split = tree.nodes["num_threshold"][~tree.nodes["is_leaf"].astype(bool)].astype(np.float32)
        values += [split, np.nextafter(split, np.float32(np.inf)), np.nextafter(split, np.float32(-np.inf))]
    pool = np.unique(np.concatenate(values))
    rng = np.random.default_rng(1)
    one_by_one = [np.where(np.arange(3) == column, value, 0) for column in range(3) for value in pool]
    return np.concatenate([np.array(one_by_one, np.float32), rng.choice(pool, (3000, 3))])


def said(model, train: TrainingSet, matrix: np.ndarray) -> np.ndarray:
    """Return what the package says of a matrix that no request could bring, infinities and all."""
    package = opened(model, train)
    assert package.runtime == "onnx"
    return RUNTIMES.load(package).predict(matrix.astype(np.float32))


@pytest.mark.parametrize("missing", [True, False], ids=["missing", "never missing in training"])
def test_every_number_at_and_beside_a_threshold_goes_the_same_way(missing):
    x, y = rows(missing=missing)
    model = boosted(x, y, max_iter=40)
    probe = at_the_thresholds(model)
    expected = model.predict_proba(probe)[:, 1].astype(np.float32)
    np.testing.assert_array_max_ulp(said(model, given(x, y), probe)[:, 0], expected, 1)


def test_a_threshold_between_two_float32_sends_every_float32_the_same_way():
    low = np.float32(0.1)
    high = np.nextafter(low, np.float32(1))
    x = np.array([[low]] * 50 + [[high]] * 50, np.float32)
    y = np.array([0] * 50 + [1] * 50)
    model = boosted(x, y, min_samples_leaf=5)
    got = said(model, given(x, y), x)[:, 0]
    np.testing.assert_allclose(got, model.predict_proba(x)[:, 1], atol=1e-7, rtol=0)
    assert got[0] < 0.2 < 0.8 < got[-1]


def test_a_tree_that_is_a_lone_leaf_has_an_onnx_form():
    x = np.zeros((50, 3), np.float32)
    y = np.arange(50) % 2
    model = boosted(x, y)
    assert len(model._predictors[0][0].nodes) == 1
    np.testing.assert_allclose(said(model, given(x, y), x)[:, 0], 0.5, atol=1e-7)


def test_three_classes_are_three_columns_that_sum_to_one(session):
    x, _ = rows()
    model = boosted(x, np.arange(len(x)) % 3)
    probe = at_the_thresholds(model)
    got = session(to_onnx(ensemble_of(model), "t"), probe)
    np.testing.assert_allclose(got, model.predict_proba(probe), atol=1e-7)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("squared_error", {}),
        ("absolute_error", {}),
        ("quantile", {"quantile": 0.9}),
        ("poisson", {}),
        ("gamma", {}),
    ],
)
def test_regressions_of_every_loss_are_what_scikit_learn_says(session, loss, options):
    x, y = rows()
    target = np.abs(np.nan_to_num(x).sum(axis=1)) * 100 + y + 0.1
    model = HistGradientBoostingRegressor(loss=loss, max_iter=15, random_state=0, **options).fit(x, target)
    probe = at_the_thresholds(model)
    got = session(to_onnx(ensemble_of(model), "t"), probe)[:, 0]
    np.testing.assert_allclose(got, model.predict(probe), rtol=1e-6)


def test_an_estimator_fitted_on_a_frame_reads_the_matrix_of_its_columns():
    x, y = rows()
    train = given(x, y)
    model = boosted(train.frame.select("c", "a"), y)
    package = opened(model, train)
    assert package.signature.names == ("c", "a")
    assert package.signature.form == "matrix"
    expected = model.predict_proba(train.frame.select("c", "a"))[:, 1]
    np.testing.assert_allclose(RUNTIMES.load(package).predict(x[:, [2, 0]])[:, 0], expected, atol=1e-7)


@pytest.mark.parametrize("missing", [True, False], ids=["missing", "never missing in training"])
def test_native_categories_go_the_same_way_known_or_not(missing):
    rng = np.random.default_rng(2)
    x = np.column_stack([rng.normal(size=900), rng.integers(0, 60, 900) * 3, rng.integers(0, 5, 900)])
    x = x.astype(np.float32)
    y = (x[:, 0] + np.isin(x[:, 1], [3, 33, 99, 177]) * 2 + (x[:, 2] == 4) + rng.normal(size=900) > 1).astype(
        int
    )
    if missing:
        x[rng.random(x.shape) < 0.1] = np.nan
    model = boosted(x, y, categorical_features=[1, 2], max_iter=30)
    probe = np.array([0, 1, 3, 4, 33, 34.5, 99, 177, 180, 1000, 5, np.nan], np.float32)
    probe = rng.choice(probe, (4000, 3))
    expected = model.predict_proba(probe)[:, 1].astype(np.float32)
    np.testing.assert_array_max_ulp(said(model, given(x, y), probe)[:, 0], expected, 1)


def test_texts_as_native_categories_are_read_as_columns(january):
    rows = january.with_columns(carrier=pl.when(pl.col("sched_minute") > 5).then("carrier"))
    train = flights(rows, late(rows))
    frame = train.frame.with_columns(pl.col(pl.String).cast(pl.Categorical))
    model = HistGradientBoostingClassifier(max_iter=20, max_bins=120, random_state=0).fit(frame, train.y)
    package = opened(model, train)
    assert (package.runtime, package.signature.form) == ("onnx", "columns")
    strange = rows.with_columns(dest=pl.when(pl.col("sched_hour") > 8).then("dest").otherwise(pl.lit("?")))
    for part in (rows, strange):
        expected = model.predict_proba(train.signature.frame(part))[:, 1].astype(np.float32)
        np.testing.assert_array_max_ulp(served(package, part)[:, 0], expected, 1)


def test_categories_that_are_no_whole_numbers_are_refused():
    x, y = rows(missing=False)
    x[:, 2] = x[:, 2] / 2
    with pytest.raises(InvalidInput, match="splits on categories that are no whole numbers"):
        opened(boosted(x, y, categorical_features=[2], max_iter=40), given(x, y))

"""Packages of real estimators become graphs that answer as the packages do, from texts on."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.fronts.packages.made import CLASSES
from tests.fronts.packages.test_graph import raw
from tests.training.samples import given, opened, served

from varv.fronts.packages.graph import servable
from varv.tasks import task_of

lgb = pytest.importorskip("lightgbm")
xgb = pytest.importorskip("xgboost")

RANDOM = np.random.default_rng(5)
N = 400
ROWS = pl.DataFrame(
    {
        "carrier": RANDOM.choice(["AA", "DL", "über", None], N),
        "wind": np.where(RANDOM.random(N) < 0.1, np.nan, RANDOM.normal(size=N)),
        "remark": RANDOM.choice(["late again", "on time", ""], N),
        "seats": RANDOM.integers(1, 300, N),
    },
    schema_overrides={"carrier": pl.String},
).with_columns(pl.col("wind").fill_nan(None))
COLUMNS = ["carrier", "wind", "seats"]
LATE = (RANDOM.random(N) < np.where(ROWS["carrier"].is_null(), 0.2, 0.6)).astype(np.int64)
CLASS = RANDOM.integers(0, 3, N)
THREE = task_of(CLASSES)


def boosting(train):
    return HistGradientBoostingClassifier(categorical_features=[0], max_iter=10).fit(train.X, train.y)


def pipeline(train):
    parts = make_column_transformer(
        (StandardScaler(), ["seats"]),
        (OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
        (TfidfVectorizer(), "remark"),
    )
    return make_pipeline(parts, LogisticRegression()).fit(train.frame, train.y)


def light(train):
    data = lgb.Dataset(train.X, train.y, categorical_feature=[0])
    quiet = {"verbosity": -1, "num_threads": 1, "objective": "multiclass", "num_class": 3}
    return lgb.train(quiet, data, 5)


def extreme(train):
    return xgb.XGBRegressor(n_estimators=5, nthread=1).fit(train.X, train.y)


def linear(train):
    return make_pipeline(StandardScaler(), LinearRegression()).fit(np.nan_to_num(train.X), train.y)


CASES = {
    "boosting": (boosting, COLUMNS, LATE, task_of("binary")),
    "pipeline": (pipeline, ["carrier", "seats", "remark"], LATE, task_of("binary")),
    "light": (light, COLUMNS, CLASS, THREE),
    "extreme": (extreme, COLUMNS, LATE.astype(np.float64), task_of("regression")),
    "linear": (linear, ["seats"], LATE.astype(np.float64), task_of("regression")),
}


@pytest.mark.parametrize("name", CASES)
def test_the_graph_of_an_estimator_answers_as_its_package_does(name):
    fit, columns, y, task = CASES[name]
    rows = ROWS.select(columns)
    train = given(rows, y)
    package = opened(fit(train), train, task=task)
    assert package.runtime == "onnx"
    for matrix in (False, True):
        built = servable(package, matrix=matrix)
        np.testing.assert_array_equal(raw(built, rows), served(package, rows))

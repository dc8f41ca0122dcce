"""A list of estimators says one column each, and is one ONNX model."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, QuantileRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.training.samples import delay, flights, opened, served

from varv.kernel.errors import InvalidInput
from varv.tasks import TaskSpec, task_of

LEVELS = (0.1, 0.5, 0.9)
QUANTILES = task_of(TaskSpec("quantiles", {"levels": list(LEVELS)}))


def boosted(level):
    return HistGradientBoostingRegressor(loss="quantile", quantile=level, max_iter=15, random_state=0)


def linear(level):
    return make_pipeline(StandardScaler(), QuantileRegressor(quantile=level, alpha=0.01))


@pytest.mark.parametrize("make", [boosted, linear])
def test_every_row_of_a_month_is_predicted_by_one_regressor_a_quantile(january, make):
    rows = january if make is boosted else january.head(500)
    train = flights(rows, delay(rows), ("distance", "sched_hour", "weekday", "origin"))
    models = [make(level).fit(train.X, train.y) for level in LEVELS]
    package = opened(models, train, task=QUANTILES)
    assert package.runtime == "onnx"
    assert package.estimator.startswith("3 of sklearn.")
    expected = np.column_stack([model.predict(train.X) for model in models])
    np.testing.assert_allclose(served(package, rows), expected, rtol=1e-5, atol=1e-5)


def test_a_list_that_is_not_fed_alike_or_mixes_libraries_is_refused(january):
    rows = january.head(300)
    train = flights(rows, delay(rows), ("distance", "sched_hour"))
    one = boosted(0.5).fit(train.frame.select("distance"), train.y)
    two = boosted(0.5).fit(train.frame, train.y)
    with pytest.raises(InvalidInput, match="are not fed the same; fit all of them on the same columns"):
        opened([one, two, two], train, task=QUANTILES)
    with pytest.raises(InvalidInput, match="are none"):
        opened([], train, task=QUANTILES)
    other = LinearRegression().fit(train.X, train.y)
    with pytest.raises(InvalidInput, match="'list' is a list of estimators of different kinds"):
        opened([two, two, other], train, task=QUANTILES)
    with pytest.raises(InvalidInput, match=r"returns an array of shape \(300, 2\) from predict"):
        opened([two, two], train, task=QUANTILES)

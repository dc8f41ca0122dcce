"""What XGBoost says of a month of flights is what its package says, in ONNX or in its own format."""

from __future__ import annotations

import msgspec
import numpy as np
import pandas as pd
import pytest
from tests.training.samples import (
    CATEGORIES,
    NUMBERS,
    RUNTIMES,
    built,
    delay,
    delay_class,
    flights,
    late,
    opened,
    served,
)

import varv
from varv.kernel.errors import Corrupt, InvalidInput
from varv.tasks import TaskSpec, task_of
from varv.training.estimators.trees import to_onnx
from varv.training.estimators.xgboost import ensemble_of

xgb = pytest.importorskip("xgboost")

LATE = task_of("binary")
THREE = task_of(TaskSpec("multiclass", {"classes": [0, 1, 2]}))
NUMBER = task_of("regression")
LEVELS = task_of(TaskSpec("quantiles", {"levels": [0.1, 0.5, 0.9]}))
EXACT = (
    *("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror"),
    *("binary:logitraw", "reg:quantileerror"),
)
TYPES = ["q"] * len(NUMBERS) + ["c"] * len(CATEGORIES)


def data(x, y):
    types = TYPES if x.shape[1] == len(TYPES) else None
    return xgb.DMatrix(x, y, feature_types=types, enable_categorical=True)


def booster(x, y, *, rounds=20, **params):
    depth = {} if params.get("booster") == "gblinear" else {"max_depth": 4}
    settings = {"objective": "binary:logistic", "nthread": 1, "seed": 1, **depth, **params}
    return xgb.train(settings, data(x, y), rounds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "options", "task", "target"),
    [
        ("binary:logistic", {}, LATE, late),
        ("reg:logistic", {"base_score": 0.1}, LATE, late),
        ("binary:logistic", {"booster": "dart", "rate_drop": 0.3}, LATE, late),
        ("binary:logistic", {"num_parallel_tree": 5, "subsample": 0.5}, LATE, late),
        ("binary:logistic", {"gamma": 20.0}, LATE, late),
        ("binary:logistic", {"grow_policy": "lossguide", "max_depth": 0, "max_leaves": 20}, LATE, late),
        ("multi:softprob", {"num_class": 3}, THREE, delay_class),
        ("reg:squarederror", {}, NUMBER, delay),
        ("reg:absoluteerror", {}, NUMBER, delay),
        ("reg:pseudohubererror", {}, NUMBER, delay),
        ("count:poisson", {}, NUMBER, late),
        ("reg:tweedie", {}, NUMBER, late),
        ("binary:logitraw", {}, NUMBER, late),
        ("reg:quantileerror", {"quantile_alpha": [0.1, 0.5, 0.9]}, LEVELS, delay),
    ],
)
def test_every_row_of_a_month_is_predicted_as_the_booster_does(january, objective, options, task, target):
    train = flights(january, target(january))
    model = booster(train.X, train.y, objective=objective, **options)
    package = opened(model, train, task=task)
    assert package.runtime == "onnx"
    expected = model.predict(data(train.X, train.y)).reshape(len(train), -1)
    np.testing.assert_array_max_ulp(served(package, january), expected, 0 if objective in EXACT else 4)


@pytest.mark.parametrize("onehot", [1, 100], ids=["partitions", "one category a split"])
def test_missing_values_thresholds_and_categories_go_the_way_that_the_booster_sends_them(session, onehot):
    rng = np.random.default_rng(4)
    x = np.round(rng.normal(size=(2000, 3)), 1).astype(np.float32)
    x[:, 2] = rng.integers(0, 40, 2000)
    x[rng.random(x.shape) < 0.2] = np.nan
    score = np.nansum(x[:, :2], axis=1) + np.isnan(x[:, 1]) + np.isin(x[:, 2], [3, 7, 33])
    y = score + rng.normal(size=2000) > 1
    types = ["q", "q", "c"]
    matrix = xgb.DMatrix(x, y, feature_types=types, enable_categorical=True)
    settings = {"objective": "binary:logistic", "max_cat_to_onehot": onehot, "nthread": 1}
    model = xgb.train(settings, matrix, 20)
    cuts = model.trees_to_dataframe()["Split"].dropna().to_numpy(np.float32)
    pool = np.concatenate([np.unique(cuts), np.array([0.0, -0.0, 1e-45, np.nan], np.float32)])
    pool = np.concatenate([pool, np.nextafter(pool, np.float32(9)), np.nextafter(pool, np.float32(-9))])
    probe = rng.choice(pool, (5000, 3))
    probe[:, 2] = rng.choice(np.array([0, 3, 7, 33, 39, 3.5, np.nan], np.float32), 5000)
    expected = model.predict(xgb.DMatrix(probe, feature_types=types, enable_categorical=True))
    np.testing.assert_allclose(session(to_onnx(ensemble_of(model), "t"), probe)[:, 0], expected, atol=1e-6)


def test_a_classifier_that_stopped_early_is_served_up_to_its_best_round(january):
    train = flights(january, delay_class(january), NUMBERS)
    model = xgb.XGBClassifier(n_estimators=200, early_stopping_rounds=3, nthread=1)
    held_out = [(train.X[1::2], train.y[1::2])]
    model.fit(train.X[::2], train.y[::2], eval_set=held_out, verbose=False)
    assert 0 < model.best_iteration < 199
    package = opened(model, train, task=THREE)
    np.testing.assert_allclose(served(package, january), model.predict_proba(train.X), atol=1e-6)


def test_a_ranker_is_served(january):
    train = flights(january, delay_class(january), NUMBERS)
    lists = np.arange(len(train)) // 100
    model = xgb.XGBRanker(n_estimators=10, nthread=1).fit(train.X, train.y, qid=lists)
    task = task_of(TaskSpec("ranking", {"group": "origin"}))
    expected = model.predict(train.X)
    np.testing.assert_allclose(served(opened(model, train, task=task), january)[:, 0], expected, atol=1e-6)


def test_a_model_fitted_on_pandas_keeps_the_order_and_categories_of_its_frame(january):
    train = flights(january, late(january))
    frame = pd.DataFrame(train.frame.select("dest", "distance", "carrier").to_dict(as_series=False))
    for name in ("dest", "carrier"):
        frame[name] = pd.Categorical(frame[name], categories=sorted(set(frame[name]), reverse=True))
    model = xgb.XGBClassifier(n_estimators=20, nthread=1, enable_categorical=True).fit(frame, train.y)
    package = opened(model, train)
    assert package.signature.names == ("dest", "distance", "carrier")
    assert package.signature.columns[2].categories[0] == "YV"
    np.testing.assert_allclose(served(package, january)[:, 0], model.predict_proba(frame)[:, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"booster": "gblinear"}, "is a gblinear booster, which has no trees"),
        ({"objective": "binary:hinge"}, "has the objective binary:hinge, whose link is not known"),
    ],
)
def test_what_onnx_cannot_say_is_served_by_xgboost_itself(january, options, why):
    train = flights(january, late(january), NUMBERS)
    model = booster(np.nan_to_num(train.X), train.y, **options)
    package = opened(model, train)
    assert (package.runtime, package.not_onnx) == ("xgboost", why)
    np.testing.assert_array_equal(served(package, january)[:, 0], model.predict(data(train.X, train.y)))


def test_its_own_runtime_can_be_asked_for_and_is_exact(january):
    train = flights(january, delay_class(january))
    model = booster(train.X, train.y, objective="multi:softprob", num_class=3)
    package = opened(varv.packaged(model, runtime="xgboost"), train, task=THREE)
    assert package.runtime == "xgboost"
    np.testing.assert_array_equal(served(package, january), model.predict(data(train.X, train.y)))
    assert RUNTIMES.load(package).predict(train.X[:0]).shape == (0, 3)
    spoiled = msgspec.structs.replace(package, files={"model.ubj": b"{L"})
    with pytest.raises(Corrupt, match="is refused by the runtime"):
        RUNTIMES.load(spoiled)


def test_equal_training_gives_equal_bytes(january):
    train = flights(january.head(3000), late(january.head(3000)))
    made = [built(booster(train.X, train.y), train) for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (xgb.XGBClassifier(), "'XGBClassifier' has no booster; return a Booster or a fitted estimator"),
        (
            xgb.XGBClassifier(n_estimators=1, missing=-1).fit(np.eye(4), [0, 1, 0, 1]),
            "takes -1 as missing; leave missing as it is",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(january, model, problem):
    train = flights(january.head(100), late(january.head(100)), NUMBERS[:4])
    with pytest.raises(InvalidInput, match=problem):
        built(model, train)

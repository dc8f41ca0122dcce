"""What LightGBM says of a month of flights is what its package says, in ONNX or in its own format."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.training.samples import (
    CATEGORIES,
    NUMBERS,
    RUNTIMES,
    built,
    delay,
    delay_class,
    flights,
    given,
    late,
    opened,
    served,
)

import varv
from varv.kernel.errors import InvalidInput
from varv.registry import packed
from varv.tasks import TaskSpec, task_of
from varv.training.estimators.lightgbm import ensemble_of
from varv.training.estimators.trees import to_onnx

lgb = pytest.importorskip("lightgbm")

QUIET = {"verbosity": -1, "num_threads": 1, "seed": 1, "deterministic": True}
THREE = task_of(TaskSpec("multiclass", {"classes": [0, 1, 2]}))
NUMBER = task_of("regression")
CODES = [len(NUMBERS) + number for number in range(len(CATEGORIES))]
LATE = task_of("binary")


def booster(x, y, *, rounds=20, data=None, **params):
    settings = {"objective": "binary", "num_leaves": 15, **QUIET, **params}
    return lgb.train(settings, lgb.Dataset(x, y, **(data or {})), rounds)


@pytest.mark.parametrize(
    ("objective", "options", "task", "target"),
    [
        ("binary", {}, LATE, late),
        ("binary", {"sigmoid": 2.0}, LATE, late),
        ("cross_entropy", {}, LATE, late),
        ("binary", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, LATE, late),
        ("binary", {"boosting": "dart"}, LATE, late),
        ("multiclass", {"num_class": 3}, THREE, delay_class),
        ("regression", {}, NUMBER, delay),
        ("regression", {"reg_sqrt": True}, NUMBER, delay),
        ("regression_l1", {}, NUMBER, delay),
        ("huber", {}, NUMBER, delay),
        ("quantile", {"alpha": 0.9}, NUMBER, delay),
        ("poisson", {}, NUMBER, late),
        ("tweedie", {}, NUMBER, late),
    ],
)
def test_every_row_of_a_month_is_predicted_as_the_booster_does(january, objective, options, task, target):
    train = flights(january, target(january))
    model = booster(train.X, train.y, objective=objective, data={"categorical_feature": CODES}, **options)
    package = opened(model, train, task=task)
    assert package.runtime == "onnx"
    expected = model.predict(train.X).reshape(len(train), -1).astype(np.float32)
    np.testing.assert_array_max_ulp(served(package, january), expected, 1)


@pytest.mark.parametrize("options", [{}, {"zero_as_missing": True}, {"use_missing": False}], ids=str)
@pytest.mark.parametrize("holes", [True, False], ids=["holes", "no holes"])
def test_missing_values_and_thresholds_go_the_way_that_the_booster_sends_them(session, options, holes):
    rng = np.random.default_rng(4)
    x = np.round(rng.normal(size=(2000, 4)), 1).astype(np.float32)
    x[:, 3] = rng.integers(0, 40, 2000)
    if holes:
        x[rng.random(x.shape) < 0.2] = np.nan
    score = np.nansum(x[:, :2], axis=1) + np.isnan(x[:, 1]) + np.isin(x[:, 3], [3, 7, 33])
    y = score + rng.normal(size=2000) > 1
    model = booster(x, y, data={"categorical_feature": [3]}, min_data_per_group=5, **options)
    splits = model.trees_to_dataframe()["threshold"].dropna()
    cuts = sorted({float(cut) for cut in splits if "|" not in str(cut)})
    pool = np.array([*cuts, 0.0, -0.0, 1e-36, -1e-36, 1.1e-35, np.nan, np.inf, -np.inf], np.float32)
    pool = np.concatenate([pool, np.nextafter(pool, np.float32(9)), np.nextafter(pool, np.float32(-9))])
    probe = rng.choice(pool, (5000, 4))
    probe[:, 3] = rng.choice(np.array([0, 3, 7, 33, 39, 40, 500, -1, 3.5, -0.5, np.nan], np.float32), 5000)
    got = session(to_onnx(ensemble_of(model), "t"), probe)[:, 0]
    np.testing.assert_allclose(got, model.predict(probe), atol=1e-7)


def test_a_classifier_that_stopped_early_is_served_up_to_its_best_round(january):
    train = flights(january, late(january))
    model = lgb.LGBMClassifier(n_estimators=200, learning_rate=0.5, **QUIET)
    held_out = {"eval_X": train.X[1::2], "eval_y": train.y[1::2]}
    model.fit(train.X[::2], train.y[::2], callbacks=[lgb.early_stopping(3, verbose=False)], **held_out)
    assert 0 < model.best_iteration_ < 200
    expected = model.predict_proba(train.X)[:, 1]
    np.testing.assert_allclose(served(opened(model, train), january)[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("label", ["regressor", "ranker"])
def test_other_estimators_of_its_scikit_learn_interface_are_served(january, label):
    train = flights(january, delay(january))
    if label == "regressor":
        model, task = lgb.LGBMRegressor(n_estimators=20, **QUIET).fit(train.X, train.y), NUMBER
    else:
        relevance = delay_class(january)
        sizes = [100] * (len(train) // 100) + [len(train) % 100]
        model = lgb.LGBMRanker(n_estimators=20, **QUIET).fit(train.X, relevance, group=sizes)
        task = task_of(TaskSpec("ranking", {"group": "origin"}))
    got = served(opened(model, train, task=task), january)[:, 0]
    np.testing.assert_allclose(got, model.predict(train.X), rtol=1e-6, atol=1e-6)


def test_a_model_fitted_on_pandas_keeps_the_order_and_categories_of_its_frame(january):
    train = flights(january, late(january))
    frame = pd.DataFrame(train.frame.select("dest", "distance", "carrier").to_dict(as_series=False))
    for name in ("dest", "carrier"):
        frame[name] = pd.Categorical(frame[name], categories=sorted(set(frame[name]), reverse=True))
    model = lgb.LGBMClassifier(n_estimators=20, **QUIET).fit(frame, train.y)
    package = opened(model, train)
    assert package.signature.names == ("dest", "distance", "carrier")
    assert package.signature.columns[2].categories[0] == "YV"
    np.testing.assert_allclose(served(package, january)[:, 0], model.predict_proba(frame)[:, 1], atol=1e-6)


def test_what_onnx_cannot_say_is_served_by_lightgbm_itself(january):
    train = flights(january, late(january), NUMBERS)
    model = booster(train.X, train.y, linear_tree=True)
    package = opened(model, train)
    assert (package.runtime, package.not_onnx) == ("lightgbm", "has linear models in its leaves")
    np.testing.assert_array_equal(served(package, january)[:, 0], model.predict(train.X).astype(np.float32))


def test_its_own_runtime_can_be_asked_for_and_is_exact(january):
    train = flights(january, delay_class(january))
    model = booster(train.X, train.y, objective="multiclass", num_class=3)
    package = opened(varv.packaged(model, runtime="lightgbm"), train, task=THREE)
    assert package.runtime == "lightgbm"
    assert "model.onnx" not in package.files
    np.testing.assert_array_equal(served(package, january), model.predict(train.X).astype(np.float32))
    assert RUNTIMES.load(package).predict(train.X[:0]).shape == (0, 3)


def test_equal_training_gives_equal_bytes(january):
    train = flights(january.head(3000), late(january.head(3000)))
    made = [built(booster(train.X, train.y), train) for _ in range(2)]
    assert made[0] == made[1]


def test_the_booster_is_kept_beside_its_onnx_form_to_go_on_from(january):
    train = flights(january.head(3000), late(january.head(3000)))
    model = booster(train.X, train.y, rounds=5)
    kept = lgb.Booster(model_str=opened(model, train).file("model.txt").decode())
    again = lgb.train({"objective": "binary", **QUIET}, lgb.Dataset(train.X, train.y), 5, init_model=kept)
    assert again.num_trees() == 10


def unfitted():
    return lgb.LGBMClassifier()


def of_other_columns():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(100, 2)), columns=["a", "tide level"])
    return lgb.LGBMClassifier(n_estimators=2, **QUIET).fit(frame, rng.integers(0, 2, 100))


def of_numbers_as_categories():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": pd.Categorical(rng.integers(0, 3, 400)), "b": rng.normal(size=400)})
    return lgb.LGBMClassifier(n_estimators=2, **QUIET).fit(frame, frame["a"].cat.codes > 1)


def of_a_category_without_use():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": pd.Categorical(["x"] * 400), "b": pd.Categorical(rng.choice(["y", "z"], 400))})
    return lgb.LGBMClassifier(n_estimators=2, **QUIET).fit(frame, frame["b"].cat.codes)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (of_a_category_without_use, "has categories of pandas that cannot be told apart"),
        (unfitted, "'LGBMClassifier' has no booster; return a Booster or a fitted estimator"),
        (of_other_columns, "was fitted on a column 'tide_level', which is no declared feature"),
        (of_numbers_as_categories, "has categories of the column 'a', which is no text; fit it on train.X"),
        (lambda: varv.packaged(of_other_columns(), form="columns"), "reads a matrix only; leave form unset"),
    ],
)
def test_what_does_not_fit_the_declared_features_is_refused(make, problem):
    rows = pl.DataFrame({"a": [0.0, 1.0], "b": [1.0, 2.0]})
    with pytest.raises(InvalidInput, match=problem):
        built(make(), given(rows, np.array([0, 1])))


def test_a_package_that_lightgbm_refuses_is_corrupt(january):
    import msgspec

    from varv.kernel.errors import Corrupt

    train = flights(january.head(500), late(january.head(500)))
    package = opened(varv.packaged(booster(train.X, train.y, rounds=2), runtime="lightgbm"), train)
    assert packed(package)
    spoiled = msgspec.structs.replace(package, files={"model.txt": b"tree\nversion=v9\n"})
    with pytest.raises(Corrupt, match="is refused by the runtime"):
        RUNTIMES.load(spoiled)

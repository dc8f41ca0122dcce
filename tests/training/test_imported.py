"""A model that was trained elsewhere becomes a package once it fits what is declared; no pickle is opened."""

from __future__ import annotations

import json
import pickle

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skl2onnx
import skops.io
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from tests.training.samples import BINARY, NUMBERS, RUNTIMES, built, flights, late, served

from varv.kernel.errors import Corrupt, InvalidInput, NotFound, UserCodeFailed
from varv.registry import open_package, packed
from varv.tasks import task_of
from varv.training.imported import ImportInput, import_model, read_foreign

lgb = pytest.importorskip("lightgbm")
xgb = pytest.importorskip("xgboost")
pytest.importorskip("skops")

QUIET = {"verbosity": -1, "num_threads": 1}
NAMES = (*NUMBERS, "carrier")


@pytest.fixture(scope="module")
def month(january):
    return january.select(NAMES).head(5000), late(january.head(5000))


@pytest.fixture(scope="module")
def frame(month):
    """The month as somebody else's pandas would hold it, with the carriers in an order of their own."""
    rows, _ = month
    made = pd.DataFrame(rows.select(pl.col(NUMBERS).cast(pl.Float64), "carrier").to_dict(as_series=False))
    return made.assign(carrier=pd.Categorical(made["carrier"], categories=sorted(set(rows["carrier"]))[::-1]))


def imported(path, rows, **options):
    names = tuple(options.pop("names", rows.columns))
    task = options.pop("task", BINARY)
    given = ImportInput.of(read_foreign(path), rows, names, **options)
    return open_package(import_model(given, task=task, runtimes=RUNTIMES))


def boosted(frame, y):
    return lgb.LGBMClassifier(n_estimators=10, **QUIET).fit(frame, y)


def test_a_text_of_lightgbm_is_matched_by_its_names_and_categories(tmp_path, month, frame):
    rows, y = month
    model = boosted(frame[["carrier", "distance", "weekday"]], y)
    model.booster_.save_model(tmp_path / "model.txt")
    package = imported(tmp_path / "model.txt", rows)
    assert package.signature.names == ("carrier", "distance", "weekday")
    assert package.params["imported"] == "model.txt"
    assert "lightgbm" in package.environment.libraries
    expected = model.predict_proba(frame[["carrier", "distance", "weekday"]])[:, 1]
    np.testing.assert_allclose(served(package, rows)[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("suffix", ["ubj", "json"])
def test_a_file_of_xgboost_is_matched_by_its_names_and_categories(tmp_path, month, frame, suffix):
    rows, y = month
    model = xgb.XGBClassifier(n_estimators=10, enable_categorical=True, nthread=1)
    model.fit(frame[["carrier", "distance"]], y).save_model(tmp_path / f"model.{suffix}")
    package = imported(tmp_path / f"model.{suffix}", rows)
    assert package.signature.names == ("carrier", "distance")
    expected = model.predict_proba(frame[["carrier", "distance"]])[:, 1]
    np.testing.assert_allclose(served(package, rows)[:, 0], expected, atol=1e-6)


def test_an_onnx_file_of_a_matrix_is_taken_as_the_declared_numbers(tmp_path, month):
    rows, y = month
    rows = rows.select("distance", "weekday")
    x = rows.to_numpy().astype(np.float32)
    model = LogisticRegression(max_iter=1000).fit(x, y)
    made = skl2onnx.to_onnx(model, initial_types=[("input", FloatTensorType([None, 2]))])
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    package = imported(tmp_path / "model.onnx", rows)
    assert package.estimator == "onnx.ModelProto"
    np.testing.assert_allclose(served(package, rows)[:, 0], model.predict_proba(x)[:, 1], atol=1e-5)


def test_codes_of_categories_have_to_be_said_where_the_model_does_not(tmp_path, month):
    rows, y = month
    carriers = sorted(set(rows["carrier"]), key=lambda text: text[::-1])
    codes = np.array([carriers.index(carrier) for carrier in rows["carrier"]], dtype=np.float32)
    data = lgb.Dataset(codes.reshape(-1, 1), y, feature_name=["carrier"], categorical_feature=[0])
    model = lgb.train({"objective": "binary", **QUIET}, data, 10)
    model.save_model(tmp_path / "model.txt")
    with pytest.raises(InvalidInput, match="reads codes of the text 'carrier', and does not say which code"):
        imported(tmp_path / "model.txt", rows)
    package = imported(tmp_path / "model.txt", rows, categories={"carrier": carriers})
    np.testing.assert_allclose(served(package, rows)[:, 0], model.predict(codes.reshape(-1, 1)), atol=1e-6)
    with pytest.raises(InvalidInput, match="'distance' is no text that is declared"):
        imported(tmp_path / "model.txt", rows, categories={"distance": ["a"]})


def test_a_package_of_varv_is_taken_as_it_is(tmp_path, january):
    train = flights(january.head(2000), late(january.head(2000)), NAMES)
    data = built(HistGradientBoostingClassifier(max_iter=5).fit(train.X, train.y), train)
    (tmp_path / "p.varv").write_bytes(data)
    assert packed(imported(tmp_path / "p.varv", train._rows)) == data
    with pytest.raises(InvalidInput, match=r"is of another task .*declare the task"):
        imported(tmp_path / "p.varv", train._rows, task=task_of("regression"))
    with pytest.raises(InvalidInput, match="reads a column 'carrier', which is no declared feature"):
        imported(tmp_path / "p.varv", train._rows, names=NUMBERS)
    package = open_package(data)
    scores = tuple((1 - score,) for (score,) in package.probe_scores)
    (tmp_path / "p.varv").write_bytes(packed(msgspec.structs.replace(package, probe_scores=scores)))
    with pytest.raises(InvalidInput, match="does not answer as it did"):
        imported(tmp_path / "p.varv", train._rows)


def test_a_package_that_runs_code_is_taken_only_if_it_is_trusted(tmp_path, january):
    train = flights(january.head(500), late(january.head(500)), NAMES)
    package = open_package(built(HistGradientBoostingClassifier(max_iter=5).fit(train.X, train.y), train))
    source = b"raise SystemExit('ran')\n"
    files = {"python.json": b'{"module":"m","name":"M","method":"predict"}', "source/m.py": source}
    (tmp_path / "p").write_bytes(packed(msgspec.structs.replace(package, runtime="python", files=files)))
    with pytest.raises(InvalidInput, match="runs code that it brings when python loads it; say --trust"):
        imported(tmp_path / "p", train._rows)
    with pytest.raises(UserCodeFailed, match="module 'm' raised SystemExit: ran"):
        imported(tmp_path / "p", train._rows, trust=True)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


@pytest.mark.parametrize(
    ("name", "data", "error", "problem"),
    [
        ("model.pkl", pickle.dumps(Bomb()), InvalidInput, "is a pickle or an archive, which may run code"),
        ("model.onnx", pickle.dumps(Bomb()), InvalidInput, "is a pickle or an archive.*export it to ONNX"),
        ("model.pt2", b"PK\x03\x04", InvalidInput, "is a pickle or an archive"),
        ("model.onnx", b"nothing", InvalidInput, "is no ONNX model"),
        ("model.csv", b"a,b\n", InvalidInput, "is no model of a format that varv reads; give an .onnx file"),
        ("model.txt", b"tree\nversion=v9\n", Corrupt, "'model.txt' is no model of lightgbm"),
        ("model.json", b'{"learner": {}}', Corrupt, "'model.json' is no model of xgboost"),
        ("model.varv", b"varv package 2\n{}\n", Corrupt, "does not decode"),
    ],
)
def test_what_is_no_model_or_could_run_code_is_refused(tmp_path, month, name, data, error, problem):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=problem):
        imported(tmp_path / name, month[0])


def test_a_file_that_is_not_there_is_not_found(tmp_path, month):
    with pytest.raises(NotFound, match=r"file 'gone.onnx'"):
        imported(tmp_path / "gone.onnx", month[0])


def mlflow(folder, flavours, inputs=None):
    """Write what MLflow writes: an MLmodel whose signature is JSON in YAML."""
    lines = ["artifact_path: model", "flavors:"]
    for name, about in flavours.items():
        lines += [f"  {name}:", *(f"    {key}: {value}" for key, value in about.items())]
    if inputs is not None:
        lines += ["signature:", f"  inputs: '{json.dumps(inputs)}'", "  params: null"]
    (folder / "MLmodel").write_text("\n".join([*lines, "mlflow_version: 3.17.2", ""]))
    return folder


PYTHON = {"loader_module": "mlflow.lightgbm", "env": "conda.yaml"}


def test_a_folder_of_mlflow_is_read_by_its_flavour_in_the_order_of_its_signature(tmp_path, month):
    rows, y = month
    columns = ["weekday", "distance"]
    x = rows.select(columns).to_numpy().astype(np.float64)
    model = lgb.train({"objective": "binary", **QUIET}, lgb.Dataset(x, y), 10)
    model.save_model(tmp_path / "model.lgb")
    flavours = {
        "lightgbm": {"data": "model.lgb", "model_class": "lightgbm.basic.Booster"},
        "python_function": PYTHON,
    }
    inputs = [{"type": "long", "name": name, "required": True} for name in columns]
    package = imported(mlflow(tmp_path, flavours, inputs), rows)
    assert package.signature.names == tuple(columns)
    np.testing.assert_allclose(served(package, rows)[:, 0], model.predict(x), atol=1e-6)


def test_a_classifier_of_xgboost_in_mlflow_predicts_up_to_its_best_round(tmp_path, month):
    rows, y = month
    x = rows.select(NUMBERS).to_numpy().astype(np.float32)
    model = xgb.XGBClassifier(n_estimators=100, early_stopping_rounds=2, nthread=1)
    model.fit(x[::2], y[::2], eval_set=[(x[1::2], y[1::2])], verbose=False).save_model(tmp_path / "model.ubj")
    assert model.best_iteration < 97
    flavours = {"xgboost": {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier"}}
    package = imported(mlflow(tmp_path, flavours), rows.select(NUMBERS))
    np.testing.assert_allclose(served(package, rows)[:, 0], model.predict_proba(x)[:, 1], atol=1e-6)


@pytest.mark.parametrize("estimator", [LogisticRegression(), HistGradientBoostingClassifier(max_iter=5)])
def test_scikit_learn_in_mlflow_is_taken_where_skops_wrote_it(tmp_path, month, estimator):
    rows, y = month
    frame = pd.DataFrame(rows.select("weekday", "distance").to_dict(as_series=False))
    model = estimator.fit(frame, y)
    (tmp_path / "model.skops").write_bytes(skops.io.dumps(model))
    flavours = {"sklearn": {"pickled_model": "model.skops"}, "python_function": PYTHON}
    inputs = [{"type": "double", "name": name} for name in frame.columns]
    package = imported(mlflow(tmp_path, flavours, inputs), rows)
    assert (package.runtime, package.signature.names) == ("onnx", ("weekday", "distance"))
    np.testing.assert_allclose(served(package, rows)[:, 0], model.predict_proba(frame)[:, 1], atol=1e-5)


def test_a_classifier_of_lightgbm_that_skops_wrote_is_taken_by_its_text(tmp_path, month):
    rows, y = month
    frame = pd.DataFrame(rows.select("distance").to_dict(as_series=False))
    model = lgb.LGBMClassifier(n_estimators=10, **QUIET).fit(frame, y)
    model.booster_.best_iteration = 4  # as where it goes on training after the best round
    (tmp_path / "model.skops").write_bytes(skops.io.dumps(model))
    flavours = {"lightgbm": {"data": "model.skops", "model_class": "lightgbm.sklearn.LGBMClassifier"}}
    inputs = [{"type": "double", "name": "distance"}]
    package = imported(mlflow(tmp_path, flavours, inputs), rows)
    expected = model.predict_proba(frame)[:, 1]
    np.testing.assert_allclose(served(package, rows)[:, 0], expected, atol=1e-6)


LIGHTGBM = {"lightgbm": {"data": "model.lgb"}}
TENSOR = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]


@pytest.mark.parametrize(
    ("flavours", "inputs", "problem"),
    [
        (
            {"sklearn": {"pickled_model": "model.pkl"}, "python_function": PYTHON},
            None,
            'may run code: model.pkl: is a pickle .* log it with serialization_format="skops"',
        ),
        ({"python_function": PYTHON}, None, "has only flavours that varv does not open: python_function"),
        ({"lightgbm": {"data": "model.pkl"}}, None, "model.pkl: is a pickle that names"),
        ({"lightgbm": {"data": "../model.lgb"}}, None, "names a file '../model.lgb' that is not in it"),
        ({"lightgbm": {"data": "/etc/passwd"}}, None, "names a file '/etc/passwd' that is not in it"),
        ({"lightgbm": {"data": "link.lgb"}}, None, "names a file 'link.lgb' that is not in it"),
        ({"onnx": {"code": "null"}}, None, "names a file None that is not in it"),
        (
            LIGHTGBM,
            [{"type": "double", "name": "tide"}],
            "'tide' is an input of the model, and no",
        ),
        (
            LIGHTGBM,
            [{"type": "string", "name": "distance"}],
            "'distance' is a text to the model, and",
        ),
        (
            LIGHTGBM,
            [{"type": "double", "name": "carrier"}],
            "'carrier' is a number to the model",
        ),
        (LIGHTGBM, [{"type": "datetime", "name": "distance"}], "has an input 'distance' of type datetime"),
        (LIGHTGBM, {"no": "list"}, "has a signature that does not decode"),
    ],
)
def test_a_folder_that_does_not_fit_or_would_be_unpickled_is_refused(
    tmp_path, month, flavours, inputs, problem
):
    rows, y = month
    lgb.train(QUIET, lgb.Dataset(rows.select("distance").to_numpy(), y), 1).save_model(tmp_path / "model.lgb")
    (tmp_path / "link.lgb").symlink_to("/etc/passwd")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InvalidInput, match=problem):
        imported(mlflow(tmp_path, flavours, inputs), rows)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "has no file MLmodel; give a folder that mlflow"),
        ("flavors: [", "file 'MLmodel' is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML without tags and aliases"),
        ("[]", "names no flavours"),
        ("flavors: 3", "names no flavours"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(tmp_path, month, text, problem):
    if text is not None:
        (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(InvalidInput, match=problem):
        imported(tmp_path, month[0])


def test_a_signature_of_a_matrix_names_no_columns(tmp_path, month):
    rows, y = month
    rows = rows.select("distance", "weekday")
    lgb.train(QUIET, lgb.Dataset(rows.to_numpy(), y), 1).save_model(tmp_path / "model.lgb")
    package = imported(mlflow(tmp_path, LIGHTGBM, TENSOR), rows)
    assert package.signature.names == ("distance", "weekday")

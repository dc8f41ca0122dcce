"""A training function is given the rows in two forms, their weights, and the champion before."""

from __future__ import annotations

import io
import zipfile

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.cluster import Birch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.training.samples import RUNTIMES, built, flights, given, late

from varv.kernel.errors import Corrupt, FailedPrecondition, InvalidInput, UserCodeFailed
from varv.kernel.ids import Version
from varv.registry import open_package
from varv.training import skops_file
from varv.training import state as module
from varv.training.previous import Previous
from varv.training.state import restored_state, saved_state
from varv.training.weights import weights_of

pytest.importorskip("skops")

ROWS = pl.DataFrame({"a": [1.0, None, 3.0], "city": ["x", None, "y"], "night": [True, False, None]})
TRAIN = given(ROWS, np.array([0, 1, 0]))


def test_the_matrix_and_the_frame_hold_the_same_rows_in_two_forms():
    nan = np.nan
    np.testing.assert_array_equal(TRAIN.X, np.array([[1, 0, 1], [nan, nan, 0], [3, 1, nan]], np.float32))
    assert TRAIN.frame["city"].to_list() == ["x", "", "y"]
    assert TRAIN.frame.dtypes == [pl.Float32, pl.String, pl.Float32]
    assert TRAIN.columns == ("a", "city", "night")
    assert len(TRAIN) == 3


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("a_weight", [1, 2, 0.5]),
        (lambda frame: frame["a_weight"] * 2, [2, 4, 1]),
        (lambda frame: np.where(frame["city"] == "x", 2.0, 1.0), [2, 1, 1]),
    ],
)
def test_weights_are_those_of_a_column_or_what_a_function_makes_of_the_features(declared, expected):
    rows = ROWS.with_columns(a_weight=pl.Series([1.0, 2.0, 0.5]))
    found = weights_of(declared, rows, given(rows, np.array([0, 1, 0])).signature)
    assert found.dtype == np.float64
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("declared", "error", "problem"),
    [
        ("tide", InvalidInput, "weights 'tide' are no column of the rows; name a feature or a column"),
        ("city", InvalidInput, "'city' are of type String"),
        ("a", InvalidInput, r"'a' hold nan, which is no weight \(row=1, n=1\); make every weight"),
        ("night", InvalidInput, "'night' hold 0.0, which is no weight"),
        (lambda frame: -np.ones(3), InvalidInput, "hold -1.0, which is no weight"),
        (lambda frame: 1.0, InvalidInput, r"have the shape \(\) \(expected=\(3,\)\)"),
        (lambda frame: ["x"] * 3, InvalidInput, "are not numbers"),
        (lambda frame: frame["tide"], UserCodeFailed, "ColumnNotFoundError"),
    ],
)
def test_weights_that_are_none_are_refused(declared, error, problem):
    with pytest.raises(error, match=problem):
        weights_of(declared, ROWS, TRAIN.signature)


SCALED = make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGDClassifier(loss="log_loss", random_state=1),
        lambda: GaussianNB(),
        lambda: MLPClassifier((5,), max_iter=400, tol=0.1, random_state=1),
    ],
    ids=["sgd", "bayes", "network"],
)
def test_a_training_goes_on_from_the_estimator_of_the_champion(january, make):
    rows = january.head(2000).with_columns(pl.col("built", "seats").fill_null(0))
    train = flights(rows, late(rows))
    model = make().fit(train.X, train.y)
    data = built(model, train, keep_state=True)
    assert data == built(make().fit(train.X, train.y), train, keep_state=True)
    previous = Previous(open_package(data), Version(3), RUNTIMES)
    assert (previous.version, previous.params) == (3, {"p": 1})
    np.testing.assert_allclose(previous.predict(rows)[:, 0], model.predict_proba(train.X)[:, 1], atol=1e-5)
    went_on = previous.estimator().partial_fit(train.X[::-1], train.y[::-1])
    np.testing.assert_array_equal(
        went_on.predict_proba(train.X), model.partial_fit(train.X[::-1], train.y[::-1]).predict_proba(train.X)
    )


def test_a_step_of_a_pipeline_goes_on():
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    train = given(x, (x[:, 0] > 0).astype(np.int64))
    data = built(SCALED.fit(train.X, train.y), train, keep_state=True)
    pipeline = Previous(open_package(data), Version(1), RUNTIMES).estimator()
    assert pipeline[-1].partial_fit(pipeline[0].transform(train.X), train.y).t_ > SCALED[-1].t_


@pytest.mark.parametrize("model", [RandomForestClassifier(2), LogisticRegression()])
def test_an_estimator_that_cannot_go_on_keeps_no_state(model):
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    train = given(x, (x[:, 0] > 0).astype(np.int64))
    package = open_package(built(model.fit(train.X, train.y), train, keep_state=True))
    assert set(package.files) == {"model.onnx"}
    with pytest.raises(FailedPrecondition, match="version '2' keeps no state of its estimator"):
        Previous(package, Version(2), RUNTIMES).estimator()


class Own(SGDClassifier):
    """A class that no list holds."""


def test_types_that_are_not_on_the_list_are_neither_written_nor_read(monkeypatch):
    x = np.random.default_rng(0).normal(size=(50, 2))
    assert saved_state(Birch().fit(x)) is None
    assert saved_state(Own(loss="log_loss").fit(x, x[:, 0] > 0)) is None
    network = saved_state(MLPClassifier((2,), max_iter=400, tol=0.1).fit(x, x[:, 0] > 0))
    monkeypatch.setattr(module, "OPTIMIZERS", ())
    with pytest.raises(Corrupt, match=r"holds a type that is not trusted .*AdamOptimizer"):
        restored_state(network)


def test_what_is_no_state_is_corrupt(monkeypatch):
    for data in (b"", b"\x80\x04pickle", b"PK\x03\x04"):
        with pytest.raises(Corrupt, match=r"file 'state.skops' does not open"):
            restored_state(data)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("schema.json", msgspec.json.encode({"__class__": "system", "__module__": "os"}))
    with pytest.raises(Corrupt, match=r"does not open|not trusted"):
        restored_state(made.getvalue())
    monkeypatch.setattr(skops_file, "LARGEST_BYTES", 1)
    with pytest.raises(Corrupt, match="is too large"):
        restored_state(made.getvalue())

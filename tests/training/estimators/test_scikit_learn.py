"""What scikit-learn says of a month of flights is what its package says, on a matrix or on named columns."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from tests.training.samples import (
    CATEGORIES,
    NUMBERS,
    built,
    delay,
    delay_class,
    flights,
    given,
    late,
    opened,
    served,
)

from varv.kernel.errors import InvalidInput
from varv.tasks import TaskSpec, task_of

LATE = task_of("binary")
THREE = task_of(TaskSpec("multiclass", {"classes": [0, 1, 2]}))
NUMBER = task_of("regression")


def filled(*steps):
    return make_pipeline(SimpleImputer(), *steps)


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (filled(StandardScaler(), LogisticRegression()), LATE),
        (filled(StandardScaler(), PCA(5), LogisticRegression()), THREE),
        (filled(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)), LATE),
        (filled(StandardScaler(), MLPClassifier((8,), max_iter=5, random_state=0)), LATE),
        (filled(GaussianNB()), LATE),
        (filled(DecisionTreeClassifier(max_depth=8)), LATE),
        (filled(RandomForestClassifier(20, max_depth=8, random_state=0)), THREE),
        (filled(GradientBoostingClassifier(n_estimators=10, random_state=0)), LATE),
        (filled(ExtraTreesRegressor(10, max_depth=8, random_state=0)), NUMBER),
        (filled(StandardScaler(), Ridge()), NUMBER),
        (HistGradientBoostingClassifier(max_iter=20, random_state=0), LATE),
        (HistGradientBoostingClassifier(max_iter=10, random_state=0), THREE),
        (HistGradientBoostingRegressor(max_iter=20, loss="poisson"), "delayed"),
        (CalibratedClassifierCV(filled(DecisionTreeClassifier(max_depth=4)), cv=2), LATE),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "",
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_every_row_of_a_month_is_predicted_from_the_matrix_as_the_estimator_does(january, model, task):
    targets = {LATE: late, THREE: delay_class, NUMBER: delay, "delayed": lambda rows: delay(rows).clip(0)}
    y = targets[task](january)
    task = NUMBER if task == "delayed" else task
    train = flights(
        january, y, NUMBERS if isinstance(model, CalibratedClassifierCV) else NUMBERS + CATEGORIES
    )
    x = np.nan_to_num(train.X) if isinstance(model, CalibratedClassifierCV) else train.X
    model.fit(x, y)
    if isinstance(model, CalibratedClassifierCV):
        january = january.with_columns(pl.col("built", "seats").fill_null(0))
        train = flights(january, y, NUMBERS)
    package = opened(model, train, task=task)
    assert (package.runtime, package.signature.form) == ("onnx", "matrix")
    expected = task.estimates(model, train.X)
    np.testing.assert_allclose(served(package, january), expected, rtol=1e-5, atol=1e-5)


ENCODED = ColumnTransformer(
    [
        ("numbers", filled(StandardScaler()), ["distance", "built", "evening"]),
        ("places", OneHotEncoder(handle_unknown="ignore"), ["origin", "dest"]),
        ("carrier", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["carrier"]),
    ]
)


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (make_pipeline(ENCODED, LogisticRegression(max_iter=300)), LATE),
        (make_pipeline(ENCODED, RandomForestClassifier(10, max_depth=8, random_state=0)), THREE),
        (make_pipeline(ENCODED, Ridge()), NUMBER),
    ],
)
def test_every_row_of_a_month_is_predicted_from_columns_as_the_estimator_does(january, model, task):
    y = {LATE: late, THREE: delay_class, NUMBER: delay}[task](january)
    train = flights(january, y)
    model.fit(train.frame, y)
    package = opened(model, train, task=task)
    assert (package.runtime, package.signature.form) == ("onnx", "columns")
    expected = task.estimates(model, train.frame)
    np.testing.assert_allclose(served(package, january), expected, rtol=1e-5, atol=1e-5)


def test_categories_never_seen_and_missing_ones_are_what_the_estimator_makes_of_them(january):
    train = flights(january, late(january))
    model = make_pipeline(ENCODED, LogisticRegression(max_iter=300)).fit(train.frame, train.y)
    package = opened(model, train)
    strange = january.head(50).with_columns(origin=pl.lit("XXX"), dest=pl.lit(None, pl.String))
    expected = model.predict_proba(train.signature.frame(strange))[:, 1]
    np.testing.assert_allclose(served(package, strange)[:, 0], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "vectorizer", [TfidfVectorizer(ngram_range=(1, 2), min_df=20), CountVectorizer(min_df=20, binary=True)]
)
def test_free_text_is_read_as_the_estimator_reads_it(january, vectorizer):
    words = pl.Series(["Naïve", "CAFÉ", "Straße", "ИВАН", "a", "x_1", "don't", "نص", "½", "3rd"])
    rng = np.random.default_rng(0)
    extra = [" ".join(words.gather(rng.integers(0, len(words), 3))) for _ in range(january.height)]
    rows = january.select("flight_id", "distance", note=pl.Series(extra))
    rows = rows.with_columns(note=pl.when(pl.col("distance") > 300).then("note"))
    train = given(rows, late(january))
    parts = ((vectorizer, "flight_id"), (TfidfVectorizer(), "note"), (StandardScaler(), ["distance"]))
    model = make_pipeline(make_column_transformer(*parts), LogisticRegression(C=0.1))
    model.fit(train.frame, train.y)
    package = opened(model, train)
    assert {column.kind for column in package.signature.columns} == {"number", "text"}
    expected = model.predict_proba(train.frame)[:, 1]
    np.testing.assert_allclose(served(package, rows)[:, 0], expected, atol=1e-5)


def test_an_estimator_that_float32_is_too_coarse_for_gets_a_form_in_float64(january):
    """A year times a million leaves nothing of the minutes in float32."""
    rows = january.select(pl.col("built").fill_null(2000).cast(pl.Float64) * 8000, "sched_minute")
    train = given(rows, late(january))
    model = make_pipeline(PCA(2), StandardScaler(), LogisticRegression(C=1e6)).fit(train.frame, train.y)
    expected = model.predict_proba(train.frame)[:, 1]
    np.testing.assert_allclose(served(opened(model, train), rows)[:, 0], expected, atol=1e-5)


def test_whole_numbers_that_float32_cannot_hold_arrive_whole(january):
    ids = np.arange(january.height) % 7 + 2**40
    rows = january.select("distance", plane=pl.Series(ids))
    train = given(rows, (ids % 7 > 3).astype(np.int64))
    model = make_pipeline(ColumnTransformer([("plane", OneHotEncoder(), ["plane"])]), LogisticRegression())
    model.fit(train.frame, train.y)
    package = opened(model, train)
    assert package.signature.columns[1].dtype == "int64"
    np.testing.assert_allclose(served(package, rows)[:, 0], model.predict_proba(train.frame)[:, 1], atol=1e-5)


def unconvertible(january):
    text = make_column_transformer((HashingVectorizer(n_features=16), "flight_id"))
    train = given(january.select("flight_id"), late(january))
    return make_pipeline(text, LogisticRegression()).fit(train.frame, train.y), train


def of_its_own_language(january):
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)(?<=-)\w+")
    train = given(january.select("flight_id"), late(january))
    text = make_column_transformer((vectorizer, "flight_id"))
    return make_pipeline(text, LogisticRegression()).fit(train.frame, train.y), train


def of_another_target(january):
    train = flights(january, delay(january), NUMBERS[3:])
    model = TransformedTargetRegressor(Ridge(), func=np.arcsinh, inverse_func=np.sinh)
    return model.fit(train.X, train.y), train


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (unconvertible, "'Pipeline' has no ONNX form: .*HashingVectorizer"),
        (of_its_own_language, "'Pipeline' (has no ONNX form|differs from its ONNX form)"),
        (of_another_target, "'TransformedTargetRegressor' has no ONNX form"),
    ],
)
def test_what_onnx_cannot_say_is_refused_with_the_way_out(january, make, problem):
    model, train = make(january.head(2000))
    task = LATE if train.y.dtype == np.int64 else NUMBER
    with pytest.raises(InvalidInput, match=problem) as refused:
        opened(model, train, task=task)
    assert "a class with predict, save and load" in str(refused.value)


def test_equal_training_gives_equal_bytes(january):
    rows = january.head(2000)
    train = flights(rows, late(rows))

    def made():
        return built(
            make_pipeline(ENCODED, LogisticRegression(max_iter=300)).fit(train.frame, train.y), train
        )

    assert made() == made()

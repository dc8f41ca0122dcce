"""One model of each family of estimators, on the flights of two months; `bench_families` asks them all.

What each training function returned is kept in `FITTED`, with the form of its inputs, for a process that
trains here.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import varv

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "examples" / "flights")]

import nyc  # noqa: E402 - found by the line above
from odds import OddsOfHours  # noqa: E402

NUMBERS = ("distance", "built", "seats", "sched_hour", "sched_minute", "weekday", "flights_in_hour")
CATEGORIES = ("carrier", "origin", "dest")
UNTIL = datetime(2013, 3, 1, 5, tzinfo=UTC)
QUIET = {"n_estimators": 30, "verbosity": -1, "n_jobs": 1}

FITTED: dict[str, tuple[Any, str]] = {}
"""By model: the estimator, and whether it reads the matrix or the columns."""


def past() -> pl.DataFrame:
    """Return the flights that were asked about before March."""
    return nyc.flights().filter(pl.col("requested_at") < UNTIL)


def pipeline(train: varv.TrainingSet) -> Any:
    """Fit a pipeline over named columns, with text."""
    from sklearn.compose import make_column_transformer
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), [*NUMBERS]),
        (OneHotEncoder(handle_unknown="ignore"), [*CATEGORIES]),
        (CountVectorizer(min_df=40, binary=True), "tailnum"),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(train.frame, train.y)


def boosting(train: varv.TrainingSet) -> Any:
    """Fit scikit-learn's boosted trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=30, random_state=1).fit(train.X, train.y)


def lightgbm(train: varv.TrainingSet) -> Any:
    """Fit LightGBM's trees."""
    from lightgbm import LGBMClassifier

    return LGBMClassifier(**QUIET).fit(train.X, train.y)


def xgboost(train: varv.TrainingSet) -> Any:
    """Fit XGBoost's trees."""
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=30, n_jobs=1).fit(train.X, train.y)


def torch(train: varv.TrainingSet) -> Any:
    """Fit a small network of PyTorch."""
    import torch as library

    library.manual_seed(1)
    library.set_num_threads(1)

    class Filled(library.nn.Module):
        def forward(self, x: Any) -> Any:
            return library.nan_to_num(x)

    X, y = library.from_numpy(train.X), library.from_numpy(train.y.astype(np.float32))[:, None]
    module = library.nn.Sequential(
        Filled(),
        library.nn.BatchNorm1d(X.shape[1]),
        library.nn.Linear(X.shape[1], 16),
        library.nn.ReLU(),
        library.nn.Linear(16, 1),
        library.nn.Sigmoid(),
    )
    descent = library.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(60):
        descent.zero_grad()
        library.nn.functional.binary_cross_entropy(module(X), y).backward()
        descent.step()
    return module.eval()


def onnx(train: varv.TrainingSet) -> Any:
    """Return an ONNX model, as somebody else would convert it."""
    from skl2onnx import to_onnx
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    made = make_pipeline(SimpleImputer(), LogisticRegression(max_iter=500)).fit(train.X, train.y)
    FITTED["converted"] = made, "matrix"
    return to_onnx(made, train.X[:1], options={"zipmap": False}).SerializeToString()


def own(train: varv.TrainingSet) -> Any:
    """Fit the class above."""
    return OddsOfHours.fit(train.frame["sched_hour"].to_numpy(), train.y)


MATRIX: tuple[Callable[..., Any], ...] = (boosting, lightgbm, xgboost, onnx)
if importlib.util.find_spec("torch"):
    MATRIX = (*MATRIX, torch)


def trained(name: str, function: Callable[..., Any], form: str) -> Callable[..., Any]:
    """Return a training function that keeps what it returns."""

    def fit(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
        made = function(train)
        FITTED[name] = (FITTED["converted"][0] if name == "onnx" else made), form
        return made

    return fit


flights = varv.Dataset(
    "flights",
    source=varv.Frame(past),
    key="flight_id",
    event_time="requested_at",
    known_at={"departed_at": ["dep_delay", "left_late"], "arrived_at": ["arr_delay", "late", "arrival"]},
)
MODELS = [
    varv.Model(
        function.__name__,
        requests=flights,
        features=[*NUMBERS, *CATEGORIES, *(["tailnum"] if function is pipeline else [])],
        outcome=varv.Outcome("late", known_at="arrived_at", mature="15h"),
        train=varv.Train(
            trained(function.__name__, function, "matrix" if function in MATRIX else "columns"),
            validate="5d",
            origins=1,
            refit=False,
        ),
        gates=[],
        monitors=[varv.monitor.performance()],
        retrain=varv.Retrain(on=[]),
    )
    for function in (*MATRIX, pipeline, own)
]
replay = varv.Replay(
    *MODELS,
    since="2013-01-01T00:00:00Z",
    train_at="2013-02-01T05:00:00Z",
    until="2013-03-01T05:00:00Z",
    seed=3,
)

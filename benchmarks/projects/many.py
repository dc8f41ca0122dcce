"""Forty small models of one table of parcels, each with other features; `bench_many` serves them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

import varv

N_MODELS, N_ROWS, N_DAYS = 40, 6000, 60
NUMBERS = tuple(f"x{k}" for k in range(6))


def past() -> pl.DataFrame:
    """Return parcels of two months; what makes one late is known an hour after it was asked about."""
    rng = np.random.default_rng(3)
    at = np.sort(rng.integers(0, N_DAYS * 86_400_000_000, N_ROWS)) + 1_700_000_000_000_000
    numbers = {name: rng.normal(size=N_ROWS) for name in NUMBERS}
    late = rng.random(N_ROWS) < 1 / (1 + np.exp(-np.sum(list(numbers.values()), axis=0)))
    keys = [f"p{k}" for k in range(N_ROWS)]
    frame = pl.DataFrame({"parcel": keys, "at": at, "known": at + 3_600_000_000, **numbers, "late": late})
    return frame.with_columns(pl.col("at", "known").cast(pl.Datetime("us", "UTC")))


def fit(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit a logistic regression."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    fill = SimpleImputer(strategy="constant", fill_value=0.0)
    return make_pipeline(fill, LogisticRegression()).fit(train.X, train.y)


parcels = varv.Dataset(
    "parcels", source=varv.Frame(past), key="parcel", event_time="at", known_at={"known": ["late"]}
)
recent = varv.FeatureView("recent", source=parcels, features=varv.windows("late", "mean", over=["6h"]))
chosen = [names for n in (1, 2, 3) for names in combinations(NUMBERS, n)][:N_MODELS]
for number, names in enumerate(chosen):
    globals()[f"late_{number}"] = varv.Model(
        f"late-{number}",
        requests=parcels,
        features=[*names, recent],
        outcome=varv.Outcome("late", known_at="known", mature="2h"),
        train=varv.Train(fit, min_rows=100, origins=1),
    )

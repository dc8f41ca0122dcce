"""A small model of thirty numbers, to measure what an answer costs: ``varv up wide.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

import varv

COLUMNS = [f"x{number}" for number in range(30)]
N_ROWS = 3000
DAY_US = 86_400_000_000
LAST = 1_735_689_600_000_000  # 2025-01-01


def history() -> pl.DataFrame:
    """Return past requests with their outcomes."""
    rng = np.random.default_rng(7)
    numbers = rng.normal(size=(N_ROWS, len(COLUMNS)))
    at = LAST - np.sort(rng.integers(1, 90 * DAY_US, N_ROWS))[::-1]
    late = (numbers[:, :5].sum(axis=1) + rng.normal(size=N_ROWS) > 0).astype(np.int8)
    return pl.DataFrame(numbers, schema=COLUMNS).with_columns(
        pl.Series("id", [f"r-{number}" for number in range(N_ROWS)]),
        pl.Series("asked_at", at).cast(pl.Datetime("us", "UTC")),
        pl.Series("known_at", at + DAY_US // 24).cast(pl.Datetime("us", "UTC")),
        pl.Series("late", late),
    )


requests = varv.Dataset(
    "requests",
    source=varv.Frame(history),
    key="id",
    event_time="asked_at",
    known_at={"known_at": ["late"]},
)


def fit(train: varv.TrainingSet, params: Any) -> Any:
    """Fit a few trees."""
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=train.seed)
    return model.fit(train.X, train.y)


model = varv.Model(
    "wide",
    task="binary",
    requests=requests,
    features=COLUMNS,
    outcome=varv.Outcome("late", known_at="known_at", mature="2h"),
    train=varv.Train(fit),
)

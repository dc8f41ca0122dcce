"""A year in which nothing ages: parcels whose lateness follows the same law every day.

`benchmarks/bench_policies.py` asks how often a policy trains on it that weighs what training is worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

import varv

DAYS, PER_DAY = 396, 120
DAY_US = 86_400_000_000


def parcels() -> pl.DataFrame:
    """Return the whole year; outcomes are known some hours later."""
    rng = np.random.default_rng(11)
    n = DAYS * PER_DAY
    start = int(np.datetime64("2023-12-01", "us").astype(np.int64))
    at = start + np.sort(rng.integers(0, DAYS * DAY_US, n))
    load, heat, route = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 3, n)
    # Some days are harder than others: that is season, and not age.
    day = np.repeat(rng.normal(0, 0.5, DAYS), PER_DAY)
    logit = 1.5 * load + np.array([-1.0, 0.0, 1.0])[route] + day - 0.3
    return pl.DataFrame(
        {
            "parcel": [f"p-{number:05d}" for number in range(n)],
            "asked_at": at,
            "load": load,
            "heat": heat,
            "route": np.array(["north", "south", "west"])[route],
            "arrived_at": at + rng.integers(1, 12 * 3600, n) * 1_000_000,
            "late": rng.random(n) < 1 / (1 + np.exp(-logit)),
        }
    ).with_columns(pl.col(name).cast(pl.Datetime("us", "UTC")) for name in ("asked_at", "arrived_at"))


def fit(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**params).fit(np.nan_to_num(train.X), train.y)


data = varv.Dataset(
    "parcels",
    source=varv.Frame(parcels),
    key="parcel",
    event_time="asked_at",
    known_at={"arrived_at": ["late"]},
)
model = varv.Model(
    "late-parcel",
    requests=data,
    features=["load", "heat", "route"],
    outcome=varv.Outcome("late", known_at="arrived_at", mature="12h"),
    train=varv.Train(fit, validate="6d", params={"C": 1.0}, min_rows=500),
    gates=[varv.gate.beats_champion()],
    rollout=varv.Rollout(
        shadow="until proven or 30h",
        steps=[20, 100],
        guard={"log_loss": "not worse by 0.05"},
        min_labels=50,
        bake="12h",
    ),
    retrain=varv.Retrain(on=["benefit"], cost="0.01 on 1000 requests"),
)
replay = varv.Replay(
    model, since="2023-12-01", train_at="2024-01-01", until="2024-12-31", references=["never"], seed=5
)

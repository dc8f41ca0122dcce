"""How many people will come to a help desk in the next hour: a model of counts over a made-up past.

pip install ./examples/counts
varv replay examples/counts/desk.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from varv_counts import LogLinear, counts, dispersion

import varv

DAYS, PER_DAY = 60, 120
BUSIER_FROM = 35
"""From this day on warm hours bring more people than they used to."""


def past() -> pl.DataFrame:
    """Return hours with what was known of them, and how many people came."""
    rng = np.random.default_rng(11)
    n = DAYS * PER_DAY
    at = np.datetime64("2024-03-01", "us") + (np.arange(n) * (86_400_000_000 // PER_DAY)).astype("m8[us]")
    day = np.arange(n) // PER_DAY
    warmth, staff = rng.normal(size=n), rng.normal(size=n)
    slope = np.where(day >= BUSIER_FROM, 0.9, 0.3)
    came = rng.poisson(np.exp(1.0 + slope * warmth - 0.2 * staff))
    times = [pl.col(name).dt.replace_time_zone("UTC") for name in ("asked_at", "counted_at")]
    return pl.DataFrame(
        {
            "hour": [f"h-{number:05d}" for number in range(n)],
            "asked_at": at,
            "warmth": warmth,
            "staff": staff,
            "counted_at": at + np.timedelta64(1, "h"),
            "came": came,
        }
    ).with_columns(times)


hours = varv.Dataset(
    "hours",
    source=varv.Frame(past()),
    key="hour",
    event_time="asked_at",
    known_at={"counted_at": ["came"]},
)


def fit(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit a log-linear model."""
    return LogLinear(**params).fit(train.X, train.y)


people = varv.Model(
    "people",
    task=counts(most=40),
    requests=hours,
    features=["warmth", "staff"],
    outcome=varv.Outcome("came", known_at="counted_at", mature="2h"),
    train=varv.Train(fit, window="16d", validate="6d", min_rows=200, params={"penalty": 1e-3}),
    gates=[varv.gate.beats_champion(), varv.gate.total(within=0.25)],
    rollout=varv.Rollout(
        shadow="until proven or 1d",
        steps=[20, 100],
        guard={"deviance": "not worse by 0.3"},
        deadline="10d",
    ),
    monitors=[varv.monitor.performance(), varv.monitor.calibration(), dispersion()],
    retrain=varv.Retrain(on=["performance", "calibration"], cooldown="5d"),
)

replay = varv.Replay(
    people,
    since="2024-03-07T00:00:00Z",
    train_at="2024-03-21T00:00:00Z",
    until="2024-04-30T00:00:00Z",
    seed=7,
)

"""A small made-up past: parcels that arrive late or in time, and a world that changes half-way.

Two months of 120 requests a day. What makes a parcel late is its `load` until day 35, and the opposite of it
from then on; `route` matters always, `heat` never. Outcomes are known some hours later, a few never.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import varv
from varv.app.compose import open_ledger
from varv.app.replaying import run_replay
from varv.home.model import Comparison
from varv.kernel.ledger import Entry
from varv.project import project_of

FIRST = "2024-03-07T00:00:00Z"
TRAIN_AT = "2024-03-21T00:00:00Z"
UNTIL = "2024-04-30T00:00:00Z"
DAYS = 60
PER_DAY = 120
CHANGE_DAY = 35
DAY_US = 86_400_000_000


def parcels(*, changes: bool = True, hot_from: int | None = None, seed: int = 5) -> pl.DataFrame:
    """Return the whole past; from day `hot_from` on the column that never matters is somewhere else."""
    rng = np.random.default_rng(seed)
    n = DAYS * PER_DAY
    start = int(np.datetime64("2024-03-01", "us").astype(np.int64))
    at = start + np.sort(rng.integers(0, DAYS * DAY_US, n))
    day = (at - start) // DAY_US
    load, heat = rng.normal(size=n), rng.normal(size=n)
    if hot_from is not None:
        heat = np.where(day >= hot_from, heat * 0.5 + 1.5, heat)
    route = rng.integers(0, 3, n)
    turned = (day >= CHANGE_DAY) & changes
    logit = np.where(turned, -2.5, 2.5) * load + np.array([-1.0, 0.0, 1.0])[route] - 0.3
    late = rng.random(n) < 1 / (1 + np.exp(-logit))
    known = at + rng.integers(1, 12 * 3600, n) * 1_000_000
    lost = rng.random(n) < 0.03
    frame = pl.DataFrame(
        {
            "parcel": [f"p-{number:05d}" for number in range(n)],
            "asked_at": at,
            "load": load,
            "heat": heat,
            "route": np.array(["north", "south", "west"])[route],
            "arrived_at": known,
            "late": late,
            "delay": np.where(late, 30.0, 0.0) + rng.normal(size=n),
        }
    )
    times = [pl.col(name).cast(pl.Datetime("us", "UTC")) for name in ("asked_at", "arrived_at")]
    never = pl.lit(value=lost)
    gone = [pl.when(~never).then(pl.col(name)).alias(name) for name in ("arrived_at", "late", "delay")]
    return frame.with_columns(times).with_columns(gone)


def zeros_late() -> pl.DataFrame:
    """Return a past in which ones are known within the hour and zeros eleven hours later."""
    hours = pl.when(pl.col("late")).then(pl.duration(hours=1)).otherwise(pl.duration(hours=11))
    known = pl.when(pl.col("late").is_not_null()).then(pl.col("asked_at") + hours)
    return parcels().with_columns(arrived_at=known)


def fit(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit a logistic regression; what is missing counts as nought."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(
        SimpleImputer(strategy="constant", fill_value=0.0), LogisticRegression(**params)
    ).fit(train.X, train.y)


def declared(
    past: pl.DataFrame | None = None,
    *,
    on: tuple[str, ...] = ("performance", "calibration", "drift"),
    plants: tuple[varv.Plant, ...] = (),
    references: tuple[str, ...] = (),
    until: str = UNTIL,
    seed: int = 7,
) -> varv.Replay:
    """Return the replay of a model of the parcels."""
    data = varv.Dataset(
        "parcels",
        source=varv.Frame(parcels() if past is None else past),
        key="parcel",
        event_time="asked_at",
        known_at={"arrived_at": ["late", "delay"]},
    )
    recent = varv.FeatureView(
        "recent", source=data, entity="route", features=varv.windows("late", "mean", over=["24h"])
    )
    model = varv.Model(
        "late-parcel",
        requests=data,
        features=["load", "heat", "route", recent],
        outcome=varv.Outcome("late", known_at="arrived_at", mature="12h"),
        train=varv.Train(
            fit,
            window="16d",
            validate="6d",
            params={"C": 1.0},
            min_rows=200,
        ),
        gates=[varv.gate.beats_champion(), varv.gate.calibrated(max_ece=0.25)],
        rollout=varv.Rollout(
            shadow="until proven or 1d",
            steps=[20, 100],
            guard={"log_loss": "not worse by 0.1"},
            bake="12h",
            min_labels=30,
            deadline="4d",
        ),
        monitors=[varv.monitor.performance(), varv.monitor.calibration(), varv.monitor.drift(window="7d")],
        retrain=varv.Retrain(on=list(on), cooldown="2d"),
    )
    return varv.Replay(
        model,
        since=FIRST,
        train_at=TRAIN_AT,
        until=until,
        plants=plants,
        references=references,
        seed=seed,
    )


def quietly(*_: object) -> None:
    """Watch a replay without a word."""


def replayed(replay: varv.Replay, home: Path, *, fault: str = "", declared_only: bool = True) -> Comparison:
    """Run a replay of one model, quietly, and return what it showed."""
    project_of("test", [replay]).validate()
    [found] = run_replay(replay, home, quietly, declared_only=declared_only, fault=fault).models
    return found


def entries_of(home: Path) -> list[Entry]:
    """Return the whole ledger of a home."""
    ledger = open_ledger(home, read_only=True)
    try:
        return list(ledger.read(0, limit=1_000_000))
    finally:
        ledger.close()


def head_of(home: Path) -> str:
    """Return the hash of the last entry of a home's ledger, which stands for all of it."""
    return entries_of(home)[-1].hash.hex()

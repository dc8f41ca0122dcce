"""Two and a half months of the real flights with a light model, to be replayed again and again.

As a program: ``python -m tests.scenarios.flights_replay HOME DATA`` replays what `prepare` wrote into DATA.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from tests.data.new_york import nyc

import varv
from varv.app.replaying import run_replay

UNTIL = "2013-03-20T05:00:00Z"


def flights() -> pl.DataFrame:
    """Return the flights up to the end of the replay, and a day more."""
    return nyc().flights().filter(pl.col("requested_at") < pl.datetime(2013, 3, 21, time_zone="UTC"))


def prepare(folder: Path, rows: pl.DataFrame) -> Path:
    """Write the tables where a replay in another process reads them, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(folder / "flights.parquet")
    early = pl.col("observed_at") < pl.datetime(2013, 3, 21, time_zone="UTC")
    nyc().weather().filter(early).write_parquet(folder / "weather.parquet")
    return folder


def fit(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit a logistic regression; what is missing counts as nought."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    filled = SimpleImputer(strategy="constant", fill_value=0.0)
    return make_pipeline(filled, StandardScaler(), LogisticRegression(**params)).fit(train.X, train.y)


def replay(folder: Path, *, until: str = UNTIL, breaks: str = "in canary") -> varv.Replay:
    """Return the declared replay of the tables in `folder`."""
    data = varv.Dataset(
        "flights",
        source=varv.Parquet(str(folder / "flights.parquet")),
        key="flight_id",
        event_time="requested_at",
        known_at={"departed_at": ["dep_delay", "left_late"], "arrived_at": ["arr_delay", "late"]},
    )
    weather = varv.Dataset(
        "weather",
        source=varv.Parquet(str(folder / "weather.parquet")),
        key=["origin", "observed_at"],
        event_time="observed_at",
    )
    model = varv.Model(
        "late-arrival",
        requests=data,
        features=[
            *("carrier", "origin", "distance", "sched_hour"),
            varv.FeatureView(
                "sky", source=weather, entity="origin", ttl="3h", features=["wind_gust", "visib", "precip"]
            ),
            varv.FeatureView(
                "left",
                source=data,
                entity="origin",
                features=varv.windows("left_late", "mean", over=["1h", "6h"]),
            ),
            varv.FeatureView(
                "landed", source=data, features=varv.windows("late", "mean", over=["3h", "24h"])
            ),
            varv.FeatureView(
                "aircraft", source=data, entity="tailnum", features=varv.windows("late", "mean", over=["24h"])
            ),
        ],
        outcome=varv.Outcome("late", known_at="arrived_at"),
        train=varv.Train(fit, validate="7d", params={"C": 0.5}),
        gates=[varv.gate.beats_champion(), varv.gate.calibrated(max_ece=0.1)],
        rollout=varv.Rollout(shadow="until proven or 2d", steps=[10, 100], bake="12h", deadline="5d"),
        monitors=[varv.monitor.performance(), varv.monitor.calibration(), varv.monitor.drift()],
        retrain=varv.Retrain(on=["performance", "calibration", "drift", "schedule:12d"], cooldown="3d"),
    )
    plant = varv.Plant("leaky", at="2013-02-05T12:00:00Z", column="dep_delay", breaks=breaks)
    return varv.Replay(
        model,
        since="2013-01-01T00:00:00Z",
        train_at="2013-02-01T05:00:00Z",
        until=until,
        plants=[plant],
        references=[],
        seed=2013,
    )


def main() -> None:
    """Replay."""
    home, folder = (Path(argument) for argument in sys.argv[1:3])
    run_replay(replay(folder), home, lambda name, progress, entries: None, declared_only=True)


if __name__ == "__main__":
    main()

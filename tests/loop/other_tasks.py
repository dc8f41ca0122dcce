"""The made-up past of the parcels, learned by models of other tasks, and by several models at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tests.loop.synthetic import FIRST, TRAIN_AT, declared, parcels

import varv

UNTIL = "2024-04-10T00:00:00Z"
DELAYS = varv.task.regression(range=(-60, 120))


def fit_line(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit a line; what is missing counts as nought."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(strategy="constant", fill_value=0.0), LinearRegression()).fit(
        train.X, train.y
    )


class Oddity:
    """How odd a row is, by a forest that isolates odd ones early; made a regressor, for `predict`."""

    def __init__(self, forest: Any) -> None:
        self.forest = forest

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return a number a row, larger for odder ones."""
        return -self.forest.score_samples(np.nan_to_num(rows))


def fit_oddity(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit a line through how odd an isolation forest finds each row, which has a form that can be kept."""
    from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest

    forest = IsolationForest(n_estimators=20, random_state=train.seed % 2**32).fit(np.nan_to_num(train.X))
    model = HistGradientBoostingRegressor(max_iter=20, random_state=0)
    return model.fit(train.X, Oddity(forest).predict(train.X))


def requests(*, outcome: bool = True) -> varv.Dataset:
    """Return the parcels; without outcome there is only what a request brings."""
    past = parcels()
    known_at = {"arrived_at": ["late", "delay"]}
    return varv.Dataset(
        "parcels",
        source=varv.Frame(past if outcome else past.drop("arrived_at", "late", "delay")),
        key="parcel",
        event_time="asked_at",
        known_at=known_at if outcome else {},
    )


def careful() -> varv.Rollout:
    """Return a rollout that is over in a few days, guarded by what its model's task has."""
    return varv.Rollout(
        shadow="until proven or 1d", steps=[20, 100], bake="12h", min_labels=30, deadline="4d"
    )


def delays(data: varv.Dataset | None = None) -> varv.Model:
    """Return a model of the hours that a parcel is late."""
    return varv.Model(
        "delay",
        task=DELAYS,
        requests=requests() if data is None else data,
        features=["load", "heat", "route"],
        outcome=varv.Outcome("delay", known_at="arrived_at", mature="12h"),
        train=varv.Train(fit_line, window="16d", validate="6d", params={}, min_rows=200),
        rollout=careful(),
        monitors=[varv.monitor.drift(window="7d")],
        retrain=varv.Retrain(on=["schedule:10d"], cooldown="2d"),
    )


def oddities(data: varv.Dataset | None = None) -> varv.Model:
    """Return a model of how odd a parcel is, which no outcome ever judges."""
    return varv.Model(
        "oddity",
        task=varv.task.score(),
        requests=requests(outcome=False) if data is None else data,
        features=["load", "heat", "route"],
        train=varv.Train(fit_oddity, window="16d", validate="6d", params={}, min_rows=200),
        rollout=careful(),
        retrain=varv.Retrain(on=["schedule:10d"], cooldown="2d"),
    )


def replay_of(*models: varv.Model, references: tuple[str, ...] = (), until: str = UNTIL) -> varv.Replay:
    """Return a replay of some three weeks."""
    return varv.Replay(*models, since=FIRST, train_at=TRAIN_AT, until=until, references=references, seed=7)


def twins() -> tuple[varv.Model, varv.Model]:
    """Return two models that share data and features: the parcels', and one of another name."""
    first = declared().models[0]
    assert first.outcome is not None
    other = varv.Model(
        "slow-parcel",
        requests=first.requests,
        features=["load", *first.features[2:]],
        outcome=first.outcome,
        train=first.train,
        gates=first.gates,
        rollout=first.rollout,
        monitors=first.monitors,
        retrain=first.retrain,
    )
    return first, other

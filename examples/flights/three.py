"""Three models of the same flights in one home: will it be late, by how many minutes, and how will it arrive?

    varv replay examples/flights/three.py     # 2013, all three at once
    varv up examples/flights/three.py         # serve them, each by its name

The data is ingested once and each view of features computed once, whichever model reads it; every model has a
loop, gates, rollouts and monitors of its own. What they share stands in `flights.py` beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flights
import varv

TREES = {"max_iter": 60, "max_leaf_nodes": 15, "learning_rate": 0.15}
# A round grows a tree for each class: as many trees as the others have.
CLASS_TREES = {**TREES, "max_iter": 20, "learning_rate": 0.3}


def fit_minutes(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit boosted trees to the median of the delay: a few flights are hours late, and pull a mean away."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        loss="absolute_error", **params, early_stopping=False, random_state=train.seed
    )
    return model.fit(train.X, train.y)


late = flights.late

minutes = varv.Model(
    "arrival-minutes",
    task=varv.task.regression(range=(-60, 300)),
    requests=flights.flights,
    features=flights.FEATURES,
    outcome=varv.Outcome("arr_delay", known_at="arrived_at", mature="15h"),
    train=varv.Train(fit_minutes, window="120d", validate="5d", origins=1, refit=False, params=TREES),
    gates=[varv.gate.beats_champion()],
    rollout=varv.Rollout(
        shadow="until proven or 30h",
        steps=[5, 100],
        guard={"absolute": "not worse by 1"},
        deadline="14d",
    ),
    monitors=[varv.monitor.performance(), varv.monitor.calibration(), varv.monitor.drift()],
    retrain=varv.Retrain(on=["performance", "volume:30%", "schedule:14d"], cooldown="5d"),
)

arrival = varv.Model(
    "arrival-class",
    task=varv.task.multiclass(classes=["early", "on time", "late"]),
    requests=flights.flights,
    features=flights.FEATURES,
    outcome=varv.Outcome("arrival", known_at="arrived_at", mature="15h"),
    train=varv.Train(flights.fit, window="120d", validate="5d", origins=1, refit=False, params=CLASS_TREES),
    gates=[varv.gate.beats_champion(), varv.gate.calibrated(max_ece=0.12)],
    rollout=varv.Rollout(
        shadow="until proven or 30h",
        steps=[5, 100],
        guard={"log_loss": "not worse by 0.04"},
        deadline="14d",
    ),
    monitors=[varv.monitor.performance(), varv.monitor.calibration(), varv.monitor.drift()],
    retrain=varv.Retrain(on=["performance", "calibration", "volume:30%", "schedule:14d"], cooldown="5d"),
)

replay = varv.Replay(
    late,
    minutes,
    arrival,
    since="2013-01-01T00:00:00Z",
    train_at="2013-02-01T05:00:00Z",
    until="2014-01-01T05:00:00Z",
    references=["never", "monthly"],
    seed=2013,
)

"""Will a parcel arrive late? Asked when it is ordered; known when it has been delivered.

    varv replay deliveries.py     # live through the history, and compare retraining policies
    varv up deliveries.py         # serve it

Change the data, the features and `fit`, and this is your own model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import varv

here = Path(__file__).parent

# One row a parcel. What is only known on delivery is listed under the time at which it becomes known.
deliveries = varv.Dataset(
    "deliveries",
    source=varv.Csv(str(here / "deliveries.csv")),
    key="delivery_id",
    event_time="ordered_at",
    known_at={"delivered_at": ["late"]},
)

# How things went lately: computed from deliveries that had been completed by then, in training and in serving alike.
district_lately = varv.FeatureView(
    "district_lately",
    source=deliveries,
    entity="district",
    features=varv.windows(mean="late", over=["12h", "7d"]),
)
courier_lately = varv.FeatureView(
    "courier_lately", source=deliveries, entity="courier", features=varv.windows(mean="late", over=["7d"])
)


def fit(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit gradient-boosted trees; categories arrive as codes, missing values as NaN."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(**params, early_stopping=False, random_state=train.seed)
    return model.fit(train.X, train.y)


late = varv.Model(
    "late-parcel",
    requests=deliveries,
    features=["district", "courier", "distance_km", "weight_kg", "hour", district_lately, courier_lately],
    outcome=varv.Outcome("late", known_at="delivered_at", mature="12h"),
    train=varv.Train(
        fit, window="60d", validate="5d", params={"max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 8}
    ),
    gates=[varv.gate.beats_champion("log_loss"), varv.gate.calibrated(max_ece=0.12)],
    rollout=varv.Rollout(
        shadow="until proven or 1d",
        steps=[25, 100],
        guard={"log_loss": "not worse by 0.1"},
        bake="12h",
        min_labels=80,
    ),
    monitors=[varv.monitor.performance("log_loss"), varv.monitor.drift()],
    retrain=varv.Retrain(on=["performance", "drift", "schedule:14d"], cooldown="4d"),
)

replay = varv.Replay(
    late,
    since="2025-01-01T00:00:00Z",
    train_at="2025-02-01T00:00:00Z",
    until="2025-05-01T00:00:00Z",
    references=["never", "monthly"],
)

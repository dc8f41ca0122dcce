"""Will a flight from New York arrive more than 15 minutes late? Asked two hours before it is to leave.

    varv replay examples/flights/flights.py     # 2013, the whole loop, under a virtual clock
    varv up examples/flights/flights.py         # serve it

Nothing here was unknown at the time of the request: schedules and aircraft, the last weather observation, and
what had become of earlier flights by then. `nyc.py` beside this file reads the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nyc

import varv

flights = varv.Dataset(
    "flights",
    source=varv.Frame(nyc.flights),
    key="flight_id",
    event_time="requested_at",
    known_at={"departed_at": ["dep_delay", "left_late"], "arrived_at": ["arr_delay", "late", "arrival"]},
)
weather = varv.Dataset(
    "weather", source=varv.Frame(nyc.weather), key=["origin", "observed_at"], event_time="observed_at"
)

origin_weather = varv.FeatureView(
    "origin_weather",
    source=weather,
    entity="origin",
    ttl="3h",
    features=["temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"],
)
departures = varv.FeatureView(
    "departures",
    source=flights,
    entity="origin",
    features=varv.windows("left_late", "mean", over=["1h", "3h", "24h"]),
)
carrier_departures = varv.FeatureView(
    "carrier_departures",
    source=flights,
    entity="carrier",
    features=varv.windows("left_late", "mean", over=["6h"]),
)
all_departures = varv.FeatureView(
    "all_departures", source=flights, features=varv.windows("left_late", "mean", over=["1h"])
)
arrivals = varv.FeatureView("arrivals", source=flights, features=varv.windows("late", "mean", over=["3h"]))
origin_arrivals = varv.FeatureView(
    "origin_arrivals", source=flights, entity="origin", features=varv.windows("late", "mean", over=["6h"])
)
carrier_arrivals = varv.FeatureView(
    "carrier_arrivals",
    source=flights,
    entity="carrier",
    features=varv.windows("late", "mean", over=["6h", "7d"]),
)
dest_arrivals = varv.FeatureView(
    "dest_arrivals", source=flights, entity="dest", features=varv.windows("late", "mean", over=["6h"])
)
aircraft = varv.FeatureView(
    "aircraft", source=flights, entity="tailnum", features=varv.windows("late", "mean", over=["24h"])
)


FEATURES = [
    *("carrier", "origin", "dest", "distance", "built", "seats"),
    *("sched_hour", "sched_minute", "weekday", "flights_in_hour"),
    origin_weather,
    *(departures, carrier_departures, all_departures),
    *(arrivals, origin_arrivals, carrier_arrivals, dest_arrivals, aircraft),
]


def fit(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit gradient-boosted trees; categories arrive as codes, missing values as NaN."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(**params, early_stopping=False, random_state=train.seed)
    return model.fit(train.X, train.y)


late = varv.Model(
    "late-arrival",
    task="binary",
    requests=flights,
    features=FEATURES,
    outcome=varv.Outcome("late", known_at="arrived_at", mature="15h"),
    train=varv.Train(
        fit,
        validate="5d",
        origins=1,
        refit=False,
        params={"max_iter": 60, "max_leaf_nodes": 15, "learning_rate": 0.15},
    ),
    gates=[varv.gate.beats_champion("log_loss"), varv.gate.calibrated(max_ece=0.08)],
    rollout=varv.Rollout(
        shadow="until proven or 30h",
        steps=[5, 100],
        guard={"log_loss": "not worse by 0.025"},
        bake="12h",
        deadline="14d",
    ),
    monitors=[varv.monitor.performance("log_loss"), varv.monitor.calibration(), varv.monitor.drift()],
    retrain=varv.Retrain(
        on=["performance", "calibration", "drift", "volume:30%", "schedule:14d"], cooldown="5d"
    ),
)

replay = varv.Replay(
    late,
    since="2013-01-01T00:00:00Z",
    train_at="2013-02-01T05:00:00Z",
    until="2014-01-01T05:00:00Z",
    plants=[
        varv.Plant("leaky-column", at="2013-06-17T12:00:00Z", column="dep_delay", breaks="at once"),
        varv.Plant("column-that-breaks", at="2013-07-12T12:00:00Z", column="dep_delay", breaks="in canary"),
    ],
    references=["never", "monthly", "weekly"],
    # `--search --price 30` finds none of these better than what is declared above.
    search=varv.PolicySearch(
        retrain=[
            varv.Retrain(on=["benefit", "performance"], cost=30, cooldown="5d"),
            varv.Retrain(on=["benefit", "performance"], cost=100, cooldown="5d"),
            varv.Retrain(on=["schedule:7d"], cooldown="5d"),
            varv.Retrain(on=["schedule:28d"], cooldown="5d"),
        ],
    ),
    seed=2013,
)

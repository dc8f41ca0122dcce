"""A ledger on which one alarm of each kind stands, and one of each that is over."""

from __future__ import annotations

from tests.fronts.history import empty

from varv.data.contracts.report import Violation
from varv.data.ingestion.model import PullFailed
from varv.data.model import BatchWarned
from varv.data.profiling.model import ROWS_LATE, AnomalyCleared, AnomalyRaised
from varv.features.skew import SKEW
from varv.kernel.clock import DAY, HOUR, Duration, Instant, instant
from varv.kernel.codec import Event
from varv.kernel.ids import DatasetName, ModelName, Version
from varv.kernel.ledger import Append, Change, Ledger
from varv.kernel.views import Views
from varv.labels.model import ExplorationLow, ExplorationRestored
from varv.monitoring.model import AlarmCleared, AlarmRaised, Window

START = instant("2026-03-01T06:00:00Z")
TRIPS, PARCELS = DatasetName("trips"), DatasetName("parcels")
MODEL, OTHER = ModelName("late-parcel"), ModelName("other")
WINDOW = Window(START, Instant(START + HOUR))


def anomaly(measure: str, column: str = "size") -> AnomalyRaised:
    return AnomalyRaised(
        dataset="trips",
        part="at",
        column=column,
        measure=measure,
        start=START,
        every=Duration(DAY),
        value=0.7,
        usual=0.02,
        low=0.01,
        high=0.03,
        n_earlier=30,
        false_alarm_every=Duration(365 * DAY),
    )


def cleared(measure: str, column: str = "size") -> AnomalyCleared:
    return AnomalyCleared(dataset="trips", part="at", column=column, measure=measure, start=START)


def warned(dataset: DatasetName) -> BatchWarned:
    rule = Violation(rule="freshness", column="at", n_rows=7, n_allowed=0, expected="rows of the last 2h")
    return BatchWarned(dataset=dataset, part="at", segment="s1", n_rows=9, warnings=(rule,))


def skew(feature: str) -> AlarmRaised:
    evidence = {"wrong": 12.0, "compared": 40.0, "evidence": 11.0}
    return AlarmRaised(
        model=MODEL,
        version=Version(1),
        kind=SKEW,
        subject=feature,
        severity="critical",
        evidence=evidence,
        window=WINDOW,
    )


def low(model: ModelName) -> ExplorationLow:
    return ExplorationLow(
        model=model, since=START, until=Instant(START + DAY), share=0.001, high=0.004, declared=0.01
    )


STANDING: tuple[tuple[str, Event], ...] = (
    ("anomalies/trips/at", anomaly("missing")),
    ("anomalies/trips/at", anomaly(ROWS_LATE, "")),
    ("dataset/trips", warned(TRIPS)),
    ("pull/parcels", PullFailed(dataset=PARCELS, source="sql", code="unavailable", why="nobody answers")),
    ("alarms/late-parcel", skew("load")),
    ("labels/late-parcel", low(MODEL)),
)
OVER: tuple[tuple[str, Event], ...] = (
    ("anomalies/trips/at", anomaly("mean")),
    ("anomalies/trips/at", cleared("mean")),
    ("alarms/late-parcel", skew("weight")),
    (
        "alarms/late-parcel",
        AlarmCleared(
            model=MODEL, version=Version(1), kind=SKEW, subject="weight", reason="recovered", window=WINDOW
        ),
    ),
    ("labels/other", low(OTHER)),
    ("labels/other", ExplorationRestored(model=OTHER, until=START, share=0.01)),
)


def put(ledger: Ledger, *facts: tuple[str, Event], at: Instant = START) -> None:
    ledger.commit(Change(at=at, facts=tuple(Append(stream, event) for stream, event in facts)))


def alarming(*facts: tuple[str, Event]) -> tuple[Views, Ledger]:
    """Return a ledger with some facts; with all of them if none are given."""
    views, ledger = empty()
    put(ledger, *(facts or (*STANDING, *OVER)))
    return views, ledger

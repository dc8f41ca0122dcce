"""The open alarms of data, features and labels, in one list: what, since when, why, and what to do next.

Alarms on a model's quality and drift start trainings and are shown with their model. Who shows this list is
`home.status`, the console's overview and the server's metrics.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from varv.data.alarms import DataAlarmsView, OpenAnomaly, OpenWarning
from varv.data.ingestion.views import PullsView
from varv.data.profiling.model import ROWS_LATE
from varv.features.skew import SKEW
from varv.home.skew.model import CORRELATION
from varv.kernel.clock import iso, spoken
from varv.kernel.views import Views
from varv.kernel.wording import count, number, percent
from varv.labels.views import LabelsView
from varv.monitoring.views import Alarm, MonitoringView

Room = Literal["data", "features", "labels"]


class OpenAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm that stands."""

    room: Room
    kind: str
    """``"anomaly"``, ``"late"``, ``"contract"``, ``"pull"``, ``"skew"``, ``"correlation"`` or
    ``"exploration"``."""
    subject: str
    """The dataset; of features and labels, the model."""
    what: str
    since: str
    why: str
    next_step: str
    """What to do, with the command that shows more."""


def alarm_list(views: Views) -> tuple[OpenAlarm, ...]:
    """Return the open alarms of data, features and labels, by room and age."""
    with (
        views.reading(DataAlarmsView) as data,
        views.reading(PullsView) as pulls,
        views.reading(MonitoringView) as monitoring,
        views.reading(LabelsView) as labels,
    ):
        return open_alarms(data, pulls, monitoring, labels)


def open_alarms(
    data: DataAlarmsView, pulls: PullsView, monitoring: MonitoringView, labels: LabelsView
) -> tuple[OpenAlarm, ...]:
    """Return the open alarms that read models know, by room and age; of data those of datasets that nothing
    declares any more are left out.
    """
    found = [_anomaly(one) for one in data.anomalies.values()]
    found += [_warning(one) for one in data.warnings.values()]
    found += _pulls(pulls)
    found += _upstreams(pulls)
    found = [one for one in found if one.subject not in data.undeclared]
    skews = [one for model in monitoring.raised for one in monitoring.open_alarms(model)]
    found += [_skew(one) for one in skews if one.raised.kind == SKEW]
    found += [_correlation(one) for one in skews if one.raised.kind == CORRELATION]
    found += _labels(labels)
    return tuple(sorted(found, key=lambda one: (one.room, one.since, one.subject, one.what)))


def _anomaly(one: OpenAnomaly) -> OpenAlarm:
    raised = one.raised
    place = f"{raised.dataset}/{raised.part}"
    if raised.measure == ROWS_LATE:
        return OpenAlarm(
            room="data",
            kind="late",
            subject=raised.dataset,
            what=f"{place}: rows do not come",
            since=iso(raised.start),
            why=f"the longest usual gap is {number(raised.high, 1)} h",
            next_step=f"see whether its source still delivers: varv data watch {place}",
        )
    measured = f"{raised.measure} of {raised.column}" if raised.column else raised.measure
    usual = f"usual {number(raised.low)} to {number(raised.high)} over {count(raised.n_earlier)} windows"
    return OpenAlarm(
        room="data",
        kind="anomaly",
        subject=raised.dataset,
        what=f"{place}: {measured} is unusual",
        since=iso(raised.start),
        why=f"{number(raised.value)}, {usual}",
        next_step=f"see what else moved: varv data watch {place} --every {spoken(raised.every)}",
    )


def _warning(one: OpenWarning) -> OpenAlarm:
    last = one.last
    broken = ", ".join(f"{rule.reason} in {count(rule.n_rows)}" for rule in last.warnings)
    return OpenAlarm(
        room="data",
        kind="contract",
        subject=last.dataset,
        what=f"{last.dataset}/{last.part}: rows break declared rules that only warn",
        since=iso(one.since),
        why=f"of {count(last.n_rows)} rows of the last such batch: {broken}",
        next_step=f"correct the source or the rule: varv contract show {last.dataset}",
    )


def _pulls(pulls: PullsView) -> list[OpenAlarm]:
    return [
        OpenAlarm(
            room="data",
            kind="pull",
            subject=name,
            what=f"{name}: its source cannot be pulled",
            since=iso(state.failed.since),
            why=state.failed.why,
            next_step=f"it is tried again in its time, or now: varv data pull {name}",
        )
        for name, state in pulls.states.items()
        if state.failed is not None
    ]


def _upstreams(pulls: PullsView) -> list[OpenAlarm]:
    return [
        OpenAlarm(
            room="data",
            kind="late",
            subject=name,
            what=f"{name}: {one.name}, which its source is made of, is not fresh",
            since=one.loaded_at or one.checked_at,
            why=f"dbt found {one.status} at {one.checked_at}",
            next_step=f"see what fills it, and pull again when dbt has looked: varv data show {name}",
        )
        for name, state in pulls.states.items()
        for one in state.upstreams
        if one.is_late
    ]


def _skew(one: Alarm) -> OpenAlarm:
    raised = one.raised
    wrong, compared = (int(raised.evidence.get(name, 0)) for name in ("wrong", "compared"))
    return OpenAlarm(
        room="features",
        kind="skew",
        subject=raised.model,
        what=f"{raised.model}: {raised.subject} is served with wrong values",
        since=iso(one.raised_at),
        why=f"{count(wrong)} of {count(compared)} compared values of that day were missing or different",
        next_step=f"see which, and since when: varv features skew {raised.model}",
    )


def _correlation(one: Alarm) -> OpenAlarm:
    raised = one.raised
    before, after = (raised.evidence.get(name, 0.0) for name in ("before", "after"))
    return OpenAlarm(
        room="features",
        kind=CORRELATION,
        subject=raised.model,
        what=f"{raised.model}: {raised.subject} is correlated otherwise than before",
        since=iso(one.raised_at),
        why=f"{number(after, 2)} in the last week, {number(before, 2)} in the weeks before",
        next_step=f"see which source has changed: varv features show {raised.model}",
    )


def _labels(labels: LabelsView) -> list[OpenAlarm]:
    return [
        OpenAlarm(
            room="labels",
            kind="exploration",
            subject=name,
            what=f"{name}: too few requests are explored",
            since=iso(one.low.until),
            why=f"{percent(one.low.share)} seen by chance, {percent(one.low.declared)} declared",
            next_step="label more of those that were drawn: varv labels ls",
        )
        for name, one in labels.models.items()
        if one.low is not None
    ]

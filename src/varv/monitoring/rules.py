"""The monitor of one model: a saga that turns measurements into alarms.

Each watched number of a day feeds a chart of its own (`monitoring.signals`), whose threshold follows from the
declared time between false alarms. A harmful drift is an alarm as measured. An alarm is raised once and stays
open until the number recovers or another version takes over. The saga watches the version that `ReferenceSet`
named last, from the first day on which it answered as champion. Days of a champion before it that mature
later say how days spread, and no more; other versions, and days already counted, are passed over.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Fact, Message, Step
from varv.monitoring.evidence import Number
from varv.monitoring.model import (
    CHAMPION,
    AlarmCleared,
    AlarmRaised,
    DriftMeasured,
    OffsetAllowed,
    PerformanceMeasured,
    ReferenceSet,
    Window,
)
from varv.monitoring.signals import (
    Signal,
    advanced,
    alarm_evidence,
    approved,
    settled,
    signals_of,
    with_former_day,
)
from varv.tasks import TaskSpec

FEWEST_ROWS = 30
"""Labelled rows a day must have to count: too few are no evidence, for or against."""


class MonitorState(msgspec.Struct, frozen=True):
    """What the monitor of a model remembers."""

    model: ModelName
    version: Version = Version(0)
    signals: dict[str, Signal] = {}
    through: Instant = Instant(0)
    """End of the last day counted, or when the version became champion."""
    drift_through: Instant = Instant(0)
    counted_through: Instant = Instant(0)
    """End of the last day, of whichever version, that says how days spread."""
    open: tuple[tuple[str, str], ...] = ()
    """Open alarms: kind and subject."""
    task: TaskSpec = TaskSpec()
    """Of the version watched: days of another task say nothing of how its days spread."""


class _Verdict(NamedTuple):
    """What the latest measurement says of one subject: wrong now (with the evidence), right again, or
    neither.
    """

    kind: str
    subject: str
    evidence: dict[str, float] | None
    recovered: bool
    number: Number = Number()


class MonitorSaga:
    """Saga ``"monitor"``, one a model: ``"monitor/<model>"``; it tells ``"loop/<model>"`` of every alarm."""

    name: ClassVar[str] = "monitor"
    state_type: type[MonitorState] = MonitorState

    def initial(self, saga_id: str) -> MonitorState:
        """Return the state before any version is watched."""
        return MonitorState(model=ModelName(saga_id.partition("/")[2]))

    def step(self, state: MonitorState, event: Event, now: Instant) -> Step[MonitorState]:
        """Decide about one `ReferenceSet`, `PerformanceMeasured` or `DriftMeasured`."""
        match event:
            case ReferenceSet():
                return _watch(state, event)
            case PerformanceMeasured() if event.role == CHAMPION:
                return _count(state, event) if event.version == state.version else _count_former(state, event)
            case DriftMeasured() if _is_new(state, event.version, event.window, state.drift_through):
                moved = msgspec.structs.replace(state, drift_through=event.window.end)
                return _conclude(moved, _drift_verdicts(event), event.window)
            case _:
                return Step(state)


def _watch(state: MonitorState, event: ReferenceSet) -> Step[MonitorState]:
    if event.version == state.version:
        return Step(state)
    same_task = event.plan.task == state.task
    signals = {
        subject: approved(
            signal,
            event.days,
            event.signals,
            former=state.signals.get(subject) if same_task else None,
            former_alarmed=(signal.kind, subject) in state.open,
            counted_through=state.counted_through,
        )
        for subject, signal in signals_of(event.plan).items()
    }
    fresh = MonitorState(
        model=event.model,
        version=event.version,
        signals=signals,
        through=event.at,
        drift_through=event.at,
        counted_through=state.counted_through,
        task=event.plan.task,
    )
    told = (*_replaced(state, event), *_offsets(fresh, event))
    return Step(fresh, emits=tuple(Fact(_stream(state), one) for one in told))


def _replaced(state: MonitorState, event: ReferenceSet) -> list[AlarmCleared]:
    """Clear every alarm about the version that is not watched any more."""
    return [
        AlarmCleared(
            model=event.model,
            version=state.version,
            kind=kind,
            subject=subject,
            reason="new version",
            window=Window(event.at, event.at),
        )
        for kind, subject in state.open
    ]


def _offsets(fresh: MonitorState, event: ReferenceSet) -> list[OffsetAllowed]:
    """Say what a new reference lets pass."""
    return [
        OffsetAllowed(
            model=event.model,
            version=event.version,
            kind=signal.kind,
            subject=subject,
            allowed=signal.allowed,
            n_days=round(signal.level_days),
            at=event.at,
        )
        for subject, signal in fresh.signals.items()
        if signal.allowed
    ]


def _is_new(state: MonitorState, version: Version, window: Window, through: Instant) -> bool:
    return version == state.version and window.end > through


def _count(state: MonitorState, event: PerformanceMeasured) -> Step[MonitorState]:
    if not _is_new(state, event.version, event.window, state.through):
        return Step(state)
    moved = msgspec.structs.replace(state, through=event.window.end)
    if event.n < FEWEST_ROWS:
        return Step(moved)
    follows = event.window.start == state.counted_through
    values = event.watched()
    signals = {
        subject: advanced(signal, *values[signal.source], event.n, follows=follows)
        if signal.source in values
        else msgspec.structs.replace(signal, previous=None)
        for subject, signal in state.signals.items()
    }
    verdicts = [
        _Verdict(signal.kind, subject, alarm_evidence(signal), signal.total == 0.0, signal.number)
        for subject, signal in signals.items()
    ]
    counted = msgspec.structs.replace(moved, signals=signals, counted_through=event.window.end)
    step = _conclude(counted, verdicts, event.window)
    put_away = {
        subject: settled(signal, alarmed=(signal.kind, subject) in state.open)
        for subject, signal in signals.items()
    }
    return msgspec.structs.replace(step, state=msgspec.structs.replace(step.state, signals=put_away))


def _count_former(state: MonitorState, event: PerformanceMeasured) -> Step[MonitorState]:
    """Take in a day of an earlier champion: its outcomes came after it was replaced."""
    if not state.version or event.window.end <= state.counted_through or event.n < FEWEST_ROWS:
        return Step(state)
    if event.task != state.task:
        return Step(state)
    values = event.watched()
    signals = {
        subject: with_former_day(signal, *values[signal.source]) if signal.source in values else signal
        for subject, signal in state.signals.items()
    }
    return Step(msgspec.structs.replace(state, signals=signals, counted_through=event.window.end))


def _drift_verdicts(event: DriftMeasured) -> list[_Verdict]:
    found = []
    for one in event.features:
        numbers = {
            "psi": one.psi,
            "p_value": one.p_value,
            "harm": one.harm,
            "harm_low": one.harm_low,
            "harm_p_value": one.harm_p_value,
            "harm_share": one.harm_share,
            "n": float(event.n),
            "days": float(event.n_days),
        }
        evidence = {name: value for name, value in numbers.items() if value is not None}
        found.append(
            _Verdict("drift", one.name, evidence if one.harmful else None, recovered=not one.harmful)
        )
    return found


def _conclude(state: MonitorState, verdicts: list[_Verdict], window: Window) -> Step[MonitorState]:
    raised: list[AlarmRaised] = []
    cleared: list[AlarmCleared] = []
    still = list(state.open)
    for kind, subject, evidence, recovered, number in verdicts:
        is_open = (kind, subject) in still
        if evidence is not None and not is_open:
            still.append((kind, subject))
            raised.append(
                AlarmRaised(
                    model=state.model,
                    version=state.version,
                    kind=kind,
                    subject=subject,
                    severity="warning" if kind == "drift" else "critical",
                    evidence=evidence,
                    window=window,
                    number=number,
                )
            )
        elif recovered and is_open:
            still.remove((kind, subject))
            cleared.append(
                AlarmCleared(
                    model=state.model,
                    version=state.version,
                    kind=kind,
                    subject=subject,
                    reason="recovered",
                    window=window,
                )
            )
    return Step(
        msgspec.structs.replace(state, open=tuple(still)),
        emits=tuple(Fact(_stream(state), one) for one in (*raised, *cleared)),
        tells=tuple(Message(f"loop/{state.model}", one) for one in (*raised, *cleared)),
    )


def _stream(state: MonitorState) -> str:
    return f"alarms/{state.model}"

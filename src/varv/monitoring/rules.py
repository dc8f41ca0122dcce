"""The monitor of one model: a saga that turns measurements into alarms.

Each watched number of a day feeds a CUSUM against the version's reference (`stats.change`); its threshold
follows from the declared time between false alarms. A harmful drift is an alarm as measured. An alarm is
raised once and stays open until the number recovers or another version takes over. The saga watches the
version that `ReferenceSet` named last and passes over measurements of others, of earlier days, and of days
already counted.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import msgspec

from varv.kernel.clock import DAY, Instant
from varv.kernel.codec import Event
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Fact, Message, Step
from varv.monitoring.model import (
    AlarmCleared,
    AlarmRaised,
    DriftMeasured,
    PerformanceMeasured,
    ReferenceSet,
    SignalBaseline,
    Window,
)
from varv.monitoring.monitor import CalibrationMonitor, MonitorPlan, PerformanceMonitor
from varv.stats import change

FEWEST_ROWS = 30
"""Labelled rows a day must have to count: too few are no evidence, for or against."""


class Signal(msgspec.Struct, frozen=True):
    """One watched number: its CUSUM and the run of days since the sum was last zero."""

    kind: str
    source: str
    """``"excess_loss"``, ``"auc"`` or ``"bias"``."""
    direction: int
    """1 when more is worse, -1 when less is."""
    baseline: SignalBaseline
    tolerance: float
    run_length_days: float
    total: float = 0.0
    days: int = 0
    sum: float = 0.0


class MonitorState(msgspec.Struct, frozen=True):
    """What the monitor of a model remembers."""

    model: ModelName
    version: Version = Version(0)
    signals: dict[str, Signal] = {}
    through: Instant = Instant(0)
    """End of the last day counted."""
    drift_through: Instant = Instant(0)
    open: tuple[tuple[str, str], ...] = ()
    """Open alarms: kind and subject."""


class _Verdict(NamedTuple):
    """What the latest measurement says of one subject: wrong now (with the evidence), right again, or
    neither.
    """

    kind: str
    subject: str
    evidence: dict[str, float] | None
    recovered: bool


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
            case PerformanceMeasured() if _counts(state, event.version, event.window, state.through):
                return _count(state, event)
            case DriftMeasured() if _counts(state, event.version, event.window, state.drift_through):
                moved = msgspec.structs.replace(state, drift_through=event.window.end)
                return _conclude(moved, _drift_verdicts(event), event.window)
            case _:
                return Step(state)


def signals_of(plan: MonitorPlan, baselines: dict[str, SignalBaseline]) -> dict[str, Signal]:
    """Return the signals that `plan` watches, by subject.

    The signals of one monitor share its false alarms: two of them have twice the run length each.
    """
    found: dict[str, Signal] = {}
    for one in plan.monitors:
        parts: list[tuple[str, str, str, int, float]] = []
        if isinstance(one, PerformanceMonitor):
            ranking = one.metric == "auc"
            parts = [("excess_loss", "performance", "excess_loss", 1, 0.0 if ranking else one.tolerance)]
            parts += [("auc", "performance", "auc", -1, one.tolerance)] if ranking else []
        elif isinstance(one, CalibrationMonitor):
            parts = [
                ("underestimated", "calibration", "bias", 1, one.tolerance),
                ("overestimated", "calibration", "bias", -1, one.tolerance),
            ]
        for subject, kind, source, direction, tolerance in parts:
            length = len(parts) * one.false_alarm_every / DAY
            found[subject] = Signal(kind, source, direction, baselines[source], tolerance, length)
    return found


def _watch(state: MonitorState, event: ReferenceSet) -> Step[MonitorState]:
    if event.version == state.version:
        return Step(state)
    fresh = MonitorState(
        model=event.model,
        version=event.version,
        signals=signals_of(event.plan, event.signals),
        through=event.at,
        drift_through=event.at,
    )
    window = Window(event.at, event.at)
    cleared = [
        AlarmCleared(
            model=event.model,
            version=state.version,
            kind=kind,
            subject=subject,
            reason="new version",
            window=window,
        )
        for kind, subject in state.open
    ]
    return Step(fresh, emits=tuple(Fact(_stream(state), one) for one in cleared))


def _counts(state: MonitorState, version: Version, window: Window, through: Instant) -> bool:
    return version == state.version and window.end > through


def _count(state: MonitorState, event: PerformanceMeasured) -> Step[MonitorState]:
    moved = msgspec.structs.replace(state, through=event.window.end)
    if event.n < FEWEST_ROWS or event.window.start < state.through:
        return Step(moved)
    values = event.watched()
    signals = {
        subject: _advanced(signal, values[signal.source]) if signal.source in values else signal
        for subject, signal in state.signals.items()
    }
    verdicts = [_signal_verdict(subject, signal) for subject, signal in signals.items()]
    return _conclude(msgspec.structs.replace(moved, signals=signals), verdicts, event.window)


def _advanced(signal: Signal, value: float) -> Signal:
    # The tolerance shifts the worse way; a better-than-zero excess loss at approval is luck that must not
    # bind.
    mean = signal.direction * signal.baseline.mean + signal.tolerance
    if signal.source == "excess_loss":
        mean = max(signal.baseline.mean, 0.0) + signal.tolerance
    base = change.Baseline(mean, signal.baseline.sd, signal.baseline.n_days)
    total = change.cusum_step(signal.total, signal.direction * value, base)
    # A capped sum lets an alarm clear within days of the recovery, however long it was open.
    total = min(total, 2 * change.cusum_threshold(signal.run_length_days))
    if total == 0.0:
        return msgspec.structs.replace(signal, total=0.0, days=0, sum=0.0)
    return msgspec.structs.replace(signal, total=total, days=signal.days + 1, sum=signal.sum + value)


def _signal_verdict(subject: str, signal: Signal) -> _Verdict:
    threshold = change.cusum_threshold(signal.run_length_days)
    evidence = None
    if signal.total >= threshold:
        evidence = {
            "cusum": signal.total,
            "threshold": threshold,
            "days": float(signal.days),
            "mean": signal.sum / signal.days,
            "reference_mean": signal.baseline.mean,
            "reference_sd": signal.baseline.sd,
            "reference_days": float(signal.baseline.n_days),
            "tolerance": signal.tolerance,
            "days_between_false_alarms": signal.run_length_days,
        }
    return _Verdict(signal.kind, subject, evidence, recovered=signal.total == 0.0)


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
    for kind, subject, evidence, recovered in verdicts:
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

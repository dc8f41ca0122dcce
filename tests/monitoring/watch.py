"""Runs the monitor of one model over a stream, day by day, as the loop does."""

from typing import NamedTuple

import polars as pl

from varv.kernel.clock import DAY, Instant
from varv.monitoring.measure import measure_day
from varv.monitoring.model import AlarmRaised
from varv.monitoring.rules import MonitorSaga
from varv.monitoring.windows import matured


class Watched(NamedTuple):
    measured: list
    facts: list
    told: list
    state: object

    def raised(self, kind=None):
        return [one for one in self.facts if isinstance(one, AlarmRaised) and kind in (None, one.kind)]

    def of(self, cls):
        return [one for one in self.measured if isinstance(one, cls)]


def watch(frame, reference, plan, *, start, end):
    """Measure every day of [start, end) when it is mature and feed the monitor saga."""
    saga = MonitorSaga()
    state = saga.initial(f"monitor/{reference.model}")
    state = saga.step(state, reference.set_for(plan, at=start), start).state
    span = plan.drift.window if plan.drift else DAY
    requested = pl.col("requested_at").to_physical()
    measured, facts, told = [], [], []
    for day in matured(start, Instant(end + DAY)):
        recent = frame.filter((requested >= day.end - span) & (requested < day.end))
        for event in measure_day(recent, day, reference, plan):
            step = saga.step(state, event, day.end)
            state = step.state
            measured.append(event)
            facts += [fact.event for fact in step.emits]
            told += list(step.tells)
    return Watched(measured, facts, told, state)

"""What is put on record of a dataset that is unlike its own past."""

from __future__ import annotations

from varv.kernel.clock import Duration, Instant, iso
from varv.kernel.codec import Event, event
from varv.kernel.wording import count, number

ROWS_LATE = "late"
"""The number of an alarm on rows that do not come."""


def anomalies_of(dataset: str, part: str) -> str:
    """Return the stream of a part's anomalies."""
    return f"anomalies/{dataset}/{part}"


@event("data.anomaly_raised")
class AnomalyRaised(Event, frozen=True, kw_only=True):
    """A number of a window of a dataset's rows is unlike those of the windows before, beyond the stated rate
    of false alarms; or nothing has come for longer than usual.
    """

    dataset: str
    part: str
    column: str
    """Empty for the rows themselves."""
    measure: str
    """``rows``, ``missing``, ``mean``, ``p5``, ``p50``, ``p95``, ``distinct``, ``least``, ``greatest``,
    ``length``; or ``late``, whose values are hours."""
    start: Instant
    every: Duration
    """How long the window is."""
    value: float
    usual: float
    low: float
    high: float
    n_earlier: int
    false_alarm_every: Duration
    """Mean time between false alarms over all columns of the part."""

    def line(self) -> str:
        """Return one line on what this event states."""
        subject = f"{self.measure} of {self.column}" if self.column else self.measure
        if self.measure == ROWS_LATE:
            gap = f"nothing came for {number(self.value, 1)} h, usual {number(self.high, 1)} h at most"
            return f"{self.dataset}, {self.part}: {gap}"
        span = f"{number(self.low)} to {number(self.high)} over {count(self.n_earlier)} windows"
        return (
            f"{self.dataset}, {self.part}, {iso(self.start)}: {subject} is {number(self.value)}, usual {span}"
        )


@event("data.anomaly_cleared")
class AnomalyCleared(Event, frozen=True, kw_only=True):
    """A number of a dataset is like those before again."""

    dataset: str
    part: str
    column: str
    measure: str
    start: Instant
    """Of the window that is as usual; without one, when the alarm was closed."""
    why: str = ""
    """Of older entries, why an alarm was closed although no window was as usual."""

    def line(self) -> str:
        """Return one line on what this event states."""
        subject = f"{self.measure} of {self.column}" if self.column else self.measure
        if self.why:
            return f"{self.dataset}, {self.part}: the alarm on {subject} was closed: {self.why}"
        return f"{self.dataset}, {self.part}, {iso(self.start)}: {subject} is as usual again"

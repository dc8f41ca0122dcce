"""What `varv replay` shows while it runs: a line that moves on a terminal, a line a month otherwise."""

from __future__ import annotations

import sys
from typing import TextIO

from varv.fronts.web.words import said
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.ledger import Entry
from varv.loop.replay import Progress
from varv.monitoring import PerformanceMeasured

SHOWN = {
    "loop.retrain_triggered",
    "loop.candidate_rejected",
    "loop.fault_planted",
    "rollout.version_promoted",
    "rollout.rolled_back",
    "rollout.needs_human",
    "monitoring.alarm_raised",
    "data.batch_quarantined",
}
_WIDTH = 28


class ReplayProgress:
    """Tells how far each policy has come, and what its loop decided.

    Parameters
    ----------
    since, until
        The stretch that is replayed.
    stream
        Where it is told; standard error by default, so that standard output stays for the result.
    """

    def __init__(self, since: Instant, until: Instant, stream: TextIO | None = None) -> None:
        self._since = since
        self._until = until
        self._stream = stream or sys.stderr
        self._moving = self._stream.isatty()
        self._policy = ""
        self._month = ""
        self._days: list[PerformanceMeasured] = []
        """Days of the month in hand, as the monitors measured them."""

    def tick(self, policy: str, progress: Progress, entries: list[Entry]) -> None:
        """Take in one step of a replay."""
        for entry in entries:
            if entry.name in SHOWN and policy == "declared" and not _is_told(entry):
                self._line(f"{as_datetime(entry.at):%Y-%m-%d}  {said(entry.event)}")
            if isinstance(event := entry.event, PerformanceMeasured):
                self._days.append(event)
        month = f"{as_datetime(progress.now):%b %Y}"
        quality = f"{progress.n_requests:>9,} requests  {self._quality()}"
        if self._moving:
            share = (progress.now - self._since) / (self._until - self._since)
            bar = ("━" * round(_WIDTH * share)).ljust(_WIDTH, "·")
            self._stream.write(f"\r{policy:<9} {bar} {month}  {quality} ")
            self._stream.flush()
        if (policy, month) != (self._policy, self._month):
            if not self._moving or self._days:
                self._line(f"{policy:<9} {month}  {quality}")
            self._days.clear()
        self._policy, self._month = policy, month

    def _quality(self) -> str:
        """Return the mean AUC and log loss of the days measured since the month before, weighted by their
        rows.
        """
        days = [day for day in self._days if day.auc is not None and day.log_loss is not None]
        n = sum(day.n for day in days)
        if not n:
            return "AUC  -  "
        auc = sum(day.n * (day.auc or 0.0) for day in days) / n
        loss = sum(day.n * (day.log_loss or 0.0) for day in days) / n
        return f"AUC {auc:.3f}  log loss {loss:.3f} in {len(days)} days"

    def close(self) -> None:
        """End the moving line."""
        if self._moving:
            self._stream.write("\n")

    def _line(self, text: str) -> None:
        clear = "\r\x1b[2K" if self._moving else ""
        self._stream.write(f"{clear}{text}\n")


def _is_told(entry: Entry) -> bool:
    """Return whether an alarm is the copy that was told to the loop; it is stated once in its own stream."""
    return entry.name == "monitoring.alarm_raised" and not entry.stream.startswith("alarms/")

"""What a replay shows while it runs: a line that moves on a terminal, bars in a notebook, a line a month
otherwise.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from varv.data.model import BatchQuarantined
from varv.home.replay import Progress
from varv.kernel.clock import Instant, as_datetime, wall_seconds
from varv.kernel.ledger import Entry
from varv.kernel.wording import brief, number
from varv.loop.leaking.model import LeakFinding, LeakNoticed, LeaksExamined
from varv.monitoring import PerformanceMeasured
from varv.monitoring.model import CHAMPION
from varv.monitoring.summary import summarised

if TYPE_CHECKING:
    from rich.progress import TaskID

MOST_LINES = 200
"""Below the bars of a notebook."""
UPDATE_S = 0.25
"""How often a notebook is updated at most."""
MOST_NUMBERS = 4
"""Of the quality of a month, so that it fits on a line."""
SHOWN = {
    "loop.retrain_triggered",
    "loop.candidate_rejected",
    "loop.training_suspended",
    "loop.fault_planted",
    "rollout.version_promoted",
    "rollout.rolled_back",
    "rollout.needs_human",
    "monitoring.alarm_raised",
    "monitoring.offset_allowed",
    "data.batch_quarantined",
}


class ReplayProgress:
    """Tells how far each policy has come, how well it predicts, and what its loop decided.

    Parameters
    ----------
    since, until
        The stretch that is replayed.
    models
        Their names; each line says which it is of where there are several.
    stream
        Where it is told; standard error by default, so that standard output stays for the result.
    """

    def __init__(
        self, since: Instant, until: Instant, models: Sequence[str] = (), stream: TextIO | None = None
    ) -> None:
        self._since = since
        self._until = until
        self._stream = stream or sys.stderr
        self._bar = _bar(stream is None, self._stream, until - since)
        self._policy = ""
        self._names = set(models) if len(models) > 1 else set[str]()
        self._width = max(map(len, self._names), default=0)
        self._days: dict[str, list[PerformanceMeasured]] = {}
        """Days of each model's month in hand, as the monitors measured champions once their outcomes had
        come."""

    def tick(self, policy: str, progress: Progress, entries: list[Entry]) -> None:
        """Take in one step of a replay."""
        if policy != self._policy:
            self._end_months()
            self._policy = policy
        for entry in entries:
            if policy == "declared":
                self._decided(entry)
            if isinstance(event := entry.event, PerformanceMeasured) and event.role == CHAMPION:
                days = self._days.setdefault(event.model, [])
                if days and _month(event) != _month(days[-1]):
                    self._end_month(event.model)
                days.append(event)
        if self._bar is not None:
            # Of one model: the moving line has no room for more.
            quality, _, _ = _quality(next(iter(self._days.values()), [])).partition("  ")
            text = f"{as_datetime(progress.now):%d %b %Y}  {progress.n_requests:>9,} requests  {quality}"
            self._bar.show(policy, progress.now - self._since, text)

    def close(self) -> None:
        """Tell the last months and end the moving line."""
        self._end_months()
        if self._bar is not None:
            self._bar.close()

    def _decided(self, entry: Entry) -> None:
        head = f"{as_datetime(entry.at):%Y-%m-%d}  {self._named(entry)}"
        if entry.name in SHOWN and not _is_small(entry):
            self._line(f"{head}{brief(entry.event.line())}")
        for leak in _leaks(entry):
            self._line(f"{head}WARNING, a leak? {leak.line()}")

    def _named(self, entry: Entry) -> str:
        """Return the model that an entry is of, as the head of a line, where there are several."""
        name = entry.stream.partition("/")[2].partition("/")[0]
        return f"{name:<{self._width}}  " if name in self._names else ""

    def _end_months(self) -> None:
        for model in sorted(self._days):
            self._end_month(model)

    def _end_month(self, model: str) -> None:
        days = self._days[model]
        if days:
            n_requests = sum(day.n_requests for day in days)
            name = f"{model:<{self._width}}  " if self._names else ""
            told = f"{n_requests:>7,} requests  {_quality(days)}"
            self._line(f"{self._policy:<9} {_month(days[-1])}  {name}{told}")
            days.clear()

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text)
        else:
            self._stream.write(text.rstrip() + "\n")


class _Bar(Protocol):
    """Shows how far each policy is, in a place of its own."""

    def show(self, policy: str, done: int, said: str) -> None: ...

    def write(self, text: str) -> None: ...

    def close(self) -> None: ...


def _bar(may_display: bool, stream: TextIO, span: int) -> _Bar | None:
    display = _notebook_display() if may_display else None
    if display is not None:
        return _NotebookBar(display, span)
    return _TerminalBar(stream, span) if stream.isatty() else None


def _notebook_display() -> Any:
    """Return what displays in the notebook that this process runs for; None where it runs for none."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    # A shell on a terminal has none.
    return ipython.display.display if ipython is not None and hasattr(shell, "kernel") else None


class _NotebookBar:
    """Bars that are displayed once and then updated, with the last lines below; no widget, no script."""

    def __init__(self, display: Any, span: int) -> None:
        self._span = span
        self._bars: dict[str, tuple[int, str]] = {}
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._shown_at = wall_seconds()
        self._handle = display(self, display_id=True)

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import progress_fragment

        bars = [
            {"name": name, "share": min(1.0, done / self._span), "said": said}
            for name, (done, said) in self._bars.items()
        ]
        return progress_fragment(bars, list(self._lines))

    def __repr__(self) -> str:
        return "; ".join(f"{name} {done / self._span:.0%}" for name, (done, _) in self._bars.items())

    def show(self, policy: str, done: int, said: str) -> None:
        for earlier in self._bars.keys() - {policy}:
            self._bars[earlier] = (self._span, self._bars[earlier][1])
        self._bars[policy] = (done, said)
        if wall_seconds() >= self._shown_at + UPDATE_S:
            self._update()

    def write(self, text: str) -> None:
        self._lines.append(text.rstrip())

    def close(self) -> None:
        self._update()

    def _update(self) -> None:
        self._shown_at = wall_seconds()
        self._handle.update(self)


class _TerminalBar:
    """The moving line of a terminal: one bar a policy, with lines scrolling by above it."""

    def __init__(self, stream: TextIO, span: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.fields[policy]:<9}"), BarColumn(14), TextColumn("{task.fields[said]}"))
        self._progress = Progress(*columns, TimeElapsedColumn(), console=Console(file=stream))
        self._span = span
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()

    def show(self, policy: str, done: int, said: str) -> None:
        if policy not in self._tasks:
            self._tasks[policy] = self._progress.add_task("", total=self._span, policy=policy, said="")
        self._progress.update(self._tasks[policy], completed=done, said=said)

    def write(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


def _quality(days: list[PerformanceMeasured]) -> str:
    """Return the quality of days: of all their rows together, and within days."""
    found = summarised(days)
    if found is None:
        return ""
    numbers = [f"{one.label} {number(one.value, one.digits)}" for one in found.numbers[:MOST_NUMBERS]]
    return f"{', '.join(numbers)}  ({found.n_days} days)"


def _month(day: PerformanceMeasured) -> str:
    return f"{as_datetime(day.window.start):%b %Y}"


def _leaks(entry: Entry) -> tuple[LeakFinding, ...]:
    if isinstance(entry.event, LeakNoticed):
        return (entry.event.finding,)
    return entry.event.findings if isinstance(entry.event, LeaksExamined) else ()


def _is_small(entry: Entry) -> bool:
    """Return whether a line is not worth its place: the copy of an alarm that was sent to the loop, which is
    stated once in its own stream, or single rows in quarantine, which the result counts.
    """
    if isinstance(event := entry.event, BatchQuarantined):
        return not event.whole
    return entry.name == "monitoring.alarm_raised" and not entry.stream.startswith("alarms/")

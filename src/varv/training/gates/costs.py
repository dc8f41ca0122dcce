"""Gates on what serving costs: how long an answer takes, and how large the package is.

Both look at the version that would serve. A time is a measurement of one machine: it is taken only where the
ledger may depend on the machine, so never in a replay.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from varv.kernel.clock import SECOND, Duration
from varv.stats.intervals import Estimate, Numbers
from varv.stats.quantiles import quantile_interval
from varv.tasks import Task
from varv.training.gates.bounds import Limit, held_against, nothing_shown
from varv.training.gates.judgement import Judgement, Served
from varv.training.gates.measured import interval_of
from varv.training.gates.model import GateResult

MOST_CALLS = 2000
"""From some 370 on, the 99th percentile has an upper limit."""
WARM_UP_CALLS = 20
LONGEST_S = 20.0
"""Measuring stops after so long, with the calls that there are by then."""


class Latency(msgspec.Struct, frozen=True, tag="latency"):
    """A quantile of the time of a call is not shown to be longer than it may be."""

    quantile: float
    longest: Duration
    rows: int = 1
    """Rows of one call."""
    shown: bool = False

    def named(self, task: Task) -> str:
        """Return the name that its results bear."""
        return f"latency p{100 * self.quantile:g}"

    def judge(self, judgement: Judgement) -> GateResult:
        """Let the served version answer held-out rows, and look at the clock."""
        name = self.named(judgement.task)
        limit = Limit(high=1e3 * self.longest / SECOND)
        sized = "1 row" if self.rows == 1 else f"{self.rows} rows"
        timed = f"p{100 * self.quantile:g} of the time of a call with {sized}"
        question = limit.question(timed, shown=self.shown, unit=" ms")
        evidence: dict[str, float | None] = {"at_most_ms": limit.high, "rows": float(self.rows)}
        if judgement.timer is None or judgement.served is None:
            answer = "Not measured in a replay, whose results must not depend on the machine."
            return GateResult(name, True, "not measured", evidence, question, answer)
        if not judgement.rows.height:
            held = nothing_shown("there are no rows", shown=self.shown)
            return GateResult(name, held.passed, held.verdict, evidence, question, held.answer)
        times = _timed(judgement.served, judgement, self.rows, judgement.timer)
        found = quantile_interval(times, self.quantile)
        evidence |= {"value_ms": found.value, "low_ms": found.low, "n": float(found.n)}
        evidence |= {"high_ms": found.high if np.isfinite(found.high) else None, "max_ms": float(times.max())}
        told = f"{_spoken(found)} ms, measured on this machine"
        held = held_against(found, limit, told, shown=self.shown)
        return GateResult(
            name, held.passed, held.verdict, evidence, question, held.answer, found.n, interval_of(found)
        )


class Size(msgspec.Struct, frozen=True, tag="size"):
    """The package is no larger than it may be."""

    largest_bytes: int

    def named(self, task: Task) -> str:
        """Return the name that its results bear."""
        return "size"

    def judge(self, judgement: Judgement) -> GateResult:
        """Look at the package of the served version."""
        assert judgement.served is not None, "a version that is judged has a package"
        size = judgement.served.size_bytes
        fits = size <= self.largest_bytes
        allowed = f"{self.largest_bytes / 1e6:,.6g} MB"
        evidence: dict[str, float | None] = {
            "size_bytes": float(size),
            "at_most_bytes": float(self.largest_bytes),
        }
        return GateResult(
            self.named(judgement.task),
            fits,
            "within bounds" if fits else "beyond bounds",
            evidence,
            f"Is the package larger than {allowed}?",
            f"It has {size / 1e6:,.3f} MB.",
        )


def _timed(served: Served, judgement: Judgement, n_rows: int, timer: Callable[[], float]) -> Numbers:
    """Return how long calls took, in milliseconds, one call after the other on neighbouring rows."""
    rows = judgement.rows
    starts = np.arange(MOST_CALLS + WARM_UP_CALLS) * n_rows % max(rows.height - n_rows + 1, 1)
    times: list[float] = []
    began = timer()
    for number, start in enumerate(starts.tolist()):
        part = rows.slice(start, n_rows)
        before = timer()
        served.predict(part)
        after = timer()
        if number >= WARM_UP_CALLS:
            times.append(1e3 * (after - before))
        if times and after - began > LONGEST_S:
            break
    return np.array(times)


def _spoken(found: Estimate) -> str:
    high = f"{found.high:.3g}" if np.isfinite(found.high) else "∞"
    return f"it is {found.value:.3g} [{found.low:.3g}, {high}]"

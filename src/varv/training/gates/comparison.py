"""The gate that compares a candidate with the champion, by any loss or metric of the task."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from varv.features.kinds import Kind
from varv.features.slices import Slice
from varv.kernel.codec import finite
from varv.kernel.errors import InvalidDeclaration
from varv.stats.intervals import Estimate
from varv.tasks import Loss, Task
from varv.training.gates.judgement import Judgement
from varv.training.gates.measured import LEAST_DAYS, LEAST_ROWS, gain, interval_of, measure_of, named_measures
from varv.training.gates.model import GateResult, Verdict
from varv.training.gates.slicing import require_slice, sliced

_NAME = "beats_champion"


class BeatsChampion(msgspec.Struct, frozen=True, tag="beats_champion"):
    """A loss or metric on held-out rows is not shown to miss the champion's by `margin`.

    The candidate is refused if the 95 % interval of its gain lies below `margin` as a whole. Only rows that
    the champion was not fitted on are compared.
    """

    metric: str | None = None
    """A loss or metric of the task; None is its default loss."""
    margin: float = 0.0
    slice: Slice | None = None

    def require_task(self, task: Task) -> None:
        """Check that the task has the metric, and that one direction of it is better."""
        measure = measure_of(task, self.metric, gate=_NAME)
        if not isinstance(measure, Loss) and measure.higher_is_better is None:
            directed = [
                name
                for name in named_measures(task)
                if name in task.losses or task.metrics[name].higher_is_better is not None
            ]
            problem = f"compares {measure.name!r}, of which neither more nor less is better"
            raise InvalidDeclaration("gate", _NAME, problem, hint=f"use {' or '.join(directed)}")

    def require_features(self, kinds: Mapping[str, Kind]) -> None:
        """Check that the slice is of a feature."""
        require_slice(_NAME, self.slice, kinds)

    def named(self, task: Task) -> str:
        """Return the name that its results bear."""
        return sliced(f"{_NAME} {measure_of(task, self.metric, gate=_NAME).name}", self.slice)

    def judge(self, judgement: Judgement) -> GateResult:
        """Compare candidate and champion."""
        measure = measure_of(judgement.task, self.metric, gate=_NAME)
        better = "higher" if not isinstance(measure, Loss) and measure.higher_is_better else "lower"
        name = self.named(judgement.task)
        beyond = f" by {self.margin:g} at least" if self.margin else ""
        where = sliced("", self.slice, joint=" where ")
        question = f"Is the {measure.label}{where} shown not to be {better} than the champion's{beyond}?"
        rows = judgement.within(self.slice)
        if rows.champion is None:
            answer = "There is no champion to compare with."
            n_all = len(rows)
            return GateResult(name, True, "no champion", {"n": float(n_all)}, question, answer, n_all)
        own = rows.comparable()
        n, n_days, n_seen = len(own), own.n_days, len(rows) - len(own)
        counts: dict[str, float | None] = {"n": float(n), "n_seen": float(n_seen), "n_days": float(n_days)}
        if n < LEAST_ROWS or n_days < LEAST_DAYS:
            seen = f"the champion was fitted on {n_seen:,} of the {len(rows):,} held-out rows"
            days = "1 day" if n_days == 1 else f"{n_days} days"
            answer = f"Nothing can be shown: {seen}, which leaves {n:,} of {days}. The rollout decides."
            return GateResult(name, True, "nothing shown", counts, question, answer, n)
        ours, champions, found = gain(measure, own)
        evidence = counts | {
            "candidate": finite(ours),
            "champion": finite(champions),
            "gain": finite(found.value),
            "gain_low": finite(found.low),
            "gain_high": finite(found.high),
            "margin": self.margin,
        }
        verdict, answer = _verdict(found, self.margin)
        return GateResult(
            name, verdict != "worse", verdict, evidence, question, answer, n, interval_of(found)
        )


def _verdict(gain: Estimate, margin: float) -> tuple[Verdict, str]:
    told = f"the gain is {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    told += f", {margin:g} was asked for" if margin else ""
    if finite(gain.value) is None:
        return (
            "nothing shown",
            "Nothing can be shown: the rows do not determine the gain. The rollout decides.",
        )
    if gain.high < margin:
        return "worse", f"Shown worse: {told}."
    if gain.low > margin:
        return "better", f"Shown better: {told}."
    none = f"a gain of {margin:g}" if margin else "no difference"
    return "not worse", f"Not shown better: {told}, and the interval contains {none}; the rollout decides."

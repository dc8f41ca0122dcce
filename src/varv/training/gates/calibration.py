"""The gate on calibration: whether predictions mean what they say, beyond what chance explains."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from varv.features.kinds import Kind
from varv.features.slices import Slice
from varv.kernel.codec import finite
from varv.kernel.errors import InvalidDeclaration
from varv.stats.calibration import CalibrationError
from varv.stats.intervals import clustered_jackknife
from varv.tasks import Array, Task
from varv.tasks.measures import Mask
from varv.training.gates.judgement import Judgement
from varv.training.gates.measured import LEAST_DAYS, LEAST_ROWS
from varv.training.gates.model import GateResult, Verdict
from varv.training.gates.slicing import require_slice, sliced

_NAME = "calibrated"


class Calibrated(msgspec.Struct, frozen=True, tag="calibrated"):
    """The expected calibration error on held-out rows, less what a calibrated model shows there by chance,
    is at most `max_ece`, or no larger than the champion's on the same rows.

    The second half matters in a week that nothing prepared a model for: a candidate that copes better is not
    the one to be refused.
    """

    max_ece: float
    slice: Slice | None = None

    def require_task(self, task: Task) -> None:
        """Check that the task's predictions say something of themselves."""
        if type(task).calibration is Task.calibration:
            hint = "leave it out, or bound a metric: varv.gate.at_most(...)"
            problem = f"needs predictions that promise something, and those of task {task.name!r} do not"
            raise InvalidDeclaration("gate", _NAME, problem, hint=hint)

    def require_features(self, kinds: Mapping[str, Kind]) -> None:
        """Check that the slice is of a feature."""
        require_slice(_NAME, self.slice, kinds)

    def named(self, task: Task) -> str:
        """Return the name that its results bear."""
        return sliced(_NAME, self.slice)

    def judge(self, judgement: Judgement) -> GateResult:
        """Compare the candidate's error beyond chance with the bound, and with the champion's."""
        rows = judgement.within(self.slice)
        name = self.named(judgement.task)
        where = sliced("", self.slice, joint=" where ")
        bound = f"{self.max_ece:g}"
        question = f"Is the calibration error{where} beyond chance above {bound}, and the champion's lower?"
        if not len(rows):
            answer = "Nothing can be shown: there are no rows. The rollout decides."
            return GateResult(name, True, "nothing shown", {"max_ece": self.max_ece}, question, answer)
        error = _error(rows, rows.candidate)
        beyond = _beyond_chance(error)
        ours, theirs = _on_the_same_rows(rows)
        told = f"it is {error.value:.4f}, of which chance explains {error.by_chance:.4f}"
        verdict: Verdict = "worse"
        answer = f"Beyond {bound}: {told}."
        if beyond <= self.max_ece:
            verdict, answer = "within bounds", f"Within bounds: {told}."
        elif ours is not None and theirs is not None and ours <= theirs:
            verdict, answer = "not worse", f"Beyond {bound}, but the champion's is no lower: {told}."
        evidence: dict[str, float | None] = {
            "ece": finite(error.value),
            "by_chance": finite(error.by_chance),
            "beyond_chance": beyond,
            "max_ece": self.max_ece,
            "same_rows_beyond_chance": ours,
            "champion_beyond_chance": theirs,
            "n": float(error.n),
        }
        passed, interval = verdict != "worse", _interval(rows)
        return GateResult(name, passed, verdict, evidence, question, answer, error.n, interval)


def _error(rows: Judgement, predicted: Array) -> CalibrationError:
    found = rows.task.calibration(rows.outcome, predicted)
    assert found is not None, "the task was asked when the gate was declared"
    return found


def _on_the_same_rows(rows: Judgement) -> tuple[float | None, float | None]:
    """Return what exceeds chance in the candidate's and in the champion's calibration error on the rows that
    both can be compared on; None where there are none.
    """
    own = None if rows.champion is None else rows.comparable()
    if own is None or own.champion is None or len(own) < LEAST_ROWS:
        return None, None
    ours, theirs = (_beyond_chance(_error(own, said)) for said in (own.candidate, own.champion))
    return ours, theirs


def _beyond_chance(error: CalibrationError) -> float:
    return max(0.0, error.value - error.by_chance)


def _interval(rows: Judgement) -> tuple[float, float] | None:
    """Return the interval of the calibration error by leaving out one day after the other (the jackknife)."""
    if len(np.unique(rows.days)) < LEAST_DAYS:
        return None

    def error(kept: Mask) -> float:
        part = rows.only(kept)
        return _error(part, part.candidate).value

    found = clustered_jackknife(error, rows.days, limits=(0.0, 1.0))
    return found.low, found.high

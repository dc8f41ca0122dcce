"""The gate on the total: all predictions of the held-out rows together against all that happened."""

from __future__ import annotations

import msgspec
import numpy as np

from varv.kernel.errors import InvalidDeclaration
from varv.tasks import Task
from varv.training.gates import GateResult, Judgement


class Total(msgspec.Struct, frozen=True, tag="total"):
    """The sum of the predictions is within a share of the sum of the counts."""

    within: float

    def require_task(self, task: Task) -> None:
        """Check that predictions are numbers that add up to outcomes."""
        if type(task).residual is Task.residual or task.width != 1:
            hint = "leave it out"
            raise InvalidDeclaration(
                "gate", "total", "needs predictions that add up", task=task.name, hint=hint
            )

    def judge(self, judgement: Judgement) -> GateResult:
        """Compare the two sums."""
        predicted, seen = float(np.sum(judgement.candidate)), float(np.sum(judgement.outcome))
        off = abs(predicted - seen) / max(seen, 1.0)
        return GateResult(
            gate="total",
            passed=off <= self.within,
            verdict="within bounds" if off <= self.within else "beyond bounds",
            evidence={"predicted": predicted, "observed": seen, "off": off, "within": self.within},
            question=f"Is the sum of the predictions within {self.within:.0%} of what happened?",
            answer=f"{predicted:,.0f} were predicted, and there were {seen:,.0f}: {off:.1%} off.",
            n=len(judgement.outcome),
        )

"""Nouns of the gates: what a gate is, what it may ask for when it is declared, and what it answers.

A gate is a frozen struct of its arguments with a method `judge`; ours and other packages' alike. Ledgers keep
results, never gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import msgspec

from varv.features.kinds import Kind
from varv.kernel.wording import count, limits, number, with_minus_signs
from varv.tasks import Task

if TYPE_CHECKING:
    from varv.training.gates.judgement import Judgement

Verdict = Literal[
    "better",
    "not worse",
    "within bounds",
    "beyond bounds",
    "not shown",
    "nothing shown",
    "not measured",
    "worse",
    "no champion",
    "passed",
    "failed",
]
"""``"passed"`` and ``"failed"`` are from before verdicts said what was shown."""


class GateResult(msgspec.Struct, frozen=True):
    """What one gate asked, what the held-out rows answer, and the numbers that the answer rests on."""

    gate: str
    passed: bool
    verdict: Verdict
    evidence: dict[str, float | None]
    question: str = ""
    answer: str = ""
    n: int = 0
    """Rows that the answer rests on, or calls where time was measured; 0 where nothing was counted."""
    interval: tuple[float, float] | None = None
    """95 % interval of the number in question, clustered by day; None where there are too few days."""
    examples: tuple[str, ...] = ()
    """A few of the rows at fault, in words."""

    def line(self) -> str:
        """Return what the gate asked and what the held-out rows answer, with the numbers."""
        seen = self.evidence
        n = f"n\u00a0{count(self.n or seen.get('n'))}"
        if self.answer:
            counted = f" {n}" if self.n or seen.get("n") else ""
            return with_minus_signs(f"{self.question} {self.answer}{counted}")
        if self.gate == "calibrated":
            return f"ECE {number(seen.get('ece'))}, at most {number(seen.get('max_ece'))}, {n}"
        if seen.get("gain") is None:
            return n
        gain = limits(seen["gain"], seen.get("gain_low"), seen.get("gain_high"), 4)
        compared = f"{number(seen.get('candidate'), 4)} against {number(seen.get('champion'), 4)}"
        return f"gain {gain}, {compared}, {n}"


class Gate(Protocol):
    """What a candidate must show, or must not: a frozen `msgspec.Struct`."""

    def judge(self, judgement: Judgement) -> GateResult:
        """Return what the held-out rows say. It may be asked again, and must then say the same."""
        ...


@runtime_checkable
class NamesItself(Protocol):
    """A gate that can say before it is judged what its results are called."""

    def named(self, task: Task) -> str:
        """Return the name that its results bear."""
        ...


@runtime_checkable
class NeedsTask(Protocol):
    """A gate that not every task can meet."""

    def require_task(self, task: Task) -> None:
        """Check that the gate can be judged of models with this task.

        Raises
        ------
        InvalidDeclaration
            If it cannot.
        """
        ...


@runtime_checkable
class NeedsFeatures(Protocol):
    """A gate that names features."""

    def require_features(self, kinds: Mapping[str, Kind]) -> None:
        """Check that the features exist and are of the kind that the gate works with.

        Parameters
        ----------
        kinds
            Of every feature of the model: ``"numeric"`` or ``"categorical"``.

        Raises
        ------
        InvalidDeclaration
            If one does not, or is of another kind.
        """
        ...

"""Gates: what a candidate must not show on held-out rows, or it never meets traffic.

Declared as values, judged by a pure function. A gate refuses what is shown to be worse and passes the rest
to the rollout, which has live requests to judge by; each result names its question and says which of the two
it was. Every gate is judged even if another fails, and each result carries its numbers, so that a rejection
explains itself.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec
import numpy as np

from varv.kernel.clock import DAY
from varv.kernel.codec import finite
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.wording import count, limits, number, with_minus_signs
from varv.stats.calibration import CalibrationError, calibration_error, log_losses
from varv.stats.intervals import Estimate, clustered_mean, jackknife

METRICS = ("log_loss", "brier")

LEAST_ROWS, LEAST_DAYS = 50, 3
"""With fewer rows or days that the champion has not seen, nothing can be shown."""


class BeatsChampion(msgspec.Struct, frozen=True, tag="beats_champion"):
    """The mean loss on held-out rows is not shown to miss the champion's less `margin`.

    The candidate is refused if the 95 % interval of its gain lies below `margin` as a whole. Only rows that
    the champion was not fitted on are compared.
    """

    metric: str = "log_loss"
    margin: float = 0.0


class Calibrated(msgspec.Struct, frozen=True, tag="calibrated"):
    """The expected calibration error on held-out rows, less what a calibrated model shows there by chance,
    is at most `max_ece`, or no larger than the champion's on the same rows.

    The second half matters in a week that nothing prepared a model for: a candidate that copes better is not
    the one to be refused.
    """

    max_ece: float


Gate = BeatsChampion | Calibrated


def beats_champion(metric: str = "log_loss", *, margin: float = 0.0) -> BeatsChampion:
    """Declare that a candidate must not be shown to have a higher loss than the champion on the held-out
    stretches; see `BeatsChampion`.

    Parameters
    ----------
    metric
        ``"log_loss"`` or ``"brier"``.
    margin
        By how much its mean loss is to be lower.

    Raises
    ------
    InvalidDeclaration
        If the metric is not ``log_loss`` or ``brier``, or the margin is not a number of at least 0.
    """
    if metric not in METRICS:
        raise InvalidDeclaration(
            "gate", "beats_champion", f"has no metric {metric!r}", hint=f"use {' or '.join(METRICS)}"
        )
    return BeatsChampion(metric, _number("beats_champion", "margin", margin, 0.0, 10.0))


def calibrated(*, max_ece: float) -> Calibrated:
    """Declare the largest expected calibration error on the held-out stretches beyond chance; see
    `Calibrated`.

    Raises
    ------
    InvalidDeclaration
        If `max_ece` is not a number above 0 and at most 1.
    """
    return Calibrated(_number("calibrated", "max_ece", max_ece, 1e-6, 1.0))


Verdict = Literal[
    "better", "not worse", "within bounds", "nothing shown", "worse", "no champion", "passed", "failed"
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
    """Rows that the answer rests on."""
    interval: tuple[float, float] | None = None
    """95 % interval of the number in question, clustered by day; None where there are too few days."""

    def line(self) -> str:
        """Return what the gate asked and what the held-out rows answer, with the numbers."""
        seen = self.evidence
        n = f"n\u00a0{count(self.n or seen.get('n'))}"
        if self.answer:
            return with_minus_signs(f"{self.question} {self.answer} {n}")
        if self.gate == "calibrated":
            return f"ECE {number(seen.get('ece'))}, at most {number(seen.get('max_ece'))}, {n}"
        if seen.get("gain") is None:
            return n
        gain = limits(seen["gain"], seen.get("gain_low"), seen.get("gain_high"), 4)
        compared = f"{number(seen.get('candidate'), 4)} against {number(seen.get('champion'), 4)}"
        return f"gain {gain}, {compared}, {n}"


class HeldOut(NamedTuple):
    """The held-out rows of all stretches, in any order, and what was predicted of them.

    Parameters
    ----------
    outcome
        0 or 1, shape (n,).
    candidate
        Scores of the fits that were made before each stretch, shape (n,).
    at
        When each row was requested, in microseconds, shape (n,): rows of a day share their weather, so
        intervals cluster by day.
    champion
        Scores of the champion, shape (n,); None where there is none yet.
    unseen
        Whether the champion was fitted before the row was requested, shape (n,); None where there is none.
    """

    outcome: np.ndarray
    candidate: np.ndarray
    at: np.ndarray
    champion: np.ndarray | None = None
    unseen: np.ndarray | None = None

    @property
    def days(self) -> np.ndarray:
        """The number of the day of each row, shape (n,)."""
        return self.at // DAY


def judge(gates: tuple[Gate, ...], rows: HeldOut) -> tuple[GateResult, ...]:
    """Return the result of every gate."""
    return tuple(
        _judge_loss(gate, rows) if isinstance(gate, BeatsChampion) else _judge_calibration(gate, rows)
        for gate in gates
    )


def _judge_loss(gate: BeatsChampion, rows: HeldOut) -> GateResult:
    name, metric = f"beats_champion {gate.metric}", gate.metric.replace("_", "-")
    beyond = f" by {gate.margin:g} at least" if gate.margin else ""
    question = f"Is the {metric} shown not to be lower than the champion's{beyond}?"
    if rows.champion is None:
        n_all = len(rows.outcome)
        answer = "There is no champion to compare with."
        return GateResult(name, True, "no champion", {"n": float(n_all)}, question, answer, n_all)
    own = _comparable(rows)
    n, n_days, n_seen = len(own.outcome), len(np.unique(own.days)), len(rows.outcome) - len(own.outcome)
    counts: dict[str, float | None] = {"n": float(n), "n_seen": float(n_seen), "n_days": float(n_days)}
    if n < LEAST_ROWS or n_days < LEAST_DAYS:
        seen = f"the champion was fitted on {n_seen:,} of the {len(rows.outcome):,} held-out rows"
        answer = f"Nothing can be shown: {seen}, which leaves {n:,} of {n_days} days. The rollout decides."
        return GateResult(name, True, "nothing shown", counts, question, answer, n)
    assert own.champion is not None, "comparable rows have the champion's scores"
    ours, champions = (_losses(gate.metric, scores, own.outcome) for scores in (own.candidate, own.champion))
    gain = clustered_mean(champions - ours, own.days)
    evidence = counts | {
        "candidate": finite(float(ours.mean())),
        "champion": finite(float(champions.mean())),
        "gain": finite(gain.value),
        "gain_low": finite(gain.low),
        "gain_high": finite(gain.high),
        "margin": gate.margin,
    }
    verdict, answer = _loss_verdict(gain, gate.margin)
    passed, interval = verdict != "worse", (gain.low, gain.high)
    return GateResult(name, passed, verdict, evidence, question, answer, n, interval)


def _loss_verdict(gain: Estimate, margin: float) -> tuple[Verdict, str]:
    told = f"the gain is {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    told += f", {margin:g} was asked for" if margin else ""
    if gain.high < margin:
        return "worse", f"Shown worse: {told}."
    if gain.low > margin:
        return "better", f"Shown better: {told}."
    return "not worse", f"Not shown worse, so the rollout decides: {told}."


def _judge_calibration(gate: Calibrated, rows: HeldOut) -> GateResult:
    error = calibration_error(rows.outcome, rows.candidate)
    beyond = _beyond_chance(error)
    ours, theirs = _on_the_same_rows(rows)
    told = f"it is {error.value:.4f}, of which chance explains {error.by_chance:.4f}"
    verdict: Verdict = "worse"
    answer = f"Beyond {gate.max_ece:g}: {told}."
    if beyond <= gate.max_ece:
        verdict, answer = "within bounds", f"Within bounds: {told}."
    elif ours is not None and theirs is not None and ours <= theirs:
        verdict, answer = "not worse", f"Beyond {gate.max_ece:g}, but the champion's is no lower: {told}."
    evidence: dict[str, float | None] = {
        "ece": finite(error.value),
        "by_chance": finite(error.by_chance),
        "beyond_chance": beyond,
        "max_ece": gate.max_ece,
        "same_rows_beyond_chance": ours,
        "champion_beyond_chance": theirs,
        "n": float(error.n),
    }
    question = f"Is the calibration error beyond chance above {gate.max_ece:g}, and the champion's lower?"
    passed = verdict != "worse"
    return GateResult(
        "calibrated", passed, verdict, evidence, question, answer, error.n, _error_interval(rows)
    )


def _on_the_same_rows(rows: HeldOut) -> tuple[float | None, float | None]:
    """Return what exceeds chance in the candidate's and in the champion's calibration error on the rows that
    both can be compared on; None where there are none.
    """
    own = None if rows.champion is None else _comparable(rows)
    if own is None or own.champion is None or len(own.outcome) < LEAST_ROWS:
        return None, None
    errors = (calibration_error(own.outcome, scores) for scores in (own.candidate, own.champion))
    ours, theirs = map(_beyond_chance, errors)
    return ours, theirs


def _beyond_chance(error: CalibrationError) -> float:
    return max(0.0, error.value - error.by_chance)


def _error_interval(rows: HeldOut) -> tuple[float, float] | None:
    """Return the interval of the calibration error by leaving out one day after the other (the jackknife)."""
    days = np.unique(rows.days)
    if len(days) < LEAST_DAYS:
        return None
    whole = calibration_error(rows.outcome, rows.candidate).value
    left = [
        calibration_error(rows.outcome[rows.days != day], rows.candidate[rows.days != day]).value
        for day in days
    ]
    found = jackknife(whole, left, n=len(rows.outcome))
    return max(0.0, found.low), min(1.0, found.high)


def _comparable(rows: HeldOut) -> HeldOut:
    """Return the rows that the champion was not fitted on."""
    assert rows.champion is not None, "without a champion nothing is compared"
    own = np.ones(len(rows.outcome), dtype=bool) if rows.unseen is None else rows.unseen
    return HeldOut(rows.outcome[own], rows.candidate[own], rows.at[own], rows.champion[own])


def _losses(metric: str, scores: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return (scores - outcome) ** 2 if metric == "brier" else log_losses(outcome, scores)


def _number(gate: str, argument: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        hint = f"give a number from {low:g} to {high:g}"
        raise InvalidDeclaration("gate", gate, f"has a bad {argument}", given=repr(value)[:60], hint=hint)
    return float(value)

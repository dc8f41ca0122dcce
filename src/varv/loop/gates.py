"""Gates: what a candidate must show on held-out rows before it may meet traffic.

Declared as values, judged by a pure function. Every gate is judged even if another fails, and each verdict
carries its numbers, so that a rejection explains itself.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from varv.kernel.codec import finite
from varv.kernel.errors import InvalidDeclaration
from varv.stats.calibration import calibration_error, log_losses
from varv.stats.intervals import clustered_mean

METRICS = ("log_loss", "brier")


class BeatsChampion(msgspec.Struct, frozen=True, tag="beats_champion"):
    """The mean loss of the candidate on held-out rows is below the champion's, by `margin` at least."""

    metric: str = "log_loss"
    margin: float = 0.0


class Calibrated(msgspec.Struct, frozen=True, tag="calibrated"):
    """The expected calibration error on held-out rows is at most `max_ece`, or no larger than the champion's
    on them.

    The second half matters in a week that nothing prepared a model for: a candidate that copes better is not
    the one to be refused.
    """

    max_ece: float


Gate = BeatsChampion | Calibrated


def beats_champion(metric: str = "log_loss", *, margin: float = 0.0) -> BeatsChampion:
    """Declare that a candidate must have a lower loss than the champion on the held-out last stretch.

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
    """Declare the largest expected calibration error on the held-out last stretch; see `Calibrated`.

    Raises
    ------
    InvalidDeclaration
        If `max_ece` is not a number above 0 and at most 1.
    """
    return Calibrated(_number("calibrated", "max_ece", max_ece, 1e-6, 1.0))


class GateResult(msgspec.Struct, frozen=True):
    """The verdict of one gate and the numbers it rests on."""

    gate: str
    passed: bool
    verdict: Literal["passed", "failed", "no champion"]
    evidence: dict[str, float | None]


def judge(
    gates: tuple[Gate, ...],
    outcome: np.ndarray,
    candidate: np.ndarray,
    champion: np.ndarray | None,
    days: np.ndarray,
) -> tuple[GateResult, ...]:
    """Return the verdict of every gate.

    Parameters
    ----------
    outcome
        0 or 1, shape (n,).
    candidate, champion
        Scores of the same held-out rows, shape (n,); the champion's None where there is none yet.
    days
        Number of the day of each row, shape (n,): rows of a day share their weather, so intervals cluster by
        day.
    """
    return tuple(_judge(gate, outcome, candidate, champion, days) for gate in gates)


def _judge(
    gate: Gate, outcome: np.ndarray, candidate: np.ndarray, champion: np.ndarray | None, days: np.ndarray
) -> GateResult:
    n = float(len(outcome))
    if isinstance(gate, Calibrated):
        ece = calibration_error(outcome, candidate).value
        theirs = None if champion is None else calibration_error(outcome, champion).value
        passed = ece <= gate.max_ece or (theirs is not None and ece <= theirs)
        evidence = {"ece": finite(ece), "max_ece": gate.max_ece, "champion_ece": theirs, "n": n}
        return GateResult("calibrated", passed, "passed" if passed else "failed", evidence)
    name = f"beats_champion {gate.metric}"
    if champion is None:
        return GateResult(name, True, "no champion", {"n": n})
    ours, champions = _losses(gate.metric, candidate, outcome), _losses(gate.metric, champion, outcome)
    gain = champions - ours
    interval = clustered_mean(gain, days)
    passed = bool(gain.mean() > gate.margin)
    evidence = {
        "candidate": finite(float(ours.mean())),
        "champion": finite(float(champions.mean())),
        "gain": finite(float(gain.mean())),
        "gain_low": finite(interval.low),
        "gain_high": finite(interval.high),
        "margin": gate.margin,
        "n": n,
    }
    return GateResult(name, passed, "passed" if passed else "failed", evidence)


def _losses(metric: str, scores: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return (scores - outcome) ** 2 if metric == "brier" else log_losses(outcome, scores)


def _number(gate: str, argument: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        hint = f"give a number from {low:g} to {high:g}"
        raise InvalidDeclaration("gate", gate, f"has a bad {argument}", given=repr(value)[:60], hint=hint)
    return float(value)

"""Whether predicted probabilities mean what they say: losses a row, excess loss, calibration error,
reliability.

Plain arrays in, plain numbers out. *Excess loss* is what monitoring watches: the log loss of a row less the
log loss that its own score promises. Its mean is zero for a calibrated model whatever mix of requests
arrives, so a stormy month raises the loss but not the excess, and a changed world raises both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.intervals import Estimate, Numbers, clustered_jackknife, wilson

CLIP = 1e-6
"""Scores are kept this far from 0 and 1, so one certain and wrong answer costs at most 13.8 nats."""


class ReliabilityBin(NamedTuple):
    """Rows of similar score: what was predicted and what happened, with Wilson's 95 % interval."""

    mean_score: float
    rate: float
    low: float
    high: float
    n: int


class CalibrationError(NamedTuple):
    """The expected calibration error, and what a calibrated model would show by chance alone."""

    value: float
    by_chance: float
    n: int


def log_losses(outcomes: npt.ArrayLike, scores: npt.ArrayLike) -> Numbers:
    """Return the log loss of each row in nats, shape (n,).

    Raises
    ------
    ValueError
        If the shapes differ, an outcome is not 0 or 1, or a score not within [0, 1].

    Examples
    --------
    >>> log_losses([1, 0], [0.5, 0.5]).round(3).tolist()
    [0.693, 0.693]
    """
    y, p = _checked(outcomes, scores)
    return -special.xlogy(y, p) - special.xlog1py(1 - y, -p)


def promised_losses(scores: npt.ArrayLike) -> Numbers:
    """Return the log loss in nats that each score expects of itself if it is calibrated: its entropy, shape
    (n,).

    Raises
    ------
    ValueError
        If a score is not within [0, 1].

    Examples
    --------
    >>> promised_losses([0.5, 0.01]).round(3).tolist()
    [0.693, 0.056]
    """
    p = np.clip(_scores(scores), CLIP, 1 - CLIP)
    return special.entr(p) + special.entr(1 - p)


def excess_losses(outcomes: npt.ArrayLike, scores: npt.ArrayLike) -> Numbers:
    """Return the log loss of each row less what its score promised, in nats, shape (n,).

    Raises
    ------
    ValueError
        As `log_losses`.

    Notes
    -----
    Equal to (p - y) logit(p): given the score its mean is zero if the score is calibrated. It is blind where
    p is exactly one half, and to errors that cancel; `stats.ranking` and the mean of y - p see those.

    Examples
    --------
    >>> abs(float(excess_losses([1, 0, 0, 0], [0.25] * 4).mean())) < 1e-12
    True
    """
    y, p = _checked(outcomes, scores)
    return (p - y) * special.logit(p)


def excess_error(scores: npt.ArrayLike) -> float:
    """Return the standard error of the mean excess loss of rows with these scores, if the scores are right.

    Raises
    ------
    ValueError
        If there is no score or one is not within [0, 1].

    Notes
    -----
    The outcome of a row is then a coin of known chance: the variance of its excess is p (1 - p) logit(p)^2.

    Examples
    --------
    >>> round(excess_error([0.25] * 100), 4)
    0.0476
    """
    p = np.clip(_scores(scores), CLIP, 1 - CLIP)
    if not p.size:
        raise ValueError("a standard error needs at least one score")
    return float(np.sqrt(np.sum(p * (1 - p) * special.logit(p) ** 2))) / p.size


def calibration_error(outcomes: npt.ArrayLike, scores: npt.ArrayLike, *, bins: int = 15) -> CalibrationError:
    """Return the expected calibration error over bins of equal mass, and its size by chance.

    Raises
    ------
    ValueError
        As `log_losses`, or if `bins` is below 1 or there is no row.

    Notes
    -----
    Guo et al. (2017) with the equal-mass bins of Nixon et al. (2019). The estimate is biased upwards (Roelofs
    et al., 2022): `by_chance` is its mean for a calibrated model under a normal approximation, the sum over
    bins of w sqrt(2 p (1 - p) / (pi n)); a value near it says nothing against the model.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(size=20_000)
    >>> error = calibration_error(rng.uniform(size=p.size) < p, p)
    >>> error.value < 2 * error.by_chance < 0.03
    True
    """
    groups = _groups(*_sorted(outcomes, scores, bins), bins)
    weight, p = groups.n / groups.n.sum(), groups.mean_score
    chance = np.sqrt(2 * p * (1 - p) / (np.pi * groups.n))
    return CalibrationError(groups.error(), float(weight @ chance), int(groups.n.sum()))


def calibration_error_interval(
    outcomes: npt.ArrayLike, scores: npt.ArrayLike, clusters: npt.ArrayLike, *, bins: int = 15
) -> Estimate:
    """Return the expected calibration error with its 95 % interval, clusters being the unit of observation.

    Raises
    ------
    ValueError
        As `calibration_error`, or if the clusters are not one for each row.

    Notes
    -----
    `clustered_jackknife`. Rows are sorted once: without a cluster they still are.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(size=2000)
    >>> found = calibration_error_interval(rng.uniform(size=p.size) < p, p, np.arange(p.size) // 100)
    >>> found.low < found.value < found.high
    True
    """
    y, p = _checked(outcomes, scores)
    of_row = np.asarray(clusters)
    if of_row.shape != p.shape:
        raise ValueError(f"clusters must have the shape of the scores, {p.shape}, not {of_row.shape}")
    if bins < 1:
        raise ValueError(f"at least one bin is needed, not {bins}")
    order = np.argsort(p, kind="stable")
    y, p = y[order], p[order]

    def error(kept: npt.NDArray[np.bool_]) -> float:
        chosen = kept[order]
        return _groups(y[chosen], p[chosen], bins).error()

    return clustered_jackknife(error, of_row, limits=(0.0, 1.0))


def reliability(outcomes: npt.ArrayLike, scores: npt.ArrayLike, *, bins: int = 10) -> list[ReliabilityBin]:
    """Return the reliability table over at most `bins` groups of equal mass, lowest scores first.

    Raises
    ------
    ValueError
        As `log_losses`, or if `bins` is below 1 or there is no row.

    Examples
    --------
    >>> table = reliability([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], bins=2)
    >>> [(round(row.mean_score, 2), row.rate) for row in table]
    [(0.15, 0.0), (0.75, 1.0)]
    """
    groups = _groups(*_sorted(outcomes, scores, bins), bins)
    return [
        ReliabilityBin(float(score), *wilson(round(float(hits)), int(n)))
        for n, hits, score in zip(groups.n, groups.hits, groups.mean_score, strict=True)
    ]


class _Groups(NamedTuple):
    """Groups of rows with like scores, lowest first: arrays with an element for each."""

    n: Numbers
    hits: Numbers
    mean_score: Numbers

    def error(self) -> float:
        """Return the expected calibration error."""
        return float(self.n / self.n.sum() @ np.abs(self.hits / self.n - self.mean_score))


def _sorted(outcomes: npt.ArrayLike, scores: npt.ArrayLike, bins: int) -> tuple[Numbers, Numbers]:
    y, p = _checked(outcomes, scores)
    if bins < 1 or not y.size:
        raise ValueError(f"at least one bin and one row are needed, not {bins} and {y.size}")
    order = np.argsort(p, kind="stable")
    return y[order], p[order]


def _groups(y: Numbers, p: Numbers, bins: int) -> _Groups:
    """Return at most `bins` groups of equal mass of rows in the order of their scores."""
    # Equal scores stay in one group, or the table would depend on the order of the rows.
    ends = np.searchsorted(p, _quantiles(p, np.linspace(0, 1, bins + 1)[1:-1]), side="right")
    starts = np.unique(np.concatenate([[0], ends[ends < p.size]]))
    n = np.diff(starts, append=p.size).astype(np.float64)
    return _Groups(n, np.add.reduceat(y, starts), np.add.reduceat(p, starts) / n)


def _quantiles(p: Numbers, levels: Numbers) -> Numbers:
    """Return what ``np.quantile`` does of numbers that are in order already, which it would put in order."""
    place = levels * (p.size - 1)
    below = np.floor(place).astype(np.int64)
    low, high, between = p[below], p[np.minimum(below + 1, p.size - 1)], place - below
    return np.where(between < 0.5, low + (high - low) * between, high - (high - low) * (1 - between))


def _checked(outcomes: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    y, p = np.asarray(outcomes, dtype=np.float64), _scores(scores)
    if y.shape != p.shape:
        raise ValueError(f"outcomes and scores must have one shape (n,), not {y.shape} and {p.shape}")
    if not np.all((y == 0) | (y == 1)):
        raise ValueError("outcomes must be 0 or 1")
    return y, np.clip(p, CLIP, 1 - CLIP)


def _scores(scores: npt.ArrayLike) -> Numbers:
    p = np.asarray(scores, dtype=np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"scores must lie within [0, 1] and have a shape (n,), not {p.shape}")
    return p

"""How well scores rank outcomes: the area under the ROC curve and its interval.

Plain arrays in, plain numbers out. Cost is one sort. The interval takes rows as independent; across days use
`stats.intervals` on daily values.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.intervals import Estimate, Numbers


def auc(outcomes: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the chance that a positive row scores above a negative one, ties counting half.

    Parameters
    ----------
    outcomes
        0 or 1, shape (n,).
    scores
        Finite numbers, shape (n,).

    Returns
    -------
    float
        Between 0 and 1; not a number where one class is missing.

    Raises
    ------
    ValueError
        If the shapes differ or a value is not allowed.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    positive, negative = _placements(outcomes, scores)
    return float(positive.mean()) if positive.size and negative.size else float("nan")


def auc_interval(outcomes: npt.ArrayLike, scores: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Return the area under the ROC curve with DeLong's interval.

    Raises
    ------
    ValueError
        If the shapes differ or a value is not allowed.

    Notes
    -----
    Variance of DeLong, DeLong and Clarke-Pearson (1988) by the midranks of Sun and Xu (2014); the interval is
    cut on the logit scale so that it stays within [0, 1]. With one row of a class the interval is [0, 1].

    Examples
    --------
    >>> ranked = auc_interval([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> ranked.value, 0 < ranked.low < 0.75 < ranked.high < 1
    (0.75, True)
    """
    positive, negative = _placements(outcomes, scores)
    n = positive.size + negative.size
    if not positive.size or not negative.size:
        return Estimate(float("nan"), 0.0, 1.0, n)
    value = float(positive.mean())
    if min(positive.size, negative.size) < 2:
        return Estimate(value, 0.0, 1.0, n)
    variance = float(positive.var(ddof=1) / positive.size + negative.var(ddof=1) / negative.size)
    # A perfect ranking has no variance of its own; half a swapped pair keeps the logit finite and the
    # interval open.
    inner = float(np.clip(value, 0.5 / n, 1 - 0.5 / n))
    half = (
        float(special.ndtri(0.5 + confidence / 2))
        * np.sqrt(max(variance, 0.25 / n**2))
        / (inner * (1 - inner))
    )
    low, high = special.expit(special.logit(inner) + np.array([-half, half]))
    return Estimate(value, min(float(low), value), max(float(high), value), n)


def _placements(outcomes: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    """For each positive the share of negatives it beats; for each negative the share of positives that beat
    it.
    """
    y, s = np.asarray(outcomes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise ValueError(f"outcomes and scores must have one shape (n,), not {y.shape} and {s.shape}")
    if not np.all((y == 0) | (y == 1)) or not np.all(np.isfinite(s)):
        raise ValueError("outcomes must be 0 or 1 and scores finite")
    above, below = s[y == 1], s[y == 0]
    if not above.size or not below.size:
        return above, below
    whole = _midranks(s)
    positive = (whole[y == 1] - _midranks(above)) / below.size
    negative = 1 - (whole[y == 0] - _midranks(below)) / above.size
    return positive, negative


def _midranks(values: Numbers) -> Numbers:
    """Ranks from 1, tied values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]

"""How well scores rank outcomes: the area under the ROC curve (AUC) and its interval.

Plain arrays in, plain numbers out. Two numbers go by that name, and they differ: the AUC *pooled* over a
window compares every row with every other, so it also rewards knowing which days are bad; the AUC *within
days* compares rows of one day only. Both are named wherever they are shown.

For windows that are put together later, scores are counted in fixed cells (`score_cells`): counts add up, and
the AUC of any set of days follows from them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.intervals import Estimate, Numbers, lag_one_correlation

CELL_WIDTH, CELL_LIMIT = 0.05, 7.0
"""Cells of scores: so wide in log odds, from minus to plus the limit; the last ones hold what lies beyond."""

N_CELLS = round(2 * CELL_LIMIT / CELL_WIDTH)

_PRIOR_CORRELATION, _PRIOR_CLUSTERS = 0.1, 10
"""Clusters are taken as alike their neighbours until enough of them say otherwise."""


class _Placements(NamedTuple):
    """For each positive the share of negatives it beats; for each negative the share of positives that beat
    it.
    """

    positive: Numbers
    negative: Numbers


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
        If the shapes differ, there is no row, or a value is not allowed.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    placed = _placements(*_checked(outcomes, scores))
    return float(placed.positive.mean()) if placed.positive.size and placed.negative.size else math.nan


def auc_interval(
    outcomes: npt.ArrayLike,
    scores: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Return the area under the ROC curve with its interval.

    Parameters
    ----------
    outcomes, scores
        As in `auc`.
    clusters
        The cluster of each row, shape (n,): the number of its hour or day, growing with time. Without, every
        row is one, which is right for rows that share nothing.

    Raises
    ------
    ValueError
        If the shapes differ, there is no row, or a value is not allowed.

    Notes
    -----
    Without clusters the variance of DeLong, DeLong and Clarke-Pearson (1988) by the midranks of Sun and Xu
    (2014). With clusters, the placements of both classes are summed over each cluster first (Obuchowski,
    1997), neighbouring clusters may be alike (`lag_one_correlation`), and Student's quantile has as many
    degrees of freedom as independent clusters, less one. The interval is cut on the logit scale, so that it
    stays within [0, 1]; with one row of a class, or one cluster, it is [0, 1].

    Examples
    --------
    >>> ranked = auc_interval([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> ranked.value, 0 < ranked.low < 0.75 < ranked.high < 1
    (0.75, True)
    """
    y, s = _checked(outcomes, scores)
    groups = None if clusters is None else _groups(clusters, y)
    _check_confidence(confidence)
    placed = _placements(y, s)
    n = y.size
    if not placed.positive.size or not placed.negative.size:
        return Estimate(math.nan, 0.0, 1.0, n)
    value = float(placed.positive.mean())
    if min(placed.positive.size, placed.negative.size) < 2:
        return Estimate(value, 0.0, 1.0, n)
    if groups is None:
        return _cut(value, n, _row_variance(placed), math.inf, confidence)
    return _clustered(value, n, _influence(placed, y, groups, value), confidence)


def auc_error(outcomes: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the standard error of the AUC for independent rows (DeLong); not a number below two rows a
    class.

    Raises
    ------
    ValueError
        As `auc`.

    Examples
    --------
    >>> round(auc_error([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 2)
    0.35
    """
    y, s = _checked(outcomes, scores)
    placed = _placements(y, s)
    if min(placed.positive.size, placed.negative.size) < 2:
        return math.nan
    return math.sqrt(max(_row_variance(placed), 0.25 / y.size**2))


def macro_auc(codes: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the mean of the areas of each class against the rest.

    Parameters
    ----------
    codes
        The class of each row, from 0 to k - 1, shape (n,).
    scores
        Finite numbers, the higher the likelier the class, shape (n, k).

    Returns
    -------
    float
        Between 0 and 1; not a number where all rows are of one class.

    Raises
    ------
    ValueError
        If the shapes do not fit, there is no row, or a value is not allowed.

    Notes
    -----
    Every class weighs alike, however rare; one that is not among the rows has no area and is left out.

    Examples
    --------
    >>> macro_auc([0, 1, 2], [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    0.75
    """
    y, s = _checked_classes(codes, scores)
    areas = [auc(y == k, s[:, k]) for k in range(s.shape[1])]
    known = [area for area in areas if not math.isnan(area)]
    return sum(known) / len(known) if known else math.nan


def macro_auc_interval(
    codes: npt.ArrayLike, scores: npt.ArrayLike, clusters: npt.ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """Return the mean of the areas of each class against the rest with its interval.

    Parameters
    ----------
    codes, scores
        As in `macro_auc`.
    clusters
        As in `auc_interval`.

    Raises
    ------
    ValueError
        As `macro_auc`, or if the clusters have another shape.

    Notes
    -----
    What each cluster contributes to the error of every class's area, as in `auc_interval`, averaged over the
    classes. A class of one row is in the value, and tells nothing of the error: with many such classes the
    interval is too short.

    Examples
    --------
    >>> p = np.eye(3)[[0, 1, 2, 0, 1, 0]]
    >>> found = macro_auc_interval([0, 1, 2, 0, 1, 1], p, [1, 1, 1, 2, 2, 2])
    >>> found.low < found.value < found.high
    True
    """
    y, s = _checked_classes(codes, scores)
    _check_confidence(confidence)
    groups = _groups(clusters, y)
    influence = np.zeros(int(groups.max()) + 1)
    areas = []
    for k in range(s.shape[1]):
        of_class = (y == k).astype(np.float64)
        placed = _placements(of_class, s[:, k])
        if placed.positive.size and placed.negative.size:
            areas.append(float(placed.positive.mean()))
            influence += _influence(placed, of_class, groups, areas[-1])
    if not areas:
        return Estimate(math.nan, 0.0, 1.0, y.size)
    return _clustered(sum(areas) / len(areas), y.size, influence / len(areas), confidence)


def score_cells(scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the cell of each score, shape (n,), from 0 to `N_CELLS` - 1; higher scores lie in higher cells.

    Raises
    ------
    ValueError
        If a score is not within [0, 1].

    Examples
    --------
    >>> score_cells([0.0, 0.5, 0.5001, 1.0]).tolist()
    [0, 140, 140, 279]
    """
    p = np.asarray(scores, dtype=np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError("scores must be one-dimensional and lie within [0, 1]")
    with np.errstate(divide="ignore"):
        odds = np.clip(special.logit(p), -CELL_LIMIT, CELL_LIMIT)
    return np.clip(np.floor((odds + CELL_LIMIT) / CELL_WIDTH + 1e-9).astype(np.int64), 0, N_CELLS - 1)


def auc_of_counts(
    positives: npt.ArrayLike, negatives: npt.ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """Return the pooled AUC of clusters whose scores were counted in cells.

    Parameters
    ----------
    positives, negatives
        Rows of each class by cluster and cell, shapes (clusters, cells), clusters in order of time, lower
        scores in lower cells.

    Raises
    ------
    ValueError
        If the shapes differ, a count is negative or not finite, or there is no row.

    Notes
    -----
    As `auc_interval`, rows of a cell being tied; with `score_cells` the AUC is off by less than 0.001.

    Examples
    --------
    >>> auc_of_counts([[0, 1, 3], [0, 1, 2]], [[2, 1, 0], [3, 0, 1]]).value > 0.8
    True
    """
    up, down = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    _check_confidence(confidence)
    if up.ndim != 2 or up.shape != down.shape:
        raise ValueError(f"counts must have one shape (clusters, cells), not {up.shape} and {down.shape}")
    if not np.all(np.isfinite(up) & np.isfinite(down) & (up >= 0) & (down >= 0)):
        raise ValueError("counts must be finite and not negative")
    n_up, n_down = float(up.sum()), float(down.sum())
    n = round(n_up + n_down)
    if not n:
        raise ValueError("an AUC needs rows: all counts are zero")
    if not n_up or not n_down:
        return Estimate(math.nan, 0.0, 1.0, n)
    below, above = down.sum(axis=0), up.sum(axis=0)
    beaten = (np.cumsum(below) - below / 2) / n_down
    beaten_by = (n_up - np.cumsum(above) + above / 2) / n_up
    value = float(above @ beaten / n_up)
    if min(n_up, n_down) < 2:
        return Estimate(value, 0.0, 1.0, n)
    influence = up @ (beaten - value) / n_up + down @ (beaten_by - value) / n_down
    return _clustered(value, n, influence, confidence)


def _influence(placed: _Placements, y: Numbers, groups: npt.NDArray[np.int64], value: float) -> Numbers:
    """What each cluster contributes to the error of an area."""
    above = np.bincount(groups[y == 1], placed.positive - value, minlength=int(groups.max()) + 1)
    below = np.bincount(groups[y == 0], placed.negative - value, minlength=int(groups.max()) + 1)
    return above / placed.positive.size + below / placed.negative.size


def _clustered(value: float, n: int, influence: Numbers, confidence: float) -> Estimate:
    """The interval from what each cluster contributes to the estimate's error."""
    n_clusters = influence.size
    if n_clusters < 2:
        return Estimate(value, 0.0, 1.0, n)
    seen = lag_one_correlation(influence)
    prior = _PRIOR_CLUSTERS * _PRIOR_CORRELATION
    r = (n_clusters * seen + prior) / (n_clusters + _PRIOR_CLUSTERS)
    widened = (1 + r) / (1 - r)
    variance = n_clusters / (n_clusters - 1) * float(influence @ influence) * widened
    return _cut(value, n, variance, max(n_clusters / widened - 1, 1.0), confidence)


def _cut(value: float, n: int, variance: float, freedom: float, confidence: float) -> Estimate:
    upper = 0.5 + confidence / 2
    quantile = special.ndtri(upper) if math.isinf(freedom) else special.stdtrit(freedom, upper)
    # A perfect ranking has no variance of its own; half a swapped pair keeps the logit finite and the
    # interval open.
    inner = float(np.clip(value, 0.5 / n, 1 - 0.5 / n))
    half = float(quantile) * math.sqrt(max(variance, 0.25 / n**2)) / (inner * (1 - inner))
    low, high = special.expit(special.logit(inner) + np.array([-half, half]))
    return Estimate(value, min(float(low), value), max(float(high), value), n)


def _row_variance(placed: _Placements) -> float:
    return float(
        placed.positive.var(ddof=1) / placed.positive.size
        + placed.negative.var(ddof=1) / placed.negative.size
    )


def _checked(outcomes: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    y, s = np.asarray(outcomes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or not y.size:
        raise ValueError(
            f"outcomes and scores must have one shape (n,) with rows, not {y.shape} and {s.shape}"
        )
    if not np.all((y == 0) | (y == 1)) or not np.all(np.isfinite(s)):
        raise ValueError("outcomes must be 0 or 1 and scores finite")
    return y, s


def _checked_classes(codes: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], Numbers]:
    y, s = np.asarray(codes), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or s.ndim != 2 or y.shape != s.shape[:1] or not y.size:
        raise ValueError(
            f"codes (n,) and scores (n, k) must fit together, with rows, not {y.shape}, {s.shape}"
        )
    if not np.all((y >= 0) & (y < s.shape[1]) & (y == np.floor(y))) or not np.all(np.isfinite(s)):
        raise ValueError("codes must be whole numbers from 0 to k - 1 and scores finite")
    return y.astype(np.int64), s


def _groups(clusters: npt.ArrayLike, y: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    names = np.asarray(clusters)
    if names.shape != y.shape:
        raise ValueError(f"clusters must have the shape of the outcomes {y.shape}, not {names.shape}")
    return np.unique(names, return_inverse=True)[1]


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")


def _placements(y: Numbers, s: Numbers) -> _Placements:
    above, below = s[y == 1], s[y == 0]
    if not above.size or not below.size:
        return _Placements(above, below)
    whole = midranks(s)
    positive = (whole[y == 1] - midranks(above)) / below.size
    negative = 1 - (whole[y == 0] - midranks(below)) / above.size
    return _Placements(positive, negative)


def midranks(values: Numbers) -> Numbers:
    """Return ranks from 1, tied values sharing the mean of theirs.

    Raises
    ------
    ValueError
        If a value is not a number.

    Examples
    --------
    >>> midranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    if np.isnan(values).any():
        raise ValueError("what is not a number has no rank")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]

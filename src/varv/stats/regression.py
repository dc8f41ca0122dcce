"""How far predicted numbers are from what was observed, every number with an interval over clusters.

Plain arrays in, plain numbers out. Limits are cut on the log scale, where a mean of squares is closer to
symmetric and an interval cannot leave what is possible.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.intervals import Estimate, Numbers, clustered_mean

LEAST_SPREAD = 1e-140
"""Outcomes that lie closer together are equal: a ratio over their squares could not be written."""


class ObservedBin(NamedTuple):
    """Rows of similar prediction: their means, and the 95 % interval of the observed one."""

    mean_predicted: float
    mean_observed: float
    low: float
    high: float
    n: int


def clustered_ratio(
    numerators: npt.ArrayLike,
    denominators: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Return the ratio of two sums over rows with an interval that takes each cluster as one observation.

    Parameters
    ----------
    numerators, denominators
        Finite and not negative, shape (n,), the denominators not all zero.
    clusters
        The cluster of each row, shape (n,).

    Raises
    ------
    ValueError
        If the shapes differ, there is no row, or a number is not allowed.

    Notes
    -----
    Linearised (the delta method, Cochran 1977), as `clustered_mean`, on the log scale. One cluster gives all
    that is possible; a sum of nothing but zeros has no spread to learn from, and its interval is a point.

    Examples
    --------
    >>> half = clustered_ratio([1.0, 1.0, 2.0, 2.0], [2.0, 2.0, 4.1, 3.9], [1, 1, 2, 2])
    >>> half.value, half.low < 0.5 < half.high
    (0.5, True)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    upper, lower = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    groups = np.unique(np.asarray(clusters), return_inverse=True)[1]
    if upper.ndim != 1 or not upper.shape == lower.shape == groups.shape or not upper.size:
        shapes = f"{upper.shape}, {lower.shape} and {groups.shape}"
        raise ValueError(f"numerators, denominators and clusters must have one shape (n,), not {shapes}")
    if not np.all(np.isfinite(upper) & (upper >= 0) & np.isfinite(lower) & (lower >= 0)) or not lower.any():
        raise ValueError("numbers must be finite and not negative, and the denominators not all zero")
    value, n_clusters = float(upper.sum() / lower.sum()), int(groups.max()) + 1
    if n_clusters < 2:
        return Estimate(value, 0.0, np.inf, upper.size)
    if not value:
        return Estimate(0.0, 0.0, 0.0, upper.size)
    influence = np.bincount(groups, upper - value * lower) / upper.sum()
    error = float(np.sqrt(n_clusters / (n_clusters - 1) * np.sum(influence**2)))
    half = float(special.stdtrit(n_clusters - 1, 0.5 + confidence / 2)) * error
    with np.errstate(over="ignore"):
        return Estimate(value, float(value * np.exp(-half)), float(value * np.exp(half)), upper.size)


def root_mean_square(errors: npt.ArrayLike, clusters: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Return the root of the mean square of `errors`, in their unit, with its interval over clusters.

    Raises
    ------
    ValueError
        As `clustered_ratio`.

    Examples
    --------
    >>> root_mean_square([3.0, -3.0], [1, 2]).value
    3.0
    """
    squares = np.asarray(errors, dtype=np.float64) ** 2
    found = clustered_ratio(squares, np.ones_like(squares), clusters, confidence=confidence)
    value, low, high = (float(np.sqrt(part)) for part in found[:3])
    return Estimate(value, low, high, found.n)


def r_squared(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the share of the variance that the predictions explain; not a number where there is none.

    Raises
    ------
    ValueError
        If the shapes differ, there is no row, or a number is not finite.

    Notes
    -----
    1 less the squares about the predictions over the squares about the mean of these very rows: below zero
    where that mean would have been better, which no model knows beforehand.

    Examples
    --------
    >>> r_squared([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), r_squared([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    (1.0, 0.0)
    """
    errors, about_mean = _squares(observed, predicted)
    return 1 - float(errors.sum() / about_mean.sum()) if about_mean.any() else float("nan")


def r_squared_interval(
    observed: npt.ArrayLike, predicted: npt.ArrayLike, clusters: npt.ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """Return the share of the variance that the predictions explain, with its interval over clusters.

    Raises
    ------
    ValueError
        As `r_squared`, or if the clusters have another shape.

    Notes
    -----
    `clustered_ratio` of what is left unexplained. That the mean of the rows is estimated too does not matter
    to first order.

    Examples
    --------
    >>> found = r_squared_interval([0.0, 1.0, 0.0, 1.0], [0.1, 0.8, 0.1, 0.9], [1, 1, 2, 2])
    >>> found.low < found.value < found.high < 1
    True
    """
    errors, about_mean = _squares(observed, predicted)
    if not about_mean.any():
        return Estimate(float("nan"), -np.inf, 1.0, errors.size)
    left = clustered_ratio(errors, about_mean, clusters, confidence=confidence)
    return Estimate(1 - left.value, 1 - left.high, 1 - left.low, left.n)


def observed_by_predicted(
    observed: npt.ArrayLike, predicted: npt.ArrayLike, *, bins: int = 10
) -> list[ObservedBin]:
    """Return the mean of what was observed over at most `bins` groups of like prediction, lowest first.

    Raises
    ------
    ValueError
        As `r_squared`, or if `bins` is below 1.

    Notes
    -----
    Intervals are those of independent rows (Student); a group of one row has none. Equal predictions stay in
    one group.

    Examples
    --------
    >>> table = observed_by_predicted([1.0, 3.0, 8.0, 10.0], [2.0, 2.0, 9.0, 9.0], bins=2)
    >>> [(row.mean_predicted, row.mean_observed) for row in table]
    [(2.0, 2.0), (9.0, 9.0)]
    """
    y, p = _checked(observed, predicted)
    if bins < 1:
        raise ValueError(f"at least one bin is needed, not {bins}")
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1]))
    code = np.searchsorted(edges, p, side="left")
    rows = []
    for k in np.unique(code):
        inside = code == k
        mean = clustered_mean(y[inside], np.arange(int(inside.sum())))
        rows.append(ObservedBin(float(p[inside].mean()), *mean))
    return rows


def _squares(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    y, p = _checked(observed, predicted)
    about_mean = (y - y.mean()) ** 2
    # A constant has no variance, whatever rounding leaves of it; squares of what varies less vanish.
    return (y - p) ** 2, about_mean if np.ptp(y) > LEAST_SPREAD else np.zeros_like(y)


def _checked(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    y, p = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.ndim != 1 or y.shape != p.shape or not y.size:
        raise ValueError(
            f"observed and predicted must have one shape (n,) with rows, not {y.shape}, {p.shape}"
        )
    if not (np.all(np.isfinite(y)) and np.all(np.isfinite(p))):
        raise ValueError("observed and predicted must be finite")
    return y, p

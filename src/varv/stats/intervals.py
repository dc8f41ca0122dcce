"""Intervals for shares, means and paired differences when rows of one hour or day are not independent.

Plain arrays in, plain numbers out. Rows that share a storm are one observation, not hundreds, so the interval
of a mean takes clusters, and the interval of a difference over time resamples blocks. Randomness is a
generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

Numbers = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A number with its two-sided interval and the count of observations behind it."""

    value: float
    low: float
    high: float
    n: int


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """Return the share `successes` / `n` with Wilson's score interval.

    Raises
    ------
    ValueError
        If `successes` is not between 0 and `n`, or `confidence` not between 0 and 1.

    Notes
    -----
    Wilson (1927). With no observation the share is not a number and the interval is [0, 1].

    Examples
    --------
    >>> share = wilson(3, 10)
    >>> share.value, round(share.low, 3), round(share.high, 3)
    (0.3, 0.108, 0.603)
    """
    _check_confidence(confidence)
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n, not {successes} of {n}")
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0, 0)
    z2 = float(special.ndtri(0.5 + confidence / 2)) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Estimate(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)), n)


def clustered_mean(values: npt.ArrayLike, clusters: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Return the mean of `values` with an interval that takes each cluster as one observation.

    Parameters
    ----------
    values
        Finite numbers, shape (n,), n at least 1.
    clusters
        The cluster of each value, shape (n,): its hour or its day.

    Raises
    ------
    ValueError
        If the shapes differ, there is no value, or one is not finite.

    Notes
    -----
    The sandwich variance of Liang and Zeger (1986) with the factor G / (G - 1) and Student's quantile of G -
    1 degrees of freedom, as Cameron and Miller (2015) advise for few clusters. One cluster gives an infinite
    interval.

    Examples
    --------
    >>> two_days = clustered_mean([1.0, 1.0, 3.0, 3.0], [1, 1, 2, 2])
    >>> two_days.value, two_days.high > 10
    (2.0, True)
    """
    _check_confidence(confidence)
    mean, error, freedom, n = _clustered(values, clusters, 0.0)
    half = float(special.stdtrit(freedom, 0.5 + confidence / 2)) * error if freedom else np.inf
    return Estimate(mean, mean - half, mean + half, n)


def mean_of_clusters(sums: npt.ArrayLike, counts: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Return the mean over all rows, from the sum and the number of rows of each cluster.

    Parameters
    ----------
    sums, counts
        For each cluster the sum of its values and how many there are, shape (n,).

    Raises
    ------
    ValueError
        If the shapes differ, there is no row, or a number is not finite or a count negative.

    Notes
    -----
    As `clustered_mean`, when the rows are gone.

    Examples
    --------
    >>> mean_of_clusters([2.0, 6.0], [2, 2]).value
    2.0
    """
    total, size = _sums_and_counts(sums, counts)
    _check_confidence(confidence)
    n, n_clusters = float(size.sum()), int(np.count_nonzero(size))
    mean = float(total.sum() / n)
    if n_clusters == 1:
        return Estimate(mean, -np.inf, np.inf, round(n))
    influence = float(np.sum((total - mean * size) ** 2)) / n**2
    error = float(np.sqrt(n_clusters / (n_clusters - 1) * influence))
    half = float(special.stdtrit(n_clusters - 1, 0.5 + confidence / 2)) * error
    return Estimate(mean, mean - half, mean + half, round(n))


def exceedance_p_value(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    above: float = 0.0,
    above_error: float = 0.0,
    correlation: float = 0.0,
) -> float:
    """Return a one-sided p-value for "the mean of `values` is at most `above`", clusters being the unit.

    Parameters
    ----------
    values, clusters
        As in `clustered_mean`.
    above_error
        Standard error of `above`, where that was estimated from other rows.
    correlation
        Lag-one autocorrelation of the clusters' means; it widens the error and lowers the degrees of freedom.

    Raises
    ------
    ValueError
        If the shapes differ, there is no value, or one is not finite.

    Examples
    --------
    >>> days = np.repeat(np.arange(14), 10)
    >>> exceedance_p_value(1 + days % 2, days) < 1e-6 < exceedance_p_value(1 + days % 2, days, above=1.5)
    True
    """
    mean, error, freedom, _ = _clustered(values, clusters, correlation)
    if not (np.isfinite(above) and np.isfinite(above_error)) or above_error < 0:
        raise ValueError(f"above must be finite with an error of at least 0, not {above}, {above_error}")
    if not freedom:
        return 1.0
    return float(special.stdtr(freedom, (above - mean) / max(float(np.hypot(error, above_error)), 1e-12)))


def block_bootstrap_mean(
    sums: npt.ArrayLike,
    counts: npt.ArrayLike,
    *,
    block: int,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """Return a mean over time with a moving-block bootstrap interval.

    Parameters
    ----------
    sums, counts
        For each period in order of time, the sum of its values (say, of paired loss differences) and how many
        there were, shape (n,).
    block
        Periods that are drawn together; long enough that blocks are nearly independent, at most n.
    rng
        The source of chance.

    Raises
    ------
    ValueError
        If the shapes differ, there is no row, a number is not finite, or `block` does not fit.

    Notes
    -----
    Künsch (1989). The mean is the ratio of resampled sums and counts, so periods of many rows weigh more. The
    interval is the percentile one: simulated with 330 days of correlation 0.5 and blocks of 10 it covers in
    92 % of cases where 95 are asked for; days drawn one by one would cover in 75 %.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> daily = rng.normal(0.02, 0.05, 300)
    >>> gain = block_bootstrap_mean(daily * 900, np.full(300, 900), block=7, rng=rng)
    >>> 0.01 < gain.low < gain.value < gain.high < 0.03
    True
    """
    total, size = _sums_and_counts(sums, counts)
    _check_confidence(confidence)
    n = total.size
    if not 1 <= block <= n:
        raise ValueError(f"block must lie between 1 and {n}, not {block}")
    # Sums over every block at once: a resample then costs n / block additions instead of n.
    over_blocks = [np.convolve(series, np.ones(block), mode="valid") for series in (total, size)]
    starts = rng.integers(0, n - block + 1, size=(n_resamples, -(-n // block)))
    means = over_blocks[0][starts].sum(axis=1) / np.maximum(over_blocks[1][starts].sum(axis=1), 1e-12)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Estimate(float(total.sum() / size.sum()), float(low), float(high), int(size.sum()))


def lag_one_correlation(series: npt.ArrayLike) -> float:
    """Return the lag-one autocorrelation of daily values, shape (n,) or (n, k), between 0 and 0.8.

    Raises
    ------
    ValueError
        If a value is not finite.

    Notes
    -----
    Columns are pooled by their variance. The estimate of a short series is too small, so Kendall's (1954)
    correction (1 + 4 r) / n is added; negative correlation is taken as none, which keeps tests on the careful
    side.

    Examples
    --------
    >>> lag_one_correlation(np.tile([0.0, 1.0], 20))
    0.0
    """
    x = np.asarray(series, dtype=np.float64)
    if x.ndim not in (1, 2) or not np.all(np.isfinite(x)):
        raise ValueError(f"a series must be finite and of shape (n,) or (n, k), not {x.shape}")
    x = x.reshape(len(x), -1)
    centred = x - x.mean(axis=0)
    variance = float(np.sum(centred**2))
    if len(x) < 3 or variance <= 1e-20:
        return 0.0
    r = float(np.sum(centred[1:] * centred[:-1])) / variance
    return float(np.clip(r + (1 + 4 * r) / len(x), 0.0, 0.8))


def effective_size(n: int, correlation: float) -> float:
    """Return how many independent values say as much about a mean as `n` of a first-order autoregression.

    Raises
    ------
    ValueError
        If `n` is negative or `correlation` does not lie between -1 and 1.

    Examples
    --------
    >>> effective_size(30, 0.5)
    10.0
    """
    if n < 0 or not -1 < correlation < 1:
        raise ValueError(f"n must not be negative nor correlation reach 1, not {n} and {correlation}")
    return n * (1 - correlation) / (1 + correlation)


def jackknife(value: float, left_out: npt.ArrayLike, *, n: int, confidence: float = 0.95) -> Estimate:
    """Return an estimate with the interval of its values when one cluster after the other is left out.

    Parameters
    ----------
    value
        The estimate on all `n` observations.
    left_out
        The estimate without each of the clusters, shape (G,), G at least 2.

    Raises
    ------
    ValueError
        If there are fewer than two clusters, or a number is not finite.

    Notes
    -----
    The delete-one-cluster jackknife (Efron 1982) with Student's quantile of G - 1 degrees of freedom: for a
    statistic that is no mean, such as an area under a curve, where rows of a cluster belong together.

    Examples
    --------
    >>> mean = jackknife(2.0, [(1 + 3) / 2, (1 + 2) / 2, (2 + 3) / 2], n=3)
    >>> round(mean.low, 3), round(mean.high, 3)
    (-0.484, 4.484)
    """
    rest = np.asarray(left_out, dtype=np.float64)
    _check_confidence(confidence)
    if not (np.isfinite(value) and np.all(np.isfinite(rest))):
        raise ValueError("the estimates must be finite")
    if rest.ndim != 1 or rest.size < 2:
        raise ValueError(f"at least two clusters are needed, not {rest.size}")
    freedom = rest.size - 1
    error = float(np.sqrt(freedom * np.mean((rest - rest.mean()) ** 2)))
    half = float(special.stdtrit(freedom, 0.5 + confidence / 2)) * error
    return Estimate(value, value - half, value + half, n)


def clustered_jackknife(
    statistic: Callable[[npt.NDArray[np.bool_]], float],
    clusters: npt.ArrayLike,
    *,
    limits: tuple[float, float] = (-np.inf, np.inf),
    most: int = 60,
    confidence: float = 0.95,
) -> Estimate:
    """Return a statistic of rows with the interval of leaving out one cluster after the other.

    Parameters
    ----------
    statistic
        From which rows are kept, shape (n,), to its value on them.
    clusters
        The cluster of each row, shape (n,).
    limits
        What the statistic can be; the interval is cut to it, and is all of it where clusters are too few.
    most
        Of more clusters, neighbours are left out together, in so many groups of like size.

    Raises
    ------
    ValueError
        If there is no row.

    Notes
    -----
    `jackknife` over clusters. For a statistic without a formula for its error; where one cluster decides its
    value, or it is not smooth, as a quantile is not, the jackknife is not to be trusted (Efron 1982). It
    costs up to `most` times the statistic.

    Examples
    --------
    >>> x = np.array([1.0, 1.0, 3.0, 3.0])
    >>> mean = clustered_jackknife(lambda kept: float(x[kept].mean()), [1, 1, 2, 2])
    >>> mean.value, mean.high > 10
    (2.0, True)
    """
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    if not codes.size:
        raise ValueError("an estimate needs at least one row")
    n_clusters = int(codes.max()) + 1
    whole = statistic(np.ones(codes.size, dtype=bool))
    if n_clusters < 2 or not np.isfinite(whole):
        return Estimate(whole, *limits, codes.size)
    n_groups = min(n_clusters, most)
    codes = codes * n_groups // n_clusters
    left_out = [statistic(codes != group) for group in range(n_groups)]
    if not np.all(np.isfinite(left_out)):
        return Estimate(whole, *limits, codes.size)
    found = jackknife(whole, left_out, n=codes.size, confidence=confidence)
    return Estimate(whole, max(found.low, limits[0]), min(found.high, limits[1]), codes.size)


def _clustered(
    values: npt.ArrayLike, clusters: npt.ArrayLike, correlation: float
) -> tuple[float, float, float, int]:
    """Mean, its standard error, degrees of freedom (0 for one cluster) and number of values."""
    x = np.asarray(values, dtype=np.float64)
    groups = np.unique(np.asarray(clusters), return_inverse=True)[1]
    if x.ndim != 1 or x.shape != groups.shape or not x.size:
        raise ValueError(f"values and clusters must have one shape (n,), not {x.shape} and {groups.shape}")
    if not np.all(np.isfinite(x)):
        raise ValueError("values must be finite")
    mean, n_groups = float(x.mean()), int(groups.max()) + 1
    if n_groups == 1:
        return mean, float("inf"), 0.0, x.size
    sums = np.bincount(groups, weights=x - mean)
    independent = effective_size(n_groups, correlation)
    error = float(np.sqrt(n_groups / (n_groups - 1) * np.sum(sums**2) * n_groups / independent)) / x.size
    return mean, error, max(independent - 1, 1.0), x.size


def _sums_and_counts(sums: npt.ArrayLike, counts: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    total, size = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if total.ndim != 1 or total.shape != size.shape or not size.sum() > 0:
        raise ValueError(
            f"sums and counts must have one shape (n,) with rows, not {total.shape} and {size.shape}"
        )
    if not np.all(np.isfinite(total) & np.isfinite(size) & (size >= 0)):
        raise ValueError("sums must be finite, and counts must not be negative")
    return total, size


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")

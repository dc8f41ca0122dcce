"""Quantiles: what predicted ones cost a row, how often outcomes fall below them, where they cross, and the
interval of a sample's own.

Plain arrays in, plain numbers out. Shares below a level are what a quantile promises; they hold for outcomes
that are continuous, or nearly so. Where many outcomes are equal, such as zeros, even a right quantile has
more below it than its level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.calibration import CalibrationError
from varv.stats.intervals import Estimate, Numbers


def pinball_losses(outcomes: npt.ArrayLike, quantiles: npt.ArrayLike, levels: Sequence[float]) -> Numbers:
    """Return the pinball loss of each row, averaged over the levels, in the outcome's unit, shape (n,).

    Parameters
    ----------
    outcomes
        Finite numbers, shape (n,).
    quantiles
        Finite numbers, shape (n, q).
    levels
        Between 0 and 1, q of them.

    Raises
    ------
    ValueError
        If the shapes do not fit, a number is not finite or a level not between 0 and 1.

    Notes
    -----
    Koenker and Bassett (1978): level times what the outcome lies above, 1 - level times what it lies below.
    It is least, on average, at the true quantile. Averaged over many levels, twice of it is the continuous
    ranked probability score.

    Examples
    --------
    >>> pinball_losses([10.0], [[8.0, 12.0]], [0.1, 0.9]).round(2).tolist()
    [0.2]
    """
    y, q, level = _checked(outcomes, quantiles, levels)
    above = y[:, None] - q
    return np.maximum(level * above, (level - 1) * above).mean(axis=1)


def worst_pinball_loss(levels: Sequence[float], width: float) -> float:
    """Return the most that `pinball_losses` can be for numbers within a range of this width.

    Raises
    ------
    ValueError
        If a level is not between 0 and 1, or the width is negative.

    Notes
    -----
    For given quantiles the loss is convex in the outcome, so that the worst outcome is an end of the range,
    and then the worst quantiles are all at the other end.

    Examples
    --------
    >>> worst_pinball_loss([0.5, 0.9], 10.0)
    7.0
    """
    level = _levels(levels)
    if not width >= 0:
        raise ValueError(f"width must not be negative, not {width}")
    mean = float(level.mean())
    return max(mean, 1 - mean) * width


def coverage_error(
    outcomes: npt.ArrayLike, quantiles: npt.ArrayLike, levels: Sequence[float]
) -> CalibrationError:
    """Return how far the share of outcomes below each quantile is from its level, averaged over the levels,
    and how far it would be by chance.

    Raises
    ------
    ValueError
        As `pinball_losses`, or if there is no row.

    Notes
    -----
    By chance: the mean distance of a share of n independent rows from its own expectation, under a normal
    approximation, sqrt(2 l (1 - l) / (pi n)). Rows that share a storm are further off by chance than that.

    Examples
    --------
    >>> y = np.arange(100.0)
    >>> error = coverage_error(y, np.full((100, 1), 49.0), [0.5])
    >>> error.value, round(error.by_chance, 3)
    (0.0, 0.04)
    """
    y, q, level = _checked(outcomes, quantiles, levels)
    if not y.size:
        raise ValueError("a calibration error needs at least one row")
    gaps = np.abs(np.mean(y[:, None] <= q, axis=0) - level)
    chance = np.sqrt(2 * level * (1 - level) / (np.pi * y.size))
    return CalibrationError(float(gaps.mean()), float(chance.mean()), y.size)


def crossings(quantiles: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return in which rows a quantile lies below one of a lower level, shape (n,).

    Raises
    ------
    ValueError
        If the shape is not (n, q).

    Examples
    --------
    >>> crossings([[1.0, 2.0, 3.0], [1.0, 0.5, 3.0]]).tolist()
    [False, True]
    """
    q = np.asarray(quantiles, dtype=np.float64)
    if q.ndim != 2:
        raise ValueError(f"quantiles must have a shape (n, q), not {q.shape}")
    return np.any(np.diff(q, axis=1) < 0, axis=1)


def _checked(
    outcomes: npt.ArrayLike, quantiles: npt.ArrayLike, levels: Sequence[float]
) -> tuple[Numbers, Numbers, Numbers]:
    y, q = np.asarray(outcomes, dtype=np.float64), np.asarray(quantiles, dtype=np.float64)
    level = _levels(levels)
    if y.ndim != 1 or q.shape != (y.size, level.size):
        raise ValueError(
            f"outcomes (n,) and quantiles (n, {level.size}) must fit together, not {y.shape} and {q.shape}"
        )
    if not (np.all(np.isfinite(y)) and np.all(np.isfinite(q))):
        raise ValueError("outcomes and quantiles must be finite")
    return y, q, level


def _levels(levels: Sequence[float]) -> Numbers:
    level = np.asarray(levels, dtype=np.float64)
    if level.ndim != 1 or not level.size or not np.all((level > 0) & (level < 1)):
        raise ValueError(f"levels must lie between 0 and 1, at least one of them, not {list(levels)}")
    return level


def quantile_interval(values: npt.ArrayLike, level: float, *, confidence: float = 0.95) -> Estimate:
    """Return a quantile of a sample with an interval between two of its values.

    Parameters
    ----------
    values
        Finite numbers that are independent draws, shape (n,), n at least 1.
    level
        Between 0 and 1.

    Raises
    ------
    ValueError
        If there is no value, one is not finite, or the level or the confidence is not between 0 and 1.

    Notes
    -----
    Order statistics (David and Nagaraja 2003, 7.1): how many values lie below the quantile is binomial,
    whatever the distribution. Where the sample is too small for a limit, it is infinite: the 99th percentile
    has an upper limit from 368 values on. Draws that follow each other alike make it too short.

    Examples
    --------
    >>> quantile_interval(np.arange(1.0, 1001.0), 0.5)
    Estimate(value=500.0, low=469.0, high=532.0, n=1000)
    >>> quantile_interval([1.0, 2.0, 3.0], 0.99).high
    inf
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    if x.ndim != 1 or not x.size or not np.all(np.isfinite(x)):
        raise ValueError(f"a quantile needs finite values of shape (n,), not {x.shape}")
    if not (0 < level < 1 and 0 < confidence < 1):
        raise ValueError(f"level and confidence must lie between 0 and 1, not {level} and {confidence}")
    n, tail = x.size, (1 - confidence) / 2
    # The k-th smallest lies above the quantile only if fewer than k values lie below it.
    n_below = special.bdtr(np.arange(n + 1), n, level)
    lower = int(np.searchsorted(n_below, tail, side="right"))
    upper = int(np.searchsorted(n_below, 1 - tail, side="left")) + 1
    low = x[lower - 1] if lower >= 1 else -np.inf
    high = x[upper - 1] if upper <= n else np.inf
    value = x[max(int(np.ceil(level * n)), 1) - 1]
    return Estimate(float(value), float(low), float(high), n)

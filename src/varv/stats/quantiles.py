"""Predicted quantiles: what they cost a row, how often outcomes fall below them, and where they cross.

Plain arrays in, plain numbers out. Shares below a level are what a quantile promises; they hold for outcomes
that are continuous, or nearly so. Where many outcomes are equal, such as zeros, even a right quantile has
more below it than its level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from varv.stats.calibration import CalibrationError
from varv.stats.intervals import Numbers


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

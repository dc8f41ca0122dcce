"""Whether features go together as they did: the correlations of each pair, day by day, before and after.

Rows of one day share what happened on it, so days are the observations. Plain arrays in, plain numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.drift import holm

FEWEST_ROWS = 30
"""Of a day, of which both values are there."""
FEWEST_DAYS = 3
"""On either side."""
_MOST = 0.999_999
Numbers = npt.NDArray[np.float64]


class Shift(NamedTuple):
    """How the correlation of two columns has changed; `p_value` holds for all pairs together."""

    one: int
    other: int
    before: float
    after: float
    p_value: float


def correlation_shifts(before: Sequence[Numbers], after: Sequence[Numbers]) -> list[Shift]:
    """Return how each pair of columns is correlated before and after, the surest change first; pairs without
    enough days are left out.

    Parameters
    ----------
    before, after
        A matrix a day, shape (n, columns), NaN where there is no value.

    Raises
    ------
    ValueError
        If a day is no matrix, has other columns than another one, or an infinite value.

    Notes
    -----
    Each day gives Fisher's (1915) z of Pearson's correlation; Welch's (1947) test compares the days of both
    sides, and Holm's (1979) step holds the pairs together.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = [rng.normal(size=(200, 1)) for _ in range(10)]
    >>> days = [np.hstack([a, a + rng.normal(size=a.shape)]) for a in x]
    >>> turned = [day * [1, -1] for day in days]
    >>> [shift] = correlation_shifts(days[:5], turned[5:])
    >>> shift.before > 0.5, shift.after < -0.5, shift.p_value < 0.001
    (True, True, True)
    """
    every = [np.asarray(day, np.float64) for day in (*before, *after)]
    if any(day.ndim != 2 or day.shape[1] != every[0].shape[1] or np.isinf(day).any() for day in every):
        raise ValueError("days are matrices of the same columns, without infinite values")
    sides = [np.array([_fisher(day) for day in days]) for days in (before, after)]
    if any(len(side) < FEWEST_DAYS for side in sides):
        return []
    n_columns = sides[0].shape[1]
    found: list[Shift] = []
    for one in range(n_columns):
        for other in range(one + 1, n_columns):
            first, second = (side[:, one, other] for side in sides)
            first, second = first[np.isfinite(first)], second[np.isfinite(second)]
            if min(len(first), len(second)) < FEWEST_DAYS:
                continue
            p_value = _welch(first, second)
            found.append(Shift(one, other, _mean(first), _mean(second), p_value))
    joint = holm([shift.p_value for shift in found])
    held = [shift._replace(p_value=p) for shift, p in zip(found, joint, strict=True)]
    return sorted(held, key=lambda shift: (shift.p_value, -abs(shift.after - shift.before)))


def _fisher(day: Numbers) -> Numbers:
    """Return Fisher's z of every pair of columns, NaN where too few rows have both or one does not vary."""
    there = np.isfinite(day)
    counts = there.T.astype(np.float64) @ there
    filled = np.where(there, day, 0.0)
    sums, squares = filled.T @ there, (filled**2).T @ there
    with np.errstate(invalid="ignore", divide="ignore"):
        covered = filled.T @ filled - sums * sums.T / counts
        spread = squares - sums**2 / counts
        correlation = covered / np.sqrt(spread * spread.T)
    # What rounding leaves of a column that does not vary is no spread.
    flat = (spread <= 1e-9 * np.maximum(squares, 1e-300)) | (counts < FEWEST_ROWS)
    correlation[flat | flat.T] = np.nan
    return np.arctanh(np.clip(correlation, -_MOST, _MOST))


def _welch(first: Numbers, second: Numbers) -> float:
    if np.ptp(first) == 0.0 and np.ptp(second) == 0.0:
        return 1.0 if first[0] == second[0] else 0.0
    one, other = (float(side.var(ddof=1)) / len(side) for side in (first, second))
    t = float(first.mean() - second.mean()) / (one + other) ** 0.5
    # Satterthwaite's degrees of freedom.
    freedom = (one + other) ** 2 / (one**2 / (len(first) - 1) + other**2 / (len(second) - 1))
    return float(2 * special.stdtr(freedom, -abs(t)))


def _mean(z: Numbers) -> float:
    return float(np.tanh(z.mean()))

"""Samples of a population whose members had known chances: means of the whole, weights, and rows far apart.

Plain arrays in, plain numbers out. What is drawn is drawn by the caller; nothing here is random.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.intervals import Estimate, Numbers

MOST_WEIGHT = 20.0
"""A weight is clipped here: one row in a thousand must not decide a mean by itself."""


def inverse_probability_mean(
    values: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Return the mean of a population from members that were chosen with known probabilities.

    Parameters
    ----------
    values
        Of the members that were chosen, finite, shape (n,), n at least 1.
    probabilities
        With which each was to be chosen, above 0 and at most 1, shape (n,).
    weights
        What each member counts for beside its chance, above 0, shape (n,); 1 by default.

    Raises
    ------
    ValueError
        If the shapes differ, there is no value, or a number is not allowed.

    Notes
    -----
    The ratio estimator of Hajek (1971) and its linearised variance for independent draws: a member that was
    certain adds none. Where all that were not certain had one chance and a fixed number of them was drawn, it
    is the estimator of Horvitz and Thompson (1952), which has no bias.

    Examples
    --------
    >>> inverse_probability_mean([1.0, 0.0, 1.0], [1.0, 0.25, 0.25]).value
    0.5555555555555556
    """
    y, p = np.asarray(values, np.float64), np.asarray(probabilities, np.float64)
    own = np.ones_like(y) if weights is None else np.asarray(weights, np.float64)
    if y.ndim != 1 or not len(y) or y.shape != p.shape or y.shape != own.shape:
        raise ValueError(f"values and probabilities must have one shape (n,), not {y.shape} and {p.shape}")
    if not np.isfinite(y).all() or not ((p > 0) & (p <= 1) & (own > 0)).all():
        raise ValueError("values must be finite, probabilities in (0, 1], and weights above 0")
    inverse = own / p
    mean = float(inverse @ y / inverse.sum())
    n_drawn = int((p < 1).sum())
    small = n_drawn / (n_drawn - 1) if n_drawn > 1 else 1.0
    error = float(np.sqrt(small * np.sum((1 - p) * (inverse * (y - mean)) ** 2)) / inverse.sum())
    # A single member that was drawn says nothing of how much others differ from it.
    half = np.inf if n_drawn == 1 else float(special.ndtri(0.5 + confidence / 2)) * error
    return Estimate(mean, mean - half, mean + half, len(y))


def clipped_weights(probabilities: npt.ArrayLike, *, most: float = MOST_WEIGHT) -> Numbers:
    """Return what each row stands for, 1 / probability but at most `most`, shape (n,).

    Raises
    ------
    ValueError
        If a probability is not in (0, 1], or `most` is below 1.

    Notes
    -----
    Clipping (Ionides 2008) makes a mean a little wrong and much steadier.

    Examples
    --------
    >>> clipped_weights([1.0, 0.5, 0.001]).tolist()
    [1.0, 2.0, 20.0]
    """
    p = np.asarray(probabilities, np.float64)
    if most < 1 or not ((p > 0) & (p <= 1)).all():
        raise ValueError("probabilities must lie in (0, 1], and the most that a row counts be 1 at least")
    return np.minimum(1 / p, most)


def effective_sample_size(weights: npt.ArrayLike) -> float:
    """Return how many rows of equal weight would say as much: (sum of w)^2 / sum of w^2, Kish (1965).

    Examples
    --------
    >>> effective_sample_size([1.0, 1.0, 1.0, 1.0]), round(effective_sample_size([1.0, 1.0, 20.0]), 2)
    (4.0, 1.2)
    """
    w = np.asarray(weights, np.float64)
    return float(w.sum() ** 2 / (w @ w)) if len(w) else 0.0


def farthest_first(points: npt.ArrayLike, n: int, *, chosen: npt.ArrayLike = ()) -> list[int]:
    """Return `n` rows of `points` that lie far from each other and from those that are `chosen` already.

    Parameters
    ----------
    points
        Finite, shape (m, d).
    n
        How many; fewer if there are no more.
    chosen
        Numbers of rows. Without any, the first one is what lies farthest from the mean.

    Raises
    ------
    ValueError
        If a point is not finite.

    Notes
    -----
    The traversal of Gonzalez (1985): no row is more than twice as far from what was taken as under the best
    choice of `n`. Of equal distances the first row is taken, so the same points give the same rows.

    Examples
    --------
    >>> farthest_first([[0.0], [0.1], [1.0], [5.0]], 2, chosen=[0])
    [3, 2]
    """
    given, taken = np.asarray(points, np.float64), [int(row) for row in np.asarray(chosen, np.int64)]
    if given.ndim != 2 or not np.isfinite(given).all():
        raise ValueError(f"points must be finite and of a shape (m, d), not {given.shape}")
    if not len(given):
        return []
    centres = given[taken] if taken else given.mean(axis=0, keepdims=True)
    distance = np.full(len(given), np.inf)
    for centre in centres:
        distance = np.minimum(distance, ((given - centre) ** 2).sum(axis=1))
    distance[taken] = -1.0
    found: list[int] = []
    while len(found) < min(n, len(given) - len(taken)):
        row = int(distance.argmax())
        found.append(row)
        distance = np.minimum(distance, ((given - given[row]) ** 2).sum(axis=1))
        distance[[*taken, *found]] = -1.0
    return found

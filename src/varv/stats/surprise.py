"""How unlike earlier values a new one is, as evidence that adds up over many numbers and may be looked at all
the time: e-values, and the detector made of them.

Plain numbers in, plain numbers out. One value that is far off counts as much as several that are a little:
it is for tables, where one broken delivery has to be noticed at once. Models, whose days are few and whose
changes are small, are watched by `stats.change`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FEWEST = 30
"""Earlier values without which a new one says nothing."""
LARGEST = 100.0
"""A value counts at most this many standard deviations."""
_STAKE = 0.5
_PRICE = 5.0

Numbers = npt.NDArray[np.float64]


def distances(values: npt.ArrayLike, earlier: npt.ArrayLike, errors: npt.ArrayLike = 0.0) -> Numbers:
    """Return how far new values lie from the mean of earlier ones, in standard deviations of such a
    prediction, shape (m,); NaN where fewer than 30 earlier ones are known.

    Parameters
    ----------
    values
        Shape (m,); NaN where unknown.
    earlier
        Shape (n, m), NaN where unknown.
    errors
        The least standard deviation that is believed of each, shape (m,), in its unit: a number that never
        moved before may move as much as its own rows explain.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> week = np.tile([9.0, 11.0], 20)
    >>> distances([20.0], week[:, None]).round(1).tolist(), distances([20.0], week[:9, None]).tolist()
    ([9.8], [nan])
    """
    new, before = np.asarray(values, np.float64), np.asarray(earlier, np.float64)
    error = np.broadcast_to(np.asarray(errors, np.float64), new.shape)
    if before.ndim != 2 or before.shape[1:] != new.shape:
        raise ValueError(f"earlier values must have a shape (n, {new.size}), not {before.shape}")
    known = np.isfinite(before)
    n = known.sum(axis=0)
    enough = np.maximum(n, 2)
    mean = np.where(known, before, 0.0).sum(axis=0) / enough
    variance = np.where(known, (before - mean) ** 2, 0.0).sum(axis=0) / (enough - 1)
    scale = np.maximum(np.sqrt(variance * (1 + 1 / enough)), error)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(new == mean, 0.0, (new - mean) / scale)
    return np.where(n >= FEWEST, np.clip(found, -LARGEST, LARGEST), np.nan)


def e_values(distance: npt.ArrayLike) -> Numbers:
    """Return the e-value of each distance against "the new value is like the earlier ones", 1 for NaN.

    Notes
    -----
    (1 + |t|³ / 5) / 2. Its mean is below 1 as long as the third absolute moment of a distance is below 5: for
    30 earlier values, 1.8 where values are normal, 2.8 Laplace's, 3.1 Student's with 4 degrees of freedom. It
    is not for tails heavier than these; counts and amounts are to be logarithms.

    Examples
    --------
    >>> e_values([0.0, 2.0, 20.0, float("nan")]).tolist()
    [0.5, 1.3, 800.5, 1.0]
    """
    t = np.asarray(distance, np.float64)
    return np.where(np.isnan(t), 1.0, (1 - _STAKE) + _STAKE * np.abs(t) ** 3 / _PRICE)


def gathered(evidence: npt.ArrayLike, e: npt.ArrayLike) -> Numbers:
    """Return the evidence after one more e-value each; it begins at 0.

    Notes
    -----
    The Shiryaev-Roberts e-detector of Shin, Ramdas and Rinaldo (2023): evidence less the number of looks is a
    supermartingale while nothing changes, and so is the mean over many numbers, however they depend on each
    other. So the mean reaches c after c looks on average, at the earliest.

    Examples
    --------
    >>> gathered([0.0, 3.0], [1.0, 0.5]).tolist()
    [1.0, 2.0]
    """
    return (np.asarray(evidence, np.float64) + 1.0) * np.asarray(e, np.float64)

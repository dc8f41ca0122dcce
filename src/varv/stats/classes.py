"""Probabilities of several classes: losses a row, what they promise of themselves, and the label on top.

Plain arrays in, plain numbers out. A class is its code, 0 to k - 1. With two classes everything here is what
`stats.calibration` says of the probability of the second.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from varv.stats.calibration import CLIP
from varv.stats.intervals import Numbers

SUM_TOLERANCE = 1e-3
"""Probabilities of a row that add up to 1 within this are scaled to do so: float32 adds up no better."""


class TopLabels(NamedTuple):
    """The most likely class of each row, its probability, and whether it happened; shapes (n,)."""

    label: npt.NDArray[np.int64]
    probability: Numbers
    hit: Numbers


def are_distributions(probabilities: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which rows hold probabilities that add up to 1, shape (n,).

    Raises
    ------
    ValueError
        If the shape is not (n, k), k at least 2.

    Examples
    --------
    >>> are_distributions([[0.2, 0.8], [0.2, 0.2], [float("nan"), 1.0]]).tolist()
    [True, False, False]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 2:
        raise ValueError(f"probabilities must have a shape (n, k), k at least 2, not {p.shape}")
    # Reductions along short rows are slow; nearly always all rows are sound, and then none is needed.
    with np.errstate(invalid="ignore"):
        total = p @ np.ones(p.shape[1])
    if p.size and p.min() >= 0 and np.abs(total - 1).max() <= SUM_TOLERANCE:
        return np.ones(len(p), dtype=bool)
    return np.all(p >= 0, axis=1) & (np.abs(total - 1) <= SUM_TOLERANCE)


def class_log_losses(codes: npt.ArrayLike, probabilities: npt.ArrayLike) -> Numbers:
    """Return the log loss of each row in nats: minus the log of the probability of what happened, shape (n,).

    Parameters
    ----------
    codes
        The class that happened, shape (n,).
    probabilities
        Shape (n, k), rows adding up to 1.

    Raises
    ------
    ValueError
        If the shapes do not fit, a code is none of 0 to k - 1, or a row is no distribution.

    Notes
    -----
    Probabilities count as at least `stats.calibration.CLIP`, so a row costs at most 13.8 nats.

    Examples
    --------
    >>> class_log_losses([0, 2], [[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]).round(3).tolist()
    [0.693, 1.386]
    """
    y, p = _checked(codes, probabilities)
    return -np.log(np.maximum(p[np.arange(len(y)), y], CLIP))


def class_brier(codes: npt.ArrayLike, probabilities: npt.ArrayLike) -> Numbers:
    """Return the squared distance of each row's probabilities from what happened, between 0 and 2, shape
    (n,).

    Raises
    ------
    ValueError
        As `class_log_losses`.

    Notes
    -----
    Brier (1950) over all classes, which for two is twice the score of one of them.

    Examples
    --------
    >>> class_brier([1], [[0.5, 0.5]]).tolist()
    [0.5]
    """
    y, p = _checked(codes, probabilities)
    return np.einsum("nk,nk->n", p, p) + 1 - 2 * p[np.arange(len(y)), y]


def class_promised_losses(probabilities: npt.ArrayLike) -> Numbers:
    """Return the log loss in nats that each row expects of itself if it is calibrated: its entropy, shape
    (n,).

    Raises
    ------
    ValueError
        If a row is no distribution.

    Examples
    --------
    >>> class_promised_losses([[0.5, 0.5, 0.0]]).round(3).tolist()
    [0.693]
    """
    p = _distributions(probabilities)
    return -np.einsum("nk,nk->n", p, np.log(np.maximum(p, CLIP)))


def class_excess_error(probabilities: npt.ArrayLike) -> float:
    """Return the standard error of the mean of log loss less promise, if the probabilities are right.

    Raises
    ------
    ValueError
        If there is no row or one is no distribution.

    Notes
    -----
    The class of a row is then drawn from its probabilities: the variance of its loss is that of minus the log
    of what is drawn.

    Examples
    --------
    >>> round(class_excess_error([[0.75, 0.25]] * 100), 4)
    0.0476
    """
    p = _distributions(probabilities)
    if not len(p):
        raise ValueError("a standard error needs at least one row")
    logs = np.log(np.maximum(p, CLIP))
    mean = np.einsum("nk,nk->n", p, logs)
    # About the mean: squares less the squared mean leave a negative rest where all classes are alike.
    return float(np.sqrt(np.sum(p * (logs - mean[:, None]) ** 2))) / len(p)


def top_labels(codes: npt.ArrayLike, probabilities: npt.ArrayLike) -> TopLabels:
    """Return the most likely class of each row, its probability, and 1 where it happened.

    Raises
    ------
    ValueError
        As `class_log_losses`.

    Notes
    -----
    For a calibrated model the mean of hit less probability is zero, and so it is at each level of the
    probability: confidence calibration (Guo et al., 2017), which says nothing of the other classes. Of
    equally likely classes the first is on top.

    Examples
    --------
    >>> label, probability, hit = top_labels([0, 2], [[0.6, 0.3, 0.1], [0.1, 0.7, 0.2]])
    >>> label.tolist(), probability.round(2).tolist(), hit.tolist()
    ([0, 1], [0.6, 0.7], [1.0, 0.0])
    """
    y, p = _checked(codes, probabilities)
    label = p.argmax(axis=1)
    return TopLabels(label, np.minimum(p[np.arange(len(y)), label], 1.0), (label == y).astype(np.float64))


def _checked(codes: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], Numbers]:
    p, given = _distributions(probabilities), np.asarray(codes)
    if given.shape != p.shape[:1]:
        raise ValueError(f"codes must have the shape ({len(p)},), not {given.shape}")
    with np.errstate(invalid="ignore"):
        y = given.astype(np.int64)
    if not np.all((y == given) & (y >= 0) & (y < p.shape[1])):
        raise ValueError(f"codes must be whole numbers from 0 to {p.shape[1] - 1}")
    return y, p


def _distributions(probabilities: npt.ArrayLike) -> Numbers:
    if not np.all(are_distributions(probabilities)):
        raise ValueError("each row must hold probabilities that add up to 1")
    p = np.asarray(probabilities, dtype=np.float64)
    return p / (p @ np.ones((p.shape[1], 1)))

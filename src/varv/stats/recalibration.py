"""Probabilities of classes brought to what has turned out: one temperature, and a shift of each class.

Plain arrays in, plain numbers out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from varv.stats.calibration import CLIP
from varv.stats.intervals import Numbers

_ROUNDS = 50
_LEAST_SLOPE = 0.05


class Recalibration:
    """Maps probabilities to ones that mean what they say, as `fitted` found it.

    Parameters
    ----------
    slope
        By which log-probabilities are multiplied: 1 / temperature.
    shift
        Added to those of each class, shape (k,).
    """

    def __init__(self, slope: float, shift: Numbers) -> None:
        self.slope = slope
        self.shift = shift

    def __call__(self, probabilities: npt.ArrayLike) -> Numbers:
        """Return calibrated probabilities, shape (n, k)."""
        return _softmax(self.slope * _logs(probabilities) + self.shift)


def unchanged(k: int) -> Recalibration:
    """Return the map of `k` classes that leaves probabilities as they are."""
    return Recalibration(1.0, np.zeros(k))


def fitted(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Recalibration:
    """Return the map that makes what happened likeliest.

    Parameters
    ----------
    labels
        The classes that happened, as codes, shape (n,).
    probabilities
        What was predicted before, shape (n, k).

    Raises
    ------
    ValueError
        If the shapes do not go together.

    Notes
    -----
    Temperature scaling with a bias of each class (Guo et al. 2017; Alexandari et al. 2020), which for two
    classes is Platt's scaling of the logit. The log loss is convex in slope and shifts, so Newton's steps
    find it; a prior of one row's worth keeps a few rows from shouting. A slope below .05 is held there: no
    evidence turns a ranking round.

    Examples
    --------
    >>> overconfident = [[0.01, 0.99]] * 10
    >>> calibrated = fitted([1] * 8 + [0] * 2, overconfident)(overconfident)
    >>> bool(0.75 < calibrated[0, 1] < 0.85)
    True
    """
    y, logs = np.asarray(labels, np.int64), _logs(probabilities)
    n, k = logs.shape
    if y.shape != (n,):
        raise ValueError(f"labels of shape (n,) go with (n, k), not {y.shape} with {logs.shape}")
    # What each parameter adds to the score of each class: the slope its logs, a shift one.
    design = np.concatenate([logs[:, :, None], np.broadcast_to(np.eye(k), (n, k, k))], axis=2)
    prior = np.concatenate([[1.0], np.zeros(k)])
    found = prior.copy()
    for _ in range(_ROUNDS):
        p = _softmax(design @ found)
        mean = np.einsum("nk,nkj->nj", p, design)
        gradient = (mean - design[np.arange(n), y]).sum(axis=0) + (found - prior)
        hessian = np.einsum("nk,nki,nkj->ij", p, design, design) - mean.T @ mean + np.eye(k + 1)
        step = np.linalg.solve(hessian, gradient)
        found = found - step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-9:
            break
    return Recalibration(max(float(found[0]), _LEAST_SLOPE), found[1:])


def _logs(probabilities: npt.ArrayLike) -> Numbers:
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2:
        raise ValueError(f"probabilities must have a shape (n, k), not {p.shape}")
    return np.log(np.clip(p, CLIP, None))


def _softmax(scores: Numbers) -> Numbers:
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)

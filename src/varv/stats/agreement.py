"""How far two people who label the same things agree, beyond what chance would do.

Plain arrays in, plain numbers out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.intervals import Estimate


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Return Cohen's kappa of two raters with its interval.

    Parameters
    ----------
    first, second
        What each said of the same n things, shape (n,).

    Raises
    ------
    ValueError
        If the shapes differ.

    Notes
    -----
    Cohen (1960), with the large-sample variance of Fleiss, Cohen and Everitt (1969). Where both said one and
    the same of everything, or there is nothing, chance explains all: kappa is not a number, its interval
    [-1, 1].

    Examples
    --------
    >>> found = cohen_kappa(["a", "a", "b", "b"], ["a", "a", "b", "a"])
    >>> found.value, found.low < 0.5 < found.high
    (0.5, True)
    """
    one, other = np.asarray(first), np.asarray(second)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"ratings must have one shape (n,), not {one.shape} and {other.shape}")
    n = len(one)
    names, codes = np.unique(np.concatenate([one, other]), return_inverse=True)
    table = np.zeros((len(names), len(names)))
    np.add.at(table, (codes[:n], codes[n:]), 1 / max(n, 1))
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, expected = float(np.trace(table)), float(rows @ columns)
    if n == 0 or expected >= 1 - 1e-12:
        return Estimate(float("nan"), -1.0, 1.0, n)
    kappa = (observed - expected) / (1 - expected)
    agreed = np.diag(table) @ ((1 - expected) - (rows + columns) * (1 - observed)) ** 2
    off = table - np.diag(np.diag(table))
    differed = (1 - observed) ** 2 * np.sum(off * (columns[:, None] + rows[None, :]) ** 2)
    level = (observed * expected - 2 * expected + observed) ** 2
    variance = max(0.0, float(agreed + differed - level)) / (n * (1 - expected) ** 4)
    half = float(special.ndtri(0.5 + confidence / 2)) * variance**0.5
    return Estimate(kappa, max(-1.0, kappa - half), min(1.0, kappa + half), n)

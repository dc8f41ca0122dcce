"""What engines answer, in the one form that the port promises; every runtime here ends in it."""

from __future__ import annotations

import numpy as np

from varv.kernel.errors import Corrupt


def as_predictions(answer: np.ndarray, n: int, width: int) -> np.ndarray:
    """Return an engine's answer as float32 of shape (n, width).

    Parameters
    ----------
    answer
        Of shape (n,) or (n, width). Where a prediction is one number, two columns are the probabilities of
        two classes, of which the second is meant.

    Raises
    ------
    Corrupt
        If it is of another shape.

    Examples
    --------
    >>> as_predictions(np.array([[0.75, 0.25]]), 1, 1)
    array([[0.25]], dtype=float32)
    """
    found = np.asarray(answer, dtype=np.float32)
    columns = found.reshape(n, -1) if found.size % n == 0 else found.reshape(1, -1)
    if columns.shape != (n, width) and not (width == 1 and columns.shape == (n, 2)):
        why = f"answers of shape {found.shape} to {n} rows, where a prediction has {width} numbers"
        raise Corrupt("package", "", "does not answer in the form of its task", why=why)
    return columns[:, -width:]

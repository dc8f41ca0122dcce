"""Labels that are probably wrong, by what a model that had not seen them thinks of them.

Plain arrays in, plain numbers out. Candidates are for somebody to look at; nothing is cleaned here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from varv.stats.intervals import Numbers


class LabelErrors(NamedTuple):
    """Which labels are candidates, the worst first, what they may be instead, and by how much."""

    rows: npt.NDArray[np.int64]
    likelier: npt.NDArray[np.int64]
    """The class that the model is confident of, for each of `rows`."""
    margin: Numbers
    """Its probability less that of the label."""


def confident_errors(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> LabelErrors:
    """Return the rows whose label is probably wrong.

    Parameters
    ----------
    labels
        Classes as codes, shape (n,).
    probabilities
        Of each class, from a model that was not fitted on these labels, shape (n, k).

    Raises
    ------
    ValueError
        If the shapes do not go together, or a code is no class.

    Notes
    -----
    Confident learning, Northcutt, Jiang and Chuang (2021). The threshold of a class is the mean probability
    of it over the rows that are labelled so: a model that is timid about a class is believed earlier. A row
    is counted for the likeliest class among those whose threshold it reaches, and is a candidate where that
    is not its label. Rows are ranked by the margin.

    Examples
    --------
    >>> found = confident_errors([0, 0, 1, 1, 0], [[.9, .1], [.8, .2], [.2, .8], [.1, .9], [.05, .95]])
    >>> found.rows.tolist(), found.likelier.tolist()
    ([4], [1])
    """
    y, p = np.asarray(labels, np.int64), np.asarray(probabilities, np.float64)
    if p.ndim != 2 or y.shape != (len(p),):
        raise ValueError(f"labels of shape (n,) go with (n, k), not {y.shape} with {p.shape}")
    if len(y) and not (y.min() >= 0 and y.max() < p.shape[1]):
        raise ValueError(f"labels must be codes from 0 to {p.shape[1] - 1}")
    # A class that nobody labelled has no threshold, and nothing is counted for it.
    threshold = np.array(
        [p[y == code, code].mean() if (y == code).any() else np.inf for code in range(p.shape[1])]
    )
    reached = np.where(p >= threshold, p, -1.0)
    likelier = reached.argmax(axis=1) if len(p) else np.zeros(0, np.int64)
    everyone = np.arange(len(y))
    rows = np.flatnonzero((reached[everyone, likelier] >= 0) & (likelier != y))
    margin = p[rows, likelier[rows]] - p[rows, y[rows]]
    order = np.argsort(-margin, kind="stable")
    return LabelErrors(rows[order], likelier[rows][order].astype(np.int64), margin[order])

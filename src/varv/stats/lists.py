"""How well scores order the rows of lists: discounted gain, and the rank of the first row that matters.

Plain arrays in, plain numbers out. The unit is the list: the rows that were shown together. Rows of one score
share their places, so that nothing depends on the order in which they come.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.intervals import Numbers


class ListScores(NamedTuple):
    """A number for each list, and where the lists are."""

    value: Numbers
    """Shape (lists,); not a number for a list in which no row is relevant, where any order is as good."""
    code: npt.NDArray[np.int64]
    """The number of the list of each row, shape (n,)."""
    first: npt.NDArray[np.int64]
    """One row of each list, the first, shape (lists,)."""


class _Sorted(NamedTuple):
    """Rows by list, then by score, the highest first."""

    order: npt.NDArray[np.int64]
    code: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    """From 0 in each list."""
    tie: npt.NDArray[np.int64]
    """The number of the run of equal scores."""


def ndcg(
    relevance: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike, *, at: int | None = None
) -> ListScores:
    """Return the normalised discounted cumulative gain of each list, between 0 and 1.

    Parameters
    ----------
    relevance
        How much each row matters, finite and not negative, shape (n,).
    scores
        What the rows are ordered by, highest first, finite, shape (n,).
    groups
        The list of each row, shape (n,).
    at
        Places that count, from the top; all of them without.

    Raises
    ------
    ValueError
        If the shapes differ, a number is not allowed, or `at` is below 1.

    Notes
    -----
    Järvelin and Kekäläinen (2002), with the relevance itself as gain and the logarithm of base 2. Equal
    scores have the mean of their orders (McSherry and Najork, 2008).

    Examples
    --------
    >>> ndcg([0, 1, 1, 0], [0.9, 0.1, 0.7, 0.2], [1, 1, 2, 2]).value.round(3).tolist()
    [0.631, 1.0]
    """
    gain, score, code, first = _checked(relevance, scores, groups)
    if at is not None and at < 1:
        raise ValueError(f"at must be at least 1, not {at}")
    by_score = _by_score(score, code)
    places = by_score.position
    discount = 1 / np.log2(places + 2.0)
    if at is not None:
        discount[places >= at] = 0.0
    of_tie = np.bincount(by_score.tie, gain[by_score.order]) / np.maximum(np.bincount(by_score.tie), 1)
    reached = np.bincount(by_score.code, of_tie[by_score.tie] * discount, minlength=first.size)
    ideal_gain = gain[np.lexsort((-gain, code))]
    ideal = np.bincount(by_score.code, ideal_gain * discount, minlength=first.size)
    value = np.full(first.size, np.nan)
    np.divide(reached, ideal, out=value, where=ideal > 0)
    return ListScores(np.minimum(value, 1.0), code, first)


def reciprocal_ranks(relevance: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike) -> ListScores:
    """Return for each list 1 over the place of its first relevant row, between 0 and 1.

    Parameters
    ----------
    relevance, scores, groups
        As in `ndcg`; a row is relevant if its relevance is above 0.

    Raises
    ------
    ValueError
        As `ndcg`.

    Notes
    -----
    Voorhees (1999). Where the first relevant row shares its score with others, the mean over their orders:
    of m rows with r relevant ones, the first relevant one is at place j with chance C(m - j, r - 1) / C(m,
    r).

    Examples
    --------
    >>> reciprocal_ranks([0, 1, 1, 0], [0.9, 0.1, 0.7, 0.7], [1, 1, 2, 2]).value.round(6).tolist()
    [0.5, 0.75]
    """
    gain, score, code, first = _checked(relevance, scores, groups)
    by_score = _by_score(score, code)
    tie = by_score.tie
    relevant = (gain > 0)[by_score.order]
    n_relevant, size = np.bincount(tie, relevant).astype(np.float64), np.bincount(tie).astype(np.float64)
    starts = np.flatnonzero(np.diff(tie, prepend=-1))
    # Of each list, the first run of equal scores that holds a relevant row.
    holds = np.flatnonzero(n_relevant > 0)
    lists, at = np.unique(by_score.code[starts[holds]], return_index=True)
    decisive = np.zeros(size.size, dtype=bool)
    decisive[holds[at]] = True
    m, r = size[tie], n_relevant[tie]
    place = np.arange(tie.size) - starts[tie] + 1.0
    possible = decisive[tie] & (place <= m - r + 1)
    m, r, place = m[possible], r[possible], place[possible]
    chance = np.exp(_log_binomial(m - place, r - 1) - _log_binomial(m, r))
    worth = chance / (by_score.position[starts[tie]][possible] + place)
    value = np.full(first.size, np.nan)
    value[lists] = np.bincount(by_score.code[possible], worth, minlength=first.size)[lists]
    return ListScores(np.minimum(value, 1.0), code, first)


def _log_binomial(n: Numbers, k: Numbers) -> Numbers:
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)


def _by_score(score: Numbers, code: npt.NDArray[np.int64]) -> _Sorted:
    order = np.lexsort((-score, code))
    in_order, ranked = code[order], score[order]
    new_list = np.diff(in_order, prepend=-1) != 0
    starts = np.flatnonzero(new_list)
    position = np.arange(code.size) - np.repeat(starts, np.diff(starts, append=code.size))
    new_tie = new_list | (np.diff(ranked, prepend=np.nan) != 0)
    return _Sorted(order, in_order, position, np.cumsum(new_tie) - 1)


def _checked(
    relevance: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike
) -> tuple[Numbers, Numbers, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    gain, score = np.asarray(relevance, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    of_row = np.asarray(groups)
    if gain.ndim != 1 or not gain.shape == score.shape == of_row.shape:
        shapes = f"{gain.shape}, {score.shape} and {of_row.shape}"
        raise ValueError(f"relevance, scores and groups must have one shape (n,), not {shapes}")
    if not np.all(np.isfinite(gain) & (gain >= 0)) or not np.all(np.isfinite(score)):
        raise ValueError("relevance must be finite and not negative, and scores finite")
    _, first, code = np.unique(of_row, return_index=True, return_inverse=True)
    return gain, score, code, first

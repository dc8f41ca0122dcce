"""Shapley values: what each of several features contributed to a prediction.

A game says what a coalition of features is worth: the mean prediction where these have the values of the row
that is explained and the others those of rows of a background (the interventional expectation of Lundberg and
Lee, NeurIPS 2017). A feature's Shapley value is its mean worth to the coalitions that it may join, so the
values add up to the prediction of the row less the mean of the background, exactly.

Few features are counted out; of many, orders in which features join are drawn, each with its reverse (Castro,
Gómez and Tejada 2009; Mitchell et al., JMLR 2022), so that the error of every value is known.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from varv.stats.intervals import Numbers

Coalitions = npt.NDArray[np.bool_]
Game = Callable[[Coalitions], Numbers]
"""From coalitions, shape (m, d), to what each is worth, shape (m, width)."""
MOST_COUNTED_OUT = 9
"""So many features have 512 coalitions, which is less than sampling takes."""


class Contributions(NamedTuple):
    """What features contributed to one prediction."""

    base: Numbers
    """What the empty coalition is worth, shape (width,)."""
    values: Numbers
    """Shape (d, width); with the base they add up to the prediction."""
    errors: Numbers
    """The standard error of each, shape (d, width); 0 where all coalitions were counted."""
    is_exact: bool


def shapley_values(game: Game, d: int, rng: np.random.Generator, *, n_pairs: int = 16) -> Contributions:
    """Return the Shapley values of a game.

    Parameters
    ----------
    game
        What coalitions are worth.
    d
        The number of features, at least 1.
    rng
        Draws orders.
    n_pairs
        How many pairs of orders are drawn, at least 2, where there are more than nine features.

    Raises
    ------
    ValueError
        If there is no feature, or fewer than two pairs, or a coalition is worth no finite number.

    Examples
    --------
    >>> def game(inside):
    ...     return (inside @ np.array([1.0, 2.0]) + 3.0)[:, None]
    >>> found = shapley_values(game, 2, np.random.default_rng(1))
    >>> found.values[:, 0].tolist(), found.base.tolist()
    ([1.0, 2.0], [3.0])
    """
    if d < 1 or n_pairs < 2:
        raise ValueError("needs a feature and two pairs of orders at least")
    return _counted_out(game, d) if d <= MOST_COUNTED_OUT else _sampled(game, d, rng, n_pairs)


def _counted_out(game: Game, d: int) -> Contributions:
    numbers = np.arange(1 << d)
    inside = (numbers[:, None] >> np.arange(d) & 1).astype(np.bool_)
    worth = _finite(game(inside))
    sizes = inside.sum(axis=1)
    weights = np.array([1 / (d * comb(d - 1, size)) for size in range(d)])
    values = np.empty((d, worth.shape[1]))
    for feature in range(d):
        without = numbers[~inside[:, feature]]
        gains = worth[without | 1 << feature] - worth[without]
        values[feature] = weights[sizes[without]] @ gains
    return Contributions(worth[0], values, np.zeros_like(values), True)


def _sampled(game: Game, d: int, rng: np.random.Generator, n_pairs: int) -> Contributions:
    orders = np.array([rng.permutation(d) for _ in range(n_pairs)])
    both = np.concatenate([orders, orders[:, ::-1]])
    # Row k of an order is the coalition of its first k features.
    joined = np.argsort(both, axis=1)[:, None, :] < np.arange(d + 1)[None, :, None]
    worth = _finite(game(joined.reshape(-1, d))).reshape(len(both), d + 1, -1)
    gains = np.empty((len(both), d, worth.shape[2]))
    np.put_along_axis(gains, both[:, :, None], np.diff(worth, axis=1), axis=1)
    pairs = (gains[:n_pairs] + gains[n_pairs:]) / 2
    errors = pairs.std(axis=0, ddof=1) / np.sqrt(n_pairs)
    return Contributions(worth[0, 0], pairs.mean(axis=0), errors, False)


def _finite(worth: npt.ArrayLike) -> Numbers:
    found = np.asarray(worth, np.float64)
    if not np.isfinite(found).all():
        raise ValueError("a coalition is worth no finite number")
    return found

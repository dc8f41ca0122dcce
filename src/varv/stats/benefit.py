"""What a fresh model would gain: a growth curve of the excess loss, learned from pairs of own versions.

Two versions that scored the same requests differ by what the later one knew more of and by how much younger
it is; season and difficulty are the same for both and cancel. From many such pairs follows by how much the
version in service will fall behind one that is trained now. Plain arrays in, plain numbers out; randomness is
a generator that is passed in. Which versions, which requests and when is decided in `loop.benefit`; what such
a rule would have done on a past is in `stats.regret`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from varv.stats.intervals import Numbers

N_TERMS = 3
N_DRAWS = 60
LEAST_PERIODS = 3
"""Periods with pairs, below which nothing is learned from them."""
MOST_EXTRAPOLATED = 8.0
"""How many times the longest gap between two trainings a curve is trusted for."""


class PairSums(NamedTuple):
    """What the pairs of one period say of the curve: sums over pairs that least squares need."""

    gram: Numbers
    """Weighted products of the terms, shape (3, 3)."""
    moment: Numbers
    """Weighted products of terms and differences, shape (3,)."""
    n_pairs: int


class Curve(NamedTuple):
    """A growth curve: its coefficients, shape (3,), and those of every draw, shape (n_draws, 3).

    The coefficients are the loss a request for each unit of the logarithm of outcomes known, for each
    reciprocal of them, and for each period of age.
    """

    coefficients: Numbers
    draws: Numbers


class Predicted(NamedTuple):
    """A predicted sum of losses, what it exceeds with the certainty asked for, and what it stays below with
    the same.
    """

    value: float
    low: float
    high: float


def terms(n_known: npt.ArrayLike, n_fresh: npt.ArrayLike, age: npt.ArrayLike) -> Numbers:
    """Return by how much one model is behind a fresher one, in the terms of the curve, shape (..., 3).

    Parameters
    ----------
    n_known, n_fresh
        Outcomes known when either was trained, at least 1.
    age
        Periods between the two trainings.

    Raises
    ------
    ValueError
        If a number is not finite.

    Notes
    -----
    A fresher model that knows no more, as with a sliding window, is not behind: no term is below zero.

    Examples
    --------
    >>> terms(1000, 2000, 4).round(4).tolist()
    [0.6931, 0.0005, 4.0]
    """
    known, fresh = np.maximum(n_known, 1.0), np.maximum(n_fresh, 1.0)
    found = [np.log(fresh / known), 1.0 / known - 1.0 / fresh, np.asarray(age, dtype=np.float64)]
    stacked = np.stack(np.broadcast_arrays(*found), axis=-1)
    if not np.all(np.isfinite(stacked)):
        raise ValueError("outcomes known and ages must be finite")
    return np.maximum(stacked, 0.0)


def pair_sums(losses: npt.ArrayLike, n_known: npt.ArrayLike, trained: npt.ArrayLike, n: float) -> PairSums:
    """Return what the versions that scored the requests of one period say of the curve, pair by pair.

    Parameters
    ----------
    losses
        The mean loss of each version on the same requests, none of which it was fitted on, shape (k,).
    n_known
        Outcomes known at the training of each, shape (k,).
    trained
        When each was trained, in periods, shape (k,), in order.
    n
        How many requests the period had: the weight of its pairs.

    Raises
    ------
    ValueError
        If the shapes differ or a number is not finite.
    """
    loss, known, at = (np.asarray(one, dtype=np.float64) for one in (losses, n_known, trained))
    if not loss.shape == known.shape == at.shape or loss.ndim != 1:
        raise ValueError(f"versions must have one shape (k,), not {loss.shape}, {known.shape}, {at.shape}")
    if not np.all(np.isfinite([*loss, *known, *at, n])):
        raise ValueError("losses, outcomes known and times must be finite")
    old, new = np.triu_indices(loss.size, 1)
    x = terms(known[old], known[new], at[new] - at[old])
    weighted = n * x
    return PairSums(weighted.T @ x, weighted.T @ (loss[old] - loss[new]), old.size)


def growth_curve(
    periods: Sequence[PairSums], rng: np.random.Generator, *, n_draws: int = N_DRAWS
) -> Curve | None:
    """Return the curve that the pairs of all periods say together; None where too few periods have pairs.

    Parameters
    ----------
    periods
        One for each period; those without pairs count for nothing.
    rng
        The source of chance: the draws resample whole periods, since all pairs of one share its requests.

    Raises
    ------
    ValueError
        If a sum is not finite.

    Notes
    -----
    Least squares without an intercept, since a version is not behind itself, and with no coefficient below
    zero, since what is known more of does not harm and age does not help; periods weigh by their requests.
    Pairs of one period are correlated, so only periods are resampled.
    """
    known = [period for period in periods if period.n_pairs]
    if len(known) < LEAST_PERIODS:
        return None
    grams = np.stack([period.gram for period in known])
    moments = np.stack([period.moment for period in known])
    if not (np.all(np.isfinite(grams)) and np.all(np.isfinite(moments))):
        raise ValueError("sums of pairs must be finite")
    times = rng.multinomial(len(known), np.full(len(known), 1.0 / len(known)), size=n_draws)
    counts = np.vstack([np.ones(len(known)), times])
    found = _nonnegative(np.tensordot(counts, grams, axes=1), counts @ moments)
    return Curve(found[0], found[1:])


def is_beyond(trained: npt.ArrayLike, now: float) -> bool:
    """Return whether so much time has passed since the last training that pairs of versions say nothing of
    it.

    Parameters
    ----------
    trained
        When versions were trained, in periods, shape (k,), in order.
    now
        The present, in periods.

    Raises
    ------
    ValueError
        If a time is not finite, or they are not in order.

    Notes
    -----
    Versions of three spring weeks differ little in summer, and all of them may be far behind one that has
    seen summer: only a fresh version shows that. So the curve is trusted for eight times the longest gap;
    where nothing ages this is one training more, at eight periods, and the next at more than sixty.

    Examples
    --------
    >>> is_beyond([0, 1, 2, 3], 10), is_beyond([0, 1, 2, 3], 11), is_beyond([0, 1, 2, 3, 11], 60)
    (False, True, False)
    """
    at = np.asarray(trained, dtype=np.float64)
    if at.ndim != 1 or not np.all(np.isfinite([*at, now])) or np.any(np.diff(at) < 0):
        raise ValueError("trainings must be finite times in order")
    return at.size > 1 and now - float(at[-1]) >= MOST_EXTRAPOLATED * float(np.diff(at).max())


def predicted(curve: Curve, exposure: npt.ArrayLike, *, certainty: float) -> Predicted:
    """Return the loss that a curve predicts for what requests were exposed to.

    Parameters
    ----------
    exposure
        The sum over requests of the terms by which the version in service was behind a fresh one, shape (3,).
    certainty
        With which the true sum is at least ``low``; above 0 and below 1.

    Raises
    ------
    ValueError
        If `certainty` does not lie between 0 and 1, or `exposure` is not three finite numbers.
    """
    if not 0 < certainty < 1:
        raise ValueError(f"certainty must lie between 0 and 1, not {certainty}")
    behind = np.asarray(exposure, dtype=np.float64)
    if behind.shape != (N_TERMS,) or not np.all(np.isfinite(behind)):
        raise ValueError(f"an exposure has {N_TERMS} finite numbers, not {behind}")
    low, high = np.quantile(curve.draws @ behind, [1 - certainty, certainty])
    return Predicted(float(curve.coefficients @ behind), float(low), float(high))


def price_of_budget(
    coefficients: npt.ArrayLike, n_known: npt.ArrayLike, n: npt.ArrayLike, n_trainings: int
) -> float:
    """Return the lowest price at which the curve asks for at most so many trainings on a past.

    Parameters
    ----------
    coefficients
        Of the curve, shape (3,).
    n_known
        Outcomes known at the start of each period of the past, shape (T,); a first model is trained at the
        start of the first.
    n
        Requests of each period, shape (T,).
    n_trainings
        After the first.

    Raises
    ------
    ValueError
        If there is no period, shapes differ, a number is not finite, or `n_trainings` is negative.
    """
    known, requests = np.asarray(n_known, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if known.ndim != 1 or known.shape != requests.shape or not known.size or not n_trainings >= 0:
        raise ValueError(f"periods must have one shape (T,), not {known.shape} and {requests.shape}")
    if not np.all(np.isfinite([*np.ravel(coefficients), *requests])):
        raise ValueError("coefficients and requests must be finite")
    time = np.arange(known.size)
    behind = terms(known[:, None], known[None, :], time[None, :] - time[:, None])
    lost = np.cumsum(np.triu(behind @ np.asarray(coefficients) * requests, 1), axis=1)
    # A price just above what was lost by a period is the lowest that lets that period pass.
    prices = [0.0, *np.nextafter(np.unique(lost), np.inf).tolist()]
    return prices[bisect_left(prices, True, key=lambda price: _n_trainings(lost, price) <= n_trainings)]


def _n_trainings(lost: Numbers, price: float) -> int:
    """Return how often training whenever the loss since the last one reaches `price` trains, from the loss
    that a version of each period has cost through each later one, shape (T, T).
    """
    n, version, last = 0, 0, lost.shape[1] - 1
    while version < last:
        reached = np.flatnonzero(lost[version, version:last] >= price)
        if not reached.size:
            break
        version, n = version + int(reached[0]) + 1, n + 1
    return n


def _nonnegative(grams: Numbers, moments: Numbers) -> Numbers:
    """Return the non-negative least squares of many sets of sums, from (m, 3, 3) and (m, 3), shape (m, 3).

    Notes
    -----
    The best solution is the unconstrained one of those terms that it uses. With three terms there are seven
    such sets, so all are tried and the best admissible one is taken.
    """
    scale = np.sqrt(np.einsum("mii->mi", grams).max(axis=0))
    scale = np.where(scale > 0, scale, 1.0)
    gram, moment = grams / np.outer(scale, scale), moments / scale
    # A trace of a ridge, so that terms that never differ do not stop the solver.
    gram = gram + 1e-9 * np.eye(N_TERMS)
    best, found = np.zeros(len(moment)), np.zeros_like(moment)
    for size in range(1, N_TERMS + 1):
        for chosen in map(list, combinations(range(N_TERMS), size)):
            part = np.linalg.solve(gram[:, chosen][:, :, chosen], moment[:, chosen, None])[:, :, 0]
            value = -np.einsum("mi,mi->m", part, moment[:, chosen])
            better = np.all(part >= 0, axis=1) & (value < best)
            best = np.where(better, value, best)
            full = np.zeros_like(moment)
            full[:, chosen] = part
            found = np.where(better[:, None], full, found)
    return found / scale

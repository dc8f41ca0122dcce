"""Evidence that may be looked at all the time: e-processes in logarithms, and intervals that always hold.

Under its null hypothesis an e-process is a bet whose expected wealth never exceeds 1. By Ville's inequality
its chance of *ever* reaching 1/alpha is then at most alpha, however often one looks and whenever one stops.
An average of e-processes is one too, so every test here bets on a small grid of alternatives and averages the
wealth.

Each function returns *increments*: one logarithm of wealth per alternative. Increments of later data are
added to those of earlier data, element by element, and `log_e_value` turns the sum into the logarithm of the
e-value.

References: Ville (1939); Ramdas, Grünwald, Vovk and Shafer (2023), Game-theoretic statistics and safe
anytime-valid inference. Arrays in, numbers out; who acts on a number, and at which threshold, is decided in
`rollout.rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

Numbers = npt.NDArray[np.float64]
Values = Sequence[float] | npt.NDArray[np.float64] | npt.NDArray[np.int64]
Side = Literal["harm", "safety"]

HARM_RATIOS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
"""Alternatives to "not more often than before", as multiples of the null ratio."""
SAFETY_RATIOS = (0.9, 0.75, 0.55, 0.35, 0.2)
"""Alternatives to "at least this many times as often", as multiples of the null ratio."""
BETS = np.geomspace(0.01, 0.9, 12)
"""Stakes as shares of the largest stake that cannot go bankrupt; small ones suit small effects, large ones
large."""


def log_e_value(increments: Values) -> float:
    """Return the logarithm of the e-value: of the wealth averaged over all alternatives.

    Parameters
    ----------
    increments
        Summed increments of one test, shape (k,), k at least 1.

    Examples
    --------
    >>> log_e_value([0.0, 0.0])
    0.0
    """
    logs = np.asarray(increments, dtype=np.float64)
    top = logs.max()
    return float(top + np.log(np.mean(np.exp(logs - top))))


def arm_increments(
    x: Values,
    y: Values,
    share: Values,
    *,
    null_ratio: float = 1.0,
    alternatives: Sequence[float] = HARM_RATIOS,
) -> Numbers:
    """Return log-wealth increments on the arms in which bad events fell, shape (number of alternatives,).

    Parameters
    ----------
    x, y
        Bad events of the candidate and of the champion in each tick, shapes (n,).
    share
        The candidate's assignment probability in each tick, shape (n,), fixed before the tick; it may change
        freely.
    null_ratio
        The ratio of bad-event rates, candidate to champion, that the null hypothesis allows.
    alternatives
        Multiples of `null_ratio` to bet on. All above 1 test the null "at most `null_ratio`" (harm when it is
        1); all below 1 test the null "at least `null_ratio`" (safety).

    Raises
    ------
    ValueError
        If shapes differ, a count is negative, a share lies outside [0, 1], an event fell in an arm without
        traffic, or the alternatives are not all on one side of 1.

    Notes
    -----
    If the candidate's rate is r times the champion's, a bad event fell to the candidate with probability
    r s / (1 - s + r s), whatever the base rate. So incidents that hit both arms, and rates that change with
    the hour, cancel; nothing is assumed but the router's coin. The likelihood ratio is that of Lindon and
    Malek (2022), Anytime-valid inference for multinomial count data.

    Examples
    --------
    >>> calm = arm_increments([5], [95], [0.05])
    >>> wrong = arm_increments([40], [95], [0.05])
    >>> bool(log_e_value(calm) < 0 < np.log(20) < log_e_value(wrong))
    True
    """
    hits, others, s = (np.asarray(part, dtype=np.float64).reshape(-1) for part in (x, y, share))
    factors = np.asarray(alternatives, dtype=np.float64)
    if not hits.shape == others.shape == s.shape:
        raise ValueError(
            f"x, y and share must have one shape (n,), not {hits.shape}, {others.shape}, {s.shape}"
        )
    if not (np.all(hits >= 0) and np.all(others >= 0) and np.all((s >= 0) & (s <= 1))):
        raise ValueError("counts must not be negative and shares must lie within [0, 1]")
    if np.any((s == 0) & (hits > 0)) or np.any((s == 1) & (others > 0)):
        raise ValueError("an arm without traffic cannot have events")
    if null_ratio <= 0 or not (np.all(factors > 1) or (np.all(factors > 0) and np.all(factors < 1))):
        raise ValueError("null_ratio must be positive and alternatives all above 1 or all between 0 and 1")
    r = null_ratio * factors[:, None]
    shift = np.log1p(s * (r - 1)) - np.log1p(s * (null_ratio - 1))
    return np.log(factors) * hits.sum() - shift @ (hits + others)


def betting_increments(
    differences: Values, *, bound: float, side: Side, margin: float = 0.0, weights: Values | None = None
) -> Numbers:
    """Return log-wealth increments on the mean of bounded paired differences, shape (12,).

    Parameters
    ----------
    differences
        One mean difference per block, candidate minus champion, shape (n,); above 0 the candidate is worse. A
        block is as long as neighbouring requests share their luck: one bet a block, not one a request.
    bound
        No difference is larger in absolute value; values beyond are clipped to it.
    side
        ``"harm"`` tests the null "the mean is at most `margin`"; ``"safety"`` the null "it is at least
        `margin`".
    margin
        Between 0 and `bound`, `bound` excluded.
    weights
        The share of the full stake to place on each block, within [0, 1] and known before its outcome; shape
        (n,).

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, `margin` does not lie in [0, bound), or a weight outside [0,
        1].

    Notes
    -----
    Wealth is the product of 1 + stake * gain with fixed stakes: Waudby-Smith and Ramdas (2024), Estimating
    means of bounded random variables by betting. The null must hold for each block given the blocks before
    it.

    Examples
    --------
    >>> better = np.full(60, -0.02)
    >>> round(log_e_value(betting_increments(better, bound=0.05, side="safety", margin=0.01)), 1)
    28.5
    """
    gains = np.asarray(differences, dtype=np.float64).reshape(-1)
    stakes = np.ones_like(gains) if weights is None else np.asarray(weights, dtype=np.float64).reshape(-1)
    if gains.shape != stakes.shape:
        raise ValueError(
            f"differences and weights must have one shape (n,), not {gains.shape} and {stakes.shape}"
        )
    if not (np.isfinite(bound) and 0 <= margin < bound):
        raise ValueError(f"margin must lie in [0, bound), not {margin} with bound {bound}")
    if not (np.all(np.isfinite(gains)) and np.all((stakes >= 0) & (stakes <= 1))):
        raise ValueError("differences must be finite and weights must lie within [0, 1]")
    clipped = np.clip(gains, -bound, bound)
    profit = clipped - margin if side == "harm" else margin - clipped
    largest_loss = bound + margin if side == "harm" else bound - margin
    return np.log1p(np.outer(BETS / largest_loss, stakes * profit)).sum(axis=1)


def mean_interval(
    weight: float, total: float, squares: float, *, bound: float, alpha: float = 0.05
) -> tuple[float, float]:
    """Return an interval for the mean of bounded values that holds at all times at once.

    Parameters
    ----------
    weight, total, squares
        Sums over blocks of w, of w x and of (w x) ** 2, where |x| <= `bound` and the weight w in [0, 1] is
        known before x. Sums are all that is kept, so evidence of many ticks adds up.
    bound
        The largest absolute value of x.
    alpha
        The chance that the interval ever misses the mean.

    Raises
    ------
    ValueError
        If `bound` is not positive, `alpha` not within (0, 1), or a sum is impossible.

    Notes
    -----
    The empirical-Bernstein supermartingale of Howard, Ramdas, McAuliffe and Sekhon (2021, theorem 4), centred
    at 0 because paired differences are small, averaged over 12 rates and inverted. The inversion has one
    unknown, found by Newton's method from above on a convex function, so it converges from any data.

    Examples
    --------
    >>> low, high = mean_interval(100, -1.0, 0.04, bound=0.05)
    >>> low < -0.01 < high < 0
    True
    """
    if not (
        bound > 0
        and 0 < alpha < 1
        and weight >= 0
        and squares >= 0
        and abs(total) <= weight * bound * (1 + 1e-9)
    ):
        raise ValueError(f"no such sums: weight {weight}, total {total}, squares {squares}, bound {bound}")
    if weight == 0:
        return -bound, bound
    target = np.log(2 / alpha)
    cost = (-np.log1p(-BETS) - BETS) * squares / bound**2
    # One rate alone reaches the target here, so the average lies at or above it.
    reach = float(np.min((target + np.log(BETS.size) + cost) / BETS))
    for _ in range(50):
        logs = BETS * reach - cost
        wealth = np.logaddexp.reduce(logs)
        over = wealth - np.log(BETS.size) - target
        if over < 1e-12:
            break
        reach -= float(over / (np.exp(logs - wealth) @ BETS))
    mean, half = total / weight, bound * reach / weight
    return max(-bound, mean - half), min(bound, mean + half)


def share_log_e_value(x: float, y: float, share: float, *, concentration: float = 10_000.0) -> float:
    """Return the log e-value against "the router gave the candidate exactly `share` of the requests".

    Parameters
    ----------
    x, y
        Requests of the candidate and of the champion since the share was set.
    share
        The declared share, strictly between 0 and 1. After a change of share, start again and add the values.
    concentration
        How close to `share` the alternatives lie: those of a Beta(concentration * share, concentration * (1 -
        share)).

    Raises
    ------
    ValueError
        If `share` is not strictly between 0 and 1, or a count is negative.

    Notes
    -----
    The sequential test of sample ratio mismatch by a beta-binomial mixture: Lindon and Malek (2022). A
    chi-square test read again and again at 0.001 is false in about 3 of 100 sound rollouts.

    Examples
    --------
    >>> round(share_log_e_value(500, 9_500, 0.05), 2), round(share_log_e_value(2_000, 48_000, 0.05), 1)
    (-0.35, 45.6)
    """
    if not 0 < share < 1 or x < 0 or y < 0:
        raise ValueError(f"no such split: {x} and {y} at a share of {share}")
    a, b = concentration * share, concentration * (1 - share)
    return float(
        special.betaln(a + x, b + y) - special.betaln(a, b) - x * np.log(share) - y * np.log1p(-share)
    )

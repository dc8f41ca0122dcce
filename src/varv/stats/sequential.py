"""Evidence that may be looked at all the time: e-processes in logarithms, and intervals that always hold.

Under its null hypothesis an e-process is a bet whose expected wealth never exceeds 1. By Ville's inequality
its chance of *ever* reaching 1/alpha is then at most alpha, however often one looks and whenever one stops.
An average of e-processes is one too, so every test here bets on a small grid of alternatives and averages the
wealth.

Every function takes sums only, so evidence of many ticks adds up, and returns the natural logarithm of the
e-value.

References: Ville (1939); Ramdas, Grünwald, Vovk and Shafer (2023), Game-theoretic statistics and safe
anytime-valid inference. Numbers in, numbers out; who acts on a number, and at which threshold, is decided in
`rollout.rules`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import special

STAKES = (0.1, 0.2, 0.4, 0.8)
"""Bets on the mean of standardised blocks, in standard deviations of one block."""
LARGEST = 2.0
"""A standardised block counts at most this much: one storm must not decide."""
TENDENCIES = (0.6, 0.75, 0.9, 0.99)
"""Alternatives to "as likely one as the other": the chance that a discordant pair speaks against the
candidate."""
BOLDNESS = (0.05, 0.2, 0.5)
"""Bets on the mean of shares, in parts of the stake that loses everything at a share of 0."""
_SHARPNESS = 8.0
"""After about this many blocks an interval that holds at all times is narrowest, compared with one that holds
once."""


def log_e_value(logs: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Return the logarithm of the average of e-values, which is an e-value whatever their dependence.

    Parameters
    ----------
    logs
        Logarithms of e-values, finite, at least one.
    weights
        As many, above 0, summing to 1, fixed beforehand; equal if left out.

    Examples
    --------
    >>> log_e_value([0.0, 0.0])
    0.0
    """
    # Plain floats: for a handful of numbers scipy's logsumexp takes thirty times as long, tick after tick.
    highest = max(logs)
    shares = weights or [1 / len(logs)] * len(logs)
    wealth = math.fsum(share * math.exp(log - highest) for share, log in zip(shares, logs, strict=True))
    return highest + math.log(wealth)


def mean_log_e_value(total: float, n: int) -> float:
    """Return the log e-value against "the mean of standardised blocks is at most 0".

    Parameters
    ----------
    total
        The sum of the blocks in standard deviations, each cut to `LARGEST` in absolute value.
    n
        How many blocks, 0 for none.

    Raises
    ------
    ValueError
        If `n` is negative or `total` is more than `n` blocks can sum to.

    Notes
    -----
    The normal mixture martingale exp(a S - a^2 n / 2) of Darling and Robbins (1968), averaged over `STAKES`.
    It is exact for independent normal blocks of known variance. Here the variance is learned
    (`rollout.luck`), so the error rates are approximate, and are simulated for traffic of many kinds.

    Examples
    --------
    >>> round(mean_log_e_value(20.0, 12), 1)
    10.8
    """
    if n < 0 or not abs(total) <= n * LARGEST + 1e-6:
        raise ValueError(f"{n} blocks cannot sum to {total}")
    return log_e_value([stake * total - stake**2 * n / 2 for stake in STAKES])


def mixture_half_width(n: int, *, alpha: float = 0.05) -> float:
    """Return half the width of an interval for the mean of `n` standard normal blocks that holds for all n at
    once.

    Raises
    ------
    ValueError
        If `n` is below 1 or `alpha` not within (0, 1).

    Notes
    -----
    Robbins' (1970) normal mixture boundary, two-sided.

    Examples
    --------
    >>> round(mixture_half_width(16), 2), round(mixture_half_width(64), 2)
    (0.82, 0.38)
    """
    if n < 1 or not 0 < alpha < 1:
        raise ValueError(f"no such interval: {n} blocks at {alpha}")
    spread = n + _SHARPNESS
    return math.sqrt(spread * (math.log(spread / _SHARPNESS) + 2 * math.log(1 / alpha))) / n


def discordance_log_e_value(against: int, in_favour: int) -> float:
    """Return the log e-value against "a discordant pair speaks against the candidate with a chance of at most
    1/2".

    Parameters
    ----------
    against, in_favour
        Units for which only the candidate, or only the champion, did badly.

    Raises
    ------
    ValueError
        If a count is negative.

    Notes
    -----
    A sequential McNemar (1947) test: the likelihood ratio of a coin, averaged over `TENDENCIES`.

    Examples
    --------
    >>> round(discordance_log_e_value(8, 0), 1), round(discordance_log_e_value(8, 8), 1)
    (4.5, -1.6)
    """
    if against < 0 or in_favour < 0:
        raise ValueError(f"no such counts: {against} and {in_favour}")
    return log_e_value([against * math.log(2 * p) + in_favour * math.log(2 - 2 * p) for p in TENDENCIES])


def late_log_e_value(counts: Sequence[tuple[float, int]], limit: float) -> float:
    """Return the log e-value against "shares are at most `limit` on average, whatever came before".

    Parameters
    ----------
    counts
        Pairs of a share within [0, 1] and how many observations had it.
    limit
        Strictly between 0 and 1.

    Raises
    ------
    ValueError
        If a share, a count or the limit is out of its range.

    Notes
    -----
    The betting martingale for bounded means of Waudby-Smith and Ramdas (2024), product of
    1 + b (x / limit - 1), averaged over fixed `BOLDNESS` b. It needs no model of how shares vary, but that
    their order does not matter to the sum does not make them independent: where one observation foretells
    that the next is large, the null hypothesis is already false.

    Examples
    --------
    >>> round(late_log_e_value([(0.0, 1000)], 0.01), 1), round(late_log_e_value([(0.1, 5)], 0.01), 1)
    (-52.4, 7.5)
    """
    if not 0 < limit < 1 or any(not 0 <= share <= 1 or n < 0 for share, n in counts):
        raise ValueError(f"no such shares with a limit of {limit}")
    return log_e_value(
        [math.fsum(n * math.log1p(bold * (share / limit - 1)) for share, n in counts) for bold in BOLDNESS]
    )


def detector_logs(before: Sequence[float], share: float, limit: float) -> tuple[float, ...]:
    """Return the logarithms of the detectors of "shares are at most `limit` on average" after one more
    observation, a number for each of `BOLDNESS`.

    Parameters
    ----------
    before
        What it returned for the observation before; empty at the start.
    share
        Within [0, 1].
    limit
        Strictly between 0 and 1.

    Raises
    ------
    ValueError
        If the share or the limit is out of its range.

    Notes
    -----
    An e-process that has lost its wealth in quiet years takes years to notice a change. The e-detector of
    Shin, Ramdas and Rinaldo (2023) starts a new one at every observation and adds them up, the recursion of
    Shiryaev and Roberts: M = (M + 1) e. However shares vary, the mean number of observations until the
    average of the detectors reaches c is at least c as long as the null hypothesis holds.

    Examples
    --------
    >>> logs = detector_logs(detector_logs((), 0.0, 0.01), 1.0, 0.01)
    >>> round(log_e_value(logs), 1)
    3.7
    """
    if not 0 < limit < 1 or not 0 <= share <= 1:
        raise ValueError(f"no such share with a limit of {limit}: {share}")
    old = before or (-math.inf,) * len(BOLDNESS)
    factors = [math.log1p(bold * (share / limit - 1)) for bold in BOLDNESS]
    return tuple(
        max(log, 0.0) + math.log1p(math.exp(-abs(log))) + factor
        for log, factor in zip(old, factors, strict=True)
    )


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
        special.betaln(a + x, b + y) - special.betaln(a, b) - x * math.log(share) - y * math.log1p(-share)
    )

"""When a daily value has changed: a one-sided CUSUM with a stated average run length.

Plain numbers in, plain numbers out; the sum is carried by the caller. The unit is the day, whose standard
deviation is estimated on daily values and widened for autocorrelation, so that rows that share a storm count
once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.intervals import lag_one_correlation

ALLOWANCE = 0.5
"""Standard deviations a day that are let pass: half of the shift that the chart finds quickest (Page, 1954).
"""

LARGEST_DAY = 3.0
"""One day counts at most this many standard deviations: a blizzard is not a changed world, three are."""

_PRIOR_CORRELATION, _PRIOR_DAYS = 0.3, 14
"""What a week of days cannot tell: bad days come in a row. Believed as much as 14 days of data."""

_OVERSHOOT = 1.166
"""Twice 0.583, Siegmund's (1985) correction for a sum that jumps over its boundary."""


class Baseline(NamedTuple):
    """A daily value in the reference period: its mean, the standard deviation to divide by, and the number of
    days.
    """

    mean: float
    sd: float
    n_days: int


def average_run_length(threshold: float, *, allowance: float = ALLOWANCE) -> float:
    """Return the mean number of days between false alarms of a CUSUM on independent standard normal values.

    Notes
    -----
    Siegmund's (1985) approximation, within a few per cent of simulation for thresholds of 2 and more.

    Examples
    --------
    >>> round(average_run_length(4.0))  # 336 by Markov chain
    338
    """
    b = 2 * allowance * (threshold + _OVERSHOOT)
    return float((np.expm1(b) - b) / (2 * allowance**2))


def cusum_threshold(run_length_days: float, *, allowance: float = ALLOWANCE) -> float:
    """Return the threshold, in standard deviations, whose average run length is `run_length_days`.

    Raises
    ------
    ValueError
        If `run_length_days` is not between 20 and 100,000.

    Examples
    --------
    >>> round(cusum_threshold(200), 2)
    3.49
    """
    if not 20 <= run_length_days <= 100_000:
        raise ValueError(f"run_length_days must lie between 20 and 100000, not {run_length_days}")
    aim = 2 * allowance**2 * run_length_days
    b = float(np.log1p(aim))
    for _ in range(50):  # a contraction: the error shrinks at least tenfold a round
        b = float(np.log1p(aim + b))
    return b / (2 * allowance) - _OVERSHOOT


def cusum_step(total: float, value: float, baseline: Baseline, *, allowance: float = ALLOWANCE) -> float:
    """Return the CUSUM after one more day; it rises when `value` lies above the baseline and never falls
    below 0.

    Notes
    -----
    Page (1954); the Page-Hinkley test is the same chart drawn against its own minimum.

    Examples
    --------
    >>> cusum_step(1.0, 0.2, Baseline(mean=0.0, sd=0.1, n_days=60))
    2.5
    """
    z = float(np.clip((value - baseline.mean) / baseline.sd, -LARGEST_DAY, LARGEST_DAY))
    return max(0.0, total + z - allowance)


def daily_baseline(values: npt.ArrayLike) -> Baseline:
    """Return the baseline of daily values of the reference period, in order of time, shape (n,), n at least
    5.

    The standard deviation is the long-run one, taken at its upper 80 % limit: with few reference days the
    chart is slow rather than jumpy.

    Raises
    ------
    ValueError
        If there are fewer than 5 days or a value is not finite.

    Notes
    -----
    For values of lag-one correlation r the variance of a sum of n days is about n s^2 (1 + r) / (1 - r);
    dividing by its root keeps the run length near the one for independent days (Bagshaw and Johnson, 1975).

    Examples
    --------
    >>> daily_baseline([0.1, -0.1] * 20).mean
    0.0
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size < 5 or not np.all(np.isfinite(x)):
        raise ValueError(f"a baseline needs at least 5 finite daily values, not {x.shape}")
    r = (x.size * lag_one_correlation(x) + _PRIOR_DAYS * _PRIOR_CORRELATION) / (x.size + _PRIOR_DAYS)
    widening = (x.size - 1) / float(special.chdtri(x.size - 1, 0.8))
    sd = float(np.sqrt(x.var(ddof=1) * (1 + r) / (1 - r) * widening))
    return Baseline(float(x.mean()), max(sd, 1e-9), int(x.size))

"""When a daily value has changed: a one-sided CUSUM whose run length holds with an estimated spread.

Plain numbers in, plain numbers out; sums and totals are carried by the caller. The unit is the day. A day's
variance has two parts: what its own rows explain, which is known, and what days have in common beyond that,
which is learned from the days seen so far (`DaySums`, `spread`). `widening` pays for how little is known of
it. Who feeds which days is decided in `monitoring.signals`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

ALLOWANCE = 0.5
"""Standard deviations a day that are let pass: half of the shift that the chart finds quickest (Page, 1954).
"""

LARGEST_DAY = 3.0
"""One day counts at most this many standard deviations: a blizzard is not a changed world, three are."""

MEMORY_DAYS = 180
"""A day's weight in the spread falls to a third after so many more days, so that a calmer year is learned."""

_PRIOR_CORRELATION, _PRIOR_DAYS = 0.2, 14
"""What a week of days cannot tell: bad days come in a row. Believed as much as 14 days of data."""

_OVERSHOOT = 1.166
"""Twice 0.583, Siegmund's (1985) correction for a sum that jumps over its boundary."""

_LEAST_FREEDOM, _MOST_FREEDOM = 2.0, 1000.0
_STEPS_A_TENFOLD = 40
_RATIOS = (np.arange(200) + 0.5) / 200
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


class DaySums(NamedTuple):
    """Sums over days of a value less its centre, from which their spread follows; merged by `joined`.

    `noise` is the sum of squared standard errors, which rows alone explain. `product`, `pair_value`, `steps`
    and `n_pairs` are sums over pairs of consecutive days: of the product, of both values, of the squared
    difference, and of ones.
    """

    n_days: float = 0.0
    value: float = 0.0
    square: float = 0.0
    noise: float = 0.0
    product: float = 0.0
    pair_value: float = 0.0
    steps: float = 0.0
    n_pairs: float = 0.0


class Spread(NamedTuple):
    """How days vary beyond what their rows explain.

    `extra` is the long-run variance that days add, `noise` the mean variance from rows, `correlation` the
    lag-one correlation of what is added, `freedom` the degrees of freedom of the sum of both.
    """

    extra: float
    noise: float
    correlation: float
    freedom: float


def average_run_length(threshold: float, *, allowance: float = ALLOWANCE) -> float:
    """Return the mean number of days between false alarms of a CUSUM on independent standard normal values.

    Raises
    ------
    ValueError
        If an argument is not finite, or `threshold` is negative.

    Notes
    -----
    Siegmund's (1985) approximation, within a few per cent of simulation for thresholds of 2 and more.

    Examples
    --------
    >>> round(average_run_length(4.0))  # 336 by Markov chain
    338
    """
    if not (math.isfinite(threshold) and math.isfinite(allowance)) or threshold < 0:
        raise ValueError(f"threshold and allowance must be finite, not {threshold} and {allowance}")
    return float(_run_lengths(np.array([threshold]), np.array([allowance]))[0])


def cusum_threshold(run_length_days: float, *, allowance: float = ALLOWANCE) -> float:
    """Return the threshold, in standard deviations, whose average run length is `run_length_days`.

    Raises
    ------
    ValueError
        If `run_length_days` is not between 20 and 200,000, or `allowance` not between 0.1 and 2.

    Examples
    --------
    >>> round(cusum_threshold(200), 2)
    3.49
    """
    if not 20 <= run_length_days <= 200_000 or not 0.1 <= allowance <= 2:
        raise ValueError(
            f"run_length_days must lie between 20 and 200000, not {run_length_days}, "
            f"and allowance between 0.1 and 2, not {allowance}"
        )
    aim = 2 * allowance**2 * run_length_days
    b = math.log1p(aim)
    for _ in range(20):  # a contraction: the error shrinks at least fivefold a round
        b = math.log1p(aim + b)
    return b / (2 * allowance) - _OVERSHOOT


def cusum_step(total: float, z: float, *, allowance: float = ALLOWANCE) -> float:
    """Return the CUSUM after one more day of standardised value `z`; it never falls below 0.

    Raises
    ------
    ValueError
        If a number is not a number.

    Notes
    -----
    Page (1954); the Page-Hinkley test is the same chart drawn against its own minimum.

    Examples
    --------
    >>> cusum_step(1.0, 2.0)
    2.5
    """
    if math.isnan(total) or math.isnan(z) or math.isnan(allowance):
        raise ValueError(f"total and z must be numbers, not {total} and {z}")
    return max(0.0, total + min(max(z, -LARGEST_DAY), LARGEST_DAY) - allowance)


def with_day(sums: DaySums, value: float, error: float, *, previous: float | None = None) -> DaySums:
    """Return `sums` with one more day.

    Parameters
    ----------
    value
        The day's value less its centre.
    error
        Its standard error given the day's conditions, from its rows alone; 0 where that is not known.
    previous
        The value of the day before; None where there is none.

    Raises
    ------
    ValueError
        If a number is not finite, or `error` is negative.
    """
    if not (math.isfinite(value) and math.isfinite(error) and math.isfinite(previous or 0.0)) or error < 0:
        raise ValueError(f"a day needs a finite value and error, not {value} and {error}")
    one = DaySums(1.0, value, value * value, error * error)
    if previous is not None:
        one = one._replace(
            product=value * previous,
            pair_value=value + previous,
            steps=(value - previous) ** 2,
            n_pairs=1.0,
        )
    return joined(sums, one)


def joined(earlier: DaySums, later: DaySums) -> DaySums:
    """Return the sums of both, the earlier ones faded by the days that came after them.

    Raises
    ------
    ValueError
        If a sum is not finite.

    Examples
    --------
    >>> joined(DaySums(), DaySums(n_days=3.0)).n_days
    3.0
    """
    if not math.isfinite(sum(earlier) + sum(later)):
        raise ValueError("sums of days must be finite")
    kept = math.exp(-later.n_days / MEMORY_DAYS)
    return DaySums(*(kept * before + after for before, after in zip(earlier, later, strict=True)))


def about_mean(sums: DaySums) -> DaySums:
    """Return `sums` taken about their own mean, which costs one day.

    Raises
    ------
    ValueError
        If a sum is not finite.

    Examples
    --------
    >>> level = with_day(with_day(DaySums(), 1.0, 0.0), 1.0, 0.0, previous=1.0)
    >>> about_mean(level).square < 0.01 < level.square
    True
    """
    if not math.isfinite(sum(sums)):
        raise ValueError("sums of days must be finite")
    if sums.n_days <= 1:
        return DaySums()
    mean = sums.value / sums.n_days
    kept = (sums.n_days - 1) / sums.n_days
    return DaySums(
        n_days=sums.n_days - 1,
        square=max(sums.square - sums.n_days * mean**2, 0.0),
        noise=sums.noise * kept,
        product=sums.product - mean * sums.pair_value + sums.n_pairs * mean**2,
        steps=sums.steps,
        n_pairs=sums.n_pairs,
    )


def by_steps(sums: DaySums) -> DaySums:
    """Return `sums` as days whose level may have moved: only steps from day to day say how they spread.

    Raises
    ------
    ValueError
        If a sum is not finite.

    Notes
    -----
    Half the mean squared step is the variance of independent days, whatever slow or single moves their level
    makes (von Neumann et al., 1941). It says nothing about correlation, so pairs are left out.

    Examples
    --------
    >>> moved = DaySums()
    >>> for before, value in [(None, 0.0), (0.0, 5.0), (5.0, 5.0), (5.0, 5.0), (5.0, 5.0)]:
    ...     moved = with_day(moved, value, 0.0, previous=before)
    >>> by_steps(moved).square < 13 < about_mean(moved).square
    True
    """
    if not math.isfinite(sum(sums)):
        raise ValueError("sums of days must be finite")
    if not sums.n_pairs:
        return DaySums()
    return DaySums(n_days=sums.n_pairs, square=sums.steps / 2, noise=sums.noise * sums.n_pairs / sums.n_days)


def spread(sums: DaySums) -> Spread:
    """Return how days spread about their centre, in the long run.

    Raises
    ------
    ValueError
        If `sums` hold no day, or one that is not finite.

    Notes
    -----
    Beyond the known noise of their rows, days are taken as a first-order autoregression of variance t and
    correlation r, by moments: t from the mean square less the noise, r from products of consecutive days,
    which the noise does not enter, drawn towards 0.2 while few days speak. A sum of k days then varies by
    about k (noise + t (1 + r) / (1 - r)), and dividing by that keeps a CUSUM's run length near the one for
    independent days (Bagshaw and Johnson, 1975).

    Examples
    --------
    >>> calm = spread(DaySums(n_days=60, square=60 * 4e-4, noise=60 * 4e-4, n_pairs=59))
    >>> calm.extra, calm.noise
    (0.0, 0.0004)
    """
    if not math.isfinite(sum(sums)) or sums.n_days <= 0:
        raise ValueError(f"a spread needs finite sums of at least one day, not {sums}")
    n = sums.n_days
    noise = sums.noise / n
    between = max(sums.square / n - noise, 0.0)
    whole = max(noise + between, 1e-18)
    product = sums.product / max(sums.n_pairs, 1.0)
    # Where days add little, the quotient of two small numbers would say anything: it counts by its precision.
    weight = (between / whole) ** 2
    r = (n * between * product / whole**2 + _PRIOR_DAYS * _PRIOR_CORRELATION) / (n * weight + _PRIOR_DAYS)
    r = min(max(r, 0.0), 0.8)
    factor = (1 + r) / (1 - r)
    independent = n * (1 - r * r) / (1 + r * r)
    freedom = independent * ((noise + between * factor) / (whole * factor)) ** 2
    return Spread(between * factor, noise, r, max(freedom, _LEAST_FREEDOM))


def widening(run_length_days: float, *, freedom: float, level_days: float = math.inf) -> float:
    """Return by how much to widen an estimated standard deviation so that false alarms stay as rare as
    stated.

    Parameters
    ----------
    run_length_days
        The mean time between false alarms that the threshold was chosen for.
    freedom
        Degrees of freedom of the estimated variance; below 2 counts as 2.
    level_days
        Days from which the level was estimated, infinity where it is known.

    Raises
    ------
    ValueError
        If `freedom` or `level_days` is not positive, or `run_length_days` out of range.

    Notes
    -----
    A chart that divides by too small a number alarms far too often, one that divides by too large a one only
    somewhat too rarely, so an unbiased estimate is not enough (Jensen et al., 2006, Effects of parameter
    estimation on control chart properties). The rate of false alarms is averaged over the estimate's chi
    square distribution and over the normal error of the level, and the factor is the one that brings it back
    to 1 / `run_length_days`.

    Examples
    --------
    >>> [round(widening(200, freedom=few), 2) for few in (5, 20, 100)]
    [1.51, 1.09, 1.02]
    >>> widening(200, freedom=20, level_days=7) > 1.4
    True
    """
    if not freedom > 0 or not level_days > 0:
        raise ValueError(f"freedom and level_days must be positive, not {freedom} and {level_days}")
    return _widening(run_length_days, _rounded(freedom), _rounded(level_days))


def _rounded(size: float) -> float:
    """Return `size` rounded down to a step of a scale, so that few factors have to be solved for."""
    if math.isinf(size):
        return size
    bounded = min(max(size, _LEAST_FREEDOM), _MOST_FREEDOM)
    return float(10 ** (math.floor(round(math.log10(bounded) * _STEPS_A_TENFOLD, 9)) / _STEPS_A_TENFOLD))


@lru_cache(maxsize=4096)
def _widening(run_length_days: float, freedom: float, level_days: float) -> float:
    threshold = cusum_threshold(run_length_days)
    ratio = np.sqrt(special.chdtri(freedom, 1 - _RATIOS) / freedom)[:, None]
    shift = _NODES / math.sqrt(level_days) if math.isfinite(level_days) else np.zeros(1)
    weight = _WEIGHTS / _WEIGHTS.sum() if math.isfinite(level_days) else np.ones(1)

    def excess(factor: float) -> float:
        scale = factor * ratio
        lengths = _run_lengths(threshold * scale, ALLOWANCE * scale - shift)
        return run_length_days * float(np.mean((1 / np.maximum(lengths, 1.0)) @ weight)) - 1.0

    low, high = 1.0, 50.0
    if excess(low) <= 0:
        return low
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


def _run_lengths(
    threshold: npt.NDArray[np.float64], allowance: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Siegmund's approximation for any sign of the allowance: below zero the sum drifts upwards."""
    b = threshold + _OVERSHOOT
    x = np.minimum(2 * allowance * b, 700.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (np.expm1(x) - x) / (2 * allowance**2)
    return np.where(np.abs(x) < 1e-4, b**2 + 0 * x, found)

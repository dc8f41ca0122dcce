"""Drift of one feature: a reference period against a live window.

Plain arrays in, plain numbers out; nothing here reads a clock, a store or a random source. Effect sizes say
how far apart two samples are; `day_shift` says whether days differ by more than days do anyway. Both are
needed: thousands of rows make any difference significant, and the rows of one day are one weather. Windows
are cut in `monitoring.windows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from varv.stats.intervals import Numbers, effective_size, lag_one_correlation

Sample = npt.ArrayLike
_FEW_EDGES = 64


class DayProfile(NamedTuple):
    """Daily shares of bins, summed up: what `day_shift` needs to know of one period.

    `shares` is their mean, `spread` the trace of their covariance, `dimension` how many equal directions that
    spread is worth, and `correlation` the lag-one autocorrelation of days.
    """

    shares: tuple[float, ...]
    n_days: int
    spread: float
    dimension: float
    correlation: float


def bin_edges(reference: Sample, *, bins: int = 10) -> Numbers:
    """Return at most `bins` - 1 inner edges of bins of equal mass, cut on the finite values of `reference`.

    Raises
    ------
    ValueError
        If `bins` is below 2, or the values are too large to be told apart.

    Examples
    --------
    >>> bin_edges([0.0] * 95 + [1.0] * 5).tolist()
    [0.0]
    """
    if bins < 2:
        raise ValueError(f"at least two bins are needed, not {bins}")
    x = np.asarray(reference, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(f"values must be one-dimensional, not of shape {x.shape}")
    x = x[np.isfinite(x)]
    if not x.size:
        return np.empty(0)
    # Sorting takes a third of the time of looking for each of so many quantiles.
    x.sort()
    with np.errstate(over="ignore", invalid="ignore"):
        edges = np.unique(_quantiles(x, np.linspace(0, 1, bins + 1)[1:-1]))
    if not np.all(np.isfinite(edges)):
        raise ValueError("the values lie too far apart for their quantiles to be computed")
    return edges


def bin_codes(values: Sample, edges: Numbers) -> npt.NDArray[np.int64]:
    """Return the bin of each value, shape (n,): 0 to len(edges), and len(edges) + 1 for a missing one (NaN).

    A value on an edge belongs to the lower bin, so a column that is mostly zero keeps its zeros apart. An
    infinite value lies in the first or last bin.

    Raises
    ------
    ValueError
        If the values are not one-dimensional, or the edges not finite and rising.

    Examples
    --------
    >>> bin_codes([0.0, 0.5, float("nan")], np.array([0.0])).tolist()
    [0, 1, 2]
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
        raise ValueError("values must be one-dimensional, and edges finite and rising")
    if edges.size > _FEW_EDGES:
        codes = np.searchsorted(edges, x, side="left")
    else:
        # A comparison with all values at once takes a hundredth of what looking each of them up does.
        below = np.zeros(x.size, np.uint8)
        for edge in edges:
            below += x > edge
        codes = below.astype(np.int64)
    codes[np.isnan(x)] = edges.size + 1
    return codes


def smoothed_shares(counts: Sample) -> Numbers:
    """Return the shares of `counts`, shape (k,), with half a count added to each so that none is zero.

    Raises
    ------
    ValueError
        If there is no count, or one is negative or not finite.

    Examples
    --------
    >>> smoothed_shares([0, 4]).tolist()
    [0.1, 0.9]
    """
    raised = _counted(counts) + 0.5
    return raised / raised.sum()


def stability_index(reference: Sample, live: Sample) -> float:
    """Return the population stability index of two vectors of counts over the same bins, shape (k,), in nats.

    Raises
    ------
    ValueError
        If the shapes differ, a vector counts nothing, or a count is negative or not finite.

    Notes
    -----
    The symmetric divergence J of Kullback and Leibler (1951). For n and m independent rows without drift its
    mean is about (k - 1) (1 / n + 1 / m); rows of one day are not independent, so a day's index is large
    without any drift.

    Examples
    --------
    >>> round(stability_index([50, 50], [90, 10]), 2)
    0.85
    """
    before, now = _counted(reference), _counted(live)
    if before.shape != now.shape or not before.sum() or not now.sum():
        raise ValueError(f"two vectors of counts over the same bins are needed, not {before} and {now}")
    p, q = smoothed_shares(before), smoothed_shares(now)
    return float(np.sum((p - q) * np.log(p / q)))


def population_stability_index(reference: Sample, live: Sample, *, bins: int = 10) -> float:
    """Return the population stability index of `live` against `reference`, in nats.

    Parameters
    ----------
    reference, live
        Values of one numeric feature, shapes (n,) and (m,), n and m at least 1; NaN is a bin of its own.
    bins
        Bins of equal mass, cut on `reference`; at least 2.

    Raises
    ------
    ValueError
        If a sample is empty or holds an infinite value, or `bins` is below 2.

    Examples
    --------
    >>> week = np.arange(1000.0)
    >>> population_stability_index(week, week)
    0.0
    >>> population_stability_index(week, week + 300.0) > 0.25
    True
    """
    p, q = _sample(reference, missing=True), _sample(live, missing=True)
    edges = bin_edges(p, bins=bins)
    counts = [np.bincount(bin_codes(x, edges), minlength=edges.size + 2) for x in (p, q)]
    return stability_index(*counts)


def categorical_stability_index(reference: Sequence[str | None], live: Sequence[str | None]) -> float:
    """Return the population stability index of texts; None is a category, and so is every text that only one
    has.

    Raises
    ------
    ValueError
        If a sample is empty.

    Examples
    --------
    >>> categorical_stability_index(["a", "b", None], ["a", "b", None])
    0.0
    """
    words, codes = np.unique(
        [f"={word}" if word is not None else "" for word in (*reference, *live)], return_inverse=True
    )
    n = len(reference)
    if not n or not len(live):
        raise ValueError("both samples need a text")
    return stability_index(*(np.bincount(part, minlength=words.size) for part in (codes[:n], codes[n:])))


def kolmogorov_smirnov(reference: Sample, live: Sample) -> float:
    """Return the largest gap between the two empirical distribution functions, between 0 and 1.

    Raises
    ------
    ValueError
        If a sample is empty or not finite.

    Examples
    --------
    >>> kolmogorov_smirnov([1, 2, 3, 4], [3, 4, 5, 6])
    0.5
    """
    below = _distribution_functions(_sample(reference), _sample(live))[1]
    return float(np.max(np.abs(below[0] - below[1])))


def wasserstein(reference: Sample, live: Sample) -> float:
    """Return the first Wasserstein distance in standard deviations of `reference`.

    Raises
    ------
    ValueError
        If a sample is empty or not finite.

    Notes
    -----
    The area between the distribution functions. A constant reference has no scale; the distance is then 0 or
    infinite.

    Examples
    --------
    >>> week = np.arange(1000.0)
    >>> round(wasserstein(week, week + week.std()), 6)
    1.0
    """
    p, q = _sample(reference), _sample(live)
    # In units of the largest value, so that neither squares nor differences overflow.
    unit = max(float(np.abs(p).max()), float(np.abs(q).max())) or 1.0
    p, q = p / unit, q / unit
    grid, (below_p, below_q) = _distribution_functions(p, q)
    area = float(np.sum(np.abs(below_p - below_q)[:-1] * np.diff(grid)))
    scale = float(p.std())
    return area / scale if scale > 0 else (float("inf") if area > 0 else 0.0)


def jensen_shannon(reference: Sample, live: Sample) -> float:
    """Return the Jensen-Shannon divergence (Lin, 1991) of two vectors of shares, in nats: 0 to log 2.

    Raises
    ------
    ValueError
        If the shapes differ, a share is negative, or the shares of a vector do not sum to 1.

    Examples
    --------
    >>> round(jensen_shannon([1.0, 0.0], [0.0, 1.0]), 3)
    0.693
    """
    p, q = _counted(reference), _counted(live)
    if p.shape != q.shape or not np.allclose([p.sum(), q.sum()], 1.0, atol=1e-6):
        raise ValueError(f"two vectors of shares of one shape are needed, each of sum 1, not {p} and {q}")
    middle = (p + q) / 2
    return float(np.sum(special.rel_entr(p, middle) + special.rel_entr(q, middle)) / 2)


def day_profile(daily_counts: Sample) -> DayProfile:
    """Return the profile of daily bin counts, shape (days, k), days in order of time and each with rows.

    Raises
    ------
    ValueError
        If there are fewer than 3 days, a day without rows, or a count that is negative or not finite.

    Notes
    -----
    The trace of the squared covariance is that of Bai and Saranadasa (1996), unbiased for few days;
    `dimension` is trace² over it, and is at least 1.
    """
    counts = np.asarray(daily_counts, dtype=np.float64)
    if counts.ndim != 2 or len(counts) < 3 or not np.all(counts.sum(axis=1) > 0):
        raise ValueError(f"at least 3 days with rows are needed, not {counts.shape}")
    if not np.all(np.isfinite(counts) & (counts >= 0)):
        raise ValueError("counts must be finite and not negative")
    n = len(counts)
    rows = counts.sum(axis=1, keepdims=True)
    shares = counts / rows
    mean = shares.mean(axis=0)
    covariance = np.atleast_2d(np.cov(shares, rowvar=False))
    # A day of few rows is never steadier than its own sampling, whatever three days happen to show.
    sampling = float(np.sum(mean * (1 - mean)) / rows.mean())
    spread = max(float(np.trace(covariance)), sampling, 1e-12)
    squared = (n - 1) ** 2 / ((n + 1) * (n - 2)) * (float(np.sum(covariance**2)) - spread**2 / (n - 1))
    dimension = float(np.clip(spread**2 / max(squared, 1e-24), 1.0, mean.size))
    return DayProfile(tuple(mean.tolist()), n, spread, dimension, lag_one_correlation(shares))


def day_shift(reference: DayProfile, live: DayProfile, *, looks: int = 1) -> float:
    """Return a p-value for "the days of `live` are like the days of `reference`", valid for `looks` looks.

    Parameters
    ----------
    reference, live
        Profiles over the same bins.
    looks
        How often the question will be asked: 52 for weekly looks over a year. The chance that any of them
        falls below a level is at most that level while nothing changes.

    Raises
    ------
    ValueError
        If the profiles have other bins, hold a number that is not finite, or `looks` is below 1.

    Notes
    -----
    Dempster's (1958) test of two mean vectors: the squared distance of the mean daily shares over its
    expectation, compared with F. Shares are bounded and lumpy, so the denominator gets the degrees of freedom
    of one direction only. Autocorrelation, taken one standard error above its estimate, shrinks the number of
    days (`effective_size`). Looks enter by the union bound, so windows may overlap. Simulated with a
    reference of 31 days, windows of 14 and weekly looks over a year at level 0.05: a false alarm in at most
    1.5 % of years for independent days, 5 % at correlation 0.3, 5 to 15 % at 0.5. Where days are more alike
    than that, a month is too short to tell drift from weather.

    Examples
    --------
    >>> rng = np.random.default_rng(3)
    >>> calm = day_profile(rng.multinomial(100, [0.5, 0.3, 0.2], size=30))
    >>> same = day_profile(rng.multinomial(100, [0.5, 0.3, 0.2], size=14))
    >>> moved = day_profile(rng.multinomial(100, [0.3, 0.3, 0.4], size=14))
    >>> day_shift(calm, same, looks=52) > 0.5, day_shift(calm, moved, looks=52) < 0.001
    (True, True)
    """
    for part in (reference, live):
        numbers = (*part.shares, part.spread, part.dimension, part.correlation)
        if not np.all(np.isfinite(numbers)) or part.n_days < 3 or part.spread <= 0:
            raise ValueError(f"a profile needs 3 days, a spread and finite numbers, not {part}")
    if len(reference.shares) != len(live.shares) or looks < 1:
        n_bins = (len(reference.shares), len(live.shares))
        raise ValueError(f"profiles must have the same bins, not {n_bins}, and looks be at least 1")
    correlation = min(reference.correlation + 1 / np.sqrt(reference.n_days), 0.9)
    n, m = (max(effective_size(part.n_days, correlation), 1.5) for part in (reference, live))
    pooled = (n * reference.spread + m * live.spread) / (n + m)
    gap = float(np.sum((np.array(reference.shares) - np.array(live.shares)) ** 2))
    ratio = gap / ((1 / n + 1 / m) * pooled)
    freedom = max(n + m - 2, 1.0)
    return min(1.0, looks * float(special.fdtrc(reference.dimension, freedom, ratio)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being many: rejecting those below a level errs at most at that level in
    all.

    Raises
    ------
    ValueError
        If a p-value is not within [0, 1].

    Notes
    -----
    Holm (1979); holds whatever the dependence between the features.

    Examples
    --------
    >>> holm([0.01, 0.5, 0.04])
    [0.03, 0.5, 0.08]
    """
    if not all(0 <= one <= 1 for one in p_values):
        raise ValueError("p-values must lie within [0, 1]")
    adjusted, worst = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def _quantiles(ordered: Numbers, shares: Numbers) -> Numbers:
    """Return what `numpy.quantile` does of values that are in order, to the last digit."""
    places = (ordered.size - 1) * shares
    before = np.floor(places).astype(np.int64)
    part = places - before
    low, high = ordered[before], ordered[np.minimum(before + 1, ordered.size - 1)]
    gap = high - low
    return np.where(part < 0.5, low + gap * part, high - gap * (1 - part))


def _sample(values: Sample, *, missing: bool = False) -> Numbers:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not x.size or np.any(np.isinf(x)) or (not missing and np.any(np.isnan(x))):
        raise ValueError(f"a sample must be one-dimensional, finite and not empty, not of shape {x.shape}")
    return x


def _distribution_functions(p: Numbers, q: Numbers) -> tuple[Numbers, tuple[Numbers, Numbers]]:
    grid = np.unique(np.concatenate([p, q]))
    below_p = np.searchsorted(np.sort(p), grid, side="right") / p.size
    below_q = np.searchsorted(np.sort(q), grid, side="right") / q.size
    return grid, (below_p, below_q)


def _counted(counts: Sample) -> Numbers:
    found = np.asarray(counts, dtype=np.float64)
    if found.ndim != 1 or not found.size or not np.all(np.isfinite(found) & (found >= 0)):
        raise ValueError(f"counts must be finite, not negative, and of shape (k,), not {found.shape}")
    return found

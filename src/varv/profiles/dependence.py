"""How columns depend on each other: Pearson's correlation over all rows, by the sums of pairs of a profile;
all else by its sample of 2,048 rows, with intervals.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from varv.kernel.errors import InvalidInput
from varv.profiles.pairs import Correlated, correlations, paired_columns
from varv.profiles.profile import Profile, is_counted_only
from varv.profiles.sample import Column, weighted
from varv.stats.ranking import midranks

MOST_SHOWN = 20
FEWEST_ROWS = 30
_CELLS = 12
_Z = 1.96


class Dependence(msgspec.Struct, frozen=True):
    """Of two columns of numbers, Pearson's correlation over `n` rows, all that have both; and Spearman's over
    `n_sampled` of them, with its 95 % interval.
    """

    first: str
    second: str
    pearson: float
    n: int
    spearman: float
    low: float
    high: float
    n_sampled: int


class Importance(msgspec.Struct, frozen=True):
    """How much a column tells about the outcome: their mutual information in nats, what it would be by chance
    alone, and the share of the outcome's entropy that the difference is.
    """

    name: str
    information: float
    by_chance: float
    share: float
    n: int


def dependences(profile: Profile) -> list[Dependence]:
    """Return the pairs of columns of numbers that depend on each other most, by rank.

    Notes
    -----
    Fisher's interval of a correlation, with the variance 1.06 / (n - 3) for ranks (Fieller et al., 1957).
    A pair whose interval holds 0 is left out.
    """
    names = [one.name for one in paired_columns(profile.scale)]
    columns = weighted(profile.sample)
    found = []
    for (i, j), exact in correlations(profile.pairs, len(names)).items():
        pair = (names[i], names[j])
        one = _dependence(pair, exact, *(np.asarray(columns[name]) for name in pair))
        if one is not None and (one.low > 0 or one.high < 0):
            found.append(one)
    return sorted(found, key=lambda one: (-abs(one.spearman), one.first, one.second))[:MOST_SHOWN]


def _dependence(
    names: tuple[str, str], exact: Correlated, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> Dependence | None:
    both = np.isfinite(a) & np.isfinite(b)
    n = int(both.sum())
    if n < FEWEST_ROWS or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return None
    spearman = float(np.corrcoef(midranks(a[both]), midranks(b[both]))[0, 1])
    middle = math.atanh(min(max(spearman, -0.999999), 0.999999))
    half = _Z * math.sqrt(1.06 / (n - 3))
    return Dependence(*names, *exact, spearman, math.tanh(middle - half), math.tanh(middle + half), n)


def importances(profile: Profile, outcome: str) -> list[Importance]:
    """Return how much each column tells about the outcome, the most first.

    Raises
    ------
    InvalidInput
        If there is no such column, or nothing but counts is kept of it.

    Notes
    -----
    Mutual information over cells of equal mass, at most twelve, missing values one of their own. Over n rows
    of independent columns it is (r - 1)(c - 1) / 2n on average (Miller, 1955), which is taken off.
    """
    if is_counted_only(profile.column(outcome)[0]):
        raise InvalidInput("column", outcome, "has nothing but counts", hint="name another outcome")
    columns = weighted(profile.sample)
    target = _cells(columns[outcome])
    # Rows without an outcome say nothing of it.
    known = target > 0
    n = int(known.sum())
    if n < FEWEST_ROWS:
        return []
    entropy = _entropy(np.bincount(target[known]))
    found = []
    for name, values in columns.items():
        if name == outcome:
            continue
        cells = _cells(values)[known]
        table = np.bincount(cells * (target.max() + 1) + target[known])
        rows, wide = np.bincount(cells), np.bincount(target[known])
        information = max(0.0, _entropy(rows) + _entropy(wide) - _entropy(table))
        chance = float((np.count_nonzero(rows) - 1) * (np.count_nonzero(wide) - 1) / (2 * n))
        share = max(0.0, information - chance) / entropy if entropy else 0.0
        found.append(Importance(name, information, chance, share, n))
    return sorted(found, key=lambda one: (-one.share, one.name))


def _cells(values: Column) -> npt.NDArray[np.int64]:
    """Return the cell of each value, from 1; 0 for one that is missing."""
    if isinstance(values, np.ndarray):
        known = np.isfinite(values)
        edges = np.unique(np.quantile(values[known], np.arange(1, _CELLS) / _CELLS)) if known.any() else ()
        return np.where(known, np.searchsorted(edges, values, side="left") + 1, 0)
    texts, places = np.unique([text or "" for text in values], return_inverse=True)
    counts = np.bincount(places, minlength=len(texts))
    rank = np.empty(len(texts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(texts))
    missing = np.array([text is None for text in values], np.bool_)
    return np.where(missing, 0, np.minimum(rank[places], _CELLS - 1) + 1)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())

"""How far two profiles lie apart, as effects: by the cells of a column, and by the correlation of two.

Evidence is in `profiles.difference`: thousands of rows make any difference significant, so drift is what is
both beyond chance and large.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import special

from varv.profiles.counted import DATE, NUMERIC, TIME
from varv.profiles.frequent import Frequent
from varv.profiles.pairs import Correlated, correlations, paired_columns
from varv.profiles.profile import Profile, is_counted_only
from varv.profiles.reading import share_below
from varv.stats.drift import jensen_shannon, stability_index

LARGE = 0.1
"""A stability index beyond chance from which a column has drifted, as monitors have it by default."""
_BINS = 10
_MOST_TEXTS = 50
_ROUGH = 0.05
"""Texts whose counts are not known to this share are counted together."""
MOST_PAIRS = 10

Counts = npt.NDArray[np.float64]


class Effect(msgspec.Struct, frozen=True):
    """How far a column moved: the population stability index and the Jensen-Shannon divergence, in nats, over
    ten cells of equal mass before, or the 50 most frequent texts that are counted well; missing values are a
    cell. `by_chance` is
    the index of independent rows that did not move, on average.
    """

    psi: float
    by_chance: float
    js: float

    @property
    def is_large(self) -> bool:
        """Whether the index is large beyond what chance explains."""
        return self.psi - self.by_chance >= LARGE


class PairMoved(msgspec.Struct, frozen=True):
    """How the linear correlation of two columns changed: before, after, and the interval of the change of its
    Fisher transform.
    """

    first: str
    second: str
    before: float
    after: float
    low: float
    high: float


def effect(before: Profile, after: Profile, name: str) -> Effect | None:
    """Return how far a column of two profiles moved; None where nothing but counts is kept, or a profile has
    no rows.
    """
    scale = before.column(name)[0]
    if is_counted_only(scale) or not (before.n_rows and after.n_rows):
        return None
    found = _of_numbers(before, after, name) if scale.kind in NUMERIC else _of_texts(before, after, name)
    missing = [one.column(name)[1].tally for one in (before, after)]
    a, b = (np.append(counts, one.rows - one.finite) for counts, one in zip(found, missing, strict=True))
    met = (a + b) > 0
    a, b = a[met], b[met]
    chance = (len(a) - 1) * (1 / a.sum() + 1 / b.sum())
    return Effect(stability_index(a, b), float(chance), jensen_shannon(a / a.sum(), b / b.sum()))


def _of_numbers(before: Profile, after: Profile, name: str) -> tuple[Counts, Counts]:
    scale, column = before.column(name)
    edges = np.array(scale.edges)
    if len(edges) and column.tally.finite:
        shares = share_below(before, name, edges)
        places = np.searchsorted(shares, np.arange(1, _BINS) / _BINS)
        edges = np.unique(edges[np.minimum(places, len(edges) - 1)])
    counts = []
    for one in (before, after):
        n = one.column(name)[1].tally.finite
        below = share_below(one, name, edges) * n if n else np.zeros(len(edges))
        counts.append(np.diff(np.concatenate(([0.0], below, [float(n)]))))
    return counts[0], counts[1]


def _of_texts(before: Profile, after: Profile, name: str) -> tuple[Counts, Counts]:
    frequent = [one.column(name)[1].frequent for one in (before, after)]
    # What the counts of either may be too low by, in rows of the one before.
    slack = max(frequent[0].slack, frequent[1].slack * before.n_rows / after.n_rows)
    texts = [one.value for one in frequent[0].top(_MOST_TEXTS) if slack <= _ROUGH * one.low]

    def counted(one: Frequent, profile: Profile) -> Counts:
        own = [one.counts.get(text, 0) for text in texts]
        return np.array([*own, profile.column(name)[1].tally.finite - sum(own)], np.float64)

    return counted(frequent[0], before), counted(frequent[1], after)


def moved_pairs(before: Profile, after: Profile) -> list[PairMoved]:
    """Return the pairs of columns whose linear correlation changed by more than chance explains, all pairs
    together with 95 %, the greatest changes first.

    Notes
    -----
    Fisher's transform of a correlation has the variance 1 / (n - 3), for rows that are independent and
    columns that are jointly normal.
    """
    first, second = (_named(one) for one in (before, after))
    both = [pair for pair, one in first.items() if one.n > 3 and pair in second and second[pair].n > 3]
    width = float(special.ndtri(1 - 0.025 / max(1, len(both))))
    found = []
    for pair in both:
        a, b = first[pair], second[pair]
        change = _fisher(b.value) - _fisher(a.value)
        half = width * math.sqrt(1 / (a.n - 3) + 1 / (b.n - 3))
        if abs(change) > half:
            found.append(PairMoved(*pair, a.value, b.value, change - half, change + half))
    return sorted(found, key=lambda one: (-abs(one.after - one.before), one.first, one.second))[:MOST_PAIRS]


def _named(profile: Profile) -> dict[tuple[str, str], Correlated]:
    columns = paired_columns(profile.scale)
    found = correlations(profile.pairs, len(columns))
    return {
        (columns[i].name, columns[j].name): one
        for (i, j), one in found.items()
        # What goes with time in one window goes otherwise with it in another.
        if not {columns[i].kind, columns[j].kind} & {TIME, DATE}
    }


def _fisher(value: float) -> float:
    return math.atanh(min(max(value, -0.999999), 0.999999))

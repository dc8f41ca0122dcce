"""What is read off a profile: numbers of each column with their intervals, as plain values.

Times are microseconds and dates days since 1970, as everywhere in a profile; who shows them writes them out.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from scipy import special

from varv.kernel.codec import finite
from varv.profiles.column import ColumnProfile
from varv.profiles.counted import INTEGER, NUMERIC
from varv.profiles.dependence import Dependence, Importance, dependences, importances
from varv.profiles.profile import Profile
from varv.profiles.sample import sample_quantile
from varv.profiles.scale import ColumnScale

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BARS = 32
TOP = 10
_COARSE = 1 / 32
"""A cell that holds more of all values is looked into by the sample."""
_OUTLYING = 0.005
"""Of the values at both ends, what bars leave out, so that one stray value does not flatten all others."""
_Z = float(special.ndtri(0.975))


class Bar(msgspec.Struct, frozen=True):
    """So many values lie in [low, high]; fractions, where a cell is cut."""

    low: float
    high: float
    n: float


class Top(msgspec.Struct, frozen=True):
    """A value that is frequent, and how many rows have it at least and at most."""

    value: int | float | str
    low: int
    high: int


class ColumnRead(msgspec.Struct, frozen=True, kw_only=True):
    """One column in numbers; None where there is none. The interval of the mean is of 95 %, for rows that are
    independent; that of distinct values, too.
    """

    name: str
    kind: str
    private: bool
    n_null: int
    n_nan: int
    n_infinite: int
    n_zero: int
    n_negative: int
    n_empty: int
    n_distinct: float
    distinct_low: float
    distinct_high: float
    low: float | None
    high: float | None
    mean: float | None = None
    mean_low: float | None = None
    mean_high: float | None = None
    sd: float | None = None
    skewness: float | None = None
    kurtosis: float | None = None
    quantiles: tuple[tuple[float, float], ...] = ()
    bars: tuple[Bar, ...] = ()
    top: tuple[Top, ...] = ()
    mean_length: float | None = None


class ProfileRead(msgspec.Struct, frozen=True, kw_only=True):
    """A profile in numbers: its columns, pairs of them that depend on each other, and what tells most about
    the outcome if one was named.
    """

    n_rows: int
    n_sampled: int
    columns: tuple[ColumnRead, ...]
    dependences: tuple[Dependence, ...]
    outcome: str = ""
    importances: tuple[Importance, ...] = ()


def read(profile: Profile, *, outcome: str = "") -> ProfileRead:
    """Return a profile in numbers.

    Parameters
    ----------
    outcome
        The column that others are to tell about.

    Raises
    ------
    InvalidInput
        If there is no such column, or nothing but counts is kept of it.
    """
    return ProfileRead(
        n_rows=profile.n_rows,
        n_sampled=int(profile.sample.counts.sum()),
        columns=tuple(_column(profile, one.name) for one in profile.scale.columns),
        dependences=tuple(dependences(profile)),
        outcome=outcome,
        importances=tuple(importances(profile, outcome)) if outcome else (),
    )


def _column(profile: Profile, name: str) -> ColumnRead:
    scale, column = profile.column(name)
    tally, distinct = column.tally, column.n_distinct()
    found = ColumnRead(
        name=name,
        kind=scale.kind,
        private=scale.private,
        n_null=tally.null,
        n_nan=tally.nan,
        n_infinite=tally.infinite,
        n_zero=tally.zero,
        n_negative=tally.negative,
        n_empty=tally.empty,
        n_distinct=distinct.value,
        distinct_low=distinct.low,
        distinct_high=distinct.high,
        low=column.low,
        high=column.high,
    )
    if scale.private:
        return found
    # Values that are there once say nothing of what is frequent.
    top = tuple(Top(*one) for one in column.frequent.top(TOP) if one.low > 1 or column.frequent.slack == 0)
    found = msgspec.structs.replace(found, top=top)
    if scale.kind in NUMERIC:
        return _with_numbers(found, profile, scale, column)
    known = tally.finite
    return msgspec.structs.replace(found, mean_length=tally.characters / known if known else None)


def _with_numbers(
    found: ColumnRead, profile: Profile, scale: ColumnScale, column: ColumnProfile
) -> ColumnRead:
    if column.sums is None or not column.sums.n:
        return found
    mean, sd, skewness, kurtosis = column.sums.moments(scale)
    half = _Z * sd / math.sqrt(column.sums.n) if math.isfinite(sd) else 0.0
    return msgspec.structs.replace(
        found,
        mean=finite(mean),
        mean_low=finite(mean - half),
        mean_high=finite(mean + half),
        sd=finite(sd),
        skewness=finite(skewness),
        kurtosis=finite(kurtosis),
        quantiles=tuple((share, quantile(profile, found.name, share)) for share in SHARES),
        bars=_bars(profile, found.name),
    )


def quantile(profile: Profile, name: str, share: float) -> float:
    """Return the value below which a share of a column's values lie; NaN if it has none.

    Notes
    -----
    Within the cell that holds it, so the rank is off by the share of that cell at most. The sample says where
    in the cells at both ends, which one stray value makes wide, and in those of more than 1 / 32 of all
    values: it has 2,048 rows, so a rank among all of them has a standard error of 1.1 points.
    """
    scale, column = profile.column(name)
    cells = column.cells
    total = int(cells.sum())
    if not total or column.low is None or column.high is None:
        return math.nan
    below = np.cumsum(cells)
    place = int(np.searchsorted(below, share * total))
    edges = (float(column.low), *scale.edges, float(column.high))
    low, high = max(edges[place], edges[0]), min(edges[place + 1], edges[-1])
    within = (share * total - (below[place] - cells[place])) / cells[place]
    if cells[place] > _COARSE * total or place in (0, len(cells) - 1):
        inside = sample_quantile(profile.sample, name, within, float(np.nextafter(low, high)), high)
        if inside is not None:
            return inside
    found = low + within * (high - low)
    return float(math.ceil(found)) if scale.kind == INTEGER else float(found)


def share_below(profile: Profile, name: str, values: np.ndarray) -> np.ndarray:
    """Return the share of a column's values that are at most each of some rising values, shape (n,); exact at
    the edges of its cells, and straight between them.
    """
    scale, column = profile.column(name)
    below = np.concatenate(([0], np.cumsum(column.cells))).astype(np.float64)
    if not below[-1] or column.low is None or column.high is None:
        return np.full(len(values), math.nan)
    low, high = float(column.low), float(column.high)
    edges = np.clip(np.array((low, *scale.edges, high)), low, high)
    # Of equal edges the last one counts: what lies on an edge lies below it.
    found = np.interp(values, edges, below, left=0.0)
    on_edge = np.searchsorted(edges, values, side="right") - 1
    exact = (on_edge >= 0) & (edges[np.maximum(on_edge, 0)] == values)
    found[exact] = below[on_edge[exact]]
    return found / below[-1]


def _bars(profile: Profile, name: str) -> tuple[Bar, ...]:
    """Return bars of one width, or one for each value where there are few."""
    scale, column = profile.column(name)
    exact = column.frequent
    if not exact.slack and len(exact.counts) <= BARS:
        values = sorted((float(value), n) for value, n in exact.counts.items())
        return tuple(Bar(value, value, n) for value, n in values)
    low, high = quantile(profile, name, _OUTLYING), quantile(profile, name, 1 - _OUTLYING)
    if not low < high:
        low, high = float(column.low or 0.0), float(column.high or 0.0)
    edges, first = np.linspace(low, high, BARS + 1), 0
    if scale.kind == INTEGER:
        # As many whole numbers in each, or bars would have gaps.
        width = math.ceil((high - low + 1) / BARS)
        edges, first = np.arange(low - 1, high + width, width), 1
    counts = np.diff(share_below(profile, name, edges)) * int(column.cells.sum())
    return tuple(
        Bar(float(a) + first, float(b), round(float(n), 1))
        for a, b, n in zip(edges, edges[1:], counts, strict=False)
    )

"""What moved between two profiles, with intervals.

Intervals hold for all columns together with 95 %, for rows that are independent; rows of one day share its
weather, so days are compared with days by `profiles.anomalies`.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from scipy import special

from varv.kernel.codec import finite
from varv.profiles.column import ColumnProfile
from varv.profiles.counted import DATE, NUMERIC, TIME
from varv.profiles.drift import Effect, PairMoved, effect, moved_pairs
from varv.profiles.frequent import Frequent, Value
from varv.profiles.profile import Profile
from varv.profiles.reading import share_below
from varv.stats.intervals import wilson

_VALUES = 3
_MISSING, _MEAN, _SHAPE = "missing", "mean", "shape"


class Moved(msgspec.Struct, frozen=True):
    """A number before and after, and the interval of its change."""

    before: float
    after: float
    low: float
    high: float

    @property
    def is_shown(self) -> bool:
        """Whether the interval holds no 0."""
        return self.low > 0 or self.high < 0


class ValueMoved(msgspec.Struct, frozen=True):
    """How the share of one value changed."""

    value: int | float | str
    share: Moved


class ColumnDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One column: what moved (``missing``, ``mean``, ``shape``), and the numbers for it. `gap` is the largest
    gap of the distribution functions, or of texts the largest change in the share of one value.
    """

    name: str
    kind: str
    moved: tuple[str, ...]
    missing: Moved
    mean: Moved | None = None
    sd: tuple[float | None, float | None] = (None, None)
    distinct: tuple[float, float] = (0.0, 0.0)
    gap: float | None = None
    gap_low: float = 0.0
    gap_high: float = 1.0
    values: tuple[ValueMoved, ...] = ()
    effect: Effect | None = None
    drifted: bool = False
    """Whether something moved beyond chance, and the effect is large; never said of keys and times, which go
    on and on.
    """


class ProfileDifference(msgspec.Struct, frozen=True, kw_only=True):
    """How one profile differs from an earlier one; the columns that moved most come first."""

    n_before: int
    n_after: int
    columns: tuple[ColumnDifference, ...]
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()
    changed_kind: tuple[str, ...] = ()
    pairs: tuple[PairMoved, ...] = ()


def profile_difference(before: Profile, after: Profile) -> ProfileDifference:
    """Return what moved from one profile to another; their scales may differ."""
    kinds = [{one.name: (one.kind, one.private) for one in each.scale.columns} for each in (before, after)]
    both = [name for name in kinds[0] if kinds[0][name] == kinds[1].get(name)]
    # Three questions are asked of each column.
    confidence = 1 - 0.05 / (3 * max(1, len(both)))
    columns = [_column(before, after, name, confidence) for name in both]
    columns.sort(
        key=lambda one: (
            not one.drifted,
            -len(one.moved),
            -one.gap_low,
            -abs(one.missing.after - one.missing.before),
        )
    )
    return ProfileDifference(
        n_before=before.n_rows,
        n_after=after.n_rows,
        columns=tuple(columns),
        only_before=tuple(name for name in kinds[0] if name not in kinds[1]),
        only_after=tuple(name for name in kinds[1] if name not in kinds[0]),
        changed_kind=tuple(name for name in kinds[0] if name in kinds[1] and name not in both),
        pairs=tuple(moved_pairs(before, after)),
    )


def _column(before: Profile, after: Profile, name: str, confidence: float) -> ColumnDifference:
    scale, a = before.column(name)
    b = after.column(name)[1]
    lost = [one.tally.null + one.tally.nan for one in (a, b)]
    missing = share_moved(lost[0], a.tally.rows, lost[1], b.tally.rows, confidence)
    found = ColumnDifference(
        name=name,
        kind=scale.kind,
        moved=(),
        missing=missing,
        distinct=(a.n_distinct().value, b.n_distinct().value),
    )
    if not scale.private and scale.kind in NUMERIC:
        found = _with_numbers(found, before, after, confidence)
    if not scale.private:
        found = _with_values(found, a, b, confidence)
    shown = {
        _MISSING: missing.is_shown,
        _MEAN: found.mean is not None and found.mean.is_shown,
        _SHAPE: found.gap_low > 0,
    }
    moved, apart = tuple(name for name, holds in shown.items() if holds), effect(before, after, name)
    goes_on = scale.kind in (TIME, DATE) or name in before.scale.key
    drifted = bool(moved) and apart is not None and apart.is_large and not goes_on
    return msgspec.structs.replace(found, moved=moved, effect=apart, drifted=drifted)


def share_moved(n_before: int, of_before: int, n_after: int, of_after: int, confidence: float) -> Moved:
    """Return how a share changed.

    Notes
    -----
    Newcombe's (1998) interval of a difference, from Wilson's intervals of both shares.
    """
    a, b = (
        wilson(n_before, of_before, confidence=confidence),
        wilson(n_after, of_after, confidence=confidence),
    )
    if not (of_before and of_after):
        return Moved(finite(a.value) or 0.0, finite(b.value) or 0.0, -1.0, 1.0)
    change = b.value - a.value
    low = change - math.hypot(b.value - b.low, a.high - a.value)
    return Moved(a.value, b.value, low, change + math.hypot(b.high - b.value, a.value - a.low))


def _with_numbers(
    found: ColumnDifference, before: Profile, after: Profile, confidence: float
) -> ColumnDifference:
    pair = [each.column(found.name) for each in (before, after)]
    if any(column.sums is None or column.sums.n < 2 for _, column in pair):
        return found
    moments = [column.sums.moments(scale) for scale, column in pair if column.sums is not None]
    counts = [column.sums.n for _, column in pair if column.sums is not None]
    half = float(special.ndtri(0.5 + confidence / 2)) * math.hypot(
        *(sd / math.sqrt(n) for (_, sd, _, _), n in zip(moments, counts, strict=True))
    )
    change = moments[1][0] - moments[0][0]
    gap = _largest_gap(before, after, found.name)
    # Each distribution function lies this close to the true one (Massart, 1990).
    width = sum(math.sqrt(math.log(4 / (1 - confidence)) / (2 * n)) for n in counts)
    return msgspec.structs.replace(
        found,
        mean=Moved(moments[0][0], moments[1][0], change - half, change + half),
        sd=(finite(moments[0][1]), finite(moments[1][1])),
        gap=gap,
        gap_low=max(0.0, gap - width),
        gap_high=min(1.0, gap + width),
    )


def _largest_gap(before: Profile, after: Profile, name: str) -> float:
    """Return the largest gap at the edges of the cells of both, where at least one side is exact."""
    scales = [each.column(name)[0] for each in (before, after)]
    edges = np.union1d(np.array(scales[0].edges), np.array(scales[1].edges))
    if not len(edges):
        return 0.0
    one, other = share_below(before, name, edges), share_below(after, name, edges)
    return float(np.abs(one - other).max())


def _with_values(
    found: ColumnDifference, a: ColumnProfile, b: ColumnProfile, confidence: float
) -> ColumnDifference:
    """Add the values whose shares changed most, where both are counted exactly."""
    if a.frequent.slack or b.frequent.slack or not (a.tally.finite and b.tally.finite):
        return found
    both: dict[Value, int] = {**a.frequent.counts, **b.frequent.counts}
    level = 1 - (1 - confidence) / max(1, len(both))
    moved = [
        ValueMoved(
            value,
            share_moved(_n(a.frequent, value), a.tally.finite, _n(b.frequent, value), b.tally.finite, level),
        )
        for value in both
    ]
    moved.sort(key=lambda one: -abs(one.share.after - one.share.before))
    shown = tuple(one for one in moved[:_VALUES] if one.share.is_shown)
    if found.gap is None and moved:
        share = moved[0].share
        limits = sorted((abs(share.low), abs(share.high)))
        found = msgspec.structs.replace(
            found,
            gap=abs(share.after - share.before),
            gap_low=limits[0] if share.is_shown else 0.0,
            gap_high=min(1.0, limits[1]),
        )
    return msgspec.structs.replace(found, values=shown)


def _n(frequent: Frequent, value: Value) -> int:
    return frequent.counts.get(value, 0)

"""Curves of metrics as they are drawn and compared: buckets with their least, greatest and last value. Pure.

All curves of one picture share one division of the axis, so that a run that is under way and one that has
ended look equally smooth; a bucket keeps its extremes, so that no spike is lost, however many points it has.
What is no number is counted and marked, and never drawn as a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.kernel.errors import InvalidInput

Axis = Literal["step", "relative", "wall"]
AXES: tuple[Axis, ...] = ("step", "relative", "wall")
"""The steps that were logged, milliseconds since the run began, or milliseconds since 1970."""
MOST_CURVES = 20
"""In one picture; of runs in groups, the groups."""
MOST_MEMBERS = 200
BUCKETS = 200
MOST_BUCKETS = 1000


class Drawn(NamedTuple):
    """The points of one metric of one run, of dtype `points.POINT`, and what the curve is part of."""

    run: str
    metric: str
    points: np.ndarray
    started_ms: int
    group: str = ""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One curve, by the buckets that have points, in the order of the axis; lists of equal length.

    `x` is that of the last point in a bucket; `smooth` the moving average there, `last` itself where nothing
    is smoothed. `not_numbers` are the places of points that are none.
    """

    run: str
    metric: str
    n_points: int
    x: list[float]
    last: list[float | None]
    low: list[float | None]
    high: list[float | None]
    smooth: list[float | None]
    not_numbers: list[float] = []


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The curves of one metric whose runs have something in common: their mean, least and greatest value in
    the middle of each bucket, over the runs that have begun and not ended there.
    """

    group: str
    metric: str
    n_runs: int
    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """Curves over one axis, from `since` to `until`, divided into `n_buckets` of equal width; members of a
    group are in it alone.
    """

    axis: Axis
    since: float
    until: float
    n_buckets: int
    curves: tuple[Curve, ...]
    groups: tuple[Group, ...] = ()


def curves_of(
    drawn: Sequence[Drawn], *, axis: Axis, n_buckets: int = BUCKETS, smoothing: float = 0.0
) -> Curves:
    """Return curves over one division of the axis.

    Parameters
    ----------
    n_buckets
        From 2 to `MOST_BUCKETS`.
    smoothing
        The share of what was before in an exponential moving average, at least 0 and below 1; 0 smooths
        nothing.

    Raises
    ------
    InvalidInput
        If there are more than `MOST_CURVES`, or a number is out of its bounds.

    Examples
    --------
    >>> from varv.runs.points import packed, read
    >>> points = read([packed([(1, 0, step, step, float(step == 7)) for step in range(1000)])])
    >>> found = curves_of([Drawn("r", "loss", points, 0)], axis="step", n_buckets=10).curves[0]
    >>> found.x[:2], found.high[:2], found.last[:2]
    ([99.0, 199.0], [1.0, 0.0], [0.0, 0.0])
    """
    n_shown = len({(one.group or one.run, one.metric) for one in drawn})
    if n_shown > MOST_CURVES or len(drawn) > MOST_MEMBERS:
        hint = "choose fewer runs or metrics, or group them"
        raise InvalidInput("curves", n_shown, "are too many", most=MOST_CURVES, n_runs=len(drawn), hint=hint)
    if not 2 <= n_buckets <= MOST_BUCKETS:
        raise InvalidInput("buckets", n_buckets, f"is not between 2 and {MOST_BUCKETS}")
    if not 0 <= smoothing < 1:
        raise InvalidInput("smoothing", smoothing, "is not at least 0 and below 1")
    placed = [(one, *_by_axis(one, axis)) for one in drawn]
    since = min((float(x[0]) for _, x, _ in placed if len(x)), default=0.0)
    until = max((float(x[-1]) for _, x, _ in placed if len(x)), default=since)
    edges = _Edges(since, until, n_buckets)
    curves = tuple(_curve(one, x, values, edges, smoothing) for one, x, values in placed)
    alone = tuple(curve for one, curve in zip(drawn, curves, strict=True) if not one.group)
    groups = _groups(drawn, curves, edges)
    return Curves(axis=axis, since=since, until=until, n_buckets=n_buckets, curves=alone, groups=groups)


class _Edges(NamedTuple):
    since: float
    until: float
    n: int

    def places(self, x: np.ndarray) -> np.ndarray:
        width = (self.until - self.since) or 1.0
        return np.minimum(((x - self.since) / width * self.n).astype(np.int64), self.n - 1)

    def middles(self) -> np.ndarray:
        return self.since + (np.arange(self.n) + 0.5) / self.n * (self.until - self.since)


def _by_axis(one: Drawn, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Return places on the axis and values, in the order of both; float64, shape (n,)."""
    points = one.points
    order = np.lexsort((points["step"], points["at"]) if axis != "step" else (points["at"], points["step"]))
    points = points[order]
    x = points["step" if axis == "step" else "at"].astype(np.float64)
    return x - one.started_ms if axis == "relative" else x, points["value"]


def _curve(one: Drawn, x: np.ndarray, values: np.ndarray, edges: _Edges, smoothing: float) -> Curve:
    if not len(x):
        return Curve(run=one.run, metric=one.metric, n_points=0, x=[], last=[], low=[], high=[], smooth=[])
    places = edges.places(x)
    starts = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
    ends = np.append(starts[1:], len(x)) - 1
    last = _last_numbers(values)[ends]
    # A bucket in which nothing is a number has no last one, whatever came before it.
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    last = np.where(np.isnan(low), np.nan, last)
    smooth = np.where(np.isnan(low), np.nan, _smoothed(values, smoothing)[ends]) if smoothing else last
    return Curve(
        run=one.run,
        metric=one.metric,
        n_points=len(x),
        x=x[ends].tolist(),
        last=_numbers(last),
        low=_numbers(low),
        high=_numbers(high),
        smooth=_numbers(smooth),
        not_numbers=np.unique(x[ends][np.searchsorted(ends, np.flatnonzero(np.isnan(values)))]).tolist(),
    )


def _last_numbers(values: np.ndarray) -> np.ndarray:
    """Return the last value up to each that is a number."""
    known = np.where(np.isnan(values), -1, np.arange(len(values)))
    before = np.maximum.accumulate(known)
    return np.where(before < 0, np.nan, values[np.maximum(before, 0)])


def _smoothed(values: np.ndarray, smoothing: float) -> np.ndarray:
    # Weighted by what there is, so that the first values are not drawn towards zero.
    numbers = pl.Series(values).fill_nan(None)
    return numbers.ewm_mean(alpha=1 - smoothing, adjust=True, ignore_nulls=True).forward_fill().to_numpy()


def _groups(drawn: Sequence[Drawn], curves: Sequence[Curve], edges: _Edges) -> tuple[Group, ...]:
    members: dict[tuple[str, str], list[Curve]] = {}
    for one, curve in zip(drawn, curves, strict=True):
        if one.group:
            members.setdefault((one.group, one.metric), []).append(curve)
    found = (_group(name, metric, some, edges) for (name, metric), some in members.items())
    return tuple(one for one in found if one.x)


def _group(name: str, metric: str, curves: Sequence[Curve], edges: _Edges) -> Group:
    middles = edges.middles()
    half = (edges.until - edges.since) / edges.n / 2
    rows = []
    for one in curves:
        known = [(x, value) for x, value in zip(one.x, one.smooth, strict=True) if value is not None]
        if known:
            x, values = np.array(known).T
            within = (middles >= x[0] - half) & (middles <= x[-1] + half)
            rows.append(np.where(within, np.interp(middles, x, values), np.nan))
    stacked = np.array(rows).reshape(len(rows), edges.n)
    kept = ~np.isnan(stacked).all(axis=0) if rows else np.zeros(edges.n, bool)
    some = stacked[:, kept]
    return Group(
        group=name,
        metric=metric,
        n_runs=len(curves),
        x=middles[kept].tolist(),
        mean=np.nanmean(some, axis=0).tolist() if len(rows) else [],
        low=np.nanmin(some, axis=0).tolist() if len(rows) else [],
        high=np.nanmax(some, axis=0).tolist() if len(rows) else [],
    )


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]

"""Learning a contract from a reference period.

The reference came before there was a contract, so it may hold a few of the very values that a contract is
there to catch: a range is that of the rows without what lies far outside of all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.contracts.column_rules import kind_of
from varv.data.contracts.model import ColumnRule, Contract, Expectation
from varv.data.contracts.rules import screen
from varv.data.contracts.volumes import learned_hours
from varv.kernel.clock import DAY, Instant
from varv.kernel.codec import finite
from varv.kernel.errors import InvalidInput
from varv.tasks import OutcomeRule

WIDENING = 1.0
"""A numeric range is widened on both sides by this many times its width in the reference period."""
IMPOSSIBLE = 10.0
"""A value that lies this many widths outside of the range is impossible."""
LEAST_DISTINCT = 20
"""Of fewer different values nothing is called impossible: a column of zeros has no width."""
MIDDLE = (0.05, 0.95)
NULL_SLACK = 0.5
"""Of the share of present values on the worst reference day, this much may be missing in addition."""
MAX_DOMAIN = 50
STRAY_TIMES = 0.001
"""A share of the reference's rows that may have stray times."""


def contract_of_types(
    types: Mapping[str, pl.DataType],
    *,
    key: Sequence[str],
    time: str,
    outcomes: Mapping[str, OutcomeRule] = MappingProxyType({}),
) -> Contract:
    """Return the contract that follows from the declaration alone: kinds, keys and times never null, and in
    the columns `outcomes` what may be an outcome.
    """
    strict = {*key, time}
    columns = (
        ColumnRule(
            name=name,
            kind=kind_of(dtype),
            null_share=0.0 if name in strict else 1.0,
            values=_rule_of(name, outcomes).values,
            lowest=_rule_of(name, outcomes).lowest,
            highest=_rule_of(name, outcomes).highest,
        )
        for name, dtype in types.items()
    )
    return Contract(key=tuple(key), time=time, columns=tuple(columns))


def _rule_of(name: str, outcomes: Mapping[str, OutcomeRule]) -> OutcomeRule:
    return outcomes.get(name, OutcomeRule())


def infer_contract(
    frame: pl.DataFrame,
    *,
    key: Sequence[str],
    time: str,
    outcomes: Mapping[str, OutcomeRule] = MappingProxyType({}),
    declared: Sequence[Expectation] = (),
) -> Contract:
    """Return the contract that batches like those of a reference period keep.

    Parameters
    ----------
    frame
        The rows of the reference period in kept types; a month is a good one, a week the least.
    key, time
        The columns that identify a row, and the one that holds the part's time.
    outcomes
        What columns of outcomes may hold.
    declared
        What the author expects: how many rows come when is learned where a rule on volume is among it.

    Raises
    ------
    InvalidInput
        If the frame is empty.

    Notes
    -----
    - *Range* of a numeric column: the reference's minimum and maximum, widened on both sides by the distance
      between them. A New York January holds 11 to 64 °F and so allows -43 to 118 °F: the whole year fits,
      kelvins do not. Pressures of 984 to 1035 hPa allow 933 to 1085 hPa: inches of mercury do not fit.
    - *Impossible* is what lies more than ten such distances outside, where the column has 20 different values
      at least and is not one value for nearly all rows. What lies beyond such a gap in the reference itself
      does not count for its range.
    - *Nulls*: from the worst day's share s, up to s + 0.5 (1 - s); a column that was wholly null on some day
      is free.
    - *Domain* of a text column: the values seen, if at most 50, each 20 times on average.
    - *Times*: not earlier than a year, or the reference's own length if that is more, before it begins; one
      row in a thousand may be a stray.
    """
    if frame.is_empty() or frame[time].null_count() == frame.height:
        raise InvalidInput("contract", time, "has no reference rows", hint="choose a period that holds data")
    times = frame[time].to_physical().drop_nulls()
    start = int(times.quantile(STRAY_TIMES, "higher") or 0)
    end = int(times.quantile(1 - STRAY_TIMES, "lower") or 0)
    strict = {*key, time}
    worst_day = _worst_daily_null_share(frame, time)
    columns = []
    for name, dtype in frame.schema.items():
        values = frame[name]
        rule = outcomes.get(name)
        bounds = _Bounds() if name in strict else _bounds(values) if rule is None else _bounds_of(rule)
        share = 0.0 if name in strict else round(worst_day[name] + NULL_SLACK * (1 - worst_day[name]), 6)
        columns.append(
            ColumnRule(
                name=name,
                kind=kind_of(dtype),
                null_share=share,
                low=bounds.low,
                high=bounds.high,
                lowest=bounds.lowest,
                highest=bounds.highest,
                values=None if rule is None else rule.values,
                n_distinct=values.n_unique() if dtype == pl.String else None,
                domain=_domain(values),
            )
        )
    contract = Contract(
        key=tuple(key),
        time=time,
        columns=tuple(columns),
        earliest=Instant(start - max(365 * DAY, end - start)),
        n_reference=frame.height,
        hourly=learned_hours(frame[time]) if any(one.kind == "volume" for one in declared) else None,
    )
    return _with_count(contract, frame)


def _bounds_of(rule: OutcomeRule) -> _Bounds:
    """Return the bounds of an outcome: what no outcome can be is impossible, and nothing else is unusual."""
    return _Bounds(lowest=rule.lowest, highest=rule.highest)


def _with_count(contract: Contract, frame: pl.DataFrame) -> Contract:
    """Return `contract` with the number of reference rows that it would have put aside."""
    latest = frame[contract.time].to_physical().max()
    now = Instant(latest if isinstance(latest, int) else 0)
    n = screen(contract, frame, now=now, acknowledged=True).reasons.count()
    return msgspec.structs.replace(contract, n_impossible=n)


class _Bounds(NamedTuple):
    low: float | None = None
    high: float | None = None
    lowest: float | None = None
    highest: float | None = None


def _bounds(values: pl.Series) -> _Bounds:
    if not values.dtype.is_numeric():
        return _Bounds()
    known = values.cast(pl.Float64).drop_nulls()
    known = known.filter(known.is_finite())
    if known.is_empty():
        return _Bounds()
    distinct = known.unique().sort().to_numpy()
    left, right = (float(known.quantile(share, "nearest") or 0.0) for share in MIDDLE)
    has_width = len(distinct) >= LEAST_DISTINCT and left < right
    if has_width:
        distinct = _without_strays(distinct, left, right)
    low, high = float(distinct[0]), float(distinct[-1])
    width = high - low
    margin = WIDENING * width or abs(high) or 1.0
    soft = _Bounds(finite(low - margin), finite(high + margin))
    if not has_width:
        return soft
    far = IMPOSSIBLE * width
    return _Bounds(soft.low, soft.high, finite(low - far), finite(high + far))


def _without_strays(distinct: npt.NDArray[np.float64], left: float, right: float) -> npt.NDArray[np.float64]:
    """Return sorted values without those beyond a gap, outside of the middle, of ten times the width of
    everything within.
    """
    first = int(np.searchsorted(distinct, left))
    last = int(np.searchsorted(distinct, right))
    above = distinct[last:]
    gaps = np.flatnonzero(np.diff(above) > IMPOSSIBLE * (above[:-1] - distinct[first]))
    end = last + int(gaps[0]) + 1 if len(gaps) else len(distinct)
    below = distinct[: first + 1]
    gaps = np.flatnonzero(np.diff(below) > IMPOSSIBLE * (distinct[end - 1] - below[1:]))
    start = int(gaps[-1]) + 1 if len(gaps) else 0
    return distinct[start:end]


def _worst_daily_null_share(frame: pl.DataFrame, time: str) -> dict[str, float]:
    days = frame.group_by(pl.col(time).dt.truncate("1d").alias("@day")).agg(
        pl.exclude(time).is_null().mean(), pl.col(time).is_null().mean()
    )
    shares = days.select(pl.exclude("@day").max()).row(0, named=True)
    return {name: float(share) for name, share in shares.items()}


def _domain(values: pl.Series) -> tuple[str, ...] | None:
    if values.dtype != pl.String:
        return None
    distinct = values.drop_nulls().unique()
    if not 0 < distinct.len() <= MAX_DOMAIN or distinct.len() * 20 > values.len():
        return None
    return tuple(distinct.sort().to_list())

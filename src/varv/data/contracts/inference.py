"""Learning a contract from a reference period, in one pass over rows that need not fit into memory.

What is learned follows from the profile of the period (`varv.profiles`) and from its days
(`data.contracts.calendar`). The reference came before there was a contract, so it may hold a few of the very
values that a contract is there to catch: a range is that of the rows without what lies far outside of all
others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.data.contracts.calendar import Calendar
from varv.data.contracts.column_rules import kind_of
from varv.data.contracts.model import ColumnRule, Contract, Expectation
from varv.data.contracts.volumes import learned_hours
from varv.kernel.clock import DAY, Instant
from varv.kernel.codec import finite
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput
from varv.profiles import Profile, profile_of
from varv.profiles.column import ColumnProfile
from varv.profiles.profile import in_stretches
from varv.profiles.reading import quantile, share_below
from varv.profiles.tails import clusters, without_strays
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
    rows: pl.DataFrame | Iterable[pl.DataFrame],
    *,
    key: Sequence[str],
    time: str,
    outcomes: Mapping[str, OutcomeRule] = MappingProxyType({}),
    declared: Sequence[Expectation] = (),
) -> Contract:
    """Return the contract that batches like those of a reference period keep.

    Parameters
    ----------
    rows
        The rows of the reference period in kept types, in one frame or in several; a month is a good one, a
        week the least.
    key, time
        The columns that identify a row, and the one that holds the part's time.
    outcomes
        What columns of outcomes may hold.
    declared
        What the author expects: how many rows come when is learned where a rule on volume is among it.

    Raises
    ------
    InvalidInput
        If there are no rows.

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
    - *Times*: not earlier than a year, or the reference's own length if that is more, before the hour in
      which it begins; one row in a thousand may be a stray.
    - Where the middle of a column begins and ends is read off a profile, so it is right to 1 / 128 of the
      ranks. Gaps between values are exact, unless the middle lies far from where the first rows lay. Texts
      are counted exactly up to 2,048 different ones. Rows that the contract would have put aside are counted
      by rule.
    """
    calendar = Calendar(time)
    frames = in_stretches([rows] if isinstance(rows, pl.DataFrame) else rows)
    first = next(frames, pl.DataFrame(schema={time: TIME}))
    profile = profile_of(
        calendar.counting(chain([first], frames)), key=[name for name in key if name in first.columns]
    )
    span = calendar.span(STRAY_TIMES)
    if span is None:
        raise InvalidInput("contract", time, "has no reference rows", hint="choose a period that holds data")
    start, end = span
    strict = {*key, time}
    rules = tuple(
        _strict_rule(name, dtype, profile)
        if name in strict
        else _column_rule(name, dtype, profile, calendar, outcomes.get(name))
        for name, dtype in first.schema.items()
    )
    contract = Contract(
        key=tuple(key),
        time=time,
        columns=rules,
        earliest=Instant(start - max(365 * DAY, end - start)),
        n_reference=profile.n_rows,
        hourly=learned_hours(calendar.hours()) if any(one.kind == "volume" for one in declared) else None,
    )
    return msgspec.structs.replace(contract, n_impossible=_n_impossible(contract, profile, calendar))


def _strict_rule(name: str, dtype: pl.DataType, profile: Profile) -> ColumnRule:
    """Return the rule of a key or a time, which is never null."""
    column = profile.column(name)[1]
    return ColumnRule(
        name=name,
        kind=kind_of(dtype),
        null_share=0.0,
        n_distinct=_n_distinct(column, dtype),
        domain=_domain(column, dtype),
    )


def _column_rule(
    name: str, dtype: pl.DataType, profile: Profile, calendar: Calendar, outcome: OutcomeRule | None
) -> ColumnRule:
    column = profile.column(name)[1]
    bounds = _bounds(profile, name, dtype) if outcome is None else _bounds_of(outcome)
    worst_day = calendar.null_share(name)
    return ColumnRule(
        name=name,
        kind=kind_of(dtype),
        null_share=round(worst_day + NULL_SLACK * (1 - worst_day), 6),
        low=bounds.low,
        high=bounds.high,
        lowest=bounds.lowest,
        highest=bounds.highest,
        values=None if outcome is None else outcome.values,
        n_distinct=_n_distinct(column, dtype),
        domain=_domain(column, dtype),
    )


def _bounds_of(rule: OutcomeRule) -> _Bounds:
    """Return the bounds of an outcome: what no outcome can be is impossible, and nothing else is unusual."""
    return _Bounds(lowest=rule.lowest, highest=rule.highest)


class _Bounds(NamedTuple):
    low: float | None = None
    high: float | None = None
    lowest: float | None = None
    highest: float | None = None


def _bounds(profile: Profile, name: str, dtype: pl.DataType) -> _Bounds:
    column = profile.column(name)[1]
    if not dtype.is_numeric() or column.low is None or column.high is None:
        return _Bounds()
    low, high = float(column.low), float(column.high)
    has_width = column.n_distinct().value >= LEAST_DISTINCT and not _is_mostly_one_value(profile, name)
    if has_width:
        left, right = (quantile(profile, name, share) for share in MIDDLE)
        low, high = without_strays(column.tails, left, right, IMPOSSIBLE)
    width = high - low
    margin = WIDENING * width or abs(high) or 1.0
    soft = _Bounds(finite(low - margin), finite(high + margin))
    if not has_width:
        return soft
    far = IMPOSSIBLE * width
    return _Bounds(soft.low, soft.high, finite(low - far), finite(high + far))


def _is_mostly_one_value(profile: Profile, name: str) -> bool:
    """Return whether the middle of a column is a single value."""
    column = profile.column(name)[1]
    [top] = column.frequent.top(1) or [None]
    if top is None:
        return False
    own = top.low / column.tally.finite
    upto = float(share_below(profile, name, np.array([float(top.value)]))[0])
    return own >= MIDDLE[1] - MIDDLE[0] and upto - own <= MIDDLE[0] and upto >= MIDDLE[1]


def _n_distinct(column: ColumnProfile, dtype: pl.DataType) -> int | None:
    return round(column.n_distinct().value) if dtype == pl.String else None


def _domain(column: ColumnProfile, dtype: pl.DataType) -> tuple[str, ...] | None:
    texts = column.frequent.counts
    if dtype != pl.String or column.frequent.slack:
        return None
    if not 0 < len(texts) <= MAX_DOMAIN or len(texts) * 20 > column.tally.rows:
        return None
    return tuple(sorted(str(text) for text in texts))


def _n_impossible(contract: Contract, profile: Profile, calendar: Calendar) -> int:
    """Return how many reference rows a contract would put aside, at least; a row that breaks two rules counts
    for both.
    """
    n = 0 if contract.earliest is None else calendar.n_before(contract.earliest)
    for rule in contract.columns:
        column = profile.column(rule.name)[1]
        if rule.name in {*contract.key, contract.time}:
            n += column.tally.null
            continue
        if rule.values is not None:
            allowed = sum(column.frequent.counts.get(value, 0) for value in rule.values)
            n += max(0, column.tally.rows - column.tally.null - allowed - column.frequent.slack)
        elif rule.lowest is not None and rule.highest is not None:
            n += sum(
                one.n for one in clusters(column.tails) if one.low > rule.highest or one.high < rule.lowest
            )
        if rule.kind == "number":
            n += column.tally.infinite
    return n

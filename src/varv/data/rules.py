"""The contract of a batch: inferred from a reference period, then checked on each batch that arrives.

A contract must catch a broken producer (a changed unit or type, nulls everywhere, keys stated twice,
impossible times) and must stay silent about the world (summer, storms, a new destination): what moves slowly
is drift, and monitoring's business. Hence wide ranges, a share of rows that may break a soft rule, and no
tolerance only for keys, times and types.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import polars as pl

from varv.kernel.clock import DAY, Instant, iso
from varv.kernel.codec import finite
from varv.kernel.errors import InvalidInput

WIDENING = 1.0
"""A numeric range is widened on both sides by this many times its width in the reference period."""
OUT_OF_RANGE_SHARE = 0.05
UNSEEN_SHARE = 0.10
NULL_SLACK = 0.5
"""Of the share of present values on the worst reference day, this much may be missing in addition."""
MAX_DOMAIN = 50
MAX_EXAMPLES = 10
MAX_SHOWN = 80
AHEAD = DAY
"""How far beyond the present a batch's times may lie: clocks differ."""


class ColumnRule(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected of one column; None means that nothing is."""

    name: str
    kind: str
    """``"integer"``, ``"number"``, ``"boolean"``, ``"text"`` or ``"time"``."""
    null_share: float = 1.0
    """The share of rows that may be null, before the allowance for chance; 0 with no allowance for keys and
    times."""
    low: float | None = None
    high: float | None = None
    domain: tuple[str, ...] | None = None


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch of one part of a dataset must look like."""

    key: tuple[str, ...]
    time: str
    columns: tuple[ColumnRule, ...]
    earliest: Instant | None = None
    n_reference: int = 0


class Example(msgspec.Struct, frozen=True):
    """One row that broke a rule: its key, and its value in the column."""

    key: str
    value: str


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that a batch broke: in how many rows, how many would have been tolerated, and some of them."""

    rule: str
    column: str
    n_rows: int
    n_allowed: int
    expected: str
    examples: tuple[Example, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a contract says of a batch."""

    n_rows: int
    violations: tuple[Violation, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the batch keeps the contract."""
        return not self.violations


def contract_of_types(types: Mapping[str, pl.DataType], *, key: Sequence[str], time: str) -> Contract:
    """Return the contract that follows from the declared types alone: kinds, and keys and times never
    null.
    """
    strict = {*key, time}
    columns = (
        ColumnRule(name=name, kind=_kind(dtype), null_share=0.0 if name in strict else 1.0)
        for name, dtype in types.items()
    )
    return Contract(key=tuple(key), time=time, columns=tuple(columns))


def infer_contract(frame: pl.DataFrame, *, key: Sequence[str], time: str) -> Contract:
    """Return the contract that batches like those of a reference period keep.

    Parameters
    ----------
    frame
        The rows of the reference period in kept types; a month is a good one, a week the least.
    key, time
        The columns that identify a row, and the one that holds the part's time.

    Raises
    ------
    InvalidInput
        If the frame is empty.

    Notes
    -----
    - *Range* of a numeric column: the reference's minimum and maximum, widened on both sides by the distance
      between them. A New York January holds 11 to 64 °F and so allows -43 to 118 °F: the whole year fits,
      kelvins do not. Pressures of 984 to 1035 hPa allow 933 to 1085 hPa: inches of mercury do not fit.
    - *Nulls*: from the worst day's share s, up to s + 0.5 (1 - s); a column that was wholly null on some day
      is free.
    - *Domain* of a text column: the values seen, if at most 50, each 20 times on average.
    - *Times*: not earlier than a year, or the reference's own length if that is more, before its first row.

    Soft rules tolerate a share of the rows (5 % out of range, 10 % unseen) and four standard deviations of
    chance.
    """
    if frame.is_empty():
        raise InvalidInput("contract", time, "has no reference rows", hint="choose a period that holds data")
    start, end = frame[time].dt.timestamp("us").min(), frame[time].dt.timestamp("us").max()
    if not isinstance(start, int) or not isinstance(end, int):
        raise InvalidInput("contract", time, "has no reference times", hint="choose a period that holds data")
    strict = {*key, time}
    worst_day = _worst_daily_null_share(frame, time)
    columns = []
    for name, dtype in frame.schema.items():
        if name in strict:
            columns.append(
                ColumnRule(name=name, kind=_kind(dtype), null_share=0.0, domain=_domain(frame[name]))
            )
            continue
        low, high = _widened(frame[name])
        columns.append(
            ColumnRule(
                name=name,
                kind=_kind(dtype),
                null_share=round(worst_day[name] + NULL_SLACK * (1 - worst_day[name]), 6),
                low=low,
                high=high,
                domain=_domain(frame[name]),
            )
        )
    earliest = Instant(start - max(365 * DAY, end - start))
    return Contract(
        key=tuple(key), time=time, columns=tuple(columns), earliest=earliest, n_reference=frame.height
    )


def check(contract: Contract, frame: pl.DataFrame, *, now: Instant) -> Report:
    """Return what `contract` says of a batch that arrived at `now`; nothing is changed and nothing is
    raised.
    """
    found = _misfits(contract, frame)
    sound = {rule.name for rule in contract.columns} - {violation.column for violation in found}
    rules = [
        *_column_rules(contract, frame, sound),
        *_key_rule(contract, frame, sound),
        *_time_rule(contract, frame, sound, now),
    ]
    # All are counted in one pass; rows are listed only where it matters.
    counts = frame.select(rule.broken.sum().alias(str(i)) for i, rule in enumerate(rules))
    for i, rule in enumerate(rules):
        n_rows = int(counts[str(i)][0])
        if n_rows > rule.n_allowed:
            found.append(rule.violation(contract, frame.filter(rule.broken)))
    return Report(n_rows=frame.height, violations=tuple(found))


def allowed(n_rows: int, share: float) -> int:
    """Return how many of `n_rows` may break a rule that a `share` may break, four standard deviations of
    chance added.

    Examples
    --------
    >>> allowed(1000, 0.05), allowed(8, 0.05), allowed(1, 0.05), allowed(1000, 0.0)
    (77, 2, 0, 0)
    """
    return min(n_rows, math.floor(share * n_rows + 4 * math.sqrt(n_rows * share * (1 - share))))


def _misfits(contract: Contract, frame: pl.DataFrame) -> list[Violation]:
    expected = {rule.name: rule.kind for rule in contract.columns}
    found = []
    for name in (*expected, *(column for column in frame.columns if column not in expected)):
        if name not in frame.columns:
            rule, wanted = "missing column", expected[name]
        elif name not in expected:
            rule, wanted = "unknown column", "no such column"
        elif not _fits(frame.schema[name], expected[name]):
            rule, wanted = f"type {frame.schema[name]}", expected[name]
        else:
            continue
        found.append(
            Violation(rule=rule, column=name[:MAX_SHOWN], n_rows=frame.height, n_allowed=0, expected=wanted)
        )
    return found


class _Rule(NamedTuple):
    """An expression that is true in the rows that break a rule, and how many of them are let pass."""

    name: str
    columns: Sequence[str]
    broken: pl.Expr
    n_allowed: int
    expected: str

    def violation(self, contract: Contract, rows: pl.DataFrame) -> Violation:
        """Return what is said of `rows`, which break the rule."""
        return Violation(
            rule=self.name,
            column=", ".join(self.columns),
            n_rows=rows.height,
            n_allowed=self.n_allowed,
            expected=self.expected,
            examples=_examples(contract, rows, self.columns[0]),
        )


def _column_rules(contract: Contract, frame: pl.DataFrame, sound: set[str]) -> Iterator[_Rule]:
    n = frame.height
    for rule in contract.columns:
        if rule.name not in sound:
            continue
        column, of = pl.col(rule.name), (rule.name,)
        if rule.null_share < 1:
            text = f"at most {rule.null_share:.0%} null"
            yield _Rule("null", of, column.is_null(), allowed(n, rule.null_share), text)
        if frame.schema[rule.name] == pl.Null:
            continue
        if rule.low is not None and rule.high is not None:
            value = column.cast(pl.Float64)
            outside = ~value.is_between(rule.low, rule.high) | value.is_nan()
            text = f"{rule.low:.6g} to {rule.high:.6g}"
            yield _Rule("range", of, outside, allowed(n, OUT_OF_RANGE_SHARE), text)
        if rule.domain is not None:
            unseen = ~column.cast(pl.String).is_in(list(rule.domain))
            text = f"one of {len(rule.domain)} known values"
            # One is always let pass: a new customer or carrier arrives in a batch of one when rows are live.
            yield _Rule("unseen value", of, unseen, max(1, allowed(n, UNSEEN_SHARE)), text)


def _key_rule(contract: Contract, frame: pl.DataFrame, sound: set[str]) -> Iterator[_Rule]:
    if sound.issuperset(contract.key) and not frame.is_empty():
        key = pl.struct(contract.key) if len(contract.key) > 1 else pl.col(contract.key[0])
        yield _Rule("duplicate key", contract.key, ~key.is_first_distinct(), 0, "each key once")


def _time_rule(contract: Contract, frame: pl.DataFrame, sound: set[str], now: Instant) -> Iterator[_Rule]:
    if contract.time in sound and frame.schema[contract.time] != pl.Null:
        latest = now + AHEAD
        when = pl.col(contract.time).dt.timestamp("us")
        outside = (when > latest) | (when < (contract.earliest or 0))
        earliest = "the epoch" if contract.earliest is None else iso(contract.earliest)
        expected = f"{earliest} to {iso(latest)}"
        yield _Rule("time out of range", (contract.time,), outside, 0, expected)


def _examples(contract: Contract, rows: pl.DataFrame, column: str) -> tuple[Example, ...]:
    keys = [name for name in contract.key if name in rows.columns]
    shown = rows.head(MAX_EXAMPLES)
    return tuple(
        Example("/".join(_shown(part) for part in key), _shown(value))
        for key, value in zip(shown.select(keys).iter_rows(), shown[column].to_list(), strict=True)
    )


def _shown(value: object) -> str:
    return str(value)[:MAX_SHOWN]


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "number"
    if dtype == pl.Boolean:
        return "boolean"
    return "time" if isinstance(dtype, pl.Datetime) else "text"


def _fits(dtype: pl.DataType, kind: str) -> bool:
    if dtype == pl.Null:
        return True
    if kind == "number":
        return dtype.is_numeric()
    if kind == "text":
        return dtype == pl.String
    return _kind(dtype) == kind


def _worst_daily_null_share(frame: pl.DataFrame, time: str) -> dict[str, float]:
    days = frame.group_by(pl.col(time).dt.truncate("1d").alias("@day")).agg(
        pl.exclude(time).is_null().mean(), pl.col(time).is_null().mean()
    )
    shares = days.select(pl.exclude("@day").max()).row(0, named=True)
    return {name: float(share) for name, share in shares.items()}


def _widened(values: pl.Series) -> tuple[float | None, float | None]:
    if not values.dtype.is_numeric():
        return None, None
    known = values.cast(pl.Float64).drop_nulls()
    known = known.filter(known.is_finite())
    if known.is_empty():
        return None, None
    low, high = float(known.min()), float(known.max())  # type: ignore[arg-type]
    margin = WIDENING * (high - low) or abs(high) or 1.0
    return finite(low - margin), finite(high + margin)


def _domain(values: pl.Series) -> tuple[str, ...] | None:
    if values.dtype != pl.String:
        return None
    distinct = values.drop_nulls().unique()
    if not 0 < distinct.len() <= MAX_DOMAIN or distinct.len() * 20 > values.len():
        return None
    return tuple(distinct.sort().to_list())

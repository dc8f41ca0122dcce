"""The learned rules of a contract as expressions that are true in the rows that break them.

Declared ones are in `row_rules` and `batch_rules`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import polars as pl

from varv.data.contracts.model import ColumnRule, Contract
from varv.data.contracts.report import MAX_SHOWN, Violation
from varv.kernel.clock import DAY, Instant, iso

OUT_OF_RANGE_SHARE = 0.05
UNSEEN_SHARE = 0.10
AHEAD = DAY
"""How far beyond the present a batch's times may lie: clocks differ."""


class Rule(NamedTuple):
    """An expression that is true in the rows that break a rule, and how many of them are let pass.

    `spare` are let pass in any batch: a new customer or carrier arrives in a batch of one when rows are live.
    """

    name: str
    column: str
    broken: pl.Expr
    expected: str
    share: float = 0.0
    spare: int = 0
    of_a_row: bool = True

    @property
    def reason(self) -> str:
        """The rule and its column in a few words."""
        return f"{self.name} of {self.column}"

    def n_allowed(self, n_rows: int) -> int:
        """Return how many of a batch's rows may break the rule."""
        return max(self.spare, allowed(n_rows, self.share)) if self.share else self.spare


def allowed(n_rows: int, share: float) -> int:
    """Return how many of `n_rows` may break a rule that a `share` may break, four standard deviations of
    chance added.

    Examples
    --------
    >>> allowed(1000, 0.05), allowed(8, 0.05), allowed(1, 0.05), allowed(1000, 0.0)
    (77, 2, 0, 0)
    """
    return min(n_rows, math.floor(share * n_rows + 4 * math.sqrt(n_rows * share * (1 - share))))


def misfits(contract: Contract, frame: pl.DataFrame) -> list[Violation]:
    """Return the columns that are missing, unknown or of another kind."""
    schema = frame.schema
    expected = {
        rule.name: rule.kind for rule in contract.columns if rule.name in schema or not rule.may_be_missing
    }
    found = []
    for name in (*expected, *(column for column in schema if column not in expected)):
        if name not in schema:
            rule, wanted = "missing column", expected[name]
        elif name not in expected:
            rule, wanted = "unknown column", "no such column"
        elif not _fits(schema[name], expected[name]):
            rule, wanted = f"type {schema[name]}", expected[name]
        else:
            continue
        found.append(
            Violation(rule=rule, column=name[:MAX_SHOWN], n_rows=frame.height, n_allowed=0, expected=wanted)
        )
    return found


def time_rule(contract: Contract, now: Instant) -> Rule:
    """Return the rule on the times of rows that arrived at `now`."""
    latest, earliest = now + AHEAD, contract.earliest
    when = pl.col(contract.time).dt.timestamp("us")
    outside = (when > latest) | (when < (earliest or 0))
    text = f"{'the epoch' if earliest is None else iso(earliest)} to {iso(latest)}"
    return Rule("time out of range", contract.time, outside, text)


def column_rules(contract: Contract, schema: pl.Schema) -> Iterator[Rule]:
    """Yield what is expected of each column."""
    strict = {*contract.key, contract.time}
    for rule in contract.columns:
        name, column = rule.name, pl.col(rule.name)
        if name not in schema:
            continue
        if rule.null_share < 1 and name not in strict:
            text = f"at most {rule.null_share:.0%} null"
            yield Rule("null", name, column.is_null(), text, rule.null_share, of_a_row=False)
        if schema[name] == pl.Null:
            continue
        if rule.values is not None:
            text = " or ".join(v if isinstance(v, str) else f"{v:g}" for v in rule.values)
            are_texts = any(isinstance(value, str) for value in rule.values)
            typed = column.cast(pl.String if are_texts else pl.Float64)
            yield Rule("value", name, ~typed.is_in(list(rule.values)), text)
        yield from _range_rules(rule)
        if rule.domain is not None:
            unseen = ~column.cast(pl.String).is_in(list(rule.domain))
            text = f"one of {len(rule.domain)} known values"
            yield Rule("unseen value", name, unseen, text, UNSEEN_SHARE, spare=1, of_a_row=False)


def _range_rules(rule: ColumnRule) -> Iterator[Rule]:
    value = pl.col(rule.name).cast(pl.Float64)
    if rule.kind == "number":
        # A number that is not there is a null or NaN; an infinite one is a mistake.
        yield Rule("infinite value", rule.name, value.is_infinite(), "finite numbers")
    if rule.lowest is not None and rule.highest is not None:
        outside = ~value.is_between(rule.lowest, rule.highest) & value.is_finite()
        text = f"{rule.lowest:.6g} to {rule.highest:.6g}"
        yield Rule("impossible value", rule.name, outside, text)
    if rule.low is not None and rule.high is not None:
        outside = ~value.is_between(rule.low, rule.high) | value.is_nan()
        text = f"{rule.low:.6g} to {rule.high:.6g}"
        yield Rule("range", rule.name, outside, text, OUT_OF_RANGE_SHARE, spare=1, of_a_row=False)


def type_rules(schema: pl.Schema, types: Mapping[str, pl.DataType]) -> Iterator[Rule]:
    """Yield that values fit the types in which they are to be stored."""
    for name, dtype in types.items():
        if name in schema and schema[name] not in (dtype, pl.Null):
            column = pl.col(name)
            lost = column.is_not_null() & column.cast(dtype, strict=False).is_null()
            yield Rule("type", name, lost, f"values that fit {dtype}")


def kind_of(dtype: pl.DataType) -> str:
    """Return the kind that a contract asks for where values are kept as `dtype`."""
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
    return kind_of(dtype) == kind

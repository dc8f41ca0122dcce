"""The contract of a batch, and what it says of each row that arrives.

A contract must catch a broken producer (a changed unit or type, nulls everywhere, impossible times) and must
stay silent about the world (summer, storms, a new destination): what moves slowly is drift, and monitoring's
business. Some rules are about single rows, which are put aside one by one: keys, times, impossible values.
Others tolerate a share of the rows; if more break one, the batch as a whole is not to be trusted. Contracts
are learned in `data.inference`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import polars as pl

from varv.data.expectations import ColumnRule, Contract
from varv.data.glance import is_in_time, is_sound
from varv.kernel.clock import DAY, Instant, iso
from varv.tasks import OutcomeRule

OUT_OF_RANGE_SHARE = 0.05
UNSEEN_SHARE = 0.10
AHEAD = DAY
"""How far beyond the present a batch's times may lie: clocks differ."""
MAX_SHOWN = 80
BEFORE_ITS_ROW = "known before its row"
WHOLE = "batch"
"""The reason of a row that breaks nothing itself, in a batch that was put aside whole."""


class Example(msgspec.Struct, frozen=True):
    """One row that broke a rule: its key, and its value in the column. Ledgers of before hold some."""

    key: str
    value: str


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that was broken: by how many rows, and how many would have been tolerated.

    A row that is put aside by itself counts for the first rule that it breaks.
    """

    rule: str
    column: str
    n_rows: int
    n_allowed: int
    expected: str
    examples: tuple[Example, ...] = ()

    @property
    def reason(self) -> str:
        """The rule and its column in a few words: ``"range of temp"``."""
        return f"{self.rule} of {self.column}" if self.column else self.rule


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a contract says of a batch."""

    n_rows: int
    violations: tuple[Violation, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the batch keeps the contract."""
        return not self.violations


class Screening(NamedTuple):
    """Which rows of a batch are put aside, and why."""

    report: Report
    reasons: pl.Series
    """Of each row: the reason for which it is put aside, null if it is not."""
    whole: bool
    """Whether the batch as a whole is broken; every row has a reason then."""


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


class Screen:
    """A contract made ready to look at many batches: to write its rules down costs more than a small batch.

    Parameters
    ----------
    contract
        What batches must be like.
    types
        Those in which the columns are to be stored; a value that does not fit is a reason.

    Notes
    -----
    *Single rows* are put aside for a key or time that is null, a time out of range, an impossible value, a
    value that does not fit its type. *Shares*: nulls, values out of the widened range, and unseen texts are
    tolerated up to a share of the rows and four standard deviations of chance, one in any batch; beyond that
    the batch is put aside whole, as it is when a column is missing, unknown, or of another kind.
    """

    def __init__(self, contract: Contract, types: Mapping[str, pl.DataType] | None = None) -> None:
        self.contract = contract
        self._types = types or {}
        self._written: _Written | None = None

    def look(self, frame: pl.DataFrame, *, now: Instant, acknowledged: bool = False) -> Screening:
        """Return which rows of a batch that arrived at `now` are put aside; nothing is changed and nothing is
        raised.

        Parameters
        ----------
        acknowledged
            The rows were accepted one by one: only what a row breaks by itself counts, and the company that
            it came in does not.
        """
        misfits = _misfits(self.contract, frame)
        if misfits:
            return _whole(frame, misfits, {})
        if self._is_plainly_sound(frame, now):
            return Screening(Report(n_rows=frame.height), no_reasons(frame.height), False)
        rules, counted = self._rules(frame.schema, now)
        # All are counted in one pass; rows are looked at only where it matters.
        counts, n_rows = frame.select(counted).row(0), frame.height
        broken = [(rule, n) for rule, n in zip(rules, counts, strict=True) if n > rule.n_allowed(n_rows)]
        single = {rule.reason: rule for rule, _ in broken if rule.of_a_row}
        shares = [(rule, n) for rule, n in broken if not rule.of_a_row and not acknowledged]
        if shares:
            found = [rule.violation(n, n_rows) for rule, n in shares]
            return _whole(frame, found, {rule.reason: rule.broken for rule, _ in (*shares, *broken)})
        reasons = _first_reasons(frame, {reason: rule.broken for reason, rule in single.items()})
        return Screening(_report(n_rows, reasons, single), reasons, False)

    def _is_plainly_sound(self, frame: pl.DataFrame, now: Instant) -> bool:
        """Return whether a glance at each column shows that no row breaks a rule."""
        contract = self.contract
        strict = {*contract.key, contract.time}
        if not strict <= {rule.name for rule in contract.columns}:
            return False
        if not is_in_time(frame[contract.time], contract.earliest or Instant(0), Instant(now + AHEAD)):
            return False
        for rule in contract.columns:
            share = 0.0 if rule.name in strict else rule.null_share
            n_allowed = frame.height if share >= 1 else allowed(frame.height, share)
            if not is_sound(frame[rule.name], rule, n_allowed, self._types.get(rule.name)):
                return False
        return True

    def _rules(self, schema: pl.Schema, now: Instant) -> tuple[list[_Rule], list[pl.Expr]]:
        """Return the rules for batches of these columns, and what counts the rows that break each."""
        written = self._written
        if written is None or written.schema != schema:
            written = self._written = _written(self.contract, schema, self._types)
        strict, others, n = written.strict, written.others, len(written.strict)
        if schema[self.contract.time] == pl.Null:
            return [*strict, *others], written.counted
        in_time = _time_rule(self.contract, now)
        counted = [*written.counted[:n], in_time.broken.sum().alias("time"), *written.counted[n:]]
        return [*strict, in_time, *others], counted


def screen(
    contract: Contract,
    frame: pl.DataFrame,
    *,
    now: Instant,
    types: Mapping[str, pl.DataType] | None = None,
    acknowledged: bool = False,
) -> Screening:
    """Return what `Screen.look` says of one batch."""
    return Screen(contract, types).look(frame, now=now, acknowledged=acknowledged)


def with_reason(screening: Screening, broken: pl.Series, rule: str, column: str, expected: str) -> Screening:
    """Return `screening` with one more reason for the rows in which `broken` is true, if they have none."""
    fresh = broken & screening.reasons.is_null()
    n = int(fresh.sum())
    if not n:
        return screening
    found = Violation(rule=rule, column=column, n_rows=n, n_allowed=0, expected=expected)
    report = Report(n_rows=screening.report.n_rows, violations=(*screening.report.violations, found))
    reasons = pl.select(pl.when(fresh).then(pl.lit(found.reason)).otherwise(screening.reasons)).to_series()
    return Screening(report, reasons, screening.whole)


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


class _Rule(NamedTuple):
    """An expression that is true in the rows that break a rule, and which share of them is let pass.

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
        return f"{self.name} of {self.column}"

    def n_allowed(self, n_rows: int) -> int:
        """Return how many of a batch's rows may break the rule."""
        return max(self.spare, allowed(n_rows, self.share)) if self.share else self.spare

    def violation(self, n: int, n_rows: int) -> Violation:
        """Return what is said of `n` rows of a batch that break the rule."""
        n_allowed = self.n_allowed(n_rows)
        return Violation(
            rule=self.name, column=self.column, n_rows=n, n_allowed=n_allowed, expected=self.expected
        )


class _Written(NamedTuple):
    """The rules for batches of some columns, those of keys and times first, and what counts each."""

    schema: pl.Schema
    strict: list[_Rule]
    others: list[_Rule]
    counted: list[pl.Expr]


def _written(contract: Contract, schema: pl.Schema, types: Mapping[str, pl.DataType]) -> _Written:
    strict = [
        _Rule("null", name, pl.col(name).is_null(), "a value in every row")
        for name in dict.fromkeys((*contract.key, contract.time))
    ]
    others = [*_column_rules(contract, schema), *_type_rules(schema, types)]
    counted = [rule.broken.sum().alias(str(i)) for i, rule in enumerate((*strict, *others))]
    return _Written(schema, strict, others, counted)


def _time_rule(contract: Contract, now: Instant) -> _Rule:
    latest, earliest = now + AHEAD, contract.earliest
    when = pl.col(contract.time).dt.timestamp("us")
    outside = (when > latest) | (when < (earliest or 0))
    text = f"{'the epoch' if earliest is None else iso(earliest)} to {iso(latest)}"
    return _Rule("time out of range", contract.time, outside, text)


def _column_rules(contract: Contract, schema: pl.Schema) -> Iterator[_Rule]:
    strict = {*contract.key, contract.time}
    for rule in contract.columns:
        name, column = rule.name, pl.col(rule.name)
        if name not in schema:
            continue
        if rule.null_share < 1 and name not in strict:
            text = f"at most {rule.null_share:.0%} null"
            yield _Rule("null", name, column.is_null(), text, rule.null_share, of_a_row=False)
        if schema[name] == pl.Null:
            continue
        if rule.values is not None:
            text = " or ".join(v if isinstance(v, str) else f"{v:g}" for v in rule.values)
            are_texts = any(isinstance(value, str) for value in rule.values)
            typed = column.cast(pl.String if are_texts else pl.Float64)
            yield _Rule("value", name, ~typed.is_in(list(rule.values)), text)
        yield from _range_rules(rule)
        if rule.domain is not None:
            unseen = ~column.cast(pl.String).is_in(list(rule.domain))
            text = f"one of {len(rule.domain)} known values"
            yield _Rule("unseen value", name, unseen, text, UNSEEN_SHARE, spare=1, of_a_row=False)


def _range_rules(rule: ColumnRule) -> Iterator[_Rule]:
    value = pl.col(rule.name).cast(pl.Float64)
    if rule.kind == "number":
        # A number that is not there is a null or NaN; an infinite one is a mistake.
        yield _Rule("infinite value", rule.name, value.is_infinite(), "finite numbers")
    if rule.lowest is not None and rule.highest is not None:
        outside = ~value.is_between(rule.lowest, rule.highest) & value.is_finite()
        text = f"{rule.lowest:.6g} to {rule.highest:.6g}"
        yield _Rule("impossible value", rule.name, outside, text)
    if rule.low is not None and rule.high is not None:
        outside = ~value.is_between(rule.low, rule.high) | value.is_nan()
        text = f"{rule.low:.6g} to {rule.high:.6g}"
        yield _Rule("range", rule.name, outside, text, OUT_OF_RANGE_SHARE, spare=1, of_a_row=False)


def _type_rules(schema: pl.Schema, types: Mapping[str, pl.DataType]) -> Iterator[_Rule]:
    for name, dtype in types.items():
        if name in schema and schema[name] not in (dtype, pl.Null):
            column = pl.col(name)
            lost = column.is_not_null() & column.cast(dtype, strict=False).is_null()
            yield _Rule("type", name, lost, f"values that fit {dtype}")


def no_reasons(n_rows: int) -> pl.Series:
    """Return the reasons of rows that have none."""
    return pl.Series("reason", [None], dtype=pl.String).new_from_index(0, n_rows)


def _first_reasons(frame: pl.DataFrame, broken: Mapping[str, pl.Expr]) -> pl.Series:
    """Return of each row the first of the reasons that hold, null where none does."""
    if not broken:
        return no_reasons(frame.height)
    texts = [pl.when(expr).then(pl.lit(reason)) for reason, expr in broken.items()]
    return frame.select(pl.coalesce(texts).alias("reason")).to_series()


def _report(n_rows: int, reasons: pl.Series, rules: Mapping[str, _Rule]) -> Report:
    counts = dict(reasons.drop_nulls().value_counts().iter_rows()) if rules else {}
    return Report(
        n_rows=n_rows,
        violations=tuple(
            rule.violation(counts[name], n_rows) for name, rule in rules.items() if name in counts
        ),
    )


def _whole(frame: pl.DataFrame, found: Sequence[Violation], broken: Mapping[str, pl.Expr]) -> Screening:
    reasons = _first_reasons(frame, broken).fill_null(WHOLE)
    return Screening(Report(n_rows=frame.height, violations=tuple(found)), reasons, True)


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

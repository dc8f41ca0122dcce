"""The contract of a batch, and what it says of each row that arrives.

A contract must catch a broken producer (a changed unit or type, nulls everywhere, impossible times) and must
stay silent about the world (summer, storms, a new destination): what moves slowly is drift, and monitoring's
business. Some rules are about single rows, which are put aside one by one: keys, times, impossible values.
Others tolerate a share of the rows; if more break one, the batch as a whole is not to be trusted. Contracts
are learned in `data.contracts.inference`; `data.contracts.expect` is how authors declare rules beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.data.contracts.batch_rules import STRETCH, Batch, look_at_batch
from varv.data.contracts.column_rules import (
    AHEAD,
    Rule,
    allowed,
    column_rules,
    misfits,
    time_rule,
    type_rules,
)
from varv.data.contracts.glance import is_in_time, is_sound
from varv.data.contracts.model import Contract, Expectation
from varv.data.contracts.report import WHOLE, Report, Screening, Violation, first_reasons, no_reasons
from varv.data.contracts.row_rules import ColumnsOf, is_of_rows, reads, row_rule
from varv.data.contracts.words import in_words, rule_columns, rule_name
from varv.kernel.clock import Instant


class Screen:
    """A contract made ready to look at many batches: to write its rules down costs more than a small batch.

    Parameters
    ----------
    contract
        What batches must be like.
    types
        Those in which the columns are to be stored; a value that does not fit is a reason.
    declared
        What the author expects beside it.

    Notes
    -----
    *Single rows* are put aside for a key or time that is null, a time out of range, an impossible value, a
    value that does not fit its type, and what is declared of rows. *Shares*: nulls, values out of the widened
    range, and unseen texts are tolerated up to a share of the rows and four standard deviations of chance,
    one in any batch; beyond that the batch is put aside whole, as it is when a column is missing, unknown, or
    of another kind. A declared share is meant as it is written. *Batches*: repeats are put aside, and a batch
    whole whose statistics are not as declared.
    """

    def __init__(
        self,
        contract: Contract,
        types: Mapping[str, pl.DataType] | None = None,
        declared: Sequence[Expectation] = (),
    ) -> None:
        self.contract = contract
        self.declared = tuple(declared)
        self._types = types or {}
        self._written: _Written | None = None

    def look(
        self, frame: pl.DataFrame, *, now: Instant, acknowledged: bool = False, in_flight: bool = False
    ) -> Screening:
        """Return which rows of a batch that arrived at `now` are put aside; nothing is changed and nothing is
        raised.

        Parameters
        ----------
        acknowledged
            The rows were accepted one by one: only what a row breaks by itself counts, and the company that
            it came in does not.
        in_flight
            The rows are those of one request: what is declared of batches is not asked of them.
        """
        if strange := misfits(self.contract, frame):
            return _whole(frame, strange, {})
        is_sound = self._is_plainly_sound(frame, now)
        if is_sound and not self.declared:
            return Screening(Report(n_rows=frame.height), no_reasons(frame.height), False)
        written = self._rules(frame.schema)
        learned = [] if is_sound else self._learned(written, frame.schema, now)
        of_rows = _broken_by_rows(frame, [*learned, *written.declared])
        batch = Batch(frame, written.columns, now, self.contract.hourly)
        asked = () if acknowledged or in_flight else written.of_batches
        found = [*of_rows, *_broken_by_batch(batch, asked)]
        return _screening(frame, found, acknowledged=acknowledged)

    def _is_plainly_sound(self, frame: pl.DataFrame, now: Instant) -> bool:
        """Return whether a glance at each column shows that no row breaks a learned rule."""
        contract = self.contract
        strict = {*contract.key, contract.time}
        if not strict <= {rule.name for rule in contract.columns}:
            return False
        if not is_in_time(frame[contract.time], contract.earliest or Instant(0), Instant(now + AHEAD)):
            return False
        for rule in contract.columns:
            if rule.name not in frame.columns:
                continue
            share = 0.0 if rule.name in strict else rule.null_share
            n_allowed = frame.height if share >= 1 else allowed(frame.height, share)
            if not is_sound(frame[rule.name], rule, n_allowed, self._types.get(rule.name)):
                return False
        return True

    def _rules(self, schema: pl.Schema) -> _Written:
        """Return the rules for batches of these columns."""
        if self._written is None or self._written.schema != schema:
            self._written = _written(self.contract, schema, self._types, self.declared)
        return self._written

    def _learned(self, written: _Written, schema: pl.Schema, now: Instant) -> list[_Counted]:
        if schema[self.contract.time] == pl.Null:
            return [*written.strict, *written.others]
        return [*written.strict, _counted(time_rule(self.contract, now)), *written.others]


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


class _Counted(NamedTuple):
    """A rule on rows, ready to be counted."""

    rule: Rule
    n_broken: pl.Expr
    declared: Expectation | None = None
    n_about: pl.Expr | None = None
    """Where a declared share may break it: the rows that it is about."""


class _Written(NamedTuple):
    """The rules for batches of some columns: learned ones, those of keys and times first, and declared."""

    schema: pl.Schema
    strict: list[_Counted]
    others: list[_Counted]
    declared: list[_Counted]
    of_batches: list[Expectation]
    columns: ColumnsOf


class _Found(NamedTuple):
    """A rule that a batch breaks."""

    violation: Violation
    broken: pl.Expr | None
    """Which rows break it; None if it is the batch alone."""
    of_a_row: bool
    warns: bool = False


def _written(
    contract: Contract,
    schema: pl.Schema,
    types: Mapping[str, pl.DataType],
    declared: Sequence[Expectation],
) -> _Written:
    strict = [
        Rule("null", name, pl.col(name).is_null(), "a value in every row")
        for name in dict.fromkeys((*contract.key, contract.time))
    ]
    others = [*column_rules(contract, schema), *type_rules(schema, types)]
    columns = ColumnsOf(schema, types)
    # A column that the dataset gained may be missing.
    there = [one for one in declared if columns.has(reads(one))]
    return _Written(
        schema,
        [_counted(rule) for rule in strict],
        [_counted(rule) for rule in others],
        [_declared(one, columns) for one in there if is_of_rows(one)],
        [one for one in there if not is_of_rows(one)],
        columns,
    )


def _counted(rule: Rule) -> _Counted:
    return _Counted(rule, rule.broken.sum())


def _declared(one: Expectation, columns: ColumnsOf) -> _Counted:
    found = row_rule(one, columns)
    rule = Rule(
        rule_name(one), rule_columns(one), found.broken, in_words(one), one.share, of_a_row=not one.share
    )
    return _Counted(rule, found.broken.sum(), one, found.about.sum() if one.share else None)


def _broken_by_rows(frame: pl.DataFrame, rules: Sequence[_Counted]) -> list[_Found]:
    """Return the rules that more rows break than may; all are counted in one pass."""
    if not rules:
        return []
    about = [one.n_about for one in rules if one.n_about is not None]
    asked = [expr.alias(str(place)) for place, expr in enumerate((*(one.n_broken for one in rules), *about))]
    counts = np.zeros(len(asked), np.int64)
    for stretch in frame.iter_slices(STRETCH):
        counts += np.array(stretch.select(asked).row(0), np.int64)
    n_about = iter(counts[len(rules) :].tolist())
    found = []
    for one, n in zip(rules, counts[: len(rules)].tolist(), strict=True):
        if one.declared is None:
            n_allowed = one.rule.n_allowed(frame.height)
        else:
            n_allowed = one.declared.n_allowed(next(n_about)) if one.n_about is not None else 0
        if n > n_allowed:
            broken = _violation(one.rule.name, one.rule.column, n, n_allowed, one.rule.expected)
            warns = one.declared is not None and one.declared.severity == "warn"
            found.append(_Found(broken, one.rule.broken, one.rule.of_a_row, warns))
    return found


def _broken_by_batch(batch: Batch, declared: Sequence[Expectation]) -> list[_Found]:
    """Return the declared rules on batches that this one breaks."""
    found = []
    for one in declared:
        broken = look_at_batch(one, batch)
        if broken is None or (broken.rows is not None and broken.n <= one.n_allowed(broken.n_about)):
            continue
        text = f"{in_words(one)}; found {broken.found}" if broken.found else in_words(one)
        n_allowed = one.n_allowed(broken.n_about)
        violation = _violation(rule_name(one), rule_columns(one), broken.n, n_allowed, text)
        rows = None if broken.rows is None else pl.lit(broken.rows)
        of_a_row = rows is not None and not one.share
        found.append(_Found(violation, rows, of_a_row, one.severity == "warn"))
    return found


def _violation(name: str, column: str, n: int, n_allowed: int, text: str) -> Violation:
    return Violation(rule=name, column=column, n_rows=n, n_allowed=n_allowed, expected=text)


def _screening(frame: pl.DataFrame, found: Sequence[_Found], *, acknowledged: bool) -> Screening:
    """Return which rows are put aside for the rules that are broken."""
    warnings = [one.violation for one in found if one.warns]
    errors = [one for one in found if not one.warns]
    wholes = [one for one in errors if not one.of_a_row and not acknowledged]
    if frame.is_empty():
        # There is nothing to put aside.
        report = Report(n_rows=0, warnings=(*warnings, *(one.violation for one in wholes)))
        return Screening(report, no_reasons(0), False)
    broken = {one.violation.reason: one.broken for one in (*wholes, *errors) if one.broken is not None}
    if wholes:
        return _whole(frame, [one.violation for one in wholes], broken, warnings)
    single = {one.violation.reason: one for one in errors if one.of_a_row}
    reasons = first_reasons(frame, {reason: broken[reason] for reason in single})
    counts: dict[str, int] = dict(reasons.drop_nulls().value_counts().iter_rows()) if single else {}
    # A row counts for the first rule that it breaks.
    violations = tuple(
        msgspec.structs.replace(one.violation, n_rows=counts[reason])
        for reason, one in single.items()
        if reason in counts
    )
    report = Report(n_rows=frame.height, violations=violations, warnings=tuple(warnings))
    return Screening(report, reasons, False)


def _whole(
    frame: pl.DataFrame,
    found: Sequence[Violation],
    broken: Mapping[str, pl.Expr],
    warnings: Sequence[Violation] = (),
) -> Screening:
    reasons = first_reasons(frame, broken).fill_null(WHOLE)
    report = Report(n_rows=frame.height, violations=tuple(found), warnings=tuple(warnings))
    return Screening(report, reasons, True)

"""What a contract says of a batch: which rules are broken, by how many rows, and which rows are put aside.

Reports are in the ledger, so no value of a row is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import polars as pl

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
    warnings: tuple[Violation, ...] = ()
    """Declared rules that only warn: no row is put aside for them."""

    @property
    def ok(self) -> bool:
        """Whether nothing is put aside."""
        return not self.violations


class Screening(NamedTuple):
    """Which rows of a batch are put aside, and why."""

    report: Report
    reasons: pl.Series
    """Of each row: the reason for which it is put aside, null if it is not."""
    whole: bool
    """Whether the batch as a whole is broken; every row has a reason then."""


def with_reason(screening: Screening, broken: pl.Series, rule: str, column: str, expected: str) -> Screening:
    """Return `screening` with one more reason for the rows in which `broken` is true, if they have none."""
    fresh = broken & screening.reasons.is_null()
    n = int(fresh.sum())
    if not n:
        return screening
    found = Violation(rule=rule, column=column, n_rows=n, n_allowed=0, expected=expected)
    report = msgspec.structs.replace(screening.report, violations=(*screening.report.violations, found))
    reasons = pl.select(pl.when(fresh).then(pl.lit(found.reason)).otherwise(screening.reasons)).to_series()
    return Screening(report, reasons, screening.whole)


def no_reasons(n_rows: int) -> pl.Series:
    """Return the reasons of rows that have none."""
    return pl.Series("reason", [None], dtype=pl.String).new_from_index(0, n_rows)


def first_reasons(frame: pl.DataFrame, broken: Mapping[str, pl.Expr]) -> pl.Series:
    """Return of each row the first of the reasons that hold, null where none does."""
    if not broken:
        return no_reasons(frame.height)
    texts = [pl.when(expr).then(pl.lit(reason)) for reason, expr in broken.items()]
    return frame.select(pl.coalesce(texts).alias("reason")).to_series()

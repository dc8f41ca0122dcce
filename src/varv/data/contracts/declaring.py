"""What every declared rule is checked for, whatever it expects: its columns, its values, its condition.

`data.contracts.expect` has the rules themselves.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import polars as pl

from varv.data.contracts.model import Expectation, Severity, Skip
from varv.kernel.clock import instant, iso
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.expressions import is_by_row, written_expression

Value = str | float | int | bool | dt.datetime | dt.date
"""What a column may hold; a time is a datetime, a date, or ISO 8601."""
Closed = Literal["both", "left", "right", "none"]
Comparison = Literal["<", "<=", "==", "!=", ">=", ">"]
Statistic = Literal[
    "min",
    "max",
    "mean",
    "median",
    "stdev",
    "sum",
    "n_unique",
    "unique_share",
    "present_share",
    "quantile",
]
STATISTICS: tuple[str, ...] = Statistic.__args__  # type: ignore[attr-defined]
OF_PART = frozenset({"rows", "fresh", "volume"})
"""Kinds that name a part by its time column."""
OF_BATCH = OF_PART | {"unique", "monotone", "statistic", "contains", "most_common", "z_score"}
MOST_VALUES = 10_000
LONGEST_PATTERN = 1000
LONGEST_NAME = 100


class How(TypedDict, total=False):
    """What every rule takes beside its own arguments.

    ``severity`` is ``"error"``, by which rows are put in quarantine, or ``"warn"``, by which they are counted
    and kept; ``when`` is an expression of polars on single rows, and the rule is about those for which it is
    true; ``share`` of those with a value may break it; ``name`` is how reports call it.
    """

    severity: Severity
    when: pl.Expr | None
    share: float
    name: str


def made(kind: str, columns: str | Sequence[str], given: dict[str, Any], how: How) -> Expectation:
    """Return a rule, after checking what every rule takes."""
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    subject = names[0] if names else kind
    if not names or not all(isinstance(name, str) and name for name in names):
        raise refusal(kind, "names no column", "give the names of columns")
    severity, share, name = how.get("severity", "error"), how.get("share", 0.0), how.get("name", "")
    require_one_of(subject, "severity", severity, Severity)
    if not isinstance(share, int | float) or not 0 <= share < 1:
        raise refusal(subject, f"has share={share!r}", "give the share of rows that may break it, below 1")
    if share and kind in OF_BATCH - {"unique", "monotone", "z_score"}:
        raise refusal(subject, f"has a share, which {kind} has no use for", "leave it out")
    if len(name) > LONGEST_NAME:
        raise refusal(subject, "has a name that is too long", f"{LONGEST_NAME} characters at most")
    when = how.get("when")
    if when is not None and kind in OF_PART:
        raise refusal(subject, f"has a condition, which {kind} has no use for", "leave it out")
    return Expectation(
        kind=kind,
        columns=names,
        given=given,
        severity=severity,
        share=float(share),
        when="" if when is None else str(when),
        when_written="" if when is None else written_by_row(subject, when),
        name=name,
    )


def written_by_row(subject: str, expr: object) -> str:
    """Return an expression on single rows as polars writes it."""
    if not isinstance(expr, pl.Expr):
        raise refusal(subject, f"has a condition of type {type(expr).__name__}", "use pl.col(...)")
    try:
        by_row = is_by_row(expr) and not expr.meta.has_multiple_outputs()
    except pl.exceptions.PolarsError:
        by_row = False
    if not by_row or not expr.meta.root_names():
        hint = "use only functions of single values, of columns named one by one"
        raise refusal(subject, "has an expression that is not about one row", hint)
    written = written_expression(expr)
    if not written:
        hint = "write it with polars alone; the ledger keeps it for years"
        raise refusal(subject, "has an expression that holds a function of Python", hint)
    return written


def plain_value(subject: str, value: object) -> str | float | int | bool | None:
    """Return a value as the ledger keeps it."""
    if isinstance(value, dt.datetime | dt.date):
        return iso(instant(value.isoformat()))
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise refusal(
        subject, f"names the value {str(value)[:40]!r}", "give numbers, texts, truth values or times"
    )


def plain_values(subject: str, values: Sequence[Value]) -> list[Any]:
    """Return values as the ledger keeps them."""
    if isinstance(values, str) or not 0 < len(values) <= MOST_VALUES or None in values:
        raise refusal(subject, "names no values", f"give 1 to {MOST_VALUES} values, and no null")
    return [plain_value(subject, value) for value in values]


def plain_counts(subject: str, least: int | None, most: int | None) -> dict[str, Any]:
    """Return bounds of a count."""
    given = {name: value for name, value in (("least", least), ("most", most)) if value is not None}
    if not given or not all(type(value) is int and value >= 0 for value in given.values()):
        raise refusal(subject, "has no bound", "give least, most or both, as whole numbers")
    require_order(subject, least, most)
    return given


def checked_pattern(subject: str, pattern: str) -> str:
    """Return a regular expression that polars reads."""
    if not isinstance(pattern, str) or not 0 < len(pattern) <= LONGEST_PATTERN:
        raise refusal(subject, "has no pattern", f"give a text of 1 to {LONGEST_PATTERN} characters")
    try:
        pl.select(pl.Series([""]).str.contains(pattern))
    except pl.exceptions.PolarsError as error:
        why = str(error).splitlines()[0][:200]
        hint = "write it without look-around, references back and possessive quantifiers"
        raise refusal(
            subject, f"has the pattern {pattern[:80]!r}, which is not read", hint, why=why
        ) from None
    return pattern


def several_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the names of two columns or more."""
    if isinstance(columns, str) or len(set(columns)) < 2:
        raise refusal(str(columns)[:80], "is one column", "name two columns or more")
    return tuple(columns)


def skipping(skip: Skip) -> dict[str, Any]:
    """Return which rows are passed over, unless it is the usual."""
    require_one_of("skip", "skip", skip, Skip)
    return {} if skip == "any" else {"skip": skip}


def finite_number(subject: str, value: float) -> float:
    """Return a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise refusal(subject, f"has the number {value!r}", "give a finite one")
    return float(value)


def require_one_of(subject: str, argument: str, value: object, allowed: Any) -> None:
    """Raise unless a value is one that a literal type allows."""
    names = allowed.__args__
    if value not in names:
        raise refusal(subject, f"has {argument}={value!r}", f"use {', '.join(names)}")


def require_order(subject: str, low: Any, high: Any) -> None:
    """Raise unless the lower end is the lower one."""
    try:
        is_empty = low is not None and high is not None and low > high
    except TypeError:
        raise refusal(subject, "has ends of two kinds", "give two numbers, or two times") from None
    if is_empty:
        raise refusal(subject, f"has nothing between {low} and {high}", "give the lower end first")


def refusal(subject: str, problem: str, hint: str, **facts: object) -> InvalidDeclaration:
    """Return the error that a rule is not declared correctly."""
    return InvalidDeclaration("expectation", subject[:80], problem, hint=hint, **facts)

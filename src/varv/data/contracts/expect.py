"""What an author expects of the rows of a dataset: ``varv.Dataset(..., expect=[...])``.

Each function returns one rule. Rules pass over nulls, but for `present` and `absent`. Rules of single rows
also hold for rows that are sent to a running server; what is about a batch (`OF_BATCH`, and every rule that
lets a share of the rows pass) is not asked of rows that were accepted one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import polars as pl

from varv.data.contracts.declaring import (
    LONGEST_PATTERN,
    MOST_VALUES,
    Closed,
    Comparison,
    How,
    Statistic,
    Value,
    checked_pattern,
    finite_number,
    made,
    plain_counts,
    plain_value,
    plain_values,
    refusal,
    require_one_of,
    require_order,
    several_columns,
    skipping,
    written_by_row,
)
from varv.data.contracts.model import Expectation, Skip
from varv.kernel.clock import duration, spoken
from varv.kernel.errors import InvalidInput


def between(
    column: str,
    low: Value | None = None,
    high: Value | None = None,
    *,
    closed: Closed = "both",
    **how: Unpack[How],
) -> Expectation:
    """Expect values from `low` to `high`; `closed` says which of both ends count. NaN lies nowhere.

    Raises
    ------
    InvalidDeclaration
        If neither end is given, or the upper is below the lower.

    Examples
    --------
    >>> between("delay", -60, 1500, severity="warn").given
    {'low': -60, 'high': 1500}
    """
    given = {"low": plain_value(column, low), "high": plain_value(column, high)}
    if low is None and high is None:
        raise refusal(column, "has neither end", "give low, high or both")
    require_one_of(column, "closed", closed, Closed)
    require_order(column, given["low"], given["high"])
    ends = {name: value for name, value in given.items() if value is not None}
    return made("between", column, {**ends, **({} if closed == "both" else {"closed": closed})}, how)


def one_of(column: str, values: Sequence[Value], **how: Unpack[How]) -> Expectation:
    """Expect no values but these."""
    return made("one_of", column, {"values": plain_values(column, values)}, how)


def none_of(column: str, values: Sequence[Value], **how: Unpack[How]) -> Expectation:
    """Expect none of these values."""
    return made("none_of", column, {"values": plain_values(column, values)}, how)


def present(column: str, **how: Unpack[How]) -> Expectation:
    """Expect a value in every row."""
    return made("present", column, {}, how)


def absent(column: str, **how: Unpack[How]) -> Expectation:
    """Expect null in every row."""
    return made("absent", column, {}, how)


def matches(column: str, pattern: str, **how: Unpack[How]) -> Expectation:
    r"""Expect texts in which a regular expression is found; ``^`` and ``$`` tie it to the ends.

    Raises
    ------
    InvalidDeclaration
        If it is none of Rust's ``regex``, whose time grows with the text alone: it has no look-around and no
        references back.

    Examples
    --------
    >>> matches("tailnum", r"^N[0-9]{1,5}[A-Z]{0,2}$").given["pattern"]
    '^N[0-9]{1,5}[A-Z]{0,2}$'
    """
    return made("matches", column, {"pattern": checked_pattern(column, pattern)}, how)


def not_matches(column: str, pattern: str, **how: Unpack[How]) -> Expectation:
    """Expect texts in which a regular expression, as `matches` takes it, is not found."""
    return made("not_matches", column, {"pattern": checked_pattern(column, pattern)}, how)


def length(column: str, least: int | None = None, most: int | None = None, **how: Unpack[How]) -> Expectation:
    """Expect texts of so many characters."""
    return made("length", column, plain_counts(column, least, most), how)


def time_text(column: str, format: str, **how: Unpack[How]) -> Expectation:
    """Expect texts that are times in a format such as ``"%Y-%m-%d"``."""
    if not format or len(format) > LONGEST_PATTERN:
        raise refusal(column, "has no format", 'write it like "%Y-%m-%d"')
    return made("time_text", column, {"format": format}, how)


def json_text(column: str, **how: Unpack[How]) -> Expectation:
    """Expect texts that are JSON."""
    return made("json_text", column, {}, how)


def compare(
    first: str, comparison: Comparison, second: str, *, skip: Skip = "any", **how: Unpack[How]
) -> Expectation:
    """Expect ``first <= second``, or another comparison, in every row.

    Parameters
    ----------
    skip
        Which rows are passed over: those in which ``"any"`` or ``"all"`` of the values are null, or
        ``"never"`` one. A row that is not passed over and has a null breaks the rule.

    Examples
    --------
    >>> compare("requested_at", "<=", "departed_at").columns
    ('requested_at', 'departed_at')
    """
    require_one_of(first, "comparison", comparison, Comparison)
    return made("compare", (first, second), {"comparison": comparison, **skipping(skip)}, how)


def pair_in(
    first: str, second: str, pairs: Sequence[tuple[Value, Value]], *, skip: Skip = "any", **how: Unpack[How]
) -> Expectation:
    """Expect no pairs of values but these; `skip` as in `compare`."""
    listed = [plain_values(first, pair) for pair in pairs]
    if not all(len(pair) == 2 for pair in listed) or not 0 < len(listed) <= MOST_VALUES:
        raise refusal(first, "has values that are no pairs", f"give 1 to {MOST_VALUES} pairs")
    return made("pair_in", (first, second), {"pairs": listed, **skipping(skip)}, how)


def equal(columns: Sequence[str], *, skip: Skip = "any", **how: Unpack[How]) -> Expectation:
    """Expect one value in all of these columns of a row, or null in all; `skip` as in `compare`."""
    return made("equal", several_columns(columns), skipping(skip), how)


def differing(columns: Sequence[str], *, skip: Skip = "any", **how: Unpack[How]) -> Expectation:
    """Expect another value in each of these columns of a row; `skip` as in `compare`."""
    return made("differing", several_columns(columns), skipping(skip), how)


def total(
    columns: Sequence[str], sum_: float, *, tolerance: float = 0.0, skip: Skip = "any", **how: Unpack[How]
) -> Expectation:
    """Expect that the values of a row add up to a number, within `tolerance`; `skip` as in `compare`."""
    given = {"sum_": finite_number("sum_", sum_), "tolerance": finite_number("tolerance", tolerance)}
    return made("total", several_columns(columns), {**given, **skipping(skip)}, how)


def that(name: str, sound: pl.Expr, /, **how: Unpack[How]) -> Expectation:
    """Expect that an expression of polars is true, or null, in every row; reports call it by `name`.

    Raises
    ------
    InvalidDeclaration
        If it has no name, looks at more than one row, names no columns, or holds a function of Python.

    Examples
    --------
    >>> that("at most 20 hours", pl.col("arrived") - pl.col("departed") < pl.duration(hours=20)).columns
    ('arrived', 'departed')
    """
    if not name:
        raise refusal("that", "has no name", "say in a few words what is expected")
    written = written_by_row(name, sound)
    columns = tuple(sorted(sound.meta.root_names()))
    return made("that", columns, {"expression": str(sound), "written": written}, {**how, "name": name})


def unique(columns: str | Sequence[str], *, skip: Skip = "any", **how: Unpack[How]) -> Expectation:
    """Expect no two rows of a batch with the same values in these columns; all rows of a repeat break it.

    What holds across batches is a dataset's key. `skip` is as in `compare`; nulls that are not passed over
    are equal to each other.
    """
    return made("unique", columns, skipping(skip), how)


def monotone(
    column: str, *, decreasing: bool = False, strictly: bool = False, **how: Unpack[How]
) -> Expectation:
    """Expect values that never fall from one row of a batch to the next; a row that falls back breaks it."""
    given = {name: True for name, on in (("decreasing", decreasing), ("strictly", strictly)) if on}
    return made("monotone", column, given, how)


def z_score(column: str, below: float, *, both_sides: bool = True, **how: Unpack[How]) -> Expectation:
    """Expect values less than so many standard deviations from the mean of their batch, if it has any."""
    given = {"below": finite_number(column, below), **({} if both_sides else {"both_sides": False})}
    return made("z_score", column, given, how)


def statistic(
    column: str,
    of: Statistic,
    low: float | str | None = None,
    high: float | str | None = None,
    *,
    closed: Closed = "both",
    q: float | None = None,
    **how: Unpack[How],
) -> Expectation:
    """Expect a statistic of a batch's column from `low` to `high`; a batch without values breaks nothing.

    Parameters
    ----------
    of
        ``"stdev"`` has n - 1 below the line; ``"unique_share"`` is of the rows that have a value,
        ``"present_share"`` of all.
    q
        Which ``"quantile"``, in [0, 1]; it is the value nearest to its place.
    """
    require_one_of(column, "of", of, Statistic)
    if (of == "quantile") != (q is not None) or not 0 <= (q or 0) <= 1:
        hint = "give q from 0 to 1 with the statistic quantile, and only there"
        raise refusal(column, "has no quantile", hint)
    ends = between(column, low, high, closed=closed).given
    return made("statistic", column, {"of": of, **ends, **({} if q is None else {"q": q})}, how)


def contains(
    column: str, values: Sequence[Value], *, exactly: bool = False, **how: Unpack[How]
) -> Expectation:
    """Expect that a batch has each of these values, and if `exactly` no others."""
    given = {"values": plain_values(column, values), **({"exactly": True} if exactly else {})}
    return made("contains", column, given, how)


def most_common(
    column: str, values: Sequence[Value], *, ties: bool = False, **how: Unpack[How]
) -> Expectation:
    """Expect that a batch has one commonest value and it is among these; with `ties`, that one of several
    that are as common is.
    """
    given = {"values": plain_values(column, values), **({"ties": True} if ties else {})}
    return made("most_common", column, given, how)


def rows(part: str, least: int | None = None, most: int | None = None, **how: Unpack[How]) -> Expectation:
    """Expect so many rows in a batch of the part whose time column is named."""
    return made("rows", part, plain_counts(part, least, most), how)


def fresh(part: str, *, within: str, **how: Unpack[How]) -> Expectation:
    """Expect that the latest time of a batch is at most `within` old when it arrives; else warn."""
    try:
        span = duration(within)
    except InvalidInput as error:
        raise refusal(part, f"has within={within!r}, which {error.problem}", error.hint) from None
    return made("fresh", part, {"within": spoken(span)}, {"severity": "warn", **how})


def volume(part: str, *, deviations: float = 4.0, **how: Unpack[How]) -> Expectation:
    """Expect that each whole hour of a batch has about as many rows as that hour of the week had in the
    reference period; a warning by default.

    Notes
    -----
    The root of the rows is compared with its mean in that hour of the week, in standard deviations: chance in
    a count, and what the rate varied beyond that in the reference (`volumes`). A reference of less than three
    weeks teaches nothing, and nothing is said then.
    """
    return made("volume", part, {"deviations": finite_number(part, deviations)}, {"severity": "warn", **how})

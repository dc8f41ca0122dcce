"""Declared rules on single rows as expressions of polars that are true in the rows that break them.

A row that is passed over gives null, which no sum counts. What concerns several rows is in `batch_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import polars as pl

from varv.data.contracts.model import Expectation
from varv.kernel.clock import as_datetime, instant
from varv.kernel.columns import TIME
from varv.kernel.expressions import read_expression


class RowRule(NamedTuple):
    """Which rows break a rule, and which rows it is about."""

    broken: pl.Expr
    about: pl.Expr


class ColumnsOf:
    """The columns of a batch, as rules on them need them.

    Parameters
    ----------
    schema
        Of the batch; a column that is null throughout has no type there.
    types
        In which the columns are to be stored.
    """

    def __init__(self, schema: Mapping[str, pl.DataType], types: Mapping[str, pl.DataType]) -> None:
        self._schema = schema
        self._types = types

    def has(self, names: Sequence[str]) -> bool:
        """Return whether the batch brings all of these columns."""
        return all(name in self._schema for name in names)

    def dtype(self, name: str) -> pl.DataType:
        """Return the type of a column."""
        dtype = self._schema[name]
        return self._types.get(name, dtype) if dtype == pl.Null else dtype

    def column(self, name: str) -> pl.Expr:
        """Return a column."""
        dtype = self.dtype(name)
        return pl.col(name) if dtype == self._schema[name] else pl.col(name).cast(dtype)

    def comparable(self, name: str, values: Sequence[Any]) -> pl.Expr:
        """Return a column in a type that holds values of its own and these."""
        dtype, column = self.dtype(name), self.column(name)
        if not dtype.is_integer() or dtype in (pl.Int64, pl.UInt64):
            return column
        # A small type does not hold every bound, and polars would take the bound for one that fits.
        return column.cast(pl.Int64 if all(isinstance(value, int) for value in values) else pl.Float64)

    def literals(self, name: str, values: Sequence[Any]) -> list[Any]:
        """Return declared values as a column of this type holds them."""
        if self.dtype(name) == TIME:
            return [as_datetime(instant(value)) if isinstance(value, str) else value for value in values]
        return list(values)

    def is_among(self, name: str, values: Sequence[Any]) -> pl.Expr:
        """Return whether a column holds one of these values."""
        listed = self.literals(name, values)
        if self.dtype(name) == pl.Boolean:
            return self.column(name).is_in([bool(value) for value in listed])
        return self.comparable(name, listed).is_in(listed)


def row_rule(one: Expectation, columns: ColumnsOf) -> RowRule:
    """Return a rule on single rows as expressions.

    Raises
    ------
    ValueError
        If this polars does not read an expression that was written down.
    pl.exceptions.PolarsError
        If a pattern or a value cannot be.
    """
    broken, about = _KINDS[one.kind](one, columns), _about(one, columns)
    if one.when_written:
        when = read_expression(one.when_written)
        return RowRule(when & broken, when & about)
    return RowRule(broken, about)


def is_of_rows(one: Expectation) -> bool:
    """Return whether a rule is about single rows."""
    return one.kind in _KINDS


def reads(one: Expectation) -> list[str]:
    """Return the columns that a rule reads, those of its condition too.

    Raises
    ------
    ValueError
        If this polars does not read an expression that was written down.
    """
    of_when = read_expression(one.when_written).meta.root_names() if one.when_written else []
    return list(dict.fromkeys((*one.columns, *of_when)))


def _about(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    if one.kind in ("present", "absent"):
        return pl.col(one.columns[0]).is_null() | True
    return ~skipped(one)


def skipped(one: Expectation) -> pl.Expr:
    """Return whether a rule passes over a row, for the nulls in its columns."""
    nulls = [pl.col(name).is_null() for name in one.columns]
    match one.given.get("skip", "any"):
        case "any":
            return pl.any_horizontal(nulls)
        case "all":
            return pl.all_horizontal(nulls)
        case _:
            # A literal alone would be one row long.
            return nulls[0] & False


def _spread(one: Expectation, broken: pl.Expr) -> pl.Expr:
    """Return `broken`, of several columns, with what the rule says of nulls."""
    return pl.when(~skipped(one)).then(broken.fill_null(True))


def outside(one: Mapping[str, Any], value: pl.Expr, low: Any, high: Any) -> pl.Expr:
    """Return whether a value lies outside of declared ends, of which one may be None."""
    closed = one.get("closed", "both")
    parts = []
    if low is not None:
        parts.append(value < low if closed in ("both", "left") else value <= low)
    if high is not None:
        parts.append(value > high if closed in ("both", "right") else value >= high)
    return reduce(lambda first, second: first | second, parts)


def _between(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    [name] = one.columns
    ends = [one.given.get("low"), one.given.get("high")]
    value = columns.comparable(name, [end for end in ends if end is not None])
    low, high = columns.literals(name, ends)
    broken = outside(one.given, value, low, high)
    # To polars NaN is greater than every number.
    return broken | value.is_nan() if columns.dtype(name).is_float() else broken


def _one_of(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    return ~columns.is_among(one.columns[0], one.given["values"])


def _none_of(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    return columns.is_among(one.columns[0], one.given["values"])


def _present(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    return pl.col(one.columns[0]).is_null()


def _absent(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    return pl.col(one.columns[0]).is_not_null()


def _matches(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    return ~columns.column(one.columns[0]).str.contains(one.given["pattern"])


def _not_matches(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    return columns.column(one.columns[0]).str.contains(one.given["pattern"])


def _length(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    size = columns.column(one.columns[0]).str.len_chars()
    return outside(one.given, size, one.given.get("least"), one.given.get("most"))


def _time_text(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    text = columns.column(one.columns[0])
    found = text.str.to_datetime(one.given["format"], strict=False, time_unit="us", ambiguous="earliest")
    return text.is_not_null() & found.is_null()


def _json_text(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    text = columns.column(one.columns[0])
    # What is asked for is null where the text is no JSON, and where it is the null of JSON.
    is_none = text.str.json_path_match("$").is_null() & (text.str.strip_chars() != "null")
    return text.is_not_null() & is_none


COMPARISONS: Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "<": lambda first, second: first < second,
    "<=": lambda first, second: first <= second,
    "==": lambda first, second: first == second,
    "!=": lambda first, second: first != second,
    ">=": lambda first, second: first >= second,
    ">": lambda first, second: first > second,
}


def _compare(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    first, second = (columns.column(name) for name in one.columns)
    return _spread(one, ~COMPARISONS[one.given["comparison"]](first, second))


def _pair_in(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    first, second = one.columns
    by_first: dict[Any, list[Any]] = {}
    for left, right in one.given["pairs"]:
        by_first.setdefault(left, []).append(right)
    sound = [
        columns.is_among(first, [left]) & columns.is_among(second, rights)
        for left, rights in by_first.items()
    ]
    return _spread(one, ~pl.any_horizontal(sound))


def _equal(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    first, *others = (columns.column(name) for name in one.columns)
    return _spread(one, pl.any_horizontal([other.ne_missing(first) for other in others]))


def _differing(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    values = [columns.column(name) for name in one.columns]
    same = [a.eq_missing(b) for place, a in enumerate(values) for b in values[place + 1 :]]
    return _spread(one, pl.any_horizontal(same))


def _total(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    values = [columns.column(name).cast(pl.Float64) for name in one.columns]
    found = reduce(lambda first, second: first + second, values)
    return _spread(one, ~((found - one.given["sum_"]).abs() <= one.given["tolerance"]))


def _that(one: Expectation, columns: ColumnsOf) -> pl.Expr:
    sound = read_expression(one.given["written"])
    return ~sound


_KINDS: Mapping[str, Callable[[Expectation, ColumnsOf], pl.Expr]] = {
    "between": _between,
    "one_of": _one_of,
    "none_of": _none_of,
    "present": _present,
    "absent": _absent,
    "matches": _matches,
    "not_matches": _not_matches,
    "length": _length,
    "time_text": _time_text,
    "json_text": _json_text,
    "compare": _compare,
    "pair_in": _pair_in,
    "equal": _equal,
    "differing": _differing,
    "total": _total,
    "that": _that,
}

"""Rules as a schema of Pandera, in a shape that its versions of today read: checks as a list with options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from varv.data.contracts.column_rules import kind_of
from varv.data.contracts.model import Expectation
from varv.data.contracts.words import rule_reason
from varv.data.moving.patterns import python_pattern
from varv.data.moving.translation import LeftOut, Shape, Written

_DTYPES = {
    "integer": "Int64",
    "number": "float64",
    "boolean": "boolean",
    "text": "str",
    "time": "datetime64[us, UTC]",
}
Check = dict[str, Any]


def write_pandera(expectations: Sequence[Expectation], shape: Shape, strict: Sequence[str] = ()) -> Written:
    """Return rules as a schema for dataframes of pandas.

    Parameters
    ----------
    strict
        Columns that are never null: keys and times.
    """
    columns = {name: _column(dtype, name in strict) for name, dtype in shape.types.items()}
    document: dict[str, Any] = {"schema_type": "dataframe", "version": "0.20.0", "columns": columns}
    document |= {"checks": None, "index": None, "dtype": None, "coerce": True, "strict": False}
    document |= {"name": f"{shape.name}/{shape.part}", "ordered": False, "unique": None}
    left_out = []
    for one in expectations:
        try:
            why = _unsayable(one) or _taken(one, columns, document)
        except ValueError as error:
            why = str(error)
        if why:
            left_out.append(LeftOut(rule_reason(one), why))
    return Written(tool="pandera", document=document, left_out=tuple(left_out))


def _column(dtype: pl.DataType, is_strict: bool) -> dict[str, Any]:
    fields = {"title": None, "description": None, "dtype": _DTYPES[kind_of(dtype)], "nullable": not is_strict}
    return {**fields, "checks": [], "unique": False, "coerce": True, "required": True, "regex": False}


def _unsayable(one: Expectation) -> str:
    if one.when:
        return "a check of Pandera's file has no condition"
    return "a check of Pandera's file lets no share of the rows pass" if one.share else ""


def _taken(one: Expectation, columns: dict[str, dict[str, Any]], document: dict[str, Any]) -> str:
    """Add a rule to the document; return why it cannot be."""
    column = columns[one.columns[0]]
    warns = one.severity == "warn"
    if one.kind == "present" and not warns:
        column["nullable"] = False
        return ""
    if one.kind == "unique" and not warns:
        return _unique(one, column, document)
    checks = _checks(one)
    if not checks:
        return "a file of Pandera has no such check" + (" that warns" if warns else "")
    for check in checks:
        check["options"] |= {"ignore_na": True, "raise_warning": warns}
    column["checks"] += checks
    return ""


def _unique(one: Expectation, column: dict[str, Any], document: dict[str, Any]) -> str:
    # Pandera takes nulls for values here.
    if one.given.get("skip", "any") != "never" and column["nullable"]:
        return "to Pandera nulls repeat each other"
    if len(one.columns) == 1:
        column["unique"] = True
        return ""
    if document["unique"]:
        return "a schema of Pandera has one composite key"
    document["unique"] = list(one.columns)
    return ""


def _checks(one: Expectation) -> list[Check]:
    given = one.given
    match one.kind:
        case "between":
            return _between(given)
        case "one_of":
            return [_check("isin", allowed_values=given["values"])]
        case "none_of":
            return [_check("notin", forbidden_values=given["values"])]
        case "matches":
            return [_check("str_contains", pattern=python_pattern(given["pattern"]))]
        case "length":
            return [_check("str_length", min_value=given.get("least"), max_value=given.get("most"))]
        case "contains" if given.get("exactly"):
            return [_check("unique_values_eq", values=given["values"])]
        case _:
            return []


def _between(given: Mapping[str, Any]) -> list[Check]:
    low, high, closed = given.get("low"), given.get("high"), given.get("closed", "both")
    left, right = closed in ("both", "left"), closed in ("both", "right")
    if low is not None and high is not None:
        ends = {"min_value": low, "max_value": high}
        return [_check("in_range", **ends, include_min=left, include_max=right)]
    if low is not None:
        return [_check("greater_than_or_equal_to" if left else "greater_than", min_value=low)]
    return [_check("less_than_or_equal_to" if right else "less_than", max_value=high)]


def _check(name: str, **given: Any) -> Check:
    return {**given, "options": {"check_name": name}}

"""What a declared rule is called in reports, and what it expects, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from varv.data.contracts.model import Expectation
from varv.kernel.wording import count, percent

MOST_SHOWN = 5
"""Values that a report names."""
_LONGEST = 60

_NAMES: Mapping[str, str] = {
    "between": "declared range",
    "one_of": "declared value",
    "none_of": "forbidden value",
    "present": "missing value",
    "absent": "unexpected value",
    "matches": "pattern",
    "not_matches": "forbidden pattern",
    "length": "length",
    "time_text": "time format",
    "json_text": "JSON",
    "compare": "comparison",
    "pair_in": "pair",
    "equal": "equality",
    "differing": "difference",
    "total": "sum",
    "unique": "repeat",
    "monotone": "order",
    "z_score": "distance from the mean",
    "contains": "values",
    "most_common": "commonest value",
    "rows": "number of rows",
    "fresh": "freshness",
    "volume": "volume",
}


def rule_name(one: Expectation) -> str:
    """Return what a rule is called, without its columns.

    Examples
    --------
    >>> rule_name(Expectation(kind="statistic", columns=("x",), given={"of": "mean"}))
    'mean'
    """
    if one.name:
        return one.name
    return str(one.given["of"]) if one.kind == "statistic" else _NAMES[one.kind]


def rule_columns(one: Expectation) -> str:
    """Return the columns of a rule as reports name them; none if the author gave the rule a name."""
    return "" if one.name else ", ".join(one.columns)


def rule_reason(one: Expectation) -> str:
    """Return the reason for which a row is put aside: ``"pattern of tailnum"``."""
    columns = rule_columns(one)
    return f"{rule_name(one)} of {columns}" if columns else rule_name(one)


def in_words(one: Expectation) -> str:
    """Return what a rule expects, in words.

    Examples
    --------
    >>> in_words(Expectation(kind="between", columns=("x",), given={"low": 0}, share=0.05))
    'at least 0, in 95 % of the rows'
    """
    text = _expected(one)
    if one.when:
        text += f", where {one.when}"
    return text if not one.share else f"{text}, in {percent(1 - one.share)} of the rows"


def _expected(one: Expectation) -> str:
    given = one.given
    match one.kind:
        case "between" | "statistic":
            return _range(given, given.get("low"), given.get("high"))
        case "length" | "rows":
            return _range(given, given.get("least"), given.get("most"))
        case "one_of" | "contains" | "most_common":
            return f"{'exactly ' if given.get('exactly') else ''}{_listed(given['values'])}"
        case "none_of":
            return f"none of {_listed(given['values'])}"
        case "matches" | "not_matches":
            return f"{'no ' if one.kind == 'not_matches' else ''}match of {given['pattern'][:_LONGEST]}"
        case "compare":
            return f"{one.columns[0]} {given['comparison']} {one.columns[1]}"
        case "pair_in":
            return f"one of {count(len(given['pairs']))} pairs"
        case "total":
            return f"a sum of {given['sum_']:g}"
        case _:
            return _SIMPLE[one.kind].format(*one.columns, **given)


_SIMPLE: Mapping[str, str] = {
    "present": "a value in every row",
    "absent": "null in every row",
    "time_text": "times like {format}",
    "json_text": "texts that are JSON",
    "equal": "one value in all of these columns",
    "differing": "another value in each of these columns",
    "that": "{expression}",
    "unique": "no repeats in a batch",
    "monotone": "values in order",
    "z_score": "less than {below:g} standard deviations",
    "fresh": "rows of the last {within}",
    "volume": "rows as usual in that hour of the week, within {deviations:g} standard deviations",
}


def _range(given: Mapping[str, Any], low: Any, high: Any) -> str:
    closed = given.get("closed", "both")
    if low is not None and high is not None:
        left, right = "[" if closed in ("both", "left") else "(", "]" if closed in ("both", "right") else ")"
        return f"{_shown(low)} to {_shown(high)}" if closed == "both" else f"{left}{low}, {high}{right}"
    if low is not None:
        return f"{'at least' if closed in ('both', 'left') else 'more than'} {_shown(low)}"
    return f"{'at most' if closed in ('both', 'right') else 'less than'} {_shown(high)}"


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)[:_LONGEST]


def _listed(values: Sequence[object]) -> str:
    if len(values) > MOST_SHOWN:
        return f"one of {count(len(values))} values"
    return " or ".join(_shown(value) for value in values)

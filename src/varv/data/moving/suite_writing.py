"""Rules as a suite of Great Expectations 1.x."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from varv.data.contracts.model import Expectation
from varv.data.contracts.words import rule_reason
from varv.data.moving.conditions import tree_of
from varv.data.moving.patterns import python_pattern
from varv.data.moving.translation import LeftOut, Shape, Written

Given = dict[str, Any]
Entry = tuple[str, Given]
"""The type of an expectation, without its prefix, and its arguments."""
_VERSION = "1.24.1"
_PAIR_SKIP = {"all": "both_values_are_missing", "any": "either_value_is_missing", "never": "neither"}
_ROW_SKIP = {"all": "all_values_are_missing", "any": "any_value_is_missing", "never": "never"}
_STATISTICS = {
    "min": "column_min_to_be_between",
    "max": "column_max_to_be_between",
    "mean": "column_mean_to_be_between",
    "median": "column_median_to_be_between",
    "stdev": "column_stdev_to_be_between",
    "sum": "column_sum_to_be_between",
    "n_unique": "column_unique_value_count_to_be_between",
    "unique_share": "column_proportion_of_unique_values_to_be_between",
    "present_share": "column_proportion_of_non_null_values_to_be_between",
}


def write_suite(expectations: Sequence[Expectation], shape: Shape, strict: Sequence[str] = ()) -> Written:
    """Return rules as a suite.

    Parameters
    ----------
    strict
        Columns that are never null: keys and times.
    """
    entries = [_entry(("column_values_to_not_be_null", {"column": name}), "error") for name in strict]
    left_out = []
    for one in expectations:
        try:
            entry = _KINDS[one.kind](one)
            more = _more(one)
        except KeyError:
            left_out.append(LeftOut(rule_reason(one), "a suite has no such expectation"))
        except ValueError as error:
            left_out.append(LeftOut(rule_reason(one), str(error)))
        else:
            entries.append(_entry((entry[0], {**entry[1], **more}), one.severity))
    document: dict[str, Any] = {
        "name": f"{shape.name}.{shape.part}",
        "expectations": entries,
        "meta": {"great_expectations_version": _VERSION},
        "notes": None,
    }
    return Written(tool="gx", document=document, left_out=tuple(left_out))


def _entry(entry: Entry, severity: str) -> dict[str, Any]:
    kind, given = entry
    kept = {name: value for name, value in given.items() if value is not None}
    named = "critical" if severity == "error" else "warning"
    return {"type": f"expect_{kind}", "kwargs": kept, "meta": {}, "severity": named}


def _more(one: Expectation) -> Given:
    """Return the share that may break a rule, and its condition."""
    more: Given = {}
    if one.share:
        more["mostly"] = round(1 - one.share, 12)
    if one.when_written:
        tree = tree_of(one.when_written)
        if tree["type"] == "and" and any(part["type"] == "or" for part in tree["conditions"]):
            raise ValueError("a condition of a suite has no alternatives within a conjunction")
        more["row_condition"] = tree
    return more


def _column(kind: str, **names: str) -> Callable[[Expectation], Entry]:
    """Return what writes a rule on one column, its arguments under the names that a suite has."""

    def entry(one: Expectation) -> Entry:
        return kind, {"column": one.columns[0], **{to: one.given.get(of) for to, of in names.items()}}

    return entry


def _pattern(kind: str) -> Callable[[Expectation], Entry]:
    def entry(one: Expectation) -> Entry:
        return kind, {"column": one.columns[0], "regex": python_pattern(one.given["pattern"])}

    return entry


def _ends(given: Mapping[str, Any]) -> Given:
    closed = given.get("closed", "both")
    left, right = closed in ("both", "left"), closed in ("both", "right")
    ends = {"min_value": given.get("low"), "max_value": given.get("high")}
    return {**ends, "strict_min": None if left else True, "strict_max": None if right else True}


def _between(one: Expectation) -> Entry:
    return "column_values_to_be_between", {"column": one.columns[0], **_ends(one.given)}


def _statistic(one: Expectation) -> Entry:
    [column], given = one.columns, one.given
    if given["of"] != "quantile":
        return _STATISTICS[given["of"]], {"column": column, **_ends(given)}
    if given.get("closed", "both") != "both":
        raise ValueError("a suite has no open ends for quantiles")
    ranges = {"quantiles": [given["q"]], "value_ranges": [[given.get("low"), given.get("high")]]}
    return "column_quantile_values_to_be_between", {"column": column, "quantile_ranges": ranges}


def _compare(one: Expectation) -> Entry:
    first, second = one.columns
    rows = {"ignore_row_if": _PAIR_SKIP[one.given.get("skip", "any")]}
    match one.given["comparison"]:
        case "==":
            return "column_pair_values_to_be_equal", {"column_A": first, "column_B": second, **rows}
        case ">" | ">=" as sign:
            pair = {"column_A": first, "column_B": second}
        case "<" | "<=" as sign:
            pair = {"column_A": second, "column_B": first}
        case _:
            raise ValueError("a suite has no pairs that must differ but for whole records")
    return "column_pair_values_a_to_be_greater_than_b", {**pair, "or_equal": "=" in sign or None, **rows}


def _pair_in(one: Expectation) -> Entry:
    first, second = one.columns
    rows = _PAIR_SKIP[one.given.get("skip", "any")]
    given = {"column_A": first, "column_B": second, "value_pairs_set": one.given["pairs"]}
    return "column_pair_values_to_be_in_set", {**given, "ignore_row_if": rows}


def _together(kind: str) -> Callable[[Expectation], Entry]:
    def entry(one: Expectation) -> Entry:
        rows = _ROW_SKIP[one.given.get("skip", "any")]
        return kind, {"column_list": list(one.columns), "ignore_row_if": rows}

    return entry


def _unique(one: Expectation) -> Entry:
    if len(one.columns) > 1:
        return _together("compound_columns_to_be_unique")(one)
    if one.given.get("skip", "any") != "any":
        raise ValueError("to a suite nulls of one column do not repeat each other")
    return "column_values_to_be_unique", {"column": one.columns[0]}


def _total(one: Expectation) -> Entry:
    if one.given["tolerance"]:
        raise ValueError("a suite compares sums exactly")
    kind, given = _together("multicolumn_sum_to_equal")(one)
    return kind, {**given, "sum_total": one.given["sum_"]}


def _monotone(one: Expectation) -> Entry:
    way = "decreasing" if one.given.get("decreasing") else "increasing"
    return f"column_values_to_be_{way}", {"column": one.columns[0], "strictly": one.given.get("strictly")}


def _z_score(one: Expectation) -> Entry:
    both = one.given.get("both_sides", True)
    given = {"column": one.columns[0], "threshold": one.given["below"], "double_sided": both}
    return "column_value_z_scores_to_be_less_than", given


def _contains(one: Expectation) -> Entry:
    way = "equal" if one.given.get("exactly") else "contain"
    return f"column_distinct_values_to_{way}_set", {
        "column": one.columns[0],
        "value_set": one.given["values"],
    }


def _rows(one: Expectation) -> Entry:
    given = {"min_value": one.given.get("least"), "max_value": one.given.get("most")}
    return "table_row_count_to_be_between", given


_KINDS: Mapping[str, Callable[[Expectation], Entry]] = {
    "between": _between,
    "one_of": _column("column_values_to_be_in_set", value_set="values"),
    "none_of": _column("column_values_to_not_be_in_set", value_set="values"),
    "present": _column("column_values_to_not_be_null"),
    "absent": _column("column_values_to_be_null"),
    "matches": _pattern("column_values_to_match_regex"),
    "not_matches": _pattern("column_values_to_not_match_regex"),
    "length": _column("column_value_lengths_to_be_between", min_value="least", max_value="most"),
    "time_text": _column("column_values_to_match_strftime_format", strftime_format="format"),
    "json_text": _column("column_values_to_be_json_parseable"),
    "compare": _compare,
    "pair_in": _pair_in,
    "equal": _together("multicolumn_values_to_be_equal"),
    "differing": _together("select_column_values_to_be_unique_within_record"),
    "total": _total,
    "unique": _unique,
    "monotone": _monotone,
    "z_score": _z_score,
    "statistic": _statistic,
    "contains": _contains,
    "most_common": _column("column_most_common_value_to_be_in_set", value_set="values", ties_okay="ties"),
    "rows": _rows,
}

"""Suites of Great Expectations, of 0.x and of 1.x, read from JSON or YAML.

Source: the documentation of Great Expectations, and what its versions up to 1.24 write. Divergences of
distributions belong to monitors, queries and schemas of JSON to what runs them: they are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from varv.data.contracts import expect
from varv.data.contracts.declaring import Closed, How, Statistic
from varv.data.contracts.model import Expectation, Skip
from varv.data.moving.conditions import expression, parsed
from varv.data.moving.patterns import like_pattern, translated_pattern
from varv.data.moving.translation import Collector, Shape, Translated

Given = Mapping[str, Any]
Made = Expectation | Sequence[Expectation]
_PREFIX = "expect_"
_REFUSED: Mapping[str, str] = {
    "kl_divergence": "distributions are compared by monitors of drift",
    "ks_test": "distributions are compared by monitors of drift",
    "chisquare_test": "distributions are compared by monitors of drift",
    "cramers_phi": "distributions are compared by monitors of drift",
    "outliers": "what lies far outside is learned from a reference period",
    "query": "it runs a query",
    "unexpected_rows": "it runs a query",
    "json_schema": "schemas of JSON are not asked",
    "other_table": "it compares two tables",
    "dateutil": "what a library guesses to be a time is no format; use a format",
}
_SHAPE = frozenset(
    (
        *("column_to_exist", "table_column_count_to_be_between", "table_column_count_to_equal"),
        *("table_columns_to_match_ordered_list", "table_columns_to_match_set", "column_type_to_be"),
        *("column_values_to_be_of_type", "column_values_to_be_in_type_list"),
    )
)
"""What a dataset holds by itself: its columns and their types."""


def read_suite(
    document: Mapping[str, Any], shape: Shape | None = None, parameters: Mapping[str, Any] | None = None
) -> Translated:
    """Return the rules of a suite.

    Parameters
    ----------
    shape
        Of the dataset; without it rules on the number of rows cannot be.
    parameters
        Values of parameters that the suite names, beside those that it brings.
    """
    found = Collector(shape)
    brought = document.get("suite_parameters") or document.get("evaluation_parameters") or {}
    values = {**(brought if isinstance(brought, Mapping) else {}), **(parameters or {})}
    listed = document.get("expectations")
    for one in listed if isinstance(listed, list) else ():
        kind = str(one.get("type") or one.get("expectation_type") or "") if isinstance(one, Mapping) else ""
        given = one.get("kwargs") if isinstance(one, Mapping) else None
        if not kind or not isinstance(given, Mapping):
            found.leave(str(one), "it is no expectation")
        else:
            _take(found, kind.removeprefix(_PREFIX), given, str(one.get("severity") or "critical"), values)
    return found.translated("gx")


def _take(found: Collector, kind: str, given: Given, severity: str, values: Mapping[str, Any]) -> None:
    about = given.get("column") or given.get("column_list") or given.get("column_A") or ""
    what = f"{kind} of {about}" if about else kind
    if kind in _SHAPE:
        found.held.append(f"{what}: a dataset keeps its columns and their types")
        return
    make = _KINDS.get(kind)
    if make is None:
        refused = [why for part, why in _REFUSED.items() if part in kind]
        found.leave(what, refused[0] if refused else "it is not known here")
        return

    def made() -> Made:
        filled = {name: _filled(value, values) for name, value in given.items()}
        if kind.startswith("table_row_count"):
            if found.shape is None:
                raise ValueError("which time column names the rows only a dataset says; name one")
            filled["part"] = found.shape.part
        return make(filled, _how(filled, severity))

    found.take(what, made)


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping) and "$PARAMETER" in value:
        name = str(value["$PARAMETER"])
        if name not in values:
            raise ValueError(f"its parameter {name[:60]!r} has no value; give one")
        return values[name]
    return value


def _how(given: Given, severity: str) -> How:
    how = How(severity="error" if severity == "critical" else "warn")
    mostly = given.get("mostly")
    if mostly is not None and float(mostly) != 1:
        how["share"] = round(1 - float(mostly), 12)
    condition = given.get("row_condition")
    if condition:
        how["when"] = expression(condition if isinstance(condition, Mapping) else parsed(str(condition)))
    return how


def _ends(given: Given) -> tuple[Any, Any, Closed]:
    left, right = not given.get("strict_min"), not given.get("strict_max")
    closed: Closed = "both" if left and right else "left" if left else "right" if right else "none"
    return given.get("min_value"), given.get("max_value"), closed


def _between(given: Given, how: How) -> Made:
    low, high, closed = _ends(given)
    return expect.between(given["column"], low, high, closed=closed, **how)


def _statistic(of: Statistic) -> Callable[[Given, How], Made]:
    def made(given: Given, how: How) -> Made:
        low, high, closed = _ends(given)
        return expect.statistic(given["column"], of, low, high, closed=closed, q=None, **how)

    return made


def _quantiles(given: Given, how: How) -> Made:
    if given.get("allow_relative_error") not in (None, False, "nearest"):
        raise ValueError("its quantiles are interpolated another way")
    asked = given["quantile_ranges"]
    pairs = zip(asked["quantiles"], asked["value_ranges"], strict=True)
    return [
        expect.statistic(given["column"], "quantile", low, high, closed="both", q=q, **how)
        for q, (low, high) in pairs
    ]


def _lengths(given: Given, how: How) -> Made:
    low, high, closed = _ends(given)
    if low is not None and closed in ("right", "none"):
        low = int(low) + 1
    if high is not None and closed in ("left", "none"):
        high = int(high) - 1
    return expect.length(given["column"], low, high, **how)


def _any_of(given: Given, how: How, patterns: Sequence[str], *, absent: bool = False) -> Made:
    """Return the rule that one of several patterns is found, or none of them, or all."""
    translated = [translated_pattern(one) for one in patterns]
    if not absent and given.get("match_on") == "all":
        return [expect.matches(given["column"], one, **how) for one in translated]
    together = translated[0] if len(translated) == 1 else "|".join(f"(?:{one})" for one in translated)
    return (expect.not_matches if absent else expect.matches)(given["column"], together, **how)


def _pair(given: Given) -> tuple[str, str, Skip]:
    rows = given.get("ignore_row_if", "both_values_are_missing")
    return given["column_A"], given["column_B"], _SKIPPED[rows]


def _list(given: Given) -> tuple[list[str], Skip]:
    return list(given["column_list"]), _SKIPPED[given.get("ignore_row_if", "all_values_are_missing")]


_SKIPPED: Mapping[str, Skip] = {
    "both_values_are_missing": "all",
    "either_value_is_missing": "any",
    "neither": "never",
    "all_values_are_missing": "all",
    "any_value_is_missing": "any",
    "never": "never",
}


def _compared(given: Given, how: How) -> Made:
    first, second, skip = _pair(given)
    return expect.compare(first, ">=" if given.get("or_equal") else ">", second, skip=skip, **how)


def _equal_pair(given: Given, how: How) -> Made:
    first, second, skip = _pair(given)
    return expect.compare(first, "==", second, skip=skip, **how)


def _pairs(given: Given, how: How) -> Made:
    first, second, skip = _pair(given)
    return expect.pair_in(first, second, [tuple(one) for one in given["value_pairs_set"]], skip=skip, **how)


def _together(make: Callable[..., Expectation]) -> Callable[[Given, How], Made]:
    def made(given: Given, how: How) -> Made:
        columns, skip = _list(given)
        return make(columns, skip=skip, **how)

    return made


def _sum(given: Given, how: How) -> Made:
    columns, skip = _list(given)
    return expect.total(columns, given["sum_total"], tolerance=0.0, skip=skip, **how)


def _monotone(*, decreasing: bool) -> Callable[[Given, How], Made]:
    def made(given: Given, how: How) -> Made:
        strictly = bool(given.get("strictly"))
        return expect.monotone(given["column"], decreasing=decreasing, strictly=strictly, **how)

    return made


def _z_score(given: Given, how: How) -> Made:
    return expect.z_score(
        given["column"], given["threshold"], both_sides=bool(given.get("double_sided")), **how
    )


def _rows(given: Given, how: How) -> Made:
    if "value" in given:
        return expect.rows(given["part"], given["value"], given["value"], **how)
    return expect.rows(given["part"], given.get("min_value"), given.get("max_value"), **how)


def _values(given: Given) -> tuple[str, list[Any]]:
    return given["column"], list(given["value_set"])


_KINDS: Mapping[str, Callable[[Given, How], Made]] = {
    "column_values_to_be_between": _between,
    "column_values_to_be_in_set": lambda g, how: expect.one_of(*_values(g), **how),
    "column_values_to_not_be_in_set": lambda g, how: expect.none_of(*_values(g), **how),
    "column_values_to_be_null": lambda g, how: expect.absent(g["column"], **how),
    "column_values_to_not_be_null": lambda g, how: expect.present(g["column"], **how),
    "column_values_to_be_unique": lambda g, how: expect.unique(g["column"], skip="any", **how),
    "column_values_to_match_regex": lambda g, how: _any_of(g, how, [g["regex"]]),
    "column_values_to_not_match_regex": lambda g, how: _any_of(g, how, [g["regex"]], absent=True),
    "column_values_to_match_regex_list": lambda g, how: _any_of(g, how, g["regex_list"]),
    "column_values_to_not_match_regex_list": lambda g, how: _any_of(g, how, g["regex_list"], absent=True),
    "column_values_to_match_like_pattern": lambda g, how: _any_of(g, how, [like_pattern(g["like_pattern"])]),
    "column_values_to_not_match_like_pattern": lambda g, how: _any_of(
        g, how, [like_pattern(g["like_pattern"])], absent=True
    ),
    "column_values_to_match_like_pattern_list": lambda g, how: _any_of(
        g, how, list(map(like_pattern, g["like_pattern_list"]))
    ),
    "column_values_to_not_match_like_pattern_list": lambda g, how: _any_of(
        g, how, list(map(like_pattern, g["like_pattern_list"])), absent=True
    ),
    "column_values_to_match_strftime_format": lambda g, how: expect.time_text(
        g["column"], g["strftime_format"], **how
    ),
    "column_values_to_be_json_parseable": lambda g, how: expect.json_text(g["column"], **how),
    "column_values_to_be_increasing": _monotone(decreasing=False),
    "column_values_to_be_decreasing": _monotone(decreasing=True),
    "column_value_lengths_to_be_between": _lengths,
    "column_value_lengths_to_equal": lambda g, how: expect.length(g["column"], g["value"], g["value"], **how),
    "column_value_z_scores_to_be_less_than": _z_score,
    "column_min_to_be_between": _statistic("min"),
    "column_max_to_be_between": _statistic("max"),
    "column_mean_to_be_between": _statistic("mean"),
    "column_median_to_be_between": _statistic("median"),
    "column_stdev_to_be_between": _statistic("stdev"),
    "column_sum_to_be_between": _statistic("sum"),
    "column_unique_value_count_to_be_between": _statistic("n_unique"),
    "column_proportion_of_unique_values_to_be_between": _statistic("unique_share"),
    "column_proportion_of_non_null_values_to_be_between": _statistic("present_share"),
    "column_quantile_values_to_be_between": _quantiles,
    "column_distinct_values_to_be_in_set": lambda g, how: expect.one_of(*_values(g), **how),
    "column_distinct_values_to_contain_set": lambda g, how: expect.contains(
        *_values(g), exactly=False, **how
    ),
    "column_distinct_values_to_equal_set": lambda g, how: expect.contains(*_values(g), exactly=True, **how),
    "column_most_common_value_to_be_in_set": lambda g, how: expect.most_common(
        *_values(g), ties=bool(g.get("ties_okay")), **how
    ),
    "column_pair_values_to_be_equal": _equal_pair,
    "column_pair_values_a_to_be_greater_than_b": _compared,
    "column_pair_values_to_be_in_set": _pairs,
    "compound_columns_to_be_unique": _together(expect.unique),
    "select_column_values_to_be_unique_within_record": _together(expect.differing),
    "multicolumn_values_to_be_unique": _together(expect.differing),
    "multicolumn_values_to_be_equal": _together(expect.equal),
    "multicolumn_sum_to_equal": _sum,
    "table_row_count_to_be_between": _rows,
    "table_row_count_to_equal": _rows,
}

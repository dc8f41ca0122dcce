"""Files of Pandera and of Great Expectations become rules, and whatever does not is listed."""

from __future__ import annotations

import json

import polars as pl
import pytest
import yaml
from tests.data.contracts.rows import TYPES

from varv import expect
from varv.data.moving.declaration import declaration, in_code
from varv.data.moving.pandera_reading import read_pandera
from varv.data.moving.suite_reading import read_suite
from varv.data.moving.translation import Shape, read_document
from varv.kernel.errors import InvalidInput

SHAPE = Shape(name="d", part="at", types=TYPES)
LISTED = """
schema_type: dataframe
columns:
  x:
    dtype: float64
    nullable: true
    checks:
    - {min_value: 0, max_value: 1, include_max: false, options: {check_name: in_range, raise_warning: true}}
    - {value: 5, options: {check_name: less_than}}
  code:
    dtype: string[python]
    unique: true
    checks:
    - {pattern: "a|b", options: {check_name: str_matches}}
    - {string: "a.", options: {check_name: str_startswith}}
unique: [x, code]
"""
MAPPED = """
schema_type: dataframe
columns:
  x:
    dtype: float64
    nullable: true
    checks:
      in_range: {min_value: 0, max_value: 1, include_max: false, options: {raise_warning: true}}
      less_than: 5
  code:
    dtype: str
    unique: true
    checks: {str_matches: "a|b", str_startswith: "a."}
unique: [x, code]
"""
FLAT = """
schema_type: dataframe
api: pandas
columns:
  x:
    dtype: float64
    nullable: true
    in_range: {min_value: 0, max_value: 1, include_max: false, raise_warning: true}
    less_than: {max_value: 5}
  code:
    dtype: str
    unique: true
    str_matches: "a|b"
    str_startswith: "a."
unique: [x, code]
"""
RULES = [
    expect.between("x", 0, 1, closed="left", severity="warn"),
    expect.between("x", None, 5, closed="none", name="declared range of x (2)"),
    expect.present("code"),
    expect.unique("code"),
    expect.matches("code", "^(?:a|b)"),
    expect.matches("code", r"^a\.", name="pattern of code (2)"),
    expect.unique(["x", "code"], skip="never"),
]


@pytest.mark.parametrize("text", [LISTED, MAPPED, FLAT])
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_the_three_shapes_of_a_schema_say_the_same(text, form):
    data = text.encode() if form == "yaml" else json.dumps(yaml.safe_load(text)).encode()
    found = read_pandera(read_document(data, "schema"), SHAPE)
    assert [in_code(one) for one in found.expectations] == [in_code(one) for one in RULES]
    assert found.left_out == ()
    assert "x: float64: it is kept as Float64" in found.held


def test_what_a_schema_says_beyond_rules_is_listed():
    document = {
        "columns": {
            "x": {"dtype": "int64", "nullable": True, "default": 3, "required": False},
            "^[ny]$": {"regex": True, "nullable": True, "checks": {"greater_than": 0}},
            "town": {"nullable": True, "checks": {"mine": None, "str_length": 3, "str_matches": "(?=a)"}},
            "other": {"nullable": False},
        },
        "index": [{"dtype": "int64"}],
        "strict": True,
    }
    found = read_pandera(document, SHAPE)
    assert [in_code(one) for one in found.expectations] == [
        'varv.expect.between("y", low=0, closed="none")',
        'varv.expect.between("n", low=0, closed="none")',
    ]
    assert [one.what for one in found.left_out] == [
        *("x: dtype int64", "x: default", "x: required", "town: mine", "town: str_length"),
        *("town: str_matches", "other: nullable", "index"),
    ]
    assert [one.what for one in read_pandera(document).left_out][2] == "columns like ^[ny]$"


def one_suite(kind, old=False, **given):
    if old:
        return {"expectation_suite_name": "s", "expectations": [{"expectation_type": kind, "kwargs": given}]}
    return {"name": "s", "expectations": [{"type": kind, "kwargs": given, "severity": "warning"}]}


@pytest.mark.parametrize(
    ("kind", "given", "code"),
    [
        (
            "column_values_to_be_between",
            {"column": "x", "min_value": 0, "strict_min": True, "mostly": 0.9},
            'between("x", low=0, closed="right", share=0.1)',
        ),
        (
            "column_values_to_be_in_set",
            {"column": "town", "value_set": ["a"]},
            'one_of("town", values=["a"])',
        ),
        ("column_values_to_not_be_null", {"column": "x", "mostly": 1.0}, 'present("x")'),
        (
            "column_values_to_match_regex_list",
            {"column": "code", "regex_list": ["a", r"b\Z"]},
            r"""matches("code", pattern='(?:a)|(?:b\\z)')""",
        ),
        (
            "column_values_to_match_like_pattern",
            {"column": "code", "like_pattern": "a%"},
            'matches("code", pattern="(?s)^a.*$")',
        ),
        (
            "column_value_lengths_to_be_between",
            {"column": "code", "min_value": 1, "strict_min": True},
            'length("code", least=2)',
        ),
        (
            "column_pair_values_a_to_be_greater_than_b",
            {"column_A": "x", "column_B": "y", "or_equal": True},
            'compare("x", ">=", "y", skip="all")',
        ),
        (
            "compound_columns_to_be_unique",
            {"column_list": ["x", "y"], "ignore_row_if": "never"},
            'unique(["x", "y"], skip="never")',
        ),
        (
            "column_quantile_values_to_be_between",
            {"column": "x", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, None]]}},
            'statistic("x", of="quantile", low=0, q=0.5)',
        ),
        ("table_row_count_to_be_between", {"min_value": 1}, 'rows("at", least=1)'),
        (
            "column_values_to_be_null",
            {"column": "x", "row_condition": 'col("town") == "a"'},
            "absent(\"x\", when=pl.col('town') == 'a')",
        ),
        (
            "column_values_to_be_null",
            {"column": "x", "row_condition": "y > 3 and town.notnull()"},
            "absent(\"x\", when=(pl.col('y') > 3) & (pl.col('town').is_not_null()))",
        ),
    ],
)
def test_an_expectation_of_either_version_becomes_a_rule(kind, given, code):
    new = read_suite(one_suite(f"expect_{kind}", **given), SHAPE)
    assert [
        in_code(one).removeprefix("varv.expect.").replace(', severity="warn"', "") for one in new.expectations
    ] == [code]
    assert new.expectations[0].severity == "warn"
    old = read_suite(one_suite(f"expect_{kind}", old=True, **given), SHAPE)
    assert [in_code(one) for one in old.expectations] == [f"varv.expect.{code}"]


@pytest.mark.parametrize(
    ("kind", "given", "why"),
    [
        ("expect_column_kl_divergence_to_be_less_than", {"column": "x"}, "monitors of drift"),
        ("expect_column_values_to_match_json_schema", {"column": "x"}, "schemas of JSON"),
        ("expect_column_values_to_be_dateutil_parseable", {"column": "x"}, "no format"),
        ("expect_mine", {"column": "x"}, "not known"),
        (
            "expect_column_values_to_be_between",
            {"column": "x", "min_value": {"$PARAMETER": "p"}},
            "'p' has no",
        ),
        ("expect_column_values_to_be_between", {"column": "q", "min_value": 1}, "no column 'q'"),
        ("expect_column_values_to_be_between", {"column": "x"}, "neither end"),
        ("expect_column_values_to_be_in_set", {"column": "x"}, "no value_set"),
        ("expect_column_values_to_match_regex", {"column": "code", "regex": r"(a)\1"}, "not read"),
        ("expect_column_values_to_be_null", {"column": "x", "row_condition": "__import__('os')"}, "not read"),
    ],
)
def test_what_cannot_be_translated_is_listed_with_its_reason(kind, given, why):
    found = read_suite(one_suite(kind, **given), SHAPE)
    assert found.expectations == ()
    assert why in found.left_out[0].why


def test_parameters_are_those_of_the_suite_and_of_the_caller():
    suite = one_suite("expect_column_values_to_be_between", column="x", min_value={"$PARAMETER": "p"})
    suite["suite_parameters"] = {"p": 1}
    assert read_suite(suite).expectations[0].given == {"low": 1}
    assert read_suite(suite, None, {"p": 2}).expectations[0].given == {"low": 2}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{", "is not JSON"),
        (b"a: [", "is not YAML"),
        (b"- a", "is no mapping"),
        (b"a: !!python/object/apply:os.system [ls]", "without tags"),
        (b"a: &x [1]\nb: *x", "without tags and aliases"),
        (b"a: " + b"[" * 100 + b"]" * 100, "too deep"),
        (b"[" * 2_000_000, "too large"),
    ],
)
def test_a_file_of_a_stranger_is_refused_and_nothing_in_it_runs(data, problem):
    with pytest.raises(InvalidInput, match=problem):
        read_document(data, "file")


def test_a_declaration_is_python_that_makes_the_same_rules():
    rules = [
        *RULES,
        expect.pair_in("town", "x", [("a", 1)], skip="all"),
        expect.total(["x", "y"], 3, when=(pl.col("n") > 1) | pl.col("town").is_null()),
        expect.that("small", pl.col("x") < 3),
        expect.fresh("at", within="2h", severity="error"),
        expect.statistic("x", "mean", 0, share=0),
        expect.one_of("town", ['say "a"', "b'"]),
    ]
    text = declaration(rules)
    made = eval(f"dict({text})", {"varv": __import__("varv"), "pl": pl})["expect"]
    assert all(one.is_same(other) for one, other in zip(made, rules, strict=True)), text

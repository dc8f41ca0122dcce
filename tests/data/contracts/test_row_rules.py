"""Declared rules on single rows: each finds the rows that break it, and no others."""

from __future__ import annotations

import datetime as dt
import math
import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.contracts.rows import at, batch, broken, look

from varv import expect

NAN = math.nan


@pytest.mark.parametrize(
    ("rule", "columns", "rows"),
    [
        (expect.between("x", 0, 1), {"x": [0, 1, -0.1, 1.1, None, NAN]}, [2, 3, 5]),
        (expect.between("x", 0), {"x": [0, 9, -0.1, NAN]}, [2, 3]),
        (expect.between("x", high=1, closed="none"), {"x": [0, 1, 2]}, [1, 2]),
        (expect.between("x", 0, 1, closed="left"), {"x": [0, 1]}, [1]),
        (expect.between("n", -60, 1500.5), {"n": [0, -61, 1501, 1500, None]}, [1, 2]),
        (expect.between("n", -1_000_000, 1_000_000), {"n": [0, 9]}, []),
        (expect.between("at", dt.date(2013, 1, 1), at(1)), {"at": [at(0), at(1), at(2)]}, [2]),
        (expect.between("town", "B", "P"), {"town": ["Oslo", "Aix", "Rome"]}, [1, 2]),
        (expect.one_of("town", ["Oslo", "Rome"]), {"town": ["Oslo", None, "Bonn"]}, [2]),
        (expect.one_of("n", [1, 2, 100_000]), {"n": [1, 3, None]}, [1]),
        (expect.one_of("x", [0.5, 1]), {"x": [0.5, 1, 2, NAN]}, [2, 3]),
        (expect.one_of("on", [True]), {"on": [True, False, None]}, [1]),
        (expect.one_of("at", [at(0), "2013-01-01T01:00:00Z"]), {"at": [at(0), at(1), at(2)]}, [2]),
        (expect.none_of("town", ["Bonn"]), {"town": ["Oslo", None, "Bonn"]}, [2]),
        (expect.present("x"), {"x": [1, None, NAN]}, [1]),
        (expect.absent("x"), {"x": [1, None]}, [0]),
        (expect.matches("code", "^[A-Z][0-9]+$"), {"code": ["A1", "a1", None, "AA", "xA1"]}, [1, 3, 4]),
        (expect.matches("code", "1"), {"code": ["A1", "xx"]}, [1]),
        (expect.not_matches("code", "^x"), {"code": ["A1", "x1", None]}, [1]),
        (expect.length("code", 1, 2), {"code": ["", "é", "éé", "ééé", None]}, [0, 3]),
        (
            expect.time_text("code", "%Y-%m-%d"),
            {"code": ["2013-02-01", "1/2/13", None, "2013-02-30"]},
            [1, 3],
        ),
        (expect.json_text("code"), {"code": ['{"a": [1]}', "null", "{a}", None, '"x']}, [2, 4]),
        (expect.compare("x", "<=", "y"), {"x": [1, 2, None, 1], "y": [1, 1, 1, None]}, [1]),
        (expect.compare("x", "==", "y", skip="all"), {"x": [1, None, None], "y": [1, 1, None]}, [1]),
        (expect.compare("x", "==", "y", skip="never"), {"x": [1, None, None], "y": [1, 1, None]}, [1, 2]),
        (
            expect.pair_in("town", "n", [("Oslo", 1), ("Oslo", 2), ("Rome", 3)]),
            {"town": ["Oslo", "Oslo", "Rome", "Rome", None], "n": [2, 3, 3, 1, 1]},
            [1, 3],
        ),
        (expect.equal(["x", "y", "n"]), {"x": [1, 1, None], "y": [1, 2, 1], "n": [1, 1, 1]}, [1]),
        (expect.equal(["x", "y"], skip="never"), {"x": [1, None, None], "y": [1, 2, None]}, [1]),
        (expect.differing(["x", "y", "n"]), {"x": [1, 0, None], "y": [2, 1, 2], "n": [3, 1, 2]}, [1]),
        (expect.differing(["x", "y"], skip="never"), {"x": [None, 1, None], "y": [2, 1, None]}, [1, 2]),
        (expect.total(["x", "y"], 3, tolerance=0.1), {"x": [1, 1, None], "y": [2.05, 2.5, 1]}, [1]),
        (expect.that("sum", pl.col("x") + pl.col("y") < 3), {"x": [1, 2, None], "y": [1, 1, 9]}, [1]),
    ],
)
def test_a_rule_finds_the_rows_that_break_it(rule, columns, rows):
    assert broken(batch(**columns), rule) == rows


def test_a_rule_holds_where_its_condition_is_true():
    frame = batch(x=[9, 9, 9, 0], town=["Oslo", "Rome", None, "Oslo"])
    assert broken(frame, expect.between("x", 0, 1, when=pl.col("town") == "Oslo")) == [0]


def test_a_row_counts_for_the_first_rule_that_it_breaks():
    rules = [expect.between("x", 0, 1), expect.matches("code", "^A")]
    found = look(batch(x=[9, 0, 9], code=["B", "B", "A"]), *rules)
    assert found.reasons.to_list() == ["declared range of x", "pattern of code", "declared range of x"]
    counts = [(one.reason, one.n_rows, one.expected) for one in found.report.violations]
    assert counts == [("declared range of x", 2, "0 to 1"), ("pattern of code", 1, "match of ^A")]


def test_what_only_warns_is_counted_and_kept():
    found = look(batch(x=[9, 0]), expect.between("x", 0, 1, severity="warn"))
    assert (found.report.ok, found.reasons.count(), found.whole) == (True, 0, False)
    assert [(one.reason, one.n_rows) for one in found.report.warnings] == [("declared range of x", 1)]


def test_a_declared_share_is_exact_and_of_the_rows_with_a_value():
    rule = expect.between("x", 0, 1, share=0.1)
    nulls = [None] * 50
    assert look(batch(x=[9] + [0] * 9 + nulls), rule).report.ok
    beyond = look(batch(x=[9, 9] + [0] * 9 + nulls), rule)
    assert beyond.whole
    [broken_rule] = beyond.report.violations
    assert (broken_rule.n_rows, broken_rule.n_allowed) == (2, 1)
    assert beyond.reasons.to_list()[:3] == ["declared range of x"] * 2 + ["batch"]
    assert look(batch(x=[9, 9, 0]), rule, acknowledged=True).report.ok


def test_a_column_without_values_breaks_only_what_asks_for_one():
    frame = batch(x=[None, None]).with_columns(x=pl.lit(None))
    assert broken(frame, expect.between("x", 0, 1)) == []
    assert broken(frame, expect.compare("x", "<", "y", skip="all")) == [0, 1]
    assert broken(frame, expect.present("x")) == [0, 1]


VALUES = st.one_of(st.none(), st.floats(-3, 3), st.just(NAN))


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=20), st.floats(-3, 3), st.floats(0, 3), st.data())
def test_a_range_is_what_its_comparisons_say(values, low, width, data):
    high = low + width
    closed = data.draw(st.sampled_from(["both", "left", "right", "none"]))

    def breaks(value):
        above = value >= low if closed in ("both", "left") else value > low
        below = value <= high if closed in ("both", "right") else value < high
        return not (above and below)

    rows = [row for row, value in enumerate(values) if value is not None and breaks(value)]
    assert broken(batch(x=values), expect.between("x", low, high, closed=closed)) == rows


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab1 é\n", max_size=4), min_size=1, max_size=20))
def test_patterns_find_what_pythons_do(texts):
    for pattern in ("^a", "b$", "[ab]1", "a|é", "^(?:a|b)+$"):
        rows = [row for row, text in enumerate(texts) if not re.search(pattern.replace("$", r"\Z"), text)]
        assert broken(batch(code=texts), expect.matches("code", pattern)) == rows

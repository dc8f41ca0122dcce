"""Declared rules on batches: repeats, order, statistics, freshness."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.contracts.rows import batch, broken, look

from varv import expect
from varv.data.contracts import batch_rules


@pytest.mark.parametrize(
    ("rule", "columns", "rows"),
    [
        (expect.unique("x"), {"x": [1, 2, 1, None, None, 1]}, [0, 2, 5]),
        (expect.unique("x", skip="never"), {"x": [1, None, None]}, [1, 2]),
        (expect.unique(["x", "town"]), {"x": [1, 1, 1], "town": ["a", "b", "a"]}, [0, 2]),
        (expect.unique(["x", "y"], skip="all"), {"x": [1, 1, None, None], "y": [None] * 4}, [0, 1]),
        (expect.unique("x", when=pl.col("y") > 0), {"x": [1, 1, 1], "y": [1, 0, 1]}, [0, 2]),
        (expect.monotone("x"), {"x": [1, 1, None, 0.5, 2]}, [3]),
        (expect.monotone("x", strictly=True), {"x": [1, 1, 2]}, [1]),
        (expect.monotone("x", decreasing=True), {"x": [2, 3, 1]}, [1]),
        (expect.z_score("x", 2), {"x": [0] * 20 + [9, -9]}, [20, 21]),
        (expect.z_score("x", 2), {"x": [1, 1, 1]}, []),
        (expect.z_score("x", 2, both_sides=False), {"x": [0] * 20 + [9, -9]}, [20]),
    ],
)
def test_rows_that_break_a_rule_on_the_batch_are_put_aside(rule, columns, rows):
    assert broken(batch(**columns), rule) == rows


@pytest.mark.parametrize(
    ("rule", "columns", "reason"),
    [
        (expect.statistic("x", "mean", 0, 1), {"x": [2, 2, None]}, "mean of x"),
        (expect.statistic("x", "mean", 0, 1), {"x": [0, 1, None]}, None),
        (expect.statistic("x", "mean", 0, 1), {"x": [None, None]}, None),
        (expect.statistic("x", "stdev", high=0.5), {"x": [0, 2]}, "stdev of x"),
        (expect.statistic("x", "max", high=2, closed="none"), {"x": [0, 2]}, "max of x"),
        (expect.statistic("at", "min", "2014-01-01"), {"x": [0, 2]}, "min of at"),
        (expect.statistic("x", "n_unique", 3), {"x": [0, 2, 2, None]}, "n_unique of x"),
        (expect.statistic("x", "unique_share", 0.9), {"x": [0, 2, 2]}, "unique_share of x"),
        (expect.statistic("x", "present_share", 0.5), {"x": [0, None, None]}, "present_share of x"),
        (expect.statistic("x", "quantile", 1, q=0.5), {"x": [0, 0, 9]}, "quantile of x"),
        (expect.contains("town", ["Oslo", "Rome"]), {"town": ["Oslo", None]}, "values of town"),
        (expect.contains("town", ["Oslo"]), {"town": ["Oslo", "Rome"]}, None),
        (expect.contains("town", ["Oslo"], exactly=True), {"town": ["Oslo", "Rome"]}, "values of town"),
        (expect.most_common("town", ["Oslo"]), {"town": ["Rome", "Rome", "Oslo"]}, "commonest value of town"),
        (expect.most_common("town", ["Oslo"]), {"town": ["Oslo", "Rome"]}, "commonest value of town"),
        (expect.most_common("town", ["Oslo"], ties=True), {"town": ["Oslo", "Rome"]}, None),
        (expect.rows("at", 3), {"x": [1, 2]}, "number of rows of at"),
        (expect.rows("at", 1, 2), {"x": [1, 2]}, None),
        (expect.fresh("at", within="3d", severity="error"), {"x": [1]}, "freshness of at"),
        (expect.fresh("at", within="40d", severity="error"), {"x": [1]}, None),
    ],
)
def test_a_batch_whose_numbers_are_not_as_declared_is_put_aside_whole(rule, columns, reason):
    found = look(batch(**columns), rule)
    assert [one.reason for one in found.report.violations] == ([reason] if reason else [])
    assert found.whole == bool(reason)


def test_rules_on_batches_are_not_asked_of_rows_that_were_sent_one_by_one():
    rules = [expect.unique("x"), expect.statistic("x", "mean", 5), expect.rows("at", 10)]
    for way in ({"in_flight": True}, {"acknowledged": True}):
        assert not broken(batch(x=[1, 1]), *rules, **way)


def test_the_values_of_rows_stay_out_of_reports():
    found = look(
        batch(x=[123.25, 123.25]), expect.statistic("x", "max", 0, 1), expect.statistic("x", "sum", 0)
    )
    assert [one.expected for one in found.report.violations] == ["0 to 1"]
    told = look(batch(x=[-1, -2]), expect.statistic("x", "sum", 0)).report.violations[0].expected
    assert told == "at least 0; found -3"


def test_an_empty_batch_is_warned_of_and_not_put_aside():
    found = look(batch(x=[1]).clear(), expect.rows("at", 1))
    assert (found.whole, found.report.ok) == (False, True)
    assert [one.reason for one in found.report.warnings] == ["number of rows of at"]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["a", "b", None])), min_size=1, max_size=20))
def test_repeats_are_those_of_a_dictionary_over_any_stretches(rows):
    frame = batch(n=[n for n, _ in rows], town=[town for _, town in rows])
    found = [row for row, one in enumerate(rows) if one[1] is not None and rows.count(one) > 1]
    for size in (1, 3, 250_000):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(batch_rules, "STRETCH", size)
            assert broken(frame, expect.unique(["n", "town"])) == found


def test_two_values_with_one_hash_are_no_repeat(monkeypatch):
    def hashed(frame, seed):
        return pl.Series(np.zeros(frame.height, np.uint64))

    monkeypatch.setattr(pl.DataFrame, "hash_rows", hashed)
    assert broken(batch(x=[1, 2, 2, 3]), expect.unique("x")) == [1, 2]

"""Values held against Feast's: equal, or different for a reason that has a name."""

from __future__ import annotations

import polars as pl
import pytest
from tests.features.moving.recorded import at

import varv
from varv.features.moving.comparing import AT, ROW, compared, requests_for


def view_of(rows, **known):
    source = varv.Dataset("rows", source=varv.Frame(rows), key=["id", "at", "made"], event_time="at", **known)
    return varv.FeatureView("view", source=source, entity="id", features=["x"], ttl="1h")


@pytest.fixture
def view():
    rows = pl.DataFrame(
        {
            "id": [1, 1, 2, 2],
            "at": [at(0), at(30), at(0), at(0)],
            "written": [at(0), at(50), at(0), at(0)],
            "made": [1, 2, 3, 4],
            "x": [0.5, 1.5, 2.5, 3.5],
        }
    )
    return view_of(rows, known_at={"written": ["x"]})


def requests(*asked):
    ids, minutes = zip(*asked, strict=True)
    columns = {"id": ids, AT: [at(one) for one in minutes], ROW: range(len(asked))}
    return pl.DataFrame(columns, schema_overrides={ROW: pl.Int64})


def answers(*values):
    rows, xs = zip(*values, strict=True)
    return pl.DataFrame({ROW: rows, "view__x": xs})


def counts(view, asked, theirs):
    found = compared(view, asked, theirs, ["view__x"])
    assert sum(found.counts.values()) == asked.height
    return {name: n for name, n in found.counts.items() if n}


def test_equal_values_are_equal_in_single_precision(view):
    asked = requests((1, 10), (1, 120), (1, -5))
    theirs = answers((0, 0.5 + 1e-12), (1, None), (2, float("nan")))
    assert counts(view, asked, theirs) == {"equal": 3}
    assert counts(view, asked, answers((0, 0.5 + 1e-6), (1, 0.0), (2, 0.5))) == {"different": 3}


def test_values_that_event_times_alone_give_are_late(view):
    # At 40 nobody knew of the row of 30; at 100 it is 50 minutes old here, and 70 there.
    asked = requests((1, 40), (1, 55), (1, 100))
    assert counts(view, asked, answers((0, 1.5), (1, 1.5), (2, None))) == {"late": 2, "equal": 1}


def test_another_row_of_the_same_time_is_a_tie(view):
    ours = {one: counts(view, requests((2, 10)), answers((0, one))) for one in (2.5, 3.5, 4.5)}
    assert sorted(map(str, ours.values())) == ["{'different': 1}", "{'equal': 1}", "{'tie': 1}"]
    assert ours[4.5] == {"different": 1}


def test_what_is_too_old_or_left_out_is_no_tie(view):
    asked = requests((2, 61), (2, 10))
    assert counts(view, asked, answers((0, 2.5))) == {"different": 2}


def test_left_out_requests_count_only_where_nothing_is_known_or_twice(view):
    nothing_known = requests((1, 10), (1, 500), (3, 10))
    assert counts(view, nothing_known, answers((0, 0.5))) == {"equal": 1, "dropped": 2}
    assert counts(view, requests((1, 10), (1, 10)), answers((0, 0.5))) == {"equal": 1, "dropped": 1}
    assert counts(view, requests((1, 10), (2, 500)), answers((1, None))) == {"different": 1, "equal": 1}


def test_values_that_differ_are_shown_with_their_request(view):
    found = compared(view, requests((1, 10)), answers((0, 9.0)), ["view__x"])
    assert found.n_different == 1
    assert found.some[0].startswith("view__x: 0.5 here, 9.0 there; id=1")


def test_requests_are_made_at_the_edges_of_rows_and_ttl(view):
    asked = requests_for(view).filter(pl.col("id") == 1)[AT]
    minutes = {(one - at(0)).total_seconds() / 60 for one in asked}
    assert {0, 30, 50, 60, 90, 60 + 1 / 60} <= minutes
    assert requests_for(view).equals(requests_for(view))


def test_a_view_without_entities_is_compared_too():
    rows = pl.DataFrame({"at": [at(0), at(0)], "x": ["a", "b"], "n": [1, 2]})
    source = varv.Dataset("rows", source=varv.Frame(rows), key=["at", "n"], event_time="at")
    view = varv.FeatureView("view", source=source, features=["x"])
    asked = requests_for(view)
    theirs = asked.select(ROW, pl.lit("a").alias("view__x"))
    found = compared(view, asked, theirs, ["view__x"]).counts
    assert found["equal"] + found["tie"] > 0
    assert found["different"] == asked.filter(pl.col(AT) < at(0)).height

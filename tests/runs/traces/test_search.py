from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.errors import InvalidInput
from varv.runs.ordering import Place, token_of
from varv.runs.traces import search

from .conftest import id_of, span


@pytest.fixture
def several(traced):
    traced.begin("tr-a", 1000, took_ms=5, state="OK", tags={"mlflow.traceName": "one", "team": "risk"})
    traced.begin("tr-b", 2000, took_ms=None, state="ERROR", tags={"mlflow.traceName": "two"})
    traced.begin("tr-c", 2000, took_ms=1, state="OK", metadata={"mlflow.sourceRun": "r1"})
    attributes = {"k": "value", "mlflow.spanType": "TOOL", "deep": {"a": [1]}}
    traced.take(span(1, started_ms=3000), span(2, parent=1, attributes=attributes, started_ms=3001))
    return traced


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("span.name = 'step 2' AND span.type = 'TOOL'", "s"),
        ("span.name = 'step 1' AND span.type = 'TOOL'", ""),
        ("span.attributes.k = 'value'", "s"),
        ("span.attributes.k LIKE 'VAL%'", ""),
        ("span.attributes.k ILIKE 'VAL%'", "s"),
        ("span.attributes.deep LIKE '%[1]%'", "s"),
        ("span.status IN ('UNSET', 'OK')", "s"),
        ("text LIKE '%step 2%'", "s"),
        ("trace.text ILIKE '%STEP 3%'", ""),
        ("name ILIKE 'O%'", "a"),
        ("tags.team IS NULL", "scb"),
        ("metadata.`mlflow.sourceRun` IS NOT NULL", "c"),
        ("run_id = 'r1'", "c"),
        ("run_id != 'r2'", "c"),
        ("status IN ('ERROR')", "b"),
        ("end_time_ms <= 2000 AND timestamp_ms > 1000", "b"),
        ("execution_time_ms < 5", "c"),
        ("tags.team = 'risk' AND status = 'OK'", "a"),
    ],
)
def test_a_filter_finds_what_it_says(several, filter, expected):
    ids = {"s": id_of(), **{letter: f"tr-{letter}" for letter in "abc"}}
    assert sorted(several.found(filter)) == sorted(ids[letter] for letter in expected)


def test_what_was_judged_is_searched_by_its_value(several):
    several.judge("tr-a", value="0.75", name="score")
    several.judge("tr-b", value='"good"', name="tone")
    several.judge("tr-b", "a-2", value="0.25", name="score")
    several.judge("tr-b", "a-3", value="0.5", name="score", overrides="a-2")
    several.judge("tr-c", value="[1]", kind="expectation", name="list")
    assert several.found("feedback.score > 0.5") == ["tr-a"]
    assert several.found("feedback.score = 0.5") == ["tr-b"]
    assert several.found("feedback.score = 0.25") == []
    assert several.found("feedback.tone = 'good'") == ["tr-b"]
    assert several.found("expectation.list IS NOT NULL") == ["tr-c"]
    assert several.found("feedback.score IS NULL") == [id_of(), "tr-c"]


@pytest.mark.parametrize(
    "filter",
    [
        "span.colour = 'red'",
        "span.attributes. = 'x'",
        "feedback = 'x'",
        "prompt LIKE 'x%'",
        "tags.team > 'a'",
        "name RLIKE '(a+)+$'",
        "status = 'OK' OR status = 'ERROR'",
        "execution_time_ms = 'a'",
    ],
)
def test_a_filter_that_cannot_be_answered_is_refused(several, filter):
    with pytest.raises(InvalidInput):
        several.found(filter)


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ([], "sbca"),
        (["timestamp_ms ASC"], "abcs"),
        (["execution_time DESC"], "sacb"),
        (["execution_time ASC"], "casb"),
        (["name ASC"], "absc"),
        (["status DESC", "request_id DESC"], "casb"),
        (["experiment_id ASC"], "sbca"),
    ],
)
def test_every_order_is_paged_without_gaps(several, orders, expected):
    ids = [{"s": id_of()}.get(letter, f"tr-{letter}") for letter in expected]
    assert several.found(orders=orders) == ids
    for most in (1, 2, 3):
        found, token = several.page(orders=orders, most=most)
        while token:
            more, token = several.page(orders=orders, most=most, token=token)
            found += more
        assert found == ids


def test_a_page_neither_skips_nor_repeats_while_traces_come(several):
    first, token = several.page(most=2)
    several.begin("tr-new", 9000)
    assert several.found(token=token) == ["tr-c", "tr-a"]
    assert first == [id_of(), "tr-b"]
    with pytest.raises(InvalidInput, match="another query"):
        several.page("status = 'OK'", token=token)
    for bad in ("garbage", "e30=", "W10="):
        with pytest.raises(InvalidInput, match="page token"):
            several.page(token=bad)


def test_a_token_that_was_made_up_is_a_place_like_any(several):
    query = ["traces", ["0"], "", ["name ASC"]]
    for rank in (1, 2):
        token = token_of(Place(((rank, None),), 2500, "tr-x"), query)
        assert several.found(orders=["name ASC"], token=token) == ["tr-c"]


def test_several_experiments_are_searched_as_one(several):
    other = several.do(several.home.tracking.experiments.create("other"))
    several.begin("tr-o", 2500, experiment=other)
    both = ("0", other, "77")
    assert several.found(experiments=both) == [id_of(), "tr-o", "tr-b", "tr-c", "tr-a"]
    _, token = several.page(experiments=both, most=2)
    assert several.found(experiments=both, token=token) == ["tr-b", "tr-c", "tr-a"]
    assert several.found(experiments=()) == several.found(experiments=("77",)) == []


def test_few_and_many_candidates_give_the_same(several, monkeypatch):
    filters = [
        "tags.team = 'risk'",
        "metadata.`mlflow.sourceRun` = 'r1'",
        "tags.team = 'none'",
        "name LIKE 't%w%o%'",
        "run_id = 'r1'",
        "prompt = 'greet/1'",
    ]
    several.do(several.traces.link_prompts("tr-b", ["greet/1"]))
    few = [several.found(one) for one in filters]
    monkeypatch.setattr(search, "FEW", -1)
    assert [several.found(one) for one in filters] == few
    assert few == [["tr-a"], ["tr-c"], [], ["tr-b"], ["tr-c"], ["tr-b"]]


def test_a_page_by_time_is_read_from_the_index_alone(several):
    with several.traces.recorder.reading() as db:
        seen = []
        db.set_trace_callback(seen.append)
        search.trace_page(db, search.TraceQuery(("0",)))
        db.set_trace_callback(None)
        query = next(one for one in seen if "trace_by_time" in one)
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert any("trace_by_time" in step for step in plan)
    assert sum("TEMP B-TREE" in step for step in plan) <= 1


@given(st.text(max_size=12))
def test_any_filter_is_answered_or_refused(text):
    with suppress(InvalidInput):
        search.parsed_filter(text, search.TRACES)

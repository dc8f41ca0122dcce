from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.errors import InvalidInput
from varv.runs.filters import (
    LONGEST,
    MOST_CLAUSES,
    AllOf,
    AnyOf,
    Clause,
    Field,
    Grammar,
    Named,
    parsed_filter,
    parsed_orders,
)
from varv.runs.grammars import EXPERIMENTS, OUR_RUNS, RUNS

LOSS = Field("metric", "loss", "number")


def clauses(text, grammar=RUNS):
    return [
        (one.field.entity, one.field.key, one.operator, one.value)
        for one in parsed_filter(text, grammar).parts
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("metrics.loss > -1e3", ("metric", "loss", ">", -1000.0)),
        ("metric.loss<=.5", ("metric", "loss", "<=", 0.5)),
        ('metrics."val/loss at 5" = +1', ("metric", "val/loss at 5", "=", 1.0)),
        ("params.`a.b-c` != 'x'", ("parameter", "a.b-c", "!=", "x")),
        ("`params`.`x` LIKE 'd%'", ("parameter", "x", "LIKE", "d%")),
        ("tags.mlflow.source.name ilike 'X'", ("tag", "mlflow.source.name", "ILIKE", "X")),
        ('tags.note = "it\'s"', ("tag", "note", "=", "it's")),
        ("tags.note = 'it''s'", ("tag", "note", "=", "it's")),
        ("tags.a IS NULL", ("tag", "a", "IS NULL", None)),
        ("params.a is not null", ("parameter", "a", "IS NOT NULL", None)),
        ("run_id IN ('a', \"b\")", ("attribute", "run_id", "IN", ("a", "b"))),
        ("run_id not in ('a')", ("attribute", "run_id", "NOT IN", ("a",))),
        ("`run name` = 'red'", ("tag", "mlflow.runName", "=", "red")),
        ("attr.Created >= 5", ("attribute", "start_time", ">=", 5.0)),
        ("datasets.context = 'train'", ("dataset", "context", "=", "train")),
    ],
)
def test_a_comparison_is_read_as_it_was_meant(text, found):
    assert clauses(text) == [found]


def test_comparisons_are_joined_by_and():
    assert [key for _, key, _, _ in clauses("metrics.a > 1 and params.b = 'x' AND status = 'y'")] == [
        "a",
        "b",
        "status",
    ]
    assert clauses("and metrics.a > 1 and") == clauses("metrics.a > 1")
    assert clauses("") == []


@pytest.mark.parametrize(
    "text",
    [
        *("   ", "loss", "metrics.loss", "metrics.loss >", "> 1", "1 = 1", "metrics. > 1", "metrics > 1"),
        *(
            "metrics.loss == 1",
            "metrics.loss <> 1",
            "metrics.loss => 1",
            "metrics.loss ~ 1",
            "metrics.loss > 1 > 2",
        ),
        *("metrics.loss > '1'", "metrics.loss > inf", "metrics.loss LIKE '1'", "metrics.loss IS NULL"),
        *("params.a = 3", "params.a = three", "params.a > 'x'", "params.a IN ('x')", "params.a = `x`"),
        *("params.a = 'x", 'params.a = "x', "params.a.b-c = 'x'", "params.a = 'x' -- more"),
        *("params.a = 'x'; DROP TABLE run", "params.a = 'x', params.b = 'y'", "'x' = params.a"),
        *(
            "tags.a IS 'x'",
            "tags.a NOT 'x'",
            "tags.a BETWEEN 'a' AND 'b'",
            "status IS NULL",
            "status IN ('x')",
        ),
        *(
            "run_id IN ()",
            "run_id IN 'x'",
            "run_id IN ('x'",
            "run_id IN ('x',)",
            "things.a = 'x'",
            "Metrics.a > 1",
        ),
        *("dataset.size = 'x'", "start_time > 'x'", "start_time LIKE 'x'", "colour = 'red'"),
        *("metrics.a > 1 or metrics.b > 1", "(metrics.a > 1)", "not metrics.a > 1", "min(metrics.a) > 1"),
    ],
)
def test_a_filter_that_is_not_understood_is_refused(text):
    with pytest.raises(InvalidInput):
        parsed_filter(text, RUNS)


def test_a_filter_has_its_limits():
    most = " and ".join(["metrics.a > 1"] * MOST_CLAUSES)
    assert len(parsed_filter(most, RUNS).parts) == MOST_CLAUSES
    with pytest.raises(InvalidInput, match="too many comparisons"):
        parsed_filter(f"{most} and metrics.a > 1", RUNS)
    with pytest.raises(InvalidInput, match="too long"):
        parsed_filter("params.a = '" + "x" * LONGEST + "'", RUNS)
    with pytest.raises(InvalidInput, match="parentheses"):
        parsed_filter("(" * 100 + "metrics.a > 1" + ")" * 100, OUR_RUNS)


def test_our_own_filters_have_or_parentheses_and_the_least_value():
    found = parsed_filter("(min(metrics.loss) < 1 or tags.a = 'x') and MAX(metrics.loss) > 2", OUR_RUNS)
    low = Clause(Field("metric", "loss", "number", "min"), "<", 1.0)
    high = Clause(Field("metric", "loss", "number", "max"), ">", 2.0)
    tag = Clause(Field("tag", "a", "text"), "=", "x")
    assert found == AllOf((AnyOf((AllOf((low,)), AllOf((tag,)))), high))
    for text in ("min(params.a) = 'x'", "min(min(metrics.a)) > 1", "min(metrics.a > 1", "(metrics.a > 1"):
        with pytest.raises(InvalidInput):
            parsed_filter(text, OUR_RUNS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("metrics.loss", ("metric", "loss", True)),
        ("metrics.`loss` desc", ("metric", "loss", False)),
        ("metrics.val/loss-1 ASC", ("metric", "val/loss-1", True)),
        ('params."a b" DESC', ("parameter", "a b", False)),
        ("  Created DESC  ", ("attribute", "start_time", False)),
    ],
)
def test_an_order_is_a_field_and_a_way(text, found):
    (order,) = parsed_orders([text], RUNS)
    assert (order.field.entity, order.field.key, order.ascending) == found


@pytest.mark.parametrize(
    "texts",
    [
        *(
            [""],
            ["metrics.loss UP"],
            ["metrics.loss ASC DESC"],
            ["loss"],
            ["datasets.name"],
            ["metrics.a; x"],
        ),
        *(["metrics.a", "metrics.a DESC"], ["start_time", "created DESC"], ["min(metrics.a)"], ["metrics."]),
        ["metrics.a"] * 33,
    ],
)
def test_an_order_that_is_not_understood_is_refused(texts):
    with pytest.raises(InvalidInput):
        parsed_orders(texts, RUNS)


def test_other_searches_bring_their_own_grammar():
    models = Grammar(
        keyed={"tag": Named("", "text", frozenset({"="}))},
        fixed={"attribute": {"name": Named("name", "text", frozenset({"="}))}},
        spelled={"tags": "tag", "attribute": "attribute"},
        orders=frozenset({"attribute"}),
    )
    assert clauses("name = 'a' and tags.b = 'c'", models) == [
        ("attribute", "name", "=", "a"),
        ("tag", "b", "=", "c"),
    ]
    with pytest.raises(InvalidInput, match="metrics"):
        parsed_filter("metrics.a > 1", models)
    with pytest.raises(InvalidInput):
        parsed_filter("metrics.a > 1", EXPERIMENTS)


@given(key=st.text(min_size=1).filter(lambda key: "`" not in key), value=st.text())
def test_any_key_and_value_can_be_quoted(key, value):
    text = f"params.`{key}` = '{value.replace(chr(39), chr(39) * 2)}'"
    if len(text) <= LONGEST:
        assert clauses(text) == [("parameter", key, "=", value)]


@given(text=st.text(alphabet="metrics.params`'\"()<>=!,-+1.5eLIKEANDORINOTNULLIS %_\n\x00é", max_size=60))
def test_whatever_is_written_is_read_or_refused(text):
    for grammar in (RUNS, OUR_RUNS, EXPERIMENTS):
        try:
            parsed_filter(text, grammar)
            parsed_orders([text], grammar)
        except InvalidInput:
            pass

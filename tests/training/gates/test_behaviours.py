"""What a model does with given and with changed rows is tested on the version that serves."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from tests.training.gates.judgements import ROWS, behaving, case, one, served

import varv
from varv.kernel.errors import InvalidDeclaration, InvalidInput, UserCodeFailed
from varv.training import behaviour
from varv.training.gates import identity_of, judge

NAMES = ("binary", "multiclass", "regression", "quantiles", "ranking", "score")
KINDS = {"load": "numeric", "route": "categorical", "heat": "numeric"}
OUTPUT = {"multiclass": "C", "quantiles": "q0.5"}
SWAPPED = {"route": ["north", "west"]}


def heavier(name: str, **more):
    given = {"feature": "load", "by": 0.5, "prediction": "up", "output": OUTPUT.get(name)}
    return behaviour.direction("heavier", **(given | more))


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_goes_where_its_feature_pulls_it(name):
    rows = behaving(name, served(name), served(name, by_load=-2.0))
    found = one(heavier(name), rows)
    assert (found.passed, found.verdict, found.n) == (True, "within bounds", ROWS)
    assert found.evidence["share"] == 1.0
    assert found.evidence["champion_share"] == 0.0
    wrong = one(heavier(name, prediction="down"), rows)
    assert (wrong.passed, wrong.verdict, wrong.evidence["n_wrong"]) == (False, "beyond bounds", ROWS)
    assert len(wrong.examples) == 5
    assert all(example.startswith("row p-") for example in wrong.examples)
    assert wrong.examples[0] in wrong.answer


@pytest.mark.parametrize("name", NAMES)
def test_a_feature_that_should_not_matter_is_found_out_where_it_does(name):
    alike = behaviour.invariant("route", change=SWAPPED, tolerance=0.15)
    blind = one(alike, behaving(name, served(name, by_route=0.0)))
    assert (blind.passed, blind.verdict) == (True, "within bounds")
    assert 0 < blind.n < ROWS
    seeing = one(alike, behaving(name, served(name, by_route=3.0)))
    assert (seeing.passed, seeing.verdict) == (False, "beyond bounds")
    assert "→" in seeing.examples[0]


def test_a_function_may_change_rows_in_any_way():
    def colder(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(heat=pl.col("heat") - 5)

    rows = behaving("binary", served("binary"))
    found = one(behaviour.invariant("heat", change=colder, tolerance=0.6), rows)
    assert (found.passed, found.n) == (True, ROWS)
    other = behaviour.invariant("heat", change=lambda rows: rows, tolerance=0.6)
    assert identity_of(other) != identity_of(behaviour.invariant("heat", change=colder, tolerance=0.6))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows.head(3), "returned no frame of as many rows"),
        (lambda rows: rows.drop("heat"), "lost the column 'heat'"),
        (lambda rows: rows.select("no"), "raised ColumnNotFoundError"),
    ],
)
def test_a_function_that_loses_rows_is_named(change, says):
    with pytest.raises(UserCodeFailed, match=says):
        one(behaviour.invariant("odd", change=change), behaving("binary", served("binary")))


def test_a_slice_is_tested_by_its_own_rows():
    rows = behaving("binary", served("binary"))
    found = one(heavier("binary", slice=varv.slice("route", "south")), rows)
    assert found.n == (rows.rows["route"] == "south").sum()
    assert "where route south" in found.question


def test_rows_without_the_feature_are_left_out():
    rows = behaving("binary", served("binary"))
    holey = rows.rows.with_columns(load=pl.when(pl.int_range(pl.len()) >= 100).then("load"))
    assert one(heavier("binary"), replace(rows, rows=holey)).n == ROWS - 100
    empty = replace(rows, rows=holey.with_columns(load=pl.lit(None, pl.Float32)))
    found = one(heavier("binary"), empty)
    assert (found.passed, found.verdict, found.n) == (True, "nothing shown", 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("binary", {"at_least": 0.8}),
        ("multiclass", {"label": "C"}),
        ("multiclass", {"at_least": 0.8, "output": "C"}),
        ("regression", {"at_least": 4.0, "at_most": 20.0}),
        ("quantiles", {"at_least": 4.0, "output": "q0.1"}),
    ],
)
def test_given_rows_must_all_be_predicted_as_expected(name, expected):
    heavy = [{"load": load, "route": "north", "heat": 0.0} for load in (4.0, 5.0)]
    rows = behaving(name, served(name))
    found = one(behaviour.minimum("heavy", rows=heavy, **expected), rows)
    assert (found.passed, found.verdict, found.n, found.examples) == (True, "within bounds", 2, ())
    light = one(behaviour.minimum("heavy", rows=[*heavy, {**heavy[0], "load": -4.0}], **expected), rows)
    assert (light.passed, light.evidence["n_wrong"]) == (False, 1.0)
    assert light.examples[0].startswith("row 3: ")


def test_a_row_that_the_model_cannot_predict_is_at_fault():
    holey = behaviour.minimum("holey", rows=[{"load": 4.0}], at_least=0.5)
    [found] = judge((holey,), behaving("binary", served("binary")))
    assert (found.passed, found.examples) == (False, ("row 1: nan",))


def test_a_value_that_no_feature_can_have_is_refused_with_its_test():
    odd = behaviour.minimum("odd", rows=[{"load": "heavy"}], at_least=0.5)
    with pytest.raises(InvalidDeclaration, match="gate 'minimum' has a row that is numeric: 'load'"):
        odd.require_features(KINDS)
    with pytest.raises(InvalidInput, match="has rows that no request can be"):
        one(odd, behaving("binary", served("binary")))


@pytest.mark.parametrize(
    ("make", "task", "says"),
    [
        (lambda: behaviour.minimum("x", rows=[{"load": 1}], label="C"), "binary", "expects a label, which"),
        (lambda: behaviour.minimum("x", rows=[{"load": 1}], label="Z"), "multiclass", "labels are A, B, C"),
        (lambda: behaviour.minimum("x", rows=[{"load": 1}], at_least=1), "quantiles", "q0.1, q0.5, q0.9"),
        (lambda: heavier("binary"), "multiclass", "say which: output=one of A, B, C"),
        (lambda: heavier("binary", output="C"), "binary", "has no output 'C'"),
    ],
)
def test_what_the_task_does_not_predict_is_refused_with_what_it_does(make, task, says):
    with pytest.raises(InvalidDeclaration, match=says):
        make().require_task(case(task).task)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: heavier("binary", feature="mass"), "a feature that is no feature: 'mass'; the features are"),
        (lambda: heavier("binary", feature="route"), "a feature that is categorical: 'route'"),
        (lambda: heavier("binary", slice=varv.slice("route", 3)), "a slice that compares"),
        (lambda: behaviour.invariant("x", change={"mass": [1, 2]}), "a change that is no feature"),
        (lambda: behaviour.invariant("x", change={"load": ["a", "b"]}), "a change that is numeric: 'load'"),
    ],
)
def test_a_feature_that_does_not_fit_is_refused_with_those_that_do(make, says):
    with pytest.raises(InvalidDeclaration, match=says):
        make().require_features(KINDS)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: behaviour.minimum("x", rows=[], at_least=1), "has a bad rows"),
        (lambda: behaviour.minimum("x", rows=[{}], at_least=1), "has a bad row"),
        (lambda: behaviour.minimum("x", rows=[{"a": [1]}], at_least=1), "has a bad row"),
        (lambda: behaviour.minimum("x", rows=[{"a": 1}]), "needs either a label or a bound"),
        (lambda: behaviour.minimum("x", rows=[{"a": 1}], label="a", at_least=1), "needs either"),
        (lambda: behaviour.invariant("x", change={}), "has a bad change"),
        (lambda: behaviour.invariant("x", change={"a": ["b"]}), "has a bad change of 'a'"),
        (lambda: behaviour.invariant("x", change={"a": ["b", 3]}), "has a bad change of 'a'"),
        (lambda: behaviour.invariant("x", change=lambda: 0), "has a bad change"),
        (lambda: behaviour.invariant("x", change=SWAPPED, share=1.1), "has a bad share"),
        (lambda: behaviour.invariant("x", change=SWAPPED, tolerance=-1), "has a bad tolerance"),
        (lambda: heavier("binary", by=0), "has a bad by"),
        (lambda: heavier("binary", prediction="sideways"), "has a bad prediction"),
        (lambda: behaviour.direction("", feature="a", by=1, prediction="up"), "has a bad name"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_the_argument(make, says):
    with pytest.raises(InvalidDeclaration, match=says):
        make()

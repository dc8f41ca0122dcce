"""Values of a request that break a declared check: refused, replaced or flagged, in every form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import varv
from varv.kernel.errors import InvalidInput
from varv.serving.checks import checked
from varv.serving.matrix import MatrixColumns, matrix_of

NUMBERS = ("a", "b", "c")


def test_what_keeps_its_checks_is_passed_on_as_it_is():
    columns = {"a": [1.0, None], "note": ["x", "y"]}
    found = checked([varv.check("a", low=0), varv.check("note", one_of=["x", "y"])], columns)
    assert found.columns is columns
    assert not found.flagged


def test_a_request_is_refused_by_its_first_row_that_breaks_a_check():
    with pytest.raises(InvalidInput) as refused:
        checked([varv.check("a", low=0, high=10)], {"a": [1, None, 11, -1]})
    assert refused.value.facts == {"reason": "check", "row": 2, "given": "11"}
    assert refused.value.name == "a"
    assert refused.value.hint == "send what is at least 0 and at most 10"


def test_a_value_is_flagged_or_takes_the_declared_one():
    checks = [
        varv.check("a", high=10, otherwise="flag"),
        varv.check("note", one_of=["x"], required=True, otherwise="default", default="x"),
    ]
    found = checked(checks, {"a": [11.0, 3.0, 12], "note": ["x", None, "z"]})
    assert found.columns == {"a": [11.0, 3.0, 12], "note": ["x", "x", "x"]}
    assert found.flagged == {"a": [0, 2], "note": [1, 2]}


def test_a_column_that_does_not_come_is_made_of_the_default():
    one = varv.check("b", low=0, required=True, otherwise="default", default=2)
    assert checked([one], {"a": [1, 2]}).columns == {"a": [1, 2], "b": [2, 2]}
    matrix = MatrixColumns(("a",), np.ones((2, 1)))
    assert dict(checked([one], matrix).columns) == {"a": [1.0, 1.0], "b": [2, 2]}


def test_a_value_of_another_kind_is_left_to_who_types_it():
    columns = {"a": ["5", True, [1]]}
    assert checked([varv.check("a", low=0, high=1, required=True)], columns).columns is columns


@pytest.mark.parametrize("value", [True, 1])
def test_true_is_no_number_and_one_no_truth(value):
    one = varv.check("a", one_of=[value], otherwise="flag")
    assert checked([one], {"a": [True, 1, 1.0]}).flagged == {"a": [1, 2] if value is True else [0]}


@given(
    st.lists(st.none() | st.floats(-20, 20) | st.sampled_from([0, 3, 10]), min_size=3, max_size=9).map(
        lambda one: one[: len(one) // 3 * 3]
    ),
    st.sampled_from(
        [
            varv.check("b", low=0, high=10, otherwise="flag"),
            varv.check("b", low=0, required=True, otherwise="default", default=3.0),
            varv.check("b", one_of=[0, 3.0, 10], otherwise="default", default=10),
        ]
    ),
)
def test_a_matrix_is_checked_as_its_columns_are(values, check):
    names, matrix = NUMBERS, matrix_of(NUMBERS, values)
    if not isinstance(matrix, MatrixColumns):
        return
    plain = {name: list(matrix[name]) for name in names}
    one, other = checked([check], matrix), checked([check], plain)
    assert one.flagged == other.flagged
    found = {name: list(one.columns[name]) for name in names}
    assert found == {name: list(values) for name, values in other.columns.items()}
    assert isinstance(one.columns, MatrixColumns)
    assert not any(value is not None and math.isnan(value) for value in found["b"])

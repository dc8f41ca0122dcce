"""The arguments of each run of a sweep."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.errors import InvalidInput
from varv.runs.sweeps import expanded, parts_of, varied

WORDS = st.text("abc123.", min_size=1, max_size=4)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=3, unique=True), min_size=1, max_size=4))
def test_every_combination_is_run_once(values):
    arguments = [f"x{place}={','.join(some)}" for place, some in enumerate(values)]
    n = math.prod(map(len, values))
    if n < 2:
        with pytest.raises(InvalidInput, match="nothing to try in turn"):
            expanded(arguments)
        return
    runs = expanded(arguments)
    assert len(set(runs)) == len(runs) == n


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1,2", ["1", "2"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ('"a,b",c', ["a,b", "c"]),
        ("f(1,2),{a: 1, b: 2}", ["f(1,2)", "{a: 1, b: 2}"]),
        ("[", ["["]),
        ("'", ["'"]),
        ("", []),
    ],
)
def test_commas_in_brackets_and_quotes_part_nothing(text, parts):
    assert parts_of(text) == parts


def test_what_assigns_nothing_is_passed_on():
    runs = expanded(["--list", "a,b", "model.depth=range(2,8,2)"])
    assert [run[2] for run in runs] == ["model.depth=2", "model.depth=4", "model.depth=6"]
    assert {run[:2] for run in runs} == {("--list", "a,b")}
    assert varied(["--list", "a,b", "model.depth=range(2,8,2)"], runs[0]) == "model.depth=2"


def test_a_sweep_has_a_bound():
    with pytest.raises(InvalidInput, match="too many runs"):
        expanded(["a=range(0,100)", "b=range(0,100)"])
    with pytest.raises(InvalidInput, match="counts nothing"):
        expanded(["a=range(3,3)"])

"""Slices: which rows are in one, how it is kept, and what cannot be declared."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

import varv
from varv.features import Slice
from varv.kernel.errors import InvalidDeclaration, InvalidInput

FLIGHTS = pl.DataFrame(
    {
        "carrier": ["UA", "AA", None, "B6"],
        "distance": [1400.0, 1000.0, float("nan"), None],
        "seats": [1, 2, 3, None],
        "weekend": [True, False, None, True],
    }
)


@pytest.mark.parametrize(
    ("part", "inside"),
    [
        (varv.slice("carrier", "UA"), [True, False, False, False]),
        (varv.slice("carrier", "UA", "B6"), [True, False, False, True]),
        (varv.slice("distance", above=999), [True, True, False, False]),
        (varv.slice("distance", below=1400), [False, True, False, False]),
        (varv.slice("distance", above=1000, below=2000), [True, False, False, False]),
        (varv.slice("seats", 1, 2.0), [True, True, False, False]),
        (varv.slice("weekend", True), [True, False, False, True]),
    ],
)
def test_a_slice_holds_the_rows_that_pass_its_test(part, inside):
    assert part.of(FLIGHTS).to_list() == inside


def test_a_categorical_column_is_compared_with_texts():
    frame = FLIGHTS.with_columns(pl.col("carrier").cast(pl.Categorical))
    assert varv.slice("carrier", "UA").of(frame).to_list() == [True, False, False, False]


def test_a_slice_survives_the_ledger():
    part = varv.slice("distance", above=1000)
    assert msgspec.json.decode(msgspec.json.encode(part), type=Slice) == part


@pytest.mark.parametrize(
    ("column", "values", "edges", "problem"),
    [
        ("carrier", (), {}, "either values or edges"),
        ("carrier", ("UA",), {"above": 1}, "either values or edges"),
        ("carrier", ("UA", 3), {}, "mixes texts with numbers"),
        ("carrier", (None,), {}, "neither a text nor a number"),
        ("distance", (), {"above": 2, "below": 1}, "no numbers in order"),
        ("distance", (), {"above": float("inf")}, "no numbers in order"),
        ("", ("UA",), {}, "names no column"),
    ],
)
def test_what_tests_nothing_sensible_is_no_slice(column, values, edges, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        varv.slice(column, *values, **edges)


@pytest.mark.parametrize("part", [varv.slice("carrier", above=3), varv.slice("tail", "N1")])
def test_rows_that_cannot_be_compared_are_refused(part):
    with pytest.raises(InvalidInput):
        part.of(FLIGHTS)

"""What goes from step to step comes out of its bytes as it went in."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.pipelines.values import accepts, classes_in, decode, encode, extension, require_carried


class Score(msgspec.Struct, frozen=True):
    name: str
    value: float


@dataclasses.dataclass
class Pair:
    one: int
    two: list[Score]


@pytest.mark.parametrize(
    ("kind", "value", "ending"),
    [
        (bytes, b"\x00\xff", "bin"),
        (dict[str, list[int]], {"a": [1, 2]}, "json"),
        (Score, Score("auc", 0.1 + 0.2), "json"),
        (Pair, Pair(1, [Score("a", 1.0)]), "json"),
        (str | None, None, "json"),
        (Literal["a", "b"], "b", "json"),
        (Any, [1, "two", None], "json"),
    ],
)
def test_a_value_comes_back_as_it_was(kind, value, ending):
    require_carried("fit", "its result", kind)
    assert decode("fit", encode("fit", value, kind), kind) == value
    assert extension(kind) == ending


@given(st.lists(st.floats(width=64, allow_nan=True), max_size=20))
def test_arrays_come_back_to_the_last_bit(numbers):
    array = np.array(numbers)
    back = decode("fit", encode("fit", array, np.ndarray), np.ndarray)
    assert back.tobytes() == array.tobytes()
    assert back.dtype == array.dtype


def test_frames_have_equal_bytes_however_they_are_cut():
    whole = pl.DataFrame({"x": [1, 2, 3], "late": ["a", None, "c"]})
    cut = pl.concat([whole[:1], whole[1:]], rechunk=False)
    assert encode("rows", cut, pl.DataFrame) == encode("rows", whole, pl.DataFrame)
    assert decode("rows", encode("rows", whole, pl.DataFrame), pl.DataFrame).equals(whole)


def test_an_array_of_objects_is_refused_not_pickled():
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        encode("fit", np.array([object()]), np.ndarray)


@pytest.mark.parametrize(
    ("kind", "value"), [(bytes, "text"), (np.ndarray, [1.0]), (Score, {"name": 3}), (int, "7"), (bool, None)]
)
def test_a_result_of_another_type_is_refused(kind, value):
    with pytest.raises(InvalidInput, match="step 'fit' did not return"):
        encode("fit", value, kind)


@pytest.mark.parametrize("kind", [object, type("Lock", (), {}), list[np.ndarray], dict[str, object]])
def test_types_that_cannot_be_stored_are_refused_when_declared(kind):
    with pytest.raises(InvalidDeclaration, match="which cannot be stored"):
        require_carried("fit", "its result", kind)


@pytest.mark.parametrize(
    ("expected", "given", "fits"),
    [
        (int, bool, True),
        (float, int, True),
        (int, float, False),
        (list, list[int], True),
        (list[int], list, False),
        (list[int], list[int], True),
        (dict[str, float], dict[str, str], False),
        (str | None, str, True),
        (str, str | None, False),
        (int | str, str | int, True),
        (Any, np.ndarray, True),
        (pl.DataFrame, np.ndarray, False),
    ],
)
def test_a_parameter_takes_what_is_of_its_type(expected, given, fits):
    assert accepts(expected, given) is fits


def test_the_classes_of_an_annotation_are_what_its_code_depends_on():
    assert classes_in(dict[str, list[Score]] | None) == (str, Score, type(None))
    assert classes_in(bytes) == ()

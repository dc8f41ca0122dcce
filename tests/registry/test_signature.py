"""One signature encodes training rows and requests."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from varv.kernel.errors import InvalidInput
from varv.registry import Column, Signature, signature_of

ROWS = pl.DataFrame(
    {
        "origin": ["JFK", None, "EWR", "JFK"],
        "wind": [3.0, None, 0.5, float("nan")],
        "seats": [1, 2, None, 4],
        "night": [True, False, None, True],
    }
)
NAMES = ("origin", "wind", "seats", "night")


def encoded(frame: pl.DataFrame, names: tuple[str, ...] = NAMES) -> list[list[float]]:
    return signature_of(ROWS, names).encode(frame).tolist()


def same(found, expected):
    np.testing.assert_array_equal(np.array(found, dtype=np.float64), np.array(expected, dtype=np.float64))


def test_training_rows_become_numbers_and_what_is_missing_becomes_nan():
    nan = float("nan")
    same(encoded(ROWS), [[1, 3, 1, 1], [nan, nan, 2, 0], [0, 0.5, nan, nan], [1, nan, 4, 1]])


def test_the_matrix_is_float32_in_the_order_of_the_signature():
    matrix = signature_of(ROWS, ("wind", "origin")).encode(ROWS)
    assert matrix.dtype == np.float32
    assert matrix.shape == (4, 2)
    assert matrix[0].tolist() == [3.0, 1.0]


def test_a_category_never_seen_is_missing():
    same(encoded(pl.DataFrame({"origin": ["LGA", "", "EWR"]}), ("origin",)), [[np.nan], [np.nan], [0]])


def test_the_code_of_a_category_does_not_depend_on_the_order_of_the_rows():
    assert signature_of(ROWS.reverse(), NAMES) == signature_of(ROWS, NAMES)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("origin", ["JFK", None], dtype=pl.Categorical),
        pl.Series("origin", ["JFK", None], dtype=pl.Enum(["JFK", "XXX"])),
        pl.Series("origin", ["JFK", None], dtype=pl.String),
    ],
    ids=lambda series: str(series.dtype),
)
def test_texts_of_every_type_encode_alike(values):
    same(encoded(values.to_frame(), ("origin",)), [[1], [np.nan]])


def test_a_column_of_nulls_alone_is_missing_throughout():
    nothing = pl.DataFrame({"origin": [None, None], "wind": [None, None]})
    same(encoded(nothing, ("origin", "wind")), [[np.nan, np.nan]] * 2)


def test_a_category_without_a_single_value_in_training_is_always_missing():
    empty = pl.DataFrame({"origin": [None, None]}, schema={"origin": pl.String})
    signature = signature_of(empty, ("origin",))
    assert signature.columns == (Column("origin", "category", ()),)
    same(signature.encode(ROWS.select("origin")), [[np.nan]] * 4)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt64, pl.Float32, pl.Float64, pl.Boolean])
def test_numbers_of_every_type_and_truth_values_are_numbers(dtype):
    same(
        encoded(pl.DataFrame({"wind": pl.Series([1, 0, None]).cast(dtype)}), ("wind",)), [[1], [0], [np.nan]]
    )


def test_no_rows_make_an_empty_matrix():
    assert signature_of(ROWS, NAMES).encode(ROWS.clear()).shape == (0, 4)


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (pl.DataFrame({"wind": [1.0]}), "column 'origin' is missing"),
        (pl.DataFrame({"origin": [1], "wind": [1.0]}), "'origin' is a category and got numbers"),
        (pl.DataFrame({"origin": ["JFK"], "wind": ["fast"]}), "'wind' is a number and got something else"),
        (pl.DataFrame({"origin": ["JFK"], "wind": [[1.0]]}), "'wind' is a number and got something else"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_and_the_column_named(frame, problem):
    with pytest.raises(InvalidInput, match=problem):
        signature_of(ROWS, ("origin", "wind")).encode(frame)


def test_a_time_cannot_be_an_input():
    times = pl.DataFrame({"at": [0]}).with_columns(pl.col("at").cast(pl.Datetime("us")))
    with pytest.raises(InvalidInput, match="'at' cannot be an input"):
        signature_of(times, ("at",))


def test_a_text_of_too_many_values_is_no_category_and_has_no_place_in_a_matrix():
    many = pl.DataFrame({"id": [f"{n}" for n in range(10_001)]})
    signature = signature_of(many, ("id",))
    assert signature.columns == (Column("id", "text"),)
    with pytest.raises(InvalidInput, match=r"'id' has too many categories .*train on train.frame"):
        signature.encode(many)
    assert signature.columns_of(["id"]).feed(many)["id"][10_000] == "10000"


def test_a_signature_survives_json():
    import msgspec

    signature = signature_of(ROWS, NAMES)
    assert msgspec.json.decode(msgspec.json.encode(signature), type=Signature) == signature


def test_a_number_that_is_infinite_or_too_large_is_missing():
    extreme = pl.DataFrame({"wind": [float("inf"), float("-inf"), 1e300, 1e30]})
    found = signature_of(ROWS, ("wind",)).encode(extreme)
    same(found, [[np.nan], [np.nan], [np.nan], [np.float32(1e30)]])


WIDE = ROWS.with_columns(plane=pl.Series([2**40, 1, 2, 3]), note=pl.Series(["a b", None, "", "c"]))


def test_columns_are_fed_with_their_own_types():
    signature = signature_of(WIDE, (*NAMES, "plane", "note")).columns_of((*NAMES, "plane", "note"))
    fed = signature.feed(WIDE)
    assert list(fed) == [*NAMES, "plane", "note"]
    assert [values.dtype for values in fed.values()] == [object, *[np.float32] * 3, np.int64, object]
    assert fed["plane"].tolist() == [2**40, 1, 2, 3]
    assert fed["origin"].tolist() == ["JFK", "", "EWR", "JFK"]
    same(fed["night"], [1, 0, np.nan, 1])
    assert signature.frame(WIDE).dtypes == [pl.String, *[pl.Float32] * 3, pl.Int64, pl.String]


def test_some_columns_are_fed_in_the_order_of_the_model():
    signature = signature_of(WIDE, NAMES)
    assert list(signature.columns_of(["wind", "origin"]).feed(WIDE)) == ["wind", "origin"]
    same(signature.matrix_of(["wind", "origin"]).feed(WIDE)[0], [3, 1])
    with pytest.raises(InvalidInput, match="'tide' is no input that is declared; the columns are origin, "):
        signature.matrix_of(["tide"])


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("plane", [None], "'plane' is always a whole number and got something else; send a whole number"),
        ("plane", [0.5], "'plane' is always a whole number"),
        ("plane", ["x"], "'plane' is a number and got something else"),
        ("note", [1], "'note' is a text and got numbers"),
    ],
)
def test_a_column_of_another_type_is_refused(column, values, problem):
    signature = signature_of(WIDE, ("plane", "note")).columns_of(["plane", "note"])
    frame = pl.DataFrame({"plane": [1], "note": ["x"]}).with_columns(pl.Series(column, values))
    with pytest.raises(InvalidInput, match=problem):
        signature.feed(frame)


def test_infinities_are_missing_in_columns_too():
    signature = signature_of(WIDE, ("wind",)).columns_of(["wind"])
    same(signature.feed(pl.DataFrame({"wind": [float("inf"), 1e300]}))["wind"], [np.nan, np.nan])


def test_a_signature_of_before_columns_decodes_unchanged():
    import msgspec

    old = (
        b'{"columns":[{"categories":["a"],"kind":"category","name":"x"},'
        b'{"categories":[],"kind":"number","name":"y"}]}'
    )
    signature = msgspec.json.decode(old, type=Signature)
    assert signature == Signature((Column("x", "category", ("a",)), Column("y", "number")))
    assert signature.form == "matrix"


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["b", "a", "zz"]), pl.Null])
def test_many_categories_are_encoded_as_few_are(dtype):
    signature = signature_of(pl.DataFrame({"town": ["a", "b", "c"]}), ("town",))
    texts = [None] * 5 if dtype == pl.Null else ["b", None, "zz", "a", "b"]
    few = pl.DataFrame({"town": pl.Series(texts, dtype=dtype)})
    many = pl.concat([few] * 100)
    expected = np.tile(signature.encode(few), (100, 1))
    np.testing.assert_array_equal(signature.encode(many), expected)

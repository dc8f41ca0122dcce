from __future__ import annotations

import math

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from polars.testing.parametric import dataframes

from varv.fronts.frames import TYPES, columns_of, frame_of
from varv.kernel.columns import TIME
from varv.kernel.errors import Corrupt


def sent(frame: pl.DataFrame) -> object:
    return msgspec.json.decode(msgspec.json.encode(columns_of(frame)))


@given(
    dataframes(
        allowed_dtypes=[
            *(pl.Boolean, pl.String, pl.Float32, pl.Float64),
            *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt64),
        ],
        max_cols=4,
        max_size=8,
    )
)
def test_a_frame_comes_back_as_it_was_sent(frame):
    assert_frame_equal(frame_of(sent(frame), most_rows=8), frame)


@given(st.lists(st.none() | st.integers(-62_135_596_800_000_000, 253_370_764_800_000_000), max_size=5))
def test_times_keep_their_microseconds(at):
    frame = pl.DataFrame({"at": pl.Series(at, dtype=pl.Int64).cast(TIME)})
    assert_frame_equal(frame_of(sent(frame), most_rows=5), frame)


def test_what_has_no_form_in_json_becomes_text():
    frame = pl.DataFrame({"a": [[1, 2]], "b": [math.inf]})
    back = frame_of(sent(frame), most_rows=1)
    assert back.schema == {"a": pl.String, "b": pl.Float64}
    assert back["b"].to_list() == [math.inf]


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {"columns": 5},
        {"columns": [{"name": "a", "type": "Int64"}]},
        {"columns": [{"name": "a", "type": "Object", "values": []}]},
        {"columns": [{"name": "a", "type": "Int64", "values": ["x"]}]},
        {"columns": [{"name": "a", "type": "Int8", "values": [1000]}]},
        {"columns": [{"name": "a", "type": "Float64", "values": ["1"]}]},
        {"columns": [{"name": "a", "type": str(TIME), "values": ["yesterday"]}]},
        {"columns": [{"name": "a", "type": "Boolean", "values": [1]}] * 2},
        {"columns": [{"name": n, "type": "Null", "values": [None] * n.count("a")} for n in ("a", "aa")]},
        {"columns": [{"name": "a", "type": "Int64", "values": list(range(9))}]},
    ],
)
def test_what_is_no_frame_or_too_long_is_refused(said):
    with pytest.raises(Corrupt, match="holds no table"):
        frame_of(said, most_rows=8)


def test_every_type_that_is_kept_in_columns_has_a_form():
    from varv.data.sources import KEPT

    assert {str(dtype) for dtype in KEPT} <= TYPES.keys()

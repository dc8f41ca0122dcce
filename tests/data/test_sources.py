"""Sources: files and frames come in the same kept types."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from varv.data import Csv, Dataset, Frame, Parquet
from varv.kernel.errors import InvalidDeclaration, NotFound

ROWS = pl.DataFrame(
    {
        "id": ["a", "b", "c"],
        "at": [dt.datetime(2013, 1, day, 5, tzinfo=dt.UTC) for day in (1, 2, 3)],
        "size": [1.5, None, 2.25],
        "name": ["x", None, "ü"],
    }
).cast({"at": pl.Datetime("us", "UTC")})


@pytest.mark.parametrize("kind", ["parquet", "csv", "frame"])
def test_the_same_rows_come_from_every_source(tmp_path, kind):
    ROWS.head(2).write_parquet(tmp_path / "1.parquet")
    ROWS.tail(1).write_parquet(tmp_path / "2.parquet")
    ROWS.write_csv(tmp_path / "all.csv", null_value="NA", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    source = {
        "parquet": Parquet(str(tmp_path / "*.parquet")),
        "csv": Csv(str(tmp_path / "*.csv"), null="NA"),
        "frame": Frame(ROWS),
    }[kind]
    assert Dataset("things", source=source, key="id", event_time="at").load().equals(ROWS)


def test_categories_become_texts_and_dates_become_midnight_in_utc():
    odd = pl.DataFrame({"at": [dt.date(2013, 1, 1)], "id": pl.Series(["x"], dtype=pl.Categorical)})
    frame = Dataset("odd", source=Frame(odd), key="id", event_time="at").load()
    assert frame.rows() == [(dt.datetime(2013, 1, 1, tzinfo=dt.UTC), "x")]
    assert frame.dtypes == [pl.Datetime("us", "UTC"), pl.String]


@pytest.mark.parametrize("source", [Parquet, Csv])
def test_a_pattern_that_matches_nothing_says_so(tmp_path, source):
    with pytest.raises(NotFound, match="cannot be read"):
        source(str(tmp_path / "none-*")).types()


def test_a_file_that_is_no_parquet_says_so(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"nonsense")
    with pytest.raises(NotFound, match="cannot be read"):
        Parquet(str(tmp_path / "broken.parquet")).types()


@pytest.mark.parametrize("kind", ["pandas", "a function that returns pandas", "arrow"])
def test_frames_of_other_libraries_hold_the_same_rows(kind):
    pandas = pytest.importorskip("pandas")
    plain = pandas.DataFrame(
        {
            "id": pandas.Categorical(["a", "b", "c"]),
            "at": pandas.to_datetime([f"2013-01-0{day}T07:00+02:00" for day in (1, 2, 3)]),
            "size": [1.5, float("nan"), 2.25],
            "name": ["x", None, "ü"],
        }
    )
    given = {"pandas": plain, "a function that returns pandas": lambda: plain, "arrow": ByArrow(ROWS)}[kind]
    assert Dataset("things", source=Frame(given), key="id", event_time="at").load().equals(ROWS)


def test_every_kind_of_column_of_pandas_is_kept():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "whole": pandas.array([1, None, 3], dtype="Int64"),
            "small": pandas.array([1, 2, 3], dtype="int8"),
            "truth": [True, False, True],
            "maybe": pandas.array([True, None, False], dtype="boolean"),
            "naive": pandas.to_datetime(["2013-01-01", None, "2013-01-03"]),
        }
    )
    found = Frame(frame).load()
    assert found.rows() == [
        (1, 1, True, True, dt.datetime(2013, 1, 1)),
        (None, 2, False, None, None),
        (3, 3, True, False, dt.datetime(2013, 1, 3)),
    ]
    assert found.schema["small"] == pl.Int8


def test_a_column_of_pandas_that_mixes_types_is_named():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InvalidDeclaration, match="several kinds in 'size'"):
        Frame(pandas.DataFrame({"size": [1, "two"]})).load()


class ByArrow:
    """A frame of a library that is not known, which offers its columns through Arrow."""

    def __init__(self, frame):
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema=None):
        return self._frame.__arrow_c_stream__(requested_schema)


def test_a_frame_of_something_else_is_refused():
    with pytest.raises(InvalidDeclaration, match="cannot be made of dict"):
        Frame({"a": [1]})


def test_batches_of_some_columns_hold_the_rows_of_these(tmp_path):
    rows = pl.DataFrame({"id": [3, 1, 2], "text": ["x", "y", "z"], "value": [0.5, 1.5, 2.5]})
    rows.write_parquet(tmp_path / "rows.parquet")
    rows.write_csv(tmp_path / "rows.csv")
    sources = [Parquet(str(tmp_path / "rows.parquet")), Csv(str(tmp_path / "rows.csv")), Frame(rows)]
    for source in sources:
        assert pl.concat(source.batches(["value", "id"])).equals(rows.select("value", "id"))

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


def test_a_frame_of_something_else_is_refused():
    with pytest.raises(InvalidDeclaration, match="cannot be made of dict"):
        Frame({"a": [1]})
